"""Trainings of all models with tiny networks: exact resumes, losses, summaries."""

import contextlib
import glob
import io
import json
import logging
import os
import signal
import types

import numpy as np
import pytest
import scipy.fft
import tensorflow.compat.v1 as tf
from PIL import Image

import arg_parser
import google_baseline
import ljpeg
import ljpeg_attention
import weights
from image_utils import get_std_jpeg_qtable
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.models import folders
from tests.plain_training import plain_flags
from tests.records import record_of
from tests.small_networks import use_small_networks
from training import checkpoints, crops, devices, loop, strip, summaries, variables
from training.options import TrainOptions

PATCH, BATCH = 24, 2
LPIPS_PATCH = 32  # Smaller ones are trained without LPIPS in the summaries.
LEARNING_RATES = {"ljpeg": 1e-6, "ljpeg_attention": 1e-5, "google_baseline": 1e-3}
MODELS = [ljpeg.LJPEG, ljpeg_attention.LJPEGAttention, google_baseline.GoogleBaseline]


def tiny_imagenet_weights(trunk="vgg16"):
    """Stands for the weights of ImageNet, for a trunk of the widths 4, 8, 8."""
    rng = np.random.default_rng(5)
    arrays, channels = [], 3
    for count, width in zip(weights.VGG_BLOCKS[trunk], (4, 8, 8), strict=True):
        for _ in range(count):
            kernel = rng.normal(0, np.sqrt(2 / (9 * channels)), (3, 3, channels, width))
            arrays += [kernel.astype(np.float32), np.full(width, 0.1, np.float32)]
            channels = width
    return arrays


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Small networks, and exact sums: one thread."""

    def one_thread():
        return tf.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
        )

    monkeypatch.setattr(devices, "session_config", one_thread)
    use_small_networks(monkeypatch, tiny_imagenet_weights)


@pytest.fixture
def images(tmp_path, smooth_picture):
    """The pattern of four training images."""
    (tmp_path / "images").mkdir()
    for index in range(4):
        picture = smooth_picture(index, 48, 40 + 8 * index)
        Image.fromarray(picture).save(tmp_path / "images" / f"{index}.png")
    return str(tmp_path / "images" / "*.png")


@pytest.fixture
def parse(images, tmp_path):
    """A function (model, folder, flag=value, ...) -> flags of a tiny training."""

    def make(model, folder="train", **flags):
        values = {
            "train_glob": images,
            "batchsize": BATCH,
            "patchsize": PATCH,
            "last_step": 10,
            "lr": LEARNING_RATES[model.NAME],
            "preprocess_threads": 2,
            "precision": "float32",
            **flags,
        }
        if model is google_baseline.GoogleBaseline:
            values = {"lambda": 0.01, "lr_schedule": "steps", **values}
        else:
            values.setdefault("total_weight_regularizer", 10)
            values = plain_flags(values.get("rate_model", "proxy")) | values
        argv = ["--checkpoint_dir", str(tmp_path / folder), "train"]
        for name, value in values.items():
            argv += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return arg_parser.parse_model(model, argv)

    return make


def variables_in(folder):
    """The arrays of the newest checkpoint by name."""
    reader = tf.train.load_checkpoint(folders.find_checkpoint(folder))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names}


def assert_equal_variables(folder, other):
    first, second = variables_in(folder), variables_in(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], name)


def events(folder):
    """{step: {tag: scalar, or PNG bytes}} of all event files of a folder."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "events.*"))):
        for event in tf.train.summary_iterator(path):
            for value in event.summary.value:
                is_image = value.WhichOneof("value") == "image"
                content = (
                    value.image.encoded_image_string if is_image else value.simple_value
                )
                found.setdefault(event.step, {})[value.tag] = content
    return found


def options_of(model, args):
    return TrainOptions.of_flags(model.NAME, vars(args))


@contextlib.contextmanager
def trainer(model, args):
    """Yields (trainer, session) of a training that has been initialized."""
    with tf.Graph().as_default():
        made = loop.Trainer(model, options_of(model, args))
        with tf.Session(config=devices.session_config()) as session:
            made.initialize(session, None)
            yield made, session


@contextlib.contextmanager
def restored(folder):
    """Yields the codec of a checkpoint that rounds."""
    with TrainedModel.load(str(folder), networks=Networks("float32")) as model:
        yield model.codec(EncodeOptions(quantization="round"))


def first_batch(args):
    data = crops.CropDataset(
        args.train_glob, args.batchsize, args.patchsize, 2, args.seed
    )
    with contextlib.closing(data.batches()) as batches:
        return next(batches)


