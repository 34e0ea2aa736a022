"""Shows the device that trainings would run on: `python3 -m training.check_gpu`.

Prints the devices, the time of a matrix product on each, where a training step of the
attention model runs and how long it takes, and how many batches a second the input
pipeline delivers with cached features: a GPU waits for it if the step is faster.
"""

from __future__ import annotations

import contextlib
import os
import time

import numpy as np
from PIL import Image

import tensorflow_v1 as tf
from learned_jpeg.common.leftovers import temporary_folder
from learned_jpeg.common.process import run_main
from learned_jpeg.models import contract, recipes
from training import devices
from training.crops import BATCHES_AHEAD, CROPS_PER_VISIT, CropDataset
from training.feature_cache import FeatureCache
from training.loop import Trainer
from training.options import TrainOptions

MODEL = "ljpeg_attention"
MATRIX_SIDE = 2048
PATCHSIZE, BATCHSIZE = 256, 8
CHANNELS = 256  # of the trunk's features
IMAGES = 8
STEPS, BATCHES = 3, 100


def main():
    """Prints what there is; returns 0 if a GPU is used, else 1."""
    found = tf.config.list_physical_devices()
    gpus = [device for device in found if device.device_type == "GPU"]
    for device in found:
        kind = device.device_type
        name = f"/{kind.lower()}:{device.name.rsplit(':', 1)[-1]}"
        seconds = matrix_product_seconds(name)
        print(f"{device.name}: {MATRIX_SIDE}^3 product in {1000 * seconds:.1f} ms")
    if not gpus:
        print(
            "no GPU: TensorFlow sees none. Where nvidia-smi lists one, install its "
            f'libraries: pip install "tensorflow[and-cuda]=={tf.VERSION}"'
        )
    precision, reason = devices.choose_precision()
    used, seconds = step_devices(precision)
    where = ", ".join(f"{count} operations on {name}" for name, count in used.items())
    print(f"training step, {precision} ({reason}): {seconds:.2f} s; {where}")
    print(f"input pipeline: {batches_a_second():.0f} batches a second")
    return 0 if any("GPU" in name for name in used) else 1


def matrix_product_seconds(device: str, side: int = MATRIX_SIDE) -> float:
    """Returns the seconds of a product of square float32 matrices, without transfers.

    Args:
      device: as `tf.device` takes it.
      side: of the matrices.
    """
    with tf.Graph().as_default(), tf.device(device):
        matrix = tf.random.stateless_uniform([side, side], [0, 0])
        variable = tf.Variable(matrix)
        product = tf.reduce_sum(tf.matmul(variable, variable))
        with tf.Session(config=devices.session_config()) as session:
            session.run(variable.initializer)
            session.run(product)
            return _fastest(lambda: session.run(product))


def step_devices(
    precision: str, patchsize: int = PATCHSIZE
) -> tuple[dict[str, int], float]:
    """Returns where a training step of the attention model runs, and its seconds.

    Args:
      precision: "float32" or "bfloat16", of the convolutions.
      patchsize: side of the crops in px.

    Returns:
      ({name of a device: operations of the step that ran there}, seconds).
    """
    flags = recipes.defaults("entropy", {}) | {
        "rate_model": "entropy",
        "rounding": None,
        "tables_from": None,
        "patchsize": patchsize,
        "precision": precision,
        "checkpoint_dir": "",
        "preprocess_threads": 1,
    }
    options = TrainOptions.of_flags(MODEL, flags)
    crops = np.zeros([options.batchsize, patchsize, patchsize, 3], np.uint8)
    with tf.Graph().as_default():
        trainer = Trainer(contract.load_model_class(MODEL), options)
        with tf.Session(config=devices.session_config()) as session:
            trainer.initialize(session, None)
            feeds = {trainer.pixels: crops}
            trace = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            traced = tf.RunMetadata()
            session.run(trainer.train_op, feeds, options=trace, run_metadata=traced)
            seconds = _fastest(lambda: session.run(trainer.train_op, feeds))
    used = {}
    for own in traced.step_stats.dev_stats:
        # Streams of a GPU are listed as devices, too.
        if "stream" not in own.device:
            name = own.device.rsplit("device:", 1)[-1]
            used[name] = used.get(name, 0) + len(own.node_stats)
    return used, seconds


def batches_a_second(batches: int = BATCHES, images: int = IMAGES) -> float:
    """Returns the batches a second of 8 crops of 256 px, with cached features.

    Args:
      batches: that are measured.
      images: number of images, of 768x512 px, that they are cut out of.
    """
    rng = np.random.default_rng(0)
    with temporary_folder() as folder:
        for index in range(images):
            coarse = rng.integers(0, 256, (16, 24, 3), np.uint8)
            image = Image.fromarray(coarse).resize((768, 512))
            image.save(os.path.join(folder, f"{index}.png"))

        def compute(image):
            rows, cols = (-(-side // 8) for side in image.shape[:2])
            return rng.standard_normal((rows, cols, CHANNELS)).astype(np.float16)

        dataset = CropDataset(
            os.path.join(folder, "*.png"), BATCHSIZE, PATCHSIZE, 16, seed=0
        )
        cache = FeatureCache(os.path.join(folder, "features"), compute, b"check")
        dataset.features = cache.of
        with contextlib.closing(dataset.batches()) as delivered:
            for _ in range(
                images * CROPS_PER_VISIT // BATCHSIZE + BATCHES_AHEAD
            ):  # fills the cache
                next(delivered)
            start = time.perf_counter()
            for _ in range(batches):
                next(delivered)
            return batches / (time.perf_counter() - start)


def _fastest(run):
    """Returns the seconds of the fastest of some calls."""
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    run_main(main)
