"""End-to-end tests of evaluate.py on small pictures: every number from the files."""

import contextlib
import csv
import functools
import io
import json
import logging
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

import arg_parser
import evaluate
import google_baseline
import lpips_tensorflow
from evaluation import evaluator, operating_points, plots, results
from learned_jpeg.codec.codec import Codec
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.common import process
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import butteraugli, image_metrics, registry
from learned_jpeg.metrics.basic import mean_squared_error
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.models.settings import ModelSettings
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from tests.evaluation.helpers import read_point
from tests.paths import ROOT
from tests.plain_training import with_plain_flags
from tests.records import record_of
from training import checkpoints, loop, variables

KODAK = os.path.join(ROOT, "..", "shared", "KODAK")
LISTS = ("bpp", "mse", "lpips", "psnr", "ms-ssim")
SIZES = {"a.png": (176, 168), "b.png": (169, 201), "c d.png": (163, 177)}
QUALITIES = (5, 20, 50, 70, 90)
GAIN = 0.8  # of the stand-in for the baseline's network


# --- Pictures, checkpoints, and evaluations in this process --------------------------


def picture_of(name):
    """The test image `name`, smooth and with some noise, uint8 `[h, w, 3]`."""
    height, width = SIZES[name]
    rng = np.random.default_rng(height)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)
    noisy = smooth + rng.normal(0, 6, smooth.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def save_images(folder):
    folder.mkdir(parents=True)
    for name in SIZES:
        Image.fromarray(picture_of(name)).save(folder / name)
    return folder


def asymmetric_tables(scale):
    """uint8 `[2, 8 (v), 8 (u)]`, not equal to their transposed."""
    v, u = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    return np.stack([scale + 2 * v + 5 * u, scale + 4 * v + 7 * u]).astype(np.uint8)


def save_checkpoint(folder, model_class, settings, arrays=None):
    """Saves a model's variables: their initial values, or `arrays` by name."""
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.Session() as session:
        model_class(ModelSettings(model_class.NAME), tf.float32)
        saved = tf.global_variables()
        session.run(tf.global_variables_initializer())
        for variable in saved:
            if arrays:
                variable.load(arrays[variable.op.name], session)
        variables.saver(saved).save(
            session, str(folder / "model.ckpt"), global_step=5, write_meta_graph=False
        )
    checkpoints.save_record(str(folder), settings)


def save_tables(folder, scale, lmbda=0.01):
    """A checkpoint of ljpeg.py in `folder`/train."""
    entries = asymmetric_tables(scale).transpose(1, 2, 0).astype(np.float32)
    settings = record_of("ljpeg", lmbda=lmbda)
    save_checkpoint(folder / "train", LJPEG, settings, {"qtables": entries * 1e-5})


class StandInEditor:
    """Stores the place of ResConvLayer: lowers the contrast by a variable."""

    def __init__(self, name, dtype):
        del dtype
        initializer = tf.constant_initializer(GAIN)
        self._gain = tf.get_variable(
            f"{name}/gain", [], initializer=initializer, use_resource=True
        )

    def __call__(self, x, training):
        del training
        return 0.5 + self._gain * (x - 0.5)


class Outcome:
    """The status, the output and the log of an evaluation."""

    def __init__(self):
        self.status, self.out, self.log = None, io.StringIO(), []

    def lines(self, word):
        return [line for line in self.log if word in line]


def run_evaluate(batch_dir, images, *flags, qualities=(5, 20), plot=False):
    """Calls `evaluate.main()` with the flags of a command line; an `Outcome`."""
    outcome = Outcome()
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: outcome.log.append(record.getMessage())
    argv = ["evaluate.py", "--batch_dir", batch_dir, "--test_image_glob", images]
    argv += ["--precision", "float32", "--workers", "2", *flags]
    root = logging.getLogger()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(sys, "argv", [str(word) for word in argv])
        patch.setattr(operating_points, "JPEG_QUALITIES", qualities)
        patch.setattr(google_baseline, "ResConvLayer", StandInEditor)
        if not plot:
            patch.setattr(plots, "plot_rate_distortion", lambda *a, **k: [])
        patch.setattr(root, "level", logging.INFO)
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        stack.enter_context(contextlib.redirect_stdout(outcome.out))
        logging.getLogger("evaluate").manager._clear_cache()
        outcome.status = evaluate.main()
    logging.getLogger("evaluate").manager._clear_cache()
    return outcome


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """(folder, outcome) of an evaluation with everything in it."""
    folder = tmp_path_factory.mktemp("complete")
    save_images(folder / "images")
    (folder / "images" / "bad.png").write_text("no picture")
    batch = folder / "batch"
    save_tables(batch / "tables" / "lambda_001", 40)
    save_tables(batch / "tables" / "lambda_01", 12)
    save_tables(batch / "_old" / "lambda_001", 90)
    argv = f"--checkpoint_dir {batch / 'attention' / 'lambda_001' / 'train'} train "
    argv += "--batchsize 2 --patchsize 64 --last_step 2 --lr 1e-6 "
    argv += f"--preprocess_threads 2 --train_glob {folder / 'images' / '[ab].png'}"
    args = arg_parser.parse_model(LJPEGAttention, with_plain_flags(argv.split()))
    assert loop.train(LJPEGAttention, args) == 0
    shutil.copytree(
        batch / "attention" / "lambda_001", batch / "attention" / "lambda_01"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(google_baseline, "ResConvLayer", StandInEditor)
        model_class = google_baseline.GoogleBaseline
        settings = record_of("google_baseline")
        save_checkpoint(folder / "google", model_class, settings)
    return folder, evaluate_complete(folder)


def evaluate_complete(folder, *flags):
    google = ["--google_dir", folder / "google", *flags]
    batch, images = folder / "batch", folder / "images"
    return run_evaluate(batch, images, *google, qualities=QUALITIES, plot=True)


@pytest.fixture
def small(whole, monkeypatch):
    """A set like `whole`, without the metrics that take long."""
    quick = [registry.get(key) for key in ("mse", "psnr")]
    measured = functools.partial(image_metrics.ImageMetrics, metrics=quick)
    monkeypatch.setattr(evaluator, "ImageMetrics", measured)
    return whole


@pytest.fixture
def whole(tmp_path):
    """(batch folder, image folder): a run of two lambdas, nothing else."""
    save_tables(tmp_path / "batch" / "run" / "lambda_001", 40)
    save_tables(tmp_path / "batch" / "run" / "lambda_01", 12)
    return tmp_path / "batch", save_images(tmp_path / "images")


def points_of(batch):
    """dict from each operating point's name to the path of its pickle."""
    return {path.stem: path for path in sorted(batch.glob("_output*/*.pickle"))}


def lists_of(path):
    """The five lists of a pickle that this test trusts."""
    return dict(zip(LISTS, pickle.loads(path.read_bytes()), strict=True))


def identity(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, path.read_bytes()


def decode(data):
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.array(image.convert("RGB"))


class Measurer:
    """The metrics of a .jpg file by other means than metrics.py."""

    def __init__(self):
        with tf.Graph().as_default() as graph:
            self._pair = [tf.placeholder(tf.uint8, [1, None, None, 3]) for _ in "xy"]
            x, y = (tf.cast(picture, tf.float32) for picture in self._pair)
            features = [lpips_tensorflow.features(p / 255.0) for p in (x, y)]
            self._outputs = {
                "ms-ssim": tf.image.ssim_multiscale(x, y, 255.0)[0],
                "lpips": tf.reduce_sum(lpips_tensorflow.distance(*features)),
            }
        self._session = tf.Session(graph=graph)

    def __call__(self, jpg, original):
        data = jpg.read_bytes()
        decoded = decode(data)
        assert decoded.shape == original.shape
        mse = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
        pair = dict(zip(self._pair, (original[None], decoded[None]), strict=True))
        return {
            "bpp": 8 * len(data) / (original.shape[0] * original.shape[1]),
            "mse": mse,
            "psnr": 10 * math.log10(255**2 / mse),
            **self._session.run(self._outputs, pair),
        }


@pytest.fixture(scope="module")
def measure():
    return Measurer()


def jpgs_of(pickle_path):
    """dict from the name of each test image to the .jpg file of an operating point."""
    folder = pickle_path.with_suffix("")
    return {name: folder / f"{name[:-4]}.jpg" for name in SIZES}


# --- A complete evaluation -----------------------------------------------------------


@pytest.mark.slow
def test_points_have_the_names_and_folders_of_the_specification(complete):
    folder, _ = complete
    found = {
        path.relative_to(folder / "batch")
        for path in points_of(folder / "batch").values()
    }
    names = [f"_output_PIL/Q{quality}" for quality in QUALITIES]
    names += [f"_output/google_Q{quality}" for quality in (5, 10, 15, 20, 25)]
    for run in ("tables", "attention"):
        names += [f"_output/{run}-lambda_001", f"_output/{run}-lambda_01"]
    assert sorted(map(str, found)) == sorted(f"{name}.pickle" for name in names)


@pytest.mark.slow
def test_every_point_has_a_jpg_of_each_test_image_and_no_leftovers(complete):
    folder, _ = complete
    for path in points_of(folder / "batch").values():
        files = sorted(path.with_suffix("").iterdir())
        assert files == sorted(jpgs_of(path).values())
        siblings = sorted(p.name for p in path.parent.glob(f"{path.stem}.*"))
        assert siblings == [f"{path.stem}.{s}" for s in ("csv", "json", "pickle")]
    assert not list(folder.rglob(".tmp*"))


@pytest.mark.slow
def test_pickles_hold_five_lists_of_what_the_files_on_the_disk_are(complete, measure):
    folder, _ = complete
    for name, path in points_of(folder / "batch").items():
        lists = pickle.loads(path.read_bytes())
        assert len(lists) == 5
        assert all(type(values) is list and len(values) == 3 for values in lists)
        assert all(type(value) is float for values in lists for value in values)
        rows = [measure(jpg, picture_of(image)) for image, jpg in jpgs_of(path).items()]
        for metric, values in zip(LISTS, lists, strict=True):
            wanted = [row[metric] for row in rows]
            exact = metric in ("bpp", "mse", "psnr")
            tolerance = {"rel": 1e-12} if exact else {"abs": 2e-5}
            assert values == pytest.approx(wanted, **tolerance), (name, metric)


def test_json_and_csv_agree_with_the_pickle(complete):
    folder, _ = complete
    json_names = {"psnr": "psnr-rgb", "ms-ssim": "ms-ssim-rgb", "lpips": "lpips-alex"}
    for name, path in points_of(folder / "batch").items():
        lists = lists_of(path)
        record = json.loads(path.with_suffix(".json").read_text())
        assert record["name"] == name
        for metric, values in lists.items():
            (mean,) = record["results"][json_names.get(metric, metric)]
            assert mean == pytest.approx(sum(values) / 3, rel=1e-12)
        with open(path.with_suffix(".csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["image"] for row in rows] == list(SIZES)
        for metric, values in lists.items():
            assert [float(row[metric]) for row in rows] == values
        scores = [float(row["ssimulacra2"]) for row in rows]
        assert record["results"]["ssimulacra2"] == [pytest.approx(sum(scores) / 3)]


def test_csv_holds_ssimulacra2_of_the_files_on_the_disk(complete):
    folder, _ = complete
    for path in points_of(folder / "batch").values():
        table = read_point(path)
        for name, jpg in jpgs_of(path).items():
            scales = ssimulacra2.reference_scales(picture_of(name))
            wanted = ssimulacra2.score(scales, decode(jpg.read_bytes()))
            found = table.values["ssimulacra2"][table.images.index(name)]
            assert found == wanted, path


@pytest.mark.slow
def test_butteraugli_stands_beside_the_others_where_its_tool_is(
    monkeypatch, whole, tmp_path
):
    batch, images = whole
    tool = tmp_path / "butteraugli_main"
    tool.write_text('#!/bin/sh\necho "3-norm: 2.5"\n')
    tool.chmod(0o755)
    monkeypatch.setattr(butteraugli, "find_tool", lambda: str(tool))
    text = run_evaluate(batch, images).out.getvalue()
    assert text.count("Butteraugli 3-norm") == 2
    path = points_of(batch)["Q20"]
    assert read_point(path).values["butteraugli"] == [2.5] * 3
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["results"]["butteraugli-3norm"] == [2.5]
    digest = results.file_sha256(tool)[:12]
    assert record["versions"]["butteraugli_main"] == f"file of SHA-256 {digest}"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """(batch folder, images, page, outcome) of an evaluation with a report.

    Two images have one name, two one stem, and one is too small for the search.
    """
    folder = tmp_path_factory.mktemp("reported")
    batch, images = folder / "batch", save_images(folder / "images")
    (images / "c d.png").unlink()
    (images / "b.png").rename(images / "a.jpg")
    (images / "more").mkdir()
    Image.fromarray(255 - picture_of("a.png")).save(images / "more" / "a.png")
    Image.fromarray(picture_of("b.png")[:3, :3]).save(images / "tiny.png")
    save_tables(batch / "run" / "lambda_001", 40)
    published = folder / "codec.json"
    numbers = {"bpp": [0.5, 1, 2, 4], "ms-ssim-db-rgb": [10, 13, 16, 20]}
    published.write_text(json.dumps({"name": "vendor's", "results": numbers}))
    other = folder / "other.json"
    other.write_text('{"program": "another"}')
    flags = ["--mozjpeg", "--search", "ssimulacra2"]
    flags += ["--qualities", "20", "50", "70", "90"]
    flags += ["--report", "--published", published, other, "--bpp_range", "0.5", "6"]
    outcome = run_evaluate(batch, images / "**", *flags)
    return batch, images, (batch / "report.html").read_text(), outcome


@pytest.mark.slow
def test_mozjpeg_and_the_search_are_curves_beside_models_as_they_are(reported):
    batch, _, _, _ = reported
    settings = {
        name: json.loads(path.with_suffix(".json").read_text())["settings"]
        for name, path in points_of(batch).items()
    }
    qualities = (20, 50, 70, 90)
    assert {name for name in settings if "mozjpeg" in name} == {
        f"mozjpeg_Q{q}" for q in qualities
    }
    assert settings["search_ssimulacra2_Q50"]["quantization"] == "search"
    assert settings["run-lambda_001"]["quantization"] == "round"
    picture = picture_of("b.png")
    file = (batch / "_output" / "mozjpeg_Q50" / "a.jpg.jpg").read_bytes()
    assert file == jpeg_file.encode_mozjpeg_quality(picture, 50)
    folder = batch / "_output" / "search_ssimulacra2_Q50"
    searched = (folder / "a.jpg.jpg").read_bytes()
    options = EncodeOptions(tune="ssimulacra2", subsampling="4:2:0")
    with standard_tables() as model:
        assert searched == model.codec(options).encode(picture, 50)


@pytest.mark.slow
def test_evaluation_writes_a_page_of_what_there_is_and_says_what_is_not(reported):
    batch, _, page, outcome = reported
    assert outcome.status == 1
    (line,) = outcome.lines("other.json")
    assert line.startswith("error: --published") and "\n" not in line
    assert "other.json: no curves in the form of CompressAI" in page
    text = outcome.out.getvalue()
    assert "At equal SSIMULACRA2 the files of ours, SSIMULACRA2 are" in text
    assert str(batch / "report.html") in text
    assert "vendor&#39;s" in page and "a.png" in page
    assert (batch / "report_pictures").is_dir()
    assert (batch / "report_codec_compare" / "batches.json").exists()


# What the images of `reported` are called, and their files.
REPORTED = {"a.jpg": "a.jpg.jpg", "a.png": "a.png.jpg", "more/a.png": "more/a.jpg"}
REPORTED |= {"tiny.png": "tiny.jpg"}


@pytest.mark.slow
def test_images_of_one_name_or_stem_have_files_and_numbers_of_their_own(reported):
    batch, images, _, _ = reported
    pictures = {name: np.asarray(Image.open(images / name)) for name in REPORTED}
    for path in points_of(batch).values():
        point = read_point(path)
        assert point.images == list(REPORTED)
        for index, (name, file) in enumerate(REPORTED.items()):
            jpg = path.with_suffix("") / file
            values = {key: column[index] for key, column in point.values.items()}
            if "search" in path.name and name == "tiny.png":
                assert np.isnan(list(values.values())).all() and not jpg.exists()
                continue
            data, picture = jpg.read_bytes(), pictures[name]
            assert values["bpp"] == 8 * len(data) / picture[..., 0].size
            assert values["mse"] == mean_squared_error(picture, decode(data))


@pytest.mark.slow
def test_the_page_shows_each_image_with_its_own_files(reported):
    batch, images, page, _ = reported
    (data,) = re.findall(r'type="application/json" id="data">(.*)</script>', page)
    data = json.loads(data)
    shown = {image["name"]: image for image in data["images"]}
    assert set(shown) == set(REPORTED) - {"tiny.png"}
    for name, image in shown.items():
        original = np.asarray(Image.open(batch / data["files"][image["original"]]))
        np.testing.assert_array_equal(original, np.asarray(Image.open(images / name)))
        for rate in image["rates"]:
            entry = rate["bytes"][data["ours"]]
            quality = entry["setting"].removeprefix("quality ")
            point = batch / "_output" / f"search_ssimulacra2_Q{quality}"
            file = batch / data["files"][entry["file"]]
            assert file.read_bytes() == (point / REPORTED[name]).read_bytes()


@pytest.mark.slow
def test_codec_compare_names_files_that_exist(reported):
    batch = reported[0]
    folder = batch / "report_codec_compare"
    for (name,) in json.loads((folder / "batches.json").read_text()):
        content = json.loads((folder / name).read_text())
        (parent,) = [v for v in content["constant_values"] if "encoded_name" in v]
        rows = content["field_values"]
        assert {row[0] for row in rows} == set(REPORTED) - {"tiny.png"}
        for row in rows:
            path = folder / parent.replace("${encoded_name}", row[1])
            assert path.stat().st_size == row[5]


@pytest.mark.slow
def test_an_image_that_is_too_small_for_the_search_is_named_and_left_out(reported):
    batch, _, page, outcome = reported
    text = outcome.out.getvalue()
    note = "tiny.png: too small for search for ssimulacra2, no model, left out of all"
    assert text.count(note) == 1 and note in (batch / "results.md").read_text()
    assert "tiny.png: too small for ours, SSIMULACRA2, left out" in page
    row = row_of("Q50", text)
    point = read_point(points_of(batch)["Q50"])
    assert row[2] == f"{np.mean(point.values['bpp'][:3]):.4f}"
    assert "search for ssimulacra2, no model | -" in re.sub(" +", " ", text)


def test_what_attention_keeps_is_written_for_one_point_of_a_run(complete):
    folder, _ = complete
    maps = sorted((folder / "batch" / "_attention").iterdir())
    assert [path.name for path in maps] == ["attention-lambda_01"]
    for name, (height, width) in SIZES.items():
        with Image.open(maps[0] / f"{name}.png") as image:
            assert image.mode == "L"
            assert image.size == (-(-width // 8), -(-height // 8))


def test_maps_of_images_of_one_name_are_told_apart(tmp_path):
    for index, folder in enumerate("xy"):
        (tmp_path / folder).mkdir()
        gray = Image.new("L", (8, 8), 50 * index)
        gray.save(tmp_path / folder / "a.png")
    images = evaluator.TestImages(evaluator.find_test_images([str(tmp_path / "**")]))
    args = SimpleNamespace(precision="float32")
    codec = SimpleNamespace(kept_detail=lambda image: image[:1, :1, 0] / 255)
    point = operating_points.OperatingPoint("p", str(tmp_path / "_o"), "run", "r", {})
    evaluator.Evaluator(images, args)._write_maps(point, codec, images.paths)
    for index, folder in enumerate("xy"):
        with Image.open(tmp_path / "_attention" / "p" / folder / "a.png.png") as kept:
            assert kept.getpixel((0, 0)) == 50 * index


def test_records_state_the_entropy_coding_and_the_checkpoint(complete):
    folder, _ = complete
    outputs = folder / "batch" / "_output"
    record = json.loads((outputs / "tables-lambda_01.json").read_text())
    assert record["settings"]["script"] == "ljpeg"
    assert record["settings"]["lmbda"] == 0.01
    assert record["settings"]["step"] == 5
    assert "standard entropy coding" in record["description"]
    quality = json.loads((outputs / "google_Q15.json").read_text())["settings"]
    assert (quality["script"], quality["quality"]) == ("google_baseline", 15)


def test_jpeg_points_are_plain_pillow_444(complete):
    folder, _ = complete
    for quality in QUALITIES:
        path = points_of(folder / "batch")[f"Q{quality}"]
        for name, jpg in jpgs_of(path).items():
            buffer = io.BytesIO()
            picture = Image.fromarray(picture_of(name))
            picture.save(buffer, "JPEG", quality=quality, subsampling=0)
            assert jpg.read_bytes() == buffer.getvalue()


@pytest.mark.parametrize("point, scale", [("lambda_001", 40), ("lambda_01", 12)])
def test_points_of_a_run_are_files_with_the_tables_of_their_checkpoint(
    complete, point, scale
):
    folder, _ = complete
    jpgs = jpgs_of(points_of(folder / "batch")[f"tables-{point}"])
    for name, jpg in jpgs.items():
        coded = jpeg_file.read_coefficients(jpg.read_bytes())
        np.testing.assert_array_equal(coded.qtables, asymmetric_tables(scale))
        assert (coded.height, coded.width) == SIZES[name]


def test_points_of_the_attention_model_hold_its_integers(complete):
    folder, _ = complete
    train = str(folder / "batch" / "attention" / "lambda_001" / "train")
    options = EncodeOptions(quantization="round", tune=OWN_LOSS)
    path = points_of(folder / "batch")["attention-lambda_001"]
    with TrainedModel.load(train, networks=Networks("float32")) as model:
        codec = model.codec(options)
        for name, jpg in jpgs_of(path).items():
            coded = jpeg_file.read_coefficients(jpg.read_bytes())
            wanted = jpeg_file.read_coefficients(codec.encode(picture_of(name)))
            np.testing.assert_array_equal(coded.integers, wanted.integers)
            np.testing.assert_array_equal(coded.qtables, wanted.qtables)


def test_google_points_are_the_edited_picture_in_the_tables_of_their_quality(complete):
    folder, _ = complete
    for quality in (5, 25):
        path = points_of(folder / "batch")[f"google_Q{quality}"]
        for name, jpg in jpgs_of(path).items():
            edited = 127.5 + GAIN * (picture_of(name) - 127.5)
            edited = Image.fromarray(np.round(edited).astype(np.uint8))
            buffer = io.BytesIO()
            edited.save(buffer, "JPEG", quality=quality, subsampling=0)
            with Image.open(jpg) as ours, Image.open(buffer) as pillow:
                assert ours.quantization == pillow.quantization
            ours, pillow = (decode(d) for d in (jpg.read_bytes(), buffer.getvalue()))
            apart = np.mean((ours.astype(float) - pillow) ** 2)
            assert apart < 0.1 * np.mean((pillow.astype(float) - edited) ** 2)
            size = jpg.stat().st_size
            assert size == pytest.approx(len(buffer.getvalue()), rel=0.02)


def test_a_figure_of_each_metric_is_drawn(complete):
    folder, _ = complete
    figures = sorted(path.name for path in (folder / "batch").glob("*.png"))
    names = [f"{metric.word}.png" for metric in registry.available()]
    assert figures == sorted(["gain.png", *names])
    assert {"lpips.png", "ms_ssim.png", "mse.png", "psnr.png"} < set(figures)
    for name in figures:
        with Image.open(folder / "batch" / name) as image:
            assert image.format == "PNG"
            assert min(image.size) > 500
            assert len(np.unique(np.asarray(image.convert("L")))) > 20


def row_of(name, text):
    """The cells of an operating point in the table of the means."""
    (row,) = [line for line in text.splitlines() if f"| {name} " in line]
    return [cell.strip() for cell in row.split("|")]


def test_tables_name_every_point_with_its_means(complete):
    folder, outcome = complete
    text = (folder / "batch" / "results.md").read_text()
    assert text in outcome.out.getvalue()
    assert (
        "Models: 4:4:4, standard entropy coding, quantization round. JPEG: standard "
        "entropy coding, rounded, 4:4:4 unless it is named otherwise." in text
    )
    for name, path in points_of(folder / "batch").items():
        lists = lists_of(path)
        cells = row_of(name, text)
        assert cells[2] == f"{np.mean(lists['bpp']):.4f}"
        assert cells[3] == f"{np.mean(lists['psnr']):.2f}"
        scores = read_point(path).values["ssimulacra2"]
        assert cells[8] == f"{np.mean(scores):.2f}"
    assert "older program" not in text
    bd_rates = text[text.index("BD-rate") :]
    assert all(f"| {run} " in bd_rates for run in ("tables", "attention"))


def test_an_unreadable_test_image_is_reported_and_left_out(complete):
    folder, outcome = complete
    assert outcome.status == 1
    assert len(outcome.lines(f"{folder / 'images' / 'bad.png'}: ")) == 1
    assert not list(folder.rglob("bad*.jpg"))


def test_folders_that_start_with_an_underscore_are_skipped(complete):
    folder, outcome = complete
    assert not [name for name in points_of(folder / "batch") if "old" in name]
    assert not outcome.lines("_old")


def test_a_second_call_only_plots(complete, monkeypatch):
    folder, first = complete
    before = {path: identity(path) for path in points_of(folder / "batch").values()}
    figure = folder / "batch" / "psnr.png"
    figure.unlink()

    def refuse(*args, **kwargs):
        raise AssertionError("a second call has nothing to encode")

    monkeypatch.setattr(jpeg_file, "encode", refuse)
    monkeypatch.setattr(jpeg_file, "encode_rgb", refuse)
    monkeypatch.setattr(Codec, "encode", refuse)
    monkeypatch.setattr(evaluator, "ImageMetrics", refuse)
    second = evaluate_complete(folder)
    assert second.status == first.status
    assert second.out.getvalue() == first.out.getvalue()
    assert {path: identity(path) for path in before} == before
    assert figure.exists()


# --- What is measured again ----------------------------------------------------------


def measured_again(batch, images, *flags, qualities=(5, 20)):
    """(names of the points that a second evaluation measured again, its `Outcome`)."""
    before = {name: identity(path) for name, path in points_of(batch).items()}
    outcome = run_evaluate(batch, images, *flags, qualities=qualities)
    assert outcome.status == 0
    after = {name: identity(path) for name, path in points_of(batch).items()}
    return {name for name in after if after[name] != before.get(name)}, outcome


def forget_ssimulacra2(path):
    """Makes the files of an operating point those of an older program."""
    table = path.with_suffix(".csv")
    with open(table, newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index("ssimulacra2")
    rows = [row[:place] + row[place + 1 :] for row in rows]
    table.write_text("".join(",".join(row) + "\n" for row in rows))
    record = json.loads(path.with_suffix(".json").read_text())
    del record["results"]["ssimulacra2"]
    record["csv_sha256"] = results.file_sha256(table)
    path.with_suffix(".json").write_text(json.dumps(record))


def test_points_of_an_older_program_stay_as_they_are_with_one_note(whole):
    batch, images = whole
    first = run_evaluate(batch, images)
    old = ["Q5", "run-lambda_01"]
    for name in old:
        forget_ssimulacra2(points_of(batch)[name])
    changed, outcome = measured_again(batch, images)
    assert changed == set()
    texts = [done.out.getvalue() for done in (first, outcome)]
    note = "Without ssimulacra2: Q5 and 1 more, measured by an older program"
    assert [text.count(note) for text in texts] == [0, 1]
    for name in points_of(batch):
        before, after = (row_of(name, text) for text in texts)
        if name in old:
            assert before.pop(8) and not after.pop(8)
        assert before == after


@pytest.mark.slow
def test_a_changed_checkpoint_is_measured_again(whole, measure):
    batch, images = whole
    assert run_evaluate(batch, images).status == 0
    save_tables(batch / "run" / "lambda_01", 70)
    changed, outcome = measured_again(batch, images)
    assert changed == {"run-lambda_01"}
    (line,) = outcome.lines("measured again")
    assert "run-lambda_01:" in line and "other checkpoint" in line
    path = points_of(batch)["run-lambda_01"]
    jpg = jpgs_of(path)["a.png"]
    coded = jpeg_file.read_coefficients(jpg.read_bytes())
    np.testing.assert_array_equal(coded.qtables, asymmetric_tables(70))
    wanted = measure(jpg, picture_of("a.png"))["psnr"]
    assert lists_of(path)["psnr"][0] == pytest.approx(wanted)


def test_a_changed_test_image_of_the_same_name_is_measured_again(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    Image.fromarray(255 - picture_of("b.png")).save(images / "b.png")
    changed, outcome = measured_again(batch, images)
    assert changed == set(points_of(batch)) and len(changed) == 4
    lines = outcome.lines("measured again")
    assert len(lines) == 4
    assert all("other test images (b.png)" in line for line in lines)


def test_another_number_of_test_images_is_measured_again(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    (images / "b.png").unlink()
    changed, outcome = measured_again(batch, images)
    assert len(changed) == 4
    assert len(outcome.lines("other test images (3 -> 2)")) == 4
    assert {len(lists_of(path)["bpp"]) for path in points_of(batch).values()} == {2}


def test_another_entropy_coding_is_measured_again(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    before = {name: lists_of(path) for name, path in points_of(batch).items()}
    changed, outcome = measured_again(batch, images, "--entropy_coding", "optimized")
    assert len(changed) == 4
    lines = outcome.lines("measured again")
    assert len(lines) == 4
    assert all("entropy_coding (standard -> optimized)" in line for line in lines)
    for name, path in points_of(batch).items():
        lists = lists_of(path)
        assert lists["mse"] == before[name]["mse"]
        assert all(np.less(lists["bpp"], before[name]["bpp"]))


def test_another_quantization_is_measured_again_but_for_plain_jpeg(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    before = {name: lists_of(path) for name, path in points_of(batch).items()}
    changed, outcome = measured_again(batch, images, "--quantization", "search")
    searched = {"run-lambda_001", "run-lambda_01"}
    # JPEG of the models' subsampling stands beside them.
    assert changed == searched | {"Q5_420", "Q20_420"}
    lines = outcome.lines("measured again")
    assert all("quantization (round -> search)" in line for line in lines)
    assert (
        "Models: 4:2:0, standard entropy coding, quantization search."
        in outcome.out.getvalue()
    )
    for name in searched:
        lists = lists_of(points_of(batch)[name])
        assert all(np.less(lists["bpp"], before[name]["bpp"]))
        assert all(np.greater(lists["mse"], before[name]["mse"]))


def test_models_are_measured_at_the_subsampling_of_their_training(small):
    """Plain JPEG is measured at the subsampling of each model."""
    batch, images = small
    folder = batch / "run" / "lambda_01" / "train"
    checkpoints.save_record(str(folder), record_of("ljpeg", subsampling="4:2:2"))
    outcome = run_evaluate(batch, images)
    assert outcome.status == 0
    names = {"Q5", "Q20", "Q5_422", "Q20_422", "run-lambda_001", "run-lambda_01"}
    assert set(points_of(batch)) == names
    for name, path in points_of(batch).items():
        subsampled = name in ("Q5_422", "Q20_422", "run-lambda_01")
        record = json.loads(path.with_suffix(".json").read_text())
        found = record["settings"]["subsampling"]
        assert found == ("4:2:2" if subsampled else "4:4:4")
        assert found in record["description"]
        for jpg in jpgs_of(path).values():
            assert jpeg_file.read_coefficients(jpg.read_bytes()).sampling == found
    assert "Models: 4:4:4: run; 4:2:2: run, standard" in outcome.out.getvalue()


@pytest.mark.slow
def test_search_without_a_model_stands_beside_the_models_of_a_tune(small, monkeypatch):
    batch, images = small
    monkeypatch.setattr(operating_points, "SEARCH_QUALITIES", (10, 50))
    flags = ["--quantization", "search", "--tune", "psnr", "--subsampling", "4:2:2"]
    outcome = run_evaluate(batch, images, *flags, qualities=(20,))
    assert outcome.status == 0
    assert {"search_Q10", "search_Q50", "Q20", "Q20_422"} < set(points_of(batch))
    assert "search for psnr, no model" in outcome.out.getvalue()
    low, high = (lists_of(points_of(batch)[f"search_Q{q}"]) for q in (10, 50))
    assert all(np.less(low["bpp"], high["bpp"]))
    assert all(np.less(low["psnr"], high["psnr"]))
    for jpg in jpgs_of(points_of(batch)["search_Q50"]).values():
        assert jpeg_file.read_coefficients(jpg.read_bytes()).sampling == "4:2:2"


def test_files_of_other_test_images_do_not_stay_behind(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    (images / "b.png").unlink()
    assert run_evaluate(batch, images).status == 0
    folders = [path.with_suffix("") for path in points_of(batch).values()]
    assert {path.name for folder in folders for path in folder.iterdir()} == {
        f"{name[:-4]}.jpg" for name in SIZES if name != "b.png"
    }


def test_an_evaluation_that_fails_half_way_leaves_no_old_results(small, monkeypatch):
    batch, images = small
    assert run_evaluate(batch, images).status == 0

    def fail(*args, **options):
        raise UserError("the end")

    # The files of the first operating point are other ones by now.
    monkeypatch.setattr(results, "save", fail)
    assert run_evaluate(batch, images, "--entropy_coding", "optimized").status == 1
    monkeypatch.undo()
    assert points_of(batch) == {}


def test_a_test_image_that_changes_meanwhile_gives_no_results(small, monkeypatch):
    batch, images = small
    listed = evaluator.TestImages(evaluator.find_test_images([str(images)]))
    monkeypatch.setattr(evaluator, "TestImages", lambda found: listed)
    Image.fromarray(255 - picture_of("b.png")).save(images / "b.png")
    outcome = run_evaluate(batch, images)
    assert outcome.status == 1
    assert outcome.lines("b.png: has changed during the evaluation")
    assert points_of(batch) == {}


def test_test_images_among_the_files_of_a_point_are_kept(small):
    batch, images = small
    assert run_evaluate(batch, images, qualities=(20,)).status == 0
    folder = batch / "_output_PIL" / "Q20"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    outcome = run_evaluate(batch, folder, "--runs", qualities=(20,))
    assert outcome.status == 1
    (line,) = outcome.lines("error: ")
    assert f"{folder / 'c d.jpg'}: " in line and "name another --output_dir" in line
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_may_have_the_name_of_the_anchor(small):
    batch, images = small
    (batch / "run").rename(batch / "JPEG")
    text = run_evaluate(batch, images).out.getvalue()
    bd_rates = text[text.index("BD-rate") :]
    assert "| JPEG | 2 of 4 points |" in re.sub(" +", " ", bd_rates)


def test_a_checkpoint_folder_as_batch_dir_is_a_user_error(small):
    batch, images = small
    for inner in ("run/lambda_001", "run/lambda_001/train"):
        with pytest.raises(UserError, match="holds a single checkpoint"):
            run_evaluate(batch / inner, images)


def test_two_folders_of_one_name_are_a_user_error(small):
    batch, images = small
    save_tables(batch / "lambda_001", 40)
    save_tables(batch / batch.name / "lambda_001", 20)
    with pytest.raises(UserError, match="two folders"):
        run_evaluate(batch, images)


def test_another_version_of_the_code_is_measured_again(small, monkeypatch):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    monkeypatch.setattr(jpeg_file, "NUMBERS_VERSION", 1000)
    changed, outcome = measured_again(batch, images)
    assert len(changed) == 4
    assert len(outcome.lines("code: other file (1 -> 1000)")) == 4


def test_more_qualities_measure_only_the_new_ones(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    changed, _ = measured_again(batch, images, qualities=(5, 20, 35))
    assert changed == {"Q35"}


def test_number_of_workers_does_not_change_a_pickle(whole, tmp_path):
    batch, images = whole
    for workers in (1, 4):
        flags = ["--workers", workers, "--output_dir", tmp_path / str(workers)]
        assert run_evaluate(batch, images, *flags).status == 0
    one, four = (points_of(tmp_path / workers) for workers in "14")
    assert list(one) == list(four) and len(one) == 4
    for name in one:
        assert one[name].read_bytes() == four[name].read_bytes()
    assert not points_of(batch)  # --output_dir takes everything


# --- Folders -------------------------------------------------------------------------


def test_a_batch_dir_that_is_a_run_itself_is_evaluated(small):
    batch, images = small
    assert run_evaluate(batch / "run", images).status == 0
    assert {"run-lambda_001", "run-lambda_01"} < set(points_of(batch / "run"))


def test_runs_that_are_named_are_evaluated_alone(small):
    batch, images = small
    save_tables(batch / "other" / "lambda_001", 20)
    outcome = run_evaluate(batch, images, "--runs", "other", qualities=(20,))
    assert outcome.status == 0
    assert set(points_of(batch)) == {"Q20", "other-lambda_001"}
    with pytest.raises(UserError, match="--runs nobody: no such run"):
        run_evaluate(batch, images, "--runs", "other", "nobody")


def test_models_without_an_entropy_model_are_left_out_of_a_refinement(small):
    batch, images = small
    outcome = run_evaluate(batch, images, "--refine_steps", "1", qualities=(20,))
    assert outcome.status == 0
    assert set(points_of(batch)) == {"Q20"}
    for folder in ("lambda_001", "lambda_01"):
        (line,) = outcome.lines(str(batch / "run" / folder) + ":")
        assert "left out" in line and "--rate_model entropy" in line


@pytest.mark.slow
def test_a_batch_without_runs_gives_the_jpeg_curve_and_a_warning(small, tmp_path):
    _, images = small
    (tmp_path / "empty").mkdir()
    outcome = run_evaluate(tmp_path / "empty", images, plot=True)
    assert outcome.status == 0
    assert list(points_of(tmp_path / "empty")) == ["Q20", "Q5"]
    assert len(outcome.lines(f"{tmp_path / 'empty'}: no run")) == 1


def test_a_checkpoint_without_settings_is_taken_as_jpeg_type(small):
    batch, images = small
    for settings in batch.rglob("settings.json"):
        settings.unlink()
    assert run_evaluate(batch, images, "--jpeg_type", "ljpeg").status == 0
    path = points_of(batch)["run-lambda_01"]
    coded = jpeg_file.read_coefficients(jpgs_of(path)["a.png"].read_bytes())
    np.testing.assert_array_equal(coded.qtables, asymmetric_tables(12))


def broken(batch, images, *flags):
    """Evaluates a batch whose run-lambda_01 is broken; the line that says so."""
    outcome = run_evaluate(batch, images, *flags)
    assert outcome.status == 1
    assert sorted(points_of(batch)) == ["Q20", "Q5", "run-lambda_001"]
    (line,) = outcome.lines("error: ")
    assert str(batch / "run" / "lambda_01") in line
    assert "\n" not in line
    assert outcome.lines("1 checkpoints or images failed")
    return line


def test_tables_without_settings_are_no_attention_model(small):
    batch, images = small
    (batch / "run" / "lambda_01" / "train" / "settings.json").unlink()
    line = broken(batch, images, "--jpeg_type", "ljpeg_attention")
    assert "does not hold this model" in line


def test_an_attention_model_without_settings_is_not_taken_for_tables(small, complete):
    batch, images = small
    shutil.rmtree(batch / "run" / "lambda_01")
    source = complete[0] / "batch" / "attention" / "lambda_01"
    shutil.copytree(source, batch / "run" / "lambda_01")
    (batch / "run" / "lambda_01" / "train" / "settings.json").unlink()
    broken(batch, images, "--jpeg_type", "ljpeg")


@pytest.mark.parametrize("script", ["ljpeg_attention", "somebody_elses"])
def test_settings_of_another_model_are_reported(small, script):
    batch, images = small
    folder = str(batch / "run" / "lambda_01" / "train")
    checkpoints.save_record(folder, record_of("ljpeg_attention", script=script))
    broken(batch, images)


def test_damaged_settings_are_reported(small):
    batch, images = small
    (batch / "run" / "lambda_01" / "train" / "settings.json").write_text("{")
    assert "not JSON" in broken(batch, images)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(record_of("ljpeg", script=["ljpeg"])),
        json.dumps(record_of("ljpeg", lmbda="high")),
        json.dumps(record_of("ljpeg", lmbda=1e308)),
        json.dumps(record_of("ljpeg", rate_model={})),
        "[" * 100_000,
    ],
    ids=["script", "lambda", "1e308", "rate_model", "nested"],
)
def test_absurd_settings_are_reported_and_the_others_are_evaluated(small, text):
    batch, images = small
    (batch / "run" / "lambda_01" / "train" / "settings.json").write_text(text)
    assert "settings.json" in broken(batch, images)


def test_incomplete_settings_are_reported(small):
    batch, images = small
    settings = record_of("ljpeg")
    del settings["lmbda"]
    checkpoints.save_record(str(batch / "run" / "lambda_01" / "train"), settings)
    assert "lacks --lambda" in broken(batch, images)


def test_weights_that_are_not_finite_are_reported(small):
    batch, images = small
    entries = np.full((8, 8, 2), np.nan, np.float32)
    folder = batch / "run" / "lambda_01" / "train"
    settings = record_of("ljpeg")
    save_checkpoint(folder, LJPEG, settings, {"qtables": entries})
    assert "not finite" in broken(batch, images)


def test_lack_of_memory_costs_one_point(small, monkeypatch):
    batch, images = small
    evaluate_point = evaluator.Evaluator.evaluate

    def evaluate_or_fail(self, point):
        if point.name == "run-lambda_01":
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")
        return evaluate_point(self, point)

    monkeypatch.setattr(evaluator.Evaluator, "evaluate", evaluate_or_fail)
    outcome = run_evaluate(batch, images)
    assert outcome.status == 1
    assert sorted(points_of(batch)) == ["Q20", "Q5", "run-lambda_001"]
    assert outcome.lines("error: run-lambda_01: not enough memory")


def test_a_run_in_a_folder_whose_name_is_a_pattern_is_evaluated(small, tmp_path):
    batch, images = small
    odd = tmp_path / "batch [1]*"
    batch.rename(odd)
    (odd / "run").rename(odd / "run?")
    assert run_evaluate(odd, images).status == 0
    assert sorted(points_of(odd)) == ["Q20", "Q5", "run?-lambda_001", "run?-lambda_01"]


def test_a_blank_page_is_left_out_of_the_mean_psnr_with_a_note(small):
    batch, images = small
    Image.new("RGB", (176, 176), (128, 128, 128)).save(images / "blank.png")
    outcome = run_evaluate(batch, images)
    assert outcome.status == 0
    assert lists_of(points_of(batch)["Q20"])["psnr"].count(math.inf) == 1
    assert "| inf |" not in outcome.out.getvalue().replace("  ", "")
    assert "left out of the mean PSNR (up to 1 images)" in outcome.out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_half_a_checkpoint_is_reported_and_the_others_are_evaluated(
    small, suffix, damage
):
    batch, images = small
    part = batch / "run" / "lambda_01" / "train" / f"model.ckpt-5{suffix}"
    data = part.read_bytes()
    part.unlink()
    if damage != "missing":
        part.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    broken(batch, images)


def test_a_lambda_folder_without_checkpoint_is_reported(small):
    batch, images = small
    shutil.rmtree(batch / "run" / "lambda_01")
    (batch / "run" / "lambda_01" / "train").mkdir(parents=True)
    assert "no checkpoint" in broken(batch, images)


def test_a_google_checkpoint_among_the_runs_is_not_a_point_of_theirs(small, complete):
    batch, images = small
    shutil.rmtree(batch / "run" / "lambda_01" / "train")
    target = batch / "run" / "lambda_01" / "train"
    shutil.copytree(complete[0] / "google", target)
    outcome = run_evaluate(batch, images)
    assert outcome.status == 0
    assert "run-lambda_01" not in points_of(batch)
    assert len(outcome.lines("--google_dir")) == 1


def test_a_google_dir_with_another_model_is_refused(small):
    batch, images = small
    google_dir = batch / "run" / "lambda_01"
    with pytest.raises(UserError, match=re.escape(str(google_dir))):
        run_evaluate(batch, images, "--google_dir", google_dir)


def test_a_pickle_without_a_record_is_kept_and_the_import_is_named(small):
    batch, images = small
    assert run_evaluate(batch, images).status == 0
    path = points_of(batch)["Q5"]
    before = path.read_bytes()
    path.with_suffix(".json").unlink()
    outcome = run_evaluate(batch, images)
    assert outcome.status == 1
    (line,) = outcome.lines("error: ")
    assert str(path) in line and "evaluation.import_pickles" in line
    assert path.read_bytes() == before and "| Q20" in outcome.out.getvalue()


def only_error(monkeypatch, capsys, *argv):
    """The only line that an evaluation says, which has to end with status 1."""
    monkeypatch.setattr(sys, "argv", ["/x/evaluate.py", *map(str, argv)])
    with pytest.raises(SystemExit) as caught:
        process.run_main(evaluate.main)
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("evaluate.py: error: ")
    return line


@pytest.mark.parametrize("pattern", ["*.tif", "nowhere/*.png", "bad.png"])
def test_no_readable_test_image_is_one_line(small, monkeypatch, capsys, pattern):
    batch, images = small
    (images / "bad.png").write_text("no picture")
    argv = ["--batch_dir", batch, "--test_image_glob", images / pattern]
    line = only_error(monkeypatch, capsys, *argv)
    assert "--test_image_glob" in line and str(images / pattern) in line
    assert not points_of(batch)


def test_a_missing_batch_dir_is_one_line(tmp_path, monkeypatch, capsys):
    line = only_error(monkeypatch, capsys, "--batch_dir", tmp_path / "none")
    assert f"--batch_dir {tmp_path / 'none'}: " in line
    assert not (tmp_path / "none").exists()


def test_small_test_images_have_nan_ms_ssim_and_one_note(whole):
    batch, images = whole
    Image.fromarray(picture_of("a.png")[:160]).save(images / "b.png")
    outcome = run_evaluate(batch, images, qualities=(20,))
    assert outcome.status == 0
    lists = lists_of(points_of(batch)["Q20"])
    assert [math.isnan(value) for value in lists["ms-ssim"]] == [False, True, False]
    record = json.loads(points_of(batch)["Q20"].with_suffix(".json").read_text())
    mean = np.nanmean(lists["ms-ssim"])
    assert record["results"]["ms-ssim-rgb"] == [pytest.approx(mean)]
    assert len(outcome.lines("161 px")) == 1


# --- Processes -----------------------------------------------------------------------


def start_process(batch_dir, images, *flags, prelude):
    """Starts an evaluation as its own process; `prelude` is Python code before it.

    As in `small`, it measures nothing that takes long: TensorFlow is not loaded.
    """
    code = (
        "import functools, sys, time, os, evaluate\n"
        "from learned_jpeg.common import process\n"
        "from learned_jpeg.metrics import image_metrics, registry\n"
        "from evaluation import evaluator, operating_points, plots, results\n"
        "plots.plot_rate_distortion = lambda *args, **options: []\n"
        "operating_points.JPEG_QUALITIES = (5, 20, 50)\n"
        "quick = [registry.get(key) for key in ('mse', 'psnr')]\n"
        "measured = functools.partial(image_metrics.ImageMetrics, metrics=quick)\n"
        "evaluator.ImageMetrics = measured\n"
        f"{prelude}\n"
        "process.run_main(evaluate.main)"
    )
    argv = ["--batch_dir", batch_dir, "--test_image_glob", images]
    argv += ["--precision", "float32", "--workers", "2", *flags]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, argv)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"no {path} after a minute"
        time.sleep(0.02)


@pytest.mark.slow
def test_an_evaluation_killed_while_it_saves_goes_on_where_it_was(
    small, tmp_path, measure
):
    batch, images = small
    prelude = f"""
write = results.write_atomically
def stop_at_the_third_record(path, data):
    if path.endswith("Q50.json"):
        open({str(tmp_path / "reached")!r}, "w").close()
        time.sleep(600)
    write(path, data)
results.write_atomically = stop_at_the_third_record"""
    process = start_process(batch, images, prelude=prelude)
    try:
        wait_for(tmp_path / "reached", process)
    finally:
        process.kill()
        process.communicate()
    kept = {name: identity(path) for name, path in points_of(batch).items()}
    assert sorted(kept) == ["Q20", "Q5"]
    changed, outcome = measured_again(batch, images, qualities=(5, 20, 50))
    assert changed == {"Q50", "run-lambda_001", "run-lambda_01"}
    (line,) = outcome.lines("not measured before")
    assert line == "3 of 5 operating points: not measured before"
    for path in points_of(batch).values():
        for index, (name, jpg) in enumerate(jpgs_of(path).items()):
            wanted, lists = measure(jpg, picture_of(name)), lists_of(path)
            for metric in ("bpp", "mse", "psnr"):
                assert lists[metric][index] == pytest.approx(wanted[metric], rel=1e-12)


@pytest.mark.slow
def test_two_evaluations_of_one_folder_at_a_time_are_both_right(small, tmp_path):
    batch, images = small
    ready, go = tmp_path / "ready", tmp_path / "go"
    prelude = f"open({str(ready)!r}, 'w').close()\n"
    prelude += f"while not os.path.exists({str(go)!r}): time.sleep(0.001)"
    flags = ["--runs", "--mozjpeg", "--qualities", "5", "20", "50", "90"]
    process = start_process(batch, images, *flags, prelude=prelude)
    try:
        wait_for(ready, process)
        go.touch()
        outcome = run_evaluate(batch, images, *flags)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (outcome.status, process.returncode) == (0, 0), err
    alone = tmp_path / "alone"
    assert run_evaluate(batch, images, "--output_dir", alone, *flags).status == 0
    wanted = {name: path.read_bytes() for name, path in points_of(alone).items()}
    found = {name: path.read_bytes() for name, path in points_of(batch).items()}
    assert found == wanted and len(found) == 8
    changed, _ = measured_again(batch, images, *flags)
    assert changed == set()


# --- Published numbers ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir(KODAK), reason="../shared/KODAK is not there")
def test_jpeg_of_quality_20_on_kodak_has_the_published_means(tmp_path):
    (tmp_path / "batch").mkdir()
    outcome = run_evaluate(tmp_path / "batch", KODAK, qualities=(20,))
    assert outcome.status == 0
    lists = lists_of(points_of(tmp_path / "batch")["Q20"])
    assert {len(values) for values in lists.values()} == {24}
    means = {metric: np.mean(values) for metric, values in lists.items()}
    assert means["bpp"] == pytest.approx(0.618, abs=0.001)
    assert means["psnr"] == pytest.approx(29.51, abs=0.01)
    assert means["ms-ssim"] == pytest.approx(0.9505, abs=0.001)
    assert means["lpips"] == pytest.approx(0.172, abs=0.001)