# Resuming


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, flags",
    [
        (ljpeg.LJPEG, {}),
        (google_baseline.GoogleBaseline, {}),
        # Has variables of all kinds, each kind with an Adam of its own.
        (ljpeg_attention.LJPEGAttention, {"rate_model": "entropy"}),
        (ljpeg.LJPEG, {"rate_model": "search", "table_init": 20, "table_lr": 1e-5}),
    ],
)
def test_training_in_two_parts_equals_one_part_bit_for_bit(
    model, flags, parse, tmp_path
):
    assert loop.train(model, parse(model, "whole", last_step=14, **flags)) == 0
    assert loop.train(model, parse(model, "parts", last_step=5, **flags)) == 0
    early = variables_in(tmp_path / "parts")
    assert loop.train(model, parse(model, "parts", last_step=14, **flags)) == 0
    assert_equal_variables(tmp_path / "whole", tmp_path / "parts")
    late = variables_in(tmp_path / "parts")
    assert (early["global_step"], late["global_step"]) == (5, 14)
    changed = [name for name in late if not np.array_equal(early[name], late[name])]
    assert len(changed) > len(late) // 2
    # Moving averages of the baseline are no variables that an optimizer changes.
    moments = [name for name in late if name.endswith("moving_mean")]
    assert len(moments) == (5 if model is google_baseline.GoogleBaseline else 0)
    assert all(np.abs(late[name]).max() > 0 for name in moments)


def test_resume_leaves_one_checkpoint_in_the_folder(parse, tmp_path):
    for last_step in (2, 4):
        loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=last_step))
    found = sorted(path.name for path in (tmp_path / "train").glob("model.ckpt-*"))
    assert found == ["model.ckpt-4.data-00000-of-00001", "model.ckpt-4.index"]


@pytest.mark.parametrize("model", [ljpeg.LJPEG, ljpeg_attention.LJPEGAttention])
def test_tables_beside_a_checkpoint_are_those_in_it(model, parse, tmp_path):
    loop.train(model, parse(model, last_step=3))
    prefix = folders.find_checkpoint(str(tmp_path / "train"))
    entries = variables_in(tmp_path / "train")["qtables"] / np.float32(1e-5)
    expected = np.rint(entries).clip(1, 255).transpose(2, 0, 1)
    found = folders.load_qtables(prefix, model.NAME)
    np.testing.assert_array_equal(found, expected)
    os.remove(tmp_path / "train" / folders.QTABLES_FILE)
    np.testing.assert_array_equal(variables.saved_qtables(prefix, model.NAME), expected)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["train", "tr[ai]n", "a*b?", "runs[1]/train"])
def test_one_checkpoint_is_left_in_a_folder_of_any_name(
    parse, tmp_path, monkeypatch, folder
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)  # saves after every step
    for last_step in (3, 5):
        args = parse(ljpeg.LJPEG, folder, last_step=last_step)
        assert loop.train(ljpeg.LJPEG, args) == 0
        files = {path.name for path in (tmp_path / folder).iterdir()}
        name = f"model.ckpt-{last_step}"
        assert {f for f in files if f.startswith("model.ckpt")} == {
            f"{name}.data-00000-of-00001",
            f"{name}.index",
        }
    prefix = folders.find_checkpoint(str(tmp_path / folder))
    assert folders.load_qtables(prefix, "ljpeg").shape == (2, 8, 8)


def test_seed_changes_the_training(parse, tmp_path):
    for seed in (0, 1):
        args = parse(ljpeg.LJPEG, f"seed{seed}", last_step=2, seed=seed)
        loop.train(ljpeg.LJPEG, args)
    first, second = (variables_in(tmp_path / f"seed{i}")["qtables"] for i in (0, 1))
    assert not np.array_equal(first, second)


def test_learning_rate_is_a_function_of_the_global_step_alone(session):
    step = tf.placeholder(tf.int64, [])
    args = types.SimpleNamespace(lr_schedule="steps", lr_decay=0.5)
    rate = loop.learning_rate(1e-3, args, step)
    for value in (0, 9999, 10000, 19999, 20000, 35000):
        expected = 1e-3 * 0.5 ** (value // 10000)
        assert session.run(rate, {step: value}) == pytest.approx(expected, rel=1e-6)


def test_learning_rate_decay_is_kept_across_a_resume(parse, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "DECAY_STEPS", 2)
    rates = {}
    for last_step in (3, 5):
        args = parse(ljpeg.LJPEG, last_step=last_step, lr=1e-6, lr_decay=0.5)
        loop.train(ljpeg.LJPEG, args)
        found = events(tmp_path / "train")  # Files of one second have one name.
        rates.update({step: v["learning_rate"] for step, v in found.items()})
    assert rates == pytest.approx({0: 1e-6, 3: 0.5e-6, 5: 0.25e-6}, rel=1e-5)


def test_cosine_schedule_ends_at_0_and_goes_on_after_a_break(
    parse, tmp_path, monkeypatch
):
    class Interrupted(crops.CropDataset):
        def batches(self, start=0):
            for index, batch in enumerate(super().batches(start)):
                if start + index == 4 and start < 4:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    def args_of(folder):
        return parse(ljpeg.LJPEG, folder, last_step=6, lr_schedule="cosine")

    loop.train(ljpeg.LJPEG, args_of("whole"))
    monkeypatch.setattr(loop, "CropDataset", Interrupted)
    assert loop.train(ljpeg.LJPEG, args_of("broken")) == 128 + signal.SIGTERM
    assert variables_in(tmp_path / "broken")["global_step"] == 5
    assert loop.train(ljpeg.LJPEG, args_of("broken")) == 0
    assert_equal_variables(tmp_path / "whole", tmp_path / "broken")
    found = events(tmp_path / "broken")
    rates = {step: values["learning_rate"] for step, values in found.items()}
    wanted = {s: 1e-6 * (1 + np.cos(np.pi * s / 6)) / 2 for s in (0, 5, 6)}
    assert rates == pytest.approx(wanted, rel=1e-4, abs=1e-12)


def test_finished_training_does_no_work(parse, tmp_path, monkeypatch, caplog):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=3))
    monkeypatch.setattr(loop, "Trainer", None)
    monkeypatch.setattr(loop, "CropDataset", None)
    with caplog.at_level(logging.INFO):
        for last_step in (3, 2):
            args = parse(ljpeg.LJPEG, last_step=last_step)
            assert loop.train(ljpeg.LJPEG, args) == 0
    assert "already at --last_step 3" in caplog.text
    assert variables_in(tmp_path / "train")["global_step"] == 3


