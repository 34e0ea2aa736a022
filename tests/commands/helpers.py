"""Images and checkpoints for the tests of the commands."""

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image

import arg_parser
from learned_jpeg.commands import run as commands
from learned_jpeg.models.settings import ModelSettings
from ljpeg import LJPEG
from ljpeg_PIL import StandardJPEG
from tests.plain_training import with_plain_flags
from tests.records import record_of
from training import checkpoints, loop, variables


def photograph(height, width, seed=0):
    """uint8 `[h, w, 3]` with the spectrum of photographs: noise of amplitude 1/f."""
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    frequency = np.maximum(np.hypot(v, u), 1 / max(height, width))
    mixing = [[1, 0.3, 0.1], [1, -0.1, -0.3], [1, -0.2, 0.3]]
    planes = []
    for _ in range(3):
        spectrum = np.fft.fft2(rng.normal(size=(height, width))) / frequency
        plane = np.fft.ifft2(spectrum).real
        planes.append((plane - plane.mean()) / max(plane.std(), 1e-9))
    image = 128 + 45 * np.tensordot(planes, mixing, (0, 1)).reshape(height, width, 3)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def save_png(path, height=40, width=56, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(height, width, seed)).save(path, "PNG")
    return path


def write_checkpoint(folder, tables, lmbda=0.01, step=7):
    """A checkpoint of ljpeg.py with the given tables, as training leaves it."""
    folder.mkdir(parents=True)
    with tf.Graph().as_default(), tf.Session() as session:
        model = LJPEG(ModelSettings("ljpeg"), tf.float32)
        (variable,) = tf.global_variables()
        session.run(variable.initializer)
        assert model.tables.SCALE == 1e-5
        value = tables.transpose(1, 2, 0).astype(np.float32) * 1e-5
        variable.load(value, session)
        saver = variables.saver([variable])
        path = str(folder / checkpoints.CHECKPOINT_NAME)
        saver.save(session, path, global_step=step, write_meta_graph=False)
    checkpoints.save_record(str(folder), record_of("ljpeg", lmbda=lmbda))
    return folder


def train(model_class, folder):
    """Trains 3 steps on synthetic images; returns the checkpoint folder."""
    for seed in range(2):
        save_png(folder / "images" / f"{seed}.png", 72, 80, seed)
    argv = f"--checkpoint_dir {folder / 'train'} train --batchsize 2 --patchsize 64 "
    argv += "--last_step 3 --lr 1e-6 --preprocess_threads 2 --train_glob"
    argv = [*argv.split(), str(folder / "images" / "*.png")]
    if model_class.TRAITS.rate_models:
        argv = with_plain_flags(argv)
    assert loop.train(model_class, arg_parser.parse_model(model_class, argv)) == 0
    return folder / "train"


def compress_ljpeg(checkpoint_dir, *argv):
    argv = ["--checkpoint_dir", checkpoint_dir, "compress", "--workers", "2", *argv]
    args = arg_parser.parse_model(LJPEG, [str(word) for word in argv])
    return commands.run(LJPEG, args)


def compress_pil(*argv):
    """Exit status of `ljpeg_PIL.py compress`, called in this process."""
    argv = ["compress", "--workers", "2", *map(str, argv)]
    return commands.run(StandardJPEG, arg_parser.parse_model(StandardJPEG, argv))


def run_ljpeg(*argv):
    """Exit status of `ljpeg.py compress` without a model, in this process."""
    argv = ["compress", "--workers", "2", *map(str, argv)]
    return commands.run(LJPEG, arg_parser.parse_model(LJPEG, argv))