def test_resume_with_another_lambda_is_a_user_error(parse, tmp_path):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=2))
    before = variables_in(tmp_path / "train")
    with pytest.raises(UserError, match="--lambda 0.01, not 0.5"):
        loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=4, **{"lambda": 0.5}))
    assert variables_in(tmp_path / "train")["global_step"] == before["global_step"]
    assert json.loads((tmp_path / "train/settings.json").read_text())["lmbda"] == 0.01


def test_resume_by_another_script_is_a_user_error(parse, tmp_path):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=2))
    model = ljpeg_attention.LJPEGAttention
    with pytest.raises(UserError, match="ljpeg_attention"):
        loop.train(model, parse(model, last_step=4))


def test_published_gradient_goes_on_as_it_was_trained(parse, tmp_path):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=2, rounding="polynomial"))
    with pytest.raises(UserError, match="--rounding polynomial, not straight_through"):
        loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=4))
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=4, rounding="polynomial"))
    assert variables_in(tmp_path / "train")["global_step"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS[:2])
def test_tables_start_from_those_of_another_training(model, parse, tmp_path):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, "tables", last_step=3, table_init=50))
    args = parse(model, last_step=4, tables_from=tmp_path / "tables")
    start = variables_in(tmp_path / "tables")["qtables"]
    with trainer(model, args) as (_, session):
        (table,) = tf.trainable_variables("qtables")
        np.testing.assert_array_equal(session.run(table), start)
    for last_step in (1, 4):  # They start there once, not after each break.
        args = parse(model, last_step=last_step, tables_from=tmp_path / "tables")
        loop.train(model, args)
    moved = np.abs(variables_in(tmp_path / "train")["qtables"] - start)
    assert moved.max() > 2.5 * LEARNING_RATES[model.NAME]


def test_tables_that_are_not_there_are_one_line(parse, tmp_path):
    args = parse(ljpeg.LJPEG, tables_from=tmp_path / "none")
    with pytest.raises(UserError, match="none: no checkpoint there"):
        loop.train(ljpeg.LJPEG, args)


@pytest.mark.parametrize(
    "flag, value", [("rate_model", "entropy"), ("msssim_weight", 5)]
)
def test_resume_with_another_loss_is_a_user_error(flag, value, parse, tmp_path):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=2))
    with pytest.raises(UserError, match=f"--{flag} (proxy|0.0), not {value}"):
        loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=4, **{flag: value}))
    assert variables_in(tmp_path / "train")["global_step"] == 2


def test_resume_with_another_learning_rate_says_so(parse, caplog):
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=2, lr=1e-6))
    with caplog.at_level(logging.WARNING):
        args = parse(ljpeg.LJPEG, last_step=4, lr=2e-6)
        assert loop.train(ljpeg.LJPEG, args) == 0
    assert "--lr was 1e-06 until now, goes on with 2e-06" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, flags, sampling",
    [
        (ljpeg.LJPEG, {}, "4:2:2"),
        (ljpeg.LJPEG, {"rate_model": "search", "table_init": 20}, None),
        (ljpeg_attention.LJPEGAttention, {"rate_model": "entropy"}, "4:2:0"),
        (google_baseline.GoogleBaseline, {}, "4:2:0"),
    ],
)
def test_a_training_at_another_subsampling_makes_such_files(
    parse, tmp_path, caplog, smooth_picture, model, flags, sampling
):
    if sampling:
        flags = {**flags, "subsampling": sampling}
    caplog.set_level(logging.WARNING)
    args = parse(model, last_step=2, **flags)
    assert loop.train(model, args) == 0
    assert "summary" not in caplog.text
    assert {"psnr", "bpp"} < set(events(tmp_path / "train")[2])
    with restored(tmp_path / "train") as codec:
        data = codec.encode(smooth_picture(0, 37, 53), 25)
    assert jpeg_file.read_coefficients(data).sampling == (sampling or "4:2:0")
    with pytest.raises(UserError, match="--subsampling"):
        loop.train(model, parse(model, last_step=3, **flags | {"subsampling": "4:4:4"}))


@pytest.mark.slow
def test_settings_beside_the_checkpoint_are_the_flags(parse, tmp_path):
    model = ljpeg_attention.LJPEGAttention
    args = parse(
        model, last_step=1, freeze_vgg=True, lpips_weight=3, patchsize=LPIPS_PATCH
    )
    loop.train(model, args)
    settings = json.loads((tmp_path / "train" / "settings.json").read_text())
    expected = {
        "script": "ljpeg_attention",
        "vgg": "vgg16",
        "freeze_vgg": True,
        "lmbda": 0.01,
        "lpips_weight": 3.0,
        "msssim_weight": 0.0,
        "ssimulacra2_weight": 0.0,
        "total_weight_regularizer": 10.0,
        "rate_model": "proxy",
        "rounding": "straight_through",
        "rate_lr": None,
        "feature_cache": None,
        "tables_from": None,
        "table_init": None,
        "table_lr": None,
        "train_glob": args.train_glob,
        "batchsize": BATCH,
        "patchsize": LPIPS_PATCH,
        "last_step": 1,
        "lr": 1e-5,
        "lr_decay": 1.0,
        "lr_schedule": "steps",
        "seed": 0,
        "subsampling": "4:4:4",
        "precision": "float32",
    }
    assert settings == expected


def test_precision_in_the_settings_is_the_one_that_was_used(parse, monkeypatch):
    monkeypatch.setattr(devices, "choose_precision", lambda wish: ("bfloat16", "why"))
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, "b", last_step=1))
    folder = parse(ljpeg.LJPEG, "b").checkpoint_dir
    assert folders.load_record(folder)["precision"] == "bfloat16"


# Learning rates


def first_movements(args):
    """{kind: how far each of its entries moves in the first step of Adam}, 1-D."""
    with trainer(ljpeg_attention.LJPEGAttention, args) as (made, session):
        tf.train.get_global_step().load(loop.DECAY_STEPS, session)
        variables = tf.trainable_variables()
        before = session.run(variables)
        session.run(made.train_op, {made.pixels: first_batch(args)})
        after = session.run(variables)
    moved = {"tables": [], "rate_model": [], "network": []}
    for variable, old, new in zip(variables, before, after, strict=True):
        name = variable.op.name
        kind = "tables" if name == "qtables" else name.partition("/")[0]
        distance = np.abs(new.astype(np.float64) - old).ravel()
        moved["network" if kind == "attention" else kind].append(distance)
    return {kind: np.concatenate(distances) for kind, distances in moved.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, rates",
    [
        ({"lr": 1e-4}, {"network": 1e-4, "tables": 1e-5, "rate_model": 0.1}),
        (
            {"lr": 1e-4, "table_lr": 1e-5, "rate_lr": 2e-2, "lr_decay": 0.5},
            {"network": 5e-5, "tables": 5e-6, "rate_model": 1e-2},
        ),
    ],
)
def test_each_kind_of_variables_moves_at_its_own_rate(flags, rates, parse):
    model = ljpeg_attention.LJPEGAttention
    flags = {"rate_model": "entropy", "table_init": 120, **flags}
    moved = first_movements(parse(model, **flags))
    # The first step of Adam is as long as the rate, wherever there is a gradient.
    for kind, rate in rates.items():
        moving = moved[kind][moved[kind] > 0]
        assert moving.size > 50
        assert np.median(moving) == pytest.approx(rate, rel=1e-2), kind
        assert moving.max() < 1.01 * rate, kind
    assert np.count_nonzero(moved["tables"]) == 128


def test_table_learning_rate_of_1e_5_moves_an_entry_by_1(parse, tmp_path):
    flags = {"table_init": 50, "table_lr": 1e-5, "total_weight_regularizer": 1e9}
    loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=3, lr=1e-9, **flags))
    entries = variables_in(tmp_path / "train")["qtables"] * 1e5
    np.testing.assert_allclose(entries, 53, atol=0.05)


@pytest.mark.slow
def test_stripped_entropy_training_has_lost_all_optimizers(
    parse, tmp_path, smooth_picture
):
    model = ljpeg_attention.LJPEGAttention
    args = parse(model, last_step=2, rate_model="entropy", lr=1e-3)
    loop.train(model, args)
    picture = smooth_picture(9, 40, 24)
    edited = edited_by(tmp_path / "train", picture)  # Whatever else is in there.
    strip.strip(args.checkpoint_dir, str(tmp_path / "stripped"))
    names = set(variables_in(tmp_path / "stripped"))
    assert {name.partition("/")[0] for name in names} == {
        *("attention", "qtables", "rate_model", "global_step")
    }
    assert not [name for name in names if "Adam" in name]
    np.testing.assert_array_equal(edited_by(tmp_path / "stripped", picture), edited)


# Interruptions


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_the_same_command_goes_on(
    number, parse, tmp_path, monkeypatch
):
    model = ljpeg.LJPEG
    loop.train(model, parse(model, "whole", last_step=9))

    class Interrupted(crops.CropDataset):
        def batches(self, start=0):
            for index, batch in enumerate(super().batches(start)):
                if index == 4:
                    os.kill(os.getpid(), number)
                yield batch

    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CropDataset", Interrupted)
        status = loop.train(model, parse(model, last_step=9))
    assert status == 128 + number
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert variables_in(tmp_path / "train")["global_step"] == 5
    assert loop.train(model, parse(model, last_step=9)) == 0
    assert_equal_variables(tmp_path / "whole", tmp_path / "train")


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: background jobs of a shell ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_second_signal_is_not_swallowed(ctrl_c):
    with loop.StopSignals() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


class DivergingLJPEG(ljpeg.LJPEG):
    """Its loss is nan from step 6 on."""

    def training_graph(self, x, seed):
        graph = super().training_graph(x, seed)
        nan = tf.where(seed[1] < 16 * 6, 0.0, np.nan)
        return graph._replace(loss=graph.loss + nan)


@pytest.mark.slow
def test_nan_loss_stops_and_keeps_the_last_checkpoint(parse, tmp_path):
    loop.train(DivergingLJPEG, parse(ljpeg.LJPEG, last_step=4))
    with pytest.raises(UserError) as caught:
        loop.train(DivergingLJPEG, parse(ljpeg.LJPEG, last_step=9))
    message = str(caught.value)
    assert "nan at step 6" in message and "--lr" in message and "\n" not in message
    kept = variables_in(tmp_path / "train")
    assert kept["global_step"] == 4
    assert all(np.isfinite(array).all() for array in kept.values())


def test_checkpoints_are_saved_while_the_training_runs(parse, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(UserError):
        loop.train(DivergingLJPEG, parse(ljpeg.LJPEG, last_step=9))
    assert variables_in(tmp_path / "train")["global_step"] == 6


def test_folder_that_cannot_be_written_is_an_error_that_names_it(
    parse, tmp_path, monkeypatch
):
    def fail(*args, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "no space left\nmore")

    monkeypatch.setattr(tf.train.Saver, "save", fail)
    with pytest.raises(UserError, match="disk full") as caught:
        loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=1))
    assert str(tmp_path / "train") in str(caught.value)
    assert "\n" not in str(caught.value)


# Losses


def loss_of(made, session, batch):
    """The loss of a batch, with the noise and the quality of step 0."""
    step = tf.train.get_global_step()
    step.load(0, session)
    return session.run(made.graph.loss, {made.pixels: batch})


def test_loss_of_a_step_is_computed_before_its_update(parse):
    with trainer(ljpeg.LJPEG, parse(ljpeg.LJPEG)) as (made, _):
        graph = tf.get_default_graph().as_graph_def()
        needed = tf.graph_util.extract_sub_graph(graph, [made.train_op.op.name])
        assert made.graph.loss.op.name in {node.name for node in needed.node}


@pytest.mark.parametrize("model", MODELS)
def test_thirty_steps_lower_the_loss_on_a_fixed_batch(model, parse):
    args = parse(model)
    batch = first_batch(args)
    with trainer(model, args) as (made, session):
        before = loss_of(made, session, batch)
        for _ in range(30):
            session.run(made.train_op, {made.pixels: batch})
        after = loss_of(made, session, batch)
    assert np.isfinite(after)
    assert after < 0.97 * before


def loss_terms_and_mse(model, args):
    """Loss and terms of the first batch, and the MSE of x_tilde, which is checked."""
    with trainer(model, args) as (made, session):
        graph, batch = made.graph, first_batch(args)
        fetches = [graph.loss, graph.terms, graph.x_tilde]
        loss, terms, x_tilde = session.run(fetches, {made.pixels: batch})
    mse = np.mean((batch.astype(np.float64) - 255 * x_tilde) ** 2)
    assert terms["mse"] == pytest.approx(mse, rel=1e-4)
    return loss, terms, mse


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, rate_model",
    [*((model, "entropy") for model in MODELS[:2]), (ljpeg.LJPEG, "search")],
)
def test_loss_with_a_rate_is_distortion_and_bits_per_pixel(model, rate_model, parse):
    flags = {"lambda": 0.02, "total_weight_regularizer": 7, "table_init": 20}
    args = parse(model, rate_model=rate_model, **flags)
    loss, terms, mse = loss_terms_and_mse(model, args)
    assert terms["estimated_bpp"] > 0
    expected = 0.02 * mse + terms["estimated_bpp"] + 7 * 128 / 20
    # The attention is no term of this loss: it is not the rate any more.
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS[:2])
def test_loss_is_the_formula_of_the_paper(model, parse):
    flags = {"lambda": 0.02, "lpips_weight": 300, "total_weight_regularizer": 7}
    args = parse(model, patchsize=LPIPS_PATCH, **flags)
    with trainer(model, args) as (made, session):
        graph = made.graph
        fetches = [graph.loss, graph.terms, graph.x_tilde]
        batch = first_batch(args)
        loss, terms, x_tilde = session.run(fetches, {made.pixels: batch})
        q = session.run(tf.global_variables("qtables")[0]) * 1e5
    mse = np.mean((batch.astype(np.float64) - 255 * x_tilde) ** 2)
    assert terms["mse"] == pytest.approx(mse, rel=1e-4)
    assert terms["regularizer"] == pytest.approx(np.sum(1 / q.astype(float)), rel=1e-5)
    assert terms["lpips"] > 0
    expected = 0.02 * (mse + 300 * terms["lpips"]) + 7 * np.sum(1 / q)
    if model is ljpeg_attention.LJPEGAttention:
        assert terms["attention"] == pytest.approx(1 / (1 + np.exp(-6)), rel=1e-5)
        expected += terms["attention"]
    assert loss == pytest.approx(expected, rel=1e-5)


def test_loss_of_the_baseline_is_distortion_and_rate(parse):
    model = google_baseline.GoogleBaseline
    args = parse(model, **{"lambda": 0.02})
    loss, terms, mse = loss_terms_and_mse(model, args)
    assert terms["estimated_bpp"] > 0
    assert loss == pytest.approx(0.02 * mse + terms["estimated_bpp"], rel=1e-5)


@pytest.mark.slow
def test_baseline_draws_every_quality_from_8_to_25(parse):
    model = google_baseline.GoogleBaseline
    args = parse(model)
    known = {get_std_jpeg_qtable(q).tobytes(): q for q in range(1, 101)}
    drawn = set()
    with trainer(model, args) as (made, session):
        step = tf.train.get_global_step()
        for value in range(250):
            step.load(value, session)
            qtables = session.run(made.graph.coded.qtables)
            drawn.add(known[qtables.astype(np.int32).tobytes()])
    assert drawn == set(range(8, 26))


def test_lpips_is_left_out_of_the_step_where_its_weight_is_0(parse):
    with trainer(ljpeg.LJPEG, parse(ljpeg.LJPEG, patchsize=LPIPS_PATCH)) as (made, _):
        assert "lpips" not in made.graph.terms
        needed = tf.graph_util.extract_sub_graph(
            tf.get_default_graph().as_graph_def(), [made.train_op.name]
        )
        assert not [node for node in needed.node if node.op == "Conv2D"]


def test_smallest_patches_can_be_trained(parse, tmp_path):
    args = parse(ljpeg.LJPEG, last_step=1, patchsize=8)
    assert loop.train(ljpeg.LJPEG, args) == 0
    assert "loss" in events(tmp_path / "train")[0]


def test_lpips_of_patches_that_are_too_small_is_a_user_error(parse):
    args = parse(ljpeg.LJPEG, last_step=1, lpips_weight=1)
    with pytest.raises(UserError, match="--patchsize 24.*--lpips_weight.*31"):
        loop.train(ljpeg.LJPEG, args)


def test_ms_ssim_of_patches_that_are_too_small_is_one_line(parse, tmp_path):
    args = parse(ljpeg.LJPEG, last_step=1, msssim_weight=1, patchsize=160)
    with pytest.raises(
        UserError, match="^--patchsize 160:.*--msssim_weight.*161 px$"
    ) as caught:
        loop.train(ljpeg.LJPEG, args)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "train").exists()


# Frozen and trained trunks


def cached(parse, tmp_path, folder="train", **flags):
    """Flags of a training on cached features."""
    flags = {"freeze_vgg": True, "feature_cache": tmp_path / "features", **flags}
    return parse(ljpeg_attention.LJPEGAttention, folder, **flags)


@pytest.mark.slow
def test_features_of_whole_pictures_give_the_loss_of_whole_pictures(parse, tmp_path):
    # The first image is as large as this crop: it has no surroundings.
    (tmp_path / "whole").mkdir()
    os.link(tmp_path / "images/0.png", tmp_path / "whole/0.png")
    flags = {"train_glob": tmp_path / "whole", "patchsize": 40, "table_init": 20}
    Image.open(tmp_path / "images/0.png").crop((0, 0, 40, 40)).save(
        tmp_path / "whole/0.png"
    )
    model = ljpeg_attention.LJPEGAttention
    args = cached(parse, tmp_path, **flags)
    rng = np.random.default_rng(8)
    kernel = rng.normal(0, 1, (1, 1, 8, 128))
    losses = []
    for known in (True, False):
        with trainer(model, args if known else parse(model, **flags)) as made:
            made, session = made
            (head,) = tf.trainable_variables("attention/head/kernel")
            head.load(kernel, session)
            if known:
                data = crops.CropDataset(args.train_glob, BATCH, 40, 2, args.seed)
                made.prepare(data, session)
                with contextlib.closing(data.batches()) as batches:
                    batch = next(batches)
                feeds = made.feeds(batch)
                without = made.feeds((batch[0], np.zeros_like(batch[1])))
                zero = session.run(made.graph.loss, without)
            else:
                feeds = made.feeds(batch[0])
            losses.append(session.run(made.graph.loss, feeds))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert abs(zero - losses[1]) > 0.02 * losses[1]  # The features matter.


@pytest.mark.slow
def test_training_on_cached_features_goes_on_bit_for_bit(parse, tmp_path, caplog):
    model = ljpeg_attention.LJPEGAttention
    for folder, breaks in (("whole", (5,)), ("broken", (2, 5))):
        for last_step in breaks:
            args = cached(parse, tmp_path, folder, last_step=last_step, lr=1e-3)
            assert loop.train(model, args) == 0
    assert_equal_variables(tmp_path / "whole", tmp_path / "broken")
    # A picture and its mirror image each.
    assert 4 < len(os.listdir(tmp_path / "features")) <= 8
    # Weights of the trunk are part of the key.
    count = len(os.listdir(tmp_path / "features"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ljpeg_attention,
            "imagenet_weights",
            lambda trunk: [2 * array for array in tiny_imagenet_weights(trunk)],
        )
        loop.train(model, cached(parse, tmp_path, "other", last_step=5))
    assert len(os.listdir(tmp_path / "features")) > count
    # It codes as any other of the kind.
    args = cached(parse, tmp_path, "whole")
    assert folders.load_record(args.checkpoint_dir)["freeze_vgg"]


def edited_by(folder, picture):
    with restored(folder) as codec:
        return codec.model.code(picture, 0, edited=True)[1]


@pytest.mark.slow
def test_frozen_trunk_is_left_out_of_the_checkpoint_and_restored_from_its_file(
    parse, tmp_path, monkeypatch, smooth_picture
):
    model = ljpeg_attention.LJPEGAttention
    args = parse(model, last_step=3, freeze_vgg=True, lr=0.05)
    loop.train(model, args)
    names = variables_in(tmp_path / "train")
    assert not [name for name in names if "trunk" in name]
    assert "attention/head/kernel" in names

    picture = smooth_picture(9, 40, 24)
    edited = edited_by(tmp_path / "train", picture)
    np.testing.assert_array_equal(edited, edited_by(tmp_path / "train", picture))
    monkeypatch.setattr(
        ljpeg_attention,
        "imagenet_weights",
        lambda trunk: [-array for array in tiny_imagenet_weights(trunk)],
    )
    assert not np.array_equal(edited, edited_by(tmp_path / "train", picture))


@pytest.mark.slow
def test_trained_trunk_is_restored_from_the_checkpoint_alone(
    parse, tmp_path, monkeypatch, smooth_picture
):
    model = ljpeg_attention.LJPEGAttention
    loop.train(model, parse(model, last_step=3))
    arrays = variables_in(tmp_path / "train")
    first = arrays["attention/trunk/conv0/kernel"]
    assert not np.array_equal(first, tiny_imagenet_weights()[0])  # It was trained,
    assert np.abs(first - tiny_imagenet_weights()[0]).max() < 0.02  # from there.

    def fail(trunk):
        raise AssertionError("the weights are in the checkpoint")

    monkeypatch.setattr(ljpeg_attention, "imagenet_weights", fail)
    with restored(tmp_path / "train") as codec:
        codec.encode(smooth_picture(9, 40, 24))


# Summaries


@pytest.mark.slow
def test_summaries_at_the_start_and_at_the_end_hold_numbers_and_pictures(
    parse, tmp_path
):
    model = ljpeg_attention.LJPEGAttention
    args = parse(model, last_step=3, batchsize=5, patchsize=LPIPS_PATCH)
    loop.train(model, args)
    found = events(tmp_path / "train")
    assert set(found) == {0, 3}
    for step, values in found.items():
        scalars = {t: v for t, v in values.items() if not isinstance(v, bytes)}
        assert set(scalars) == {
            *(["mean_loss"] if step else []),
            "loss",
            "learning_rate",
            "loss_terms/mse",
            "loss_terms/lpips",
            "loss_terms/regularizer",
            "loss_terms/attention",
            "psnr",
            "bpp",
            "qtables/luma_mean",
            "qtables/chroma_mean",
        }
        assert np.isfinite(list(scalars.values())).all()
        assert values["loss_terms/lpips"] > 0
    for values in found.values():
        pictures = {
            tag: np.asarray(Image.open(io.BytesIO(value)))
            for tag, value in values.items()
            if isinstance(value, bytes)
        }
        names = ["original", "reconstruction", "attention_luma", "attention_chroma"]
        tags = {f"{name}/{index}" for name in names for index in range(4)}
        assert set(pictures) == tags | {"qtables/0"}
        assert pictures["original/0"].shape == (LPIPS_PATCH, LPIPS_PATCH, 3)
        assert pictures["attention_luma/0"].shape == (LPIPS_PATCH, LPIPS_PATCH)
        assert pictures["qtables/0"].shape == (128, 272)
        error = pictures["original/1"].astype(float) - pictures["reconstruction/1"]
        assert 0 < np.mean(error**2) < 100
    originals = [
        Image.open(io.BytesIO(found[0][f"original/{index}"])) for index in range(4)
    ]
    np.testing.assert_array_equal(np.stack(originals), first_batch(args)[:4])
    # The attention starts at sigmoid(6).
    attention = np.asarray(Image.open(io.BytesIO(found[0]["attention_luma/0"])))
    assert set(np.unique(attention)) == {round(255 / (1 + np.exp(-6)))}


def test_summaries_hold_the_mean_loss_since_the_last_one(parse, tmp_path, monkeypatch):
    model = ljpeg.LJPEG
    for steps in (1, 2, 100):
        monkeypatch.setattr(loop, "SUMMARY_STEPS", steps)
        loop.train(model, parse(model, f"every_{steps}", last_step=4))
    each, second, last = (events(tmp_path / f"every_{steps}") for steps in (1, 2, 100))
    losses = [each[step]["loss"] for step in range(4)]
    assert len(set(losses)) == 4
    assert second[2]["mean_loss"] == pytest.approx(np.mean(losses[:2]), rel=1e-4)
    assert second[4]["mean_loss"] == pytest.approx(np.mean(losses[2:]), rel=1e-4)
    assert last[4]["mean_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def files_by_scipy(batch, qtables):
    """Bytes of the files of a batch, made in float64 without TensorFlow."""
    matrix = np.array(
        [
            [0.299, 0.587, 0.114],
            [-0.168735892, -0.331264108, 0.5],
            [0.5, -0.418687589, -0.081312411],
        ]
    )
    ycbcr = batch.astype(np.float64) @ matrix.T - [128, 0, 0]
    rows = PATCH // 8
    blocks = ycbcr.reshape(-1, rows, 8, rows, 8, 3).swapaxes(2, 3)
    dct = scipy.fft.dctn(blocks, axes=(3, 4), norm="ortho")
    integers = np.round(dct / qtables[..., [0, 1, 1]]).astype(np.int16)
    tables = qtables.transpose(2, 0, 1).astype(int)
    return [
        jpeg_file.encode(jpeg_file.QuantizedImage.of_integers(i, tables, PATCH, PATCH))
        for i in integers
    ]


def test_psnr_bpp_and_tables_of_a_summary_are_those_of_real_files(parse, tmp_path):
    args = parse(ljpeg.LJPEG, last_step=6, lr=3e-5)
    loop.train(ljpeg.LJPEG, args)
    values = events(tmp_path / "train")[6]
    q = variables_in(tmp_path / "train")["qtables"].astype(np.float64) * 1e5
    qtables = q.round()
    assert qtables.max() > 10  # Far from where it started.
    data = crops.CropDataset(args.train_glob, BATCH, PATCH, 2, args.seed)
    with contextlib.closing(data.batches(6)) as batches:
        originals = next(batches)
    files = files_by_scipy(originals, qtables)
    psnrs = []
    for original, file in zip(originals, files, strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(file)), np.float64)
        psnrs.append(10 * np.log10(255**2 / np.mean((original - decoded) ** 2)))
    assert values["psnr"] == pytest.approx(np.mean(psnrs), abs=0.02)
    bpp = 8 * np.mean([len(file) for file in files]) / PATCH**2
    assert values["bpp"] == pytest.approx(bpp, rel=2e-3)
    for table, name in enumerate(("luma", "chroma")):
        mean = values[f"qtables/{name}_mean"]
        assert mean == pytest.approx(qtables[..., table].mean(), rel=1e-5)
    picture = np.asarray(Image.open(io.BytesIO(values["qtables/0"])))
    shades = np.rint(255 * np.log(qtables) / np.log(255))
    np.testing.assert_allclose(picture[8::16, 8:128:16], shades[..., 0], atol=1)
    np.testing.assert_allclose(picture[8::16, 152::16], shades[..., 1], atol=1)


def test_failure_of_a_summary_is_said_and_the_training_goes_on(
    parse, monkeypatch, caplog, tmp_path
):
    def fail(values, sampling):
        raise RuntimeError("no file")

    monkeypatch.setattr(summaries, "_psnr_and_bpp", fail)
    assert loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=2)) == 0
    assert "no file" in caplog.text
    assert folders.latest_checkpoint(tmp_path / "train").endswith("-2")


@pytest.mark.slow
def test_data_that_end_save_what_was_trained(parse, monkeypatch, tmp_path):
    def batches(self, start):
        whole = original(self, start)
        yield next(whole)
        yield next(whole)
        raise UserError("no images left")

    original = crops.CropDataset.batches
    monkeypatch.setattr(crops.CropDataset, "batches", batches)
    with pytest.raises(UserError, match="no images left"):
        loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=9))
    assert folders.latest_checkpoint(tmp_path / "train").endswith("-2")


def test_settings_without_a_checkpoint_bind_nobody(parse, tmp_path):
    (tmp_path / "train").mkdir()
    checkpoints.save_record(tmp_path / "train", record_of("ljpeg", lmbda=1e9))
    assert loop.train(ljpeg.LJPEG, parse(ljpeg.LJPEG, last_step=1)) == 0


@pytest.mark.slow
def test_resume_of_a_trained_trunk_does_not_load_pretrained_weights(parse, monkeypatch):
    model = ljpeg_attention.LJPEGAttention
    loop.train(model, parse(model, last_step=1))

    def fail(trunk):
        raise UserError("no weights")

    monkeypatch.setattr(ljpeg_attention, "imagenet_weights", fail)
    assert loop.train(model, parse(model, last_step=2)) == 0
