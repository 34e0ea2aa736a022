"""Tests of targets: files on the right side of what was asked for, and close to it."""

import io
import json
import math
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

import arg_parser
from learned_jpeg.common.errors import UserError
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.search import calibration, targets
from learned_jpeg.search.calibration import Calibration, Steering
from learned_jpeg.search.targets import MAX_ENCODES, Target, closest_lambda
from ljpeg import LJPEG
from ljpeg_PIL import StandardJPEG
from tests.commands.helpers import (
    compress_ljpeg,
    compress_pil,
    photograph,
    run_ljpeg,
    save_png,
)


def coder_of(shape, seen):
    """A coder whose files are of `shape(log(lambda))` bytes; lambdas go to `seen`."""

    def encode(lmbda):
        seen.append(lmbda)
        return bytes(round(shape(math.log(lmbda))))

    return encode


def wavy(x, steepness=0.5):
    """Like the rate of a photograph: a bent power law, with noise."""
    noise = 0.001 * math.sin(1000 * x)
    return math.exp(11 + steepness * x - 0.01 * x**2 + noise)


@pytest.mark.parametrize("steepness", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("wanted", [1_000, 10_000, 60_000, 200_000])
@pytest.mark.parametrize("start", [0.01, 0.1])
def test_a_rate_is_met_from_below_by_few_files(steepness, wanted, start):
    seen = []
    goal = Target("bytes", wanted).goal(np.zeros((1, 1, 3), np.uint8), "a.png")
    encode = coder_of(lambda x: wavy(x, steepness), seen)
    found = closest_lambda(encode, goal, start)
    assert 0.99 * wanted <= len(found.data) <= wanted
    assert len(found.data) == len(encode(found.setting))
    assert len(seen) <= 2 * MAX_ENCODES


@pytest.mark.parametrize("distance", [-1.0, -0.3, 0.0, 0.4, 0.9])
def test_five_files_are_enough_from_a_start_of_the_right_size(distance):
    errors = []
    for wanted in np.geomspace(5e3, 2e5, 40):
        seen = []
        goal = Target("bytes", wanted).goal(np.zeros((1, 1, 3), np.uint8), "a.png")
        start = math.exp((math.log(wanted) - 11 + distance) / 0.5)
        found = closest_lambda(coder_of(wavy, seen), goal, start, 0.45)
        errors.append(1 - len(found.data) / wanted)
        assert len(seen) <= MAX_ENCODES
    assert min(errors) >= 0
    assert np.mean(errors) <= 0.005 and max(errors) <= 0.01


def test_a_rate_below_every_file_names_the_nearest():
    seen = []
    goal = Target("bytes", 500).goal(np.zeros((1, 1, 3), np.uint8), "a.png")
    encode = coder_of(lambda x: 600 + math.exp(x), seen)
    message = "a.png: --target_bytes 500 cannot be reached, the nearest is 600"
    with pytest.raises(UserError, match=message):
        closest_lambda(encode, goal, 0.1)
    assert len(seen) <= 2 * MAX_ENCODES


def test_a_rate_above_every_file_is_a_note():
    goal = Target("bytes", 5000).goal(np.zeros((1, 1, 3), np.uint8), "a.png")
    encode = coder_of(lambda x: 4000 - 1000 * math.exp(-math.exp(x)), [])
    found = closest_lambda(encode, goal, 0.1)
    assert 3900 < len(found.data) <= 4000
    assert goal.miss(found).startswith(
        "a.png: --target_bytes 5000: the nearest is 4000"
    )


# Files of the command line


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_png(tmp_path_factory.mktemp("photo") / "a.png", 168, 184)


def independent(path, name):
    """Metric of a file by other implementations than those of the project."""
    with Image.open(path) as image:
        decoded = np.array(image)
    original = photograph(168, 184)
    if name == "psnr":
        mse = np.mean((original.astype(float) - decoded) ** 2)
        return 10 * math.log10(255**2 / mse)
    if name == "ssimulacra2":
        return ssimulacra2.score(ssimulacra2.reference_scales(original), decoded)
    with tf.Graph().as_default(), tf.Session() as session:
        pair = [tf.constant(p[None].astype(np.float32)) for p in (original, decoded)]
        return float(session.run(tf.image.ssim_multiscale(*pair, 255.0))[0])


@pytest.mark.slow
@pytest.mark.parametrize("value, most", [("6k", 6000), ("9000", 9000)])
def test_target_bytes(photo, tmp_path, value, most):
    assert run_ljpeg(photo, "-o", tmp_path, "--target_bytes", value) == 0
    assert 0.99 * most <= (tmp_path / "a.jpg").stat().st_size <= most


@pytest.mark.slow
def test_target_bpp_of_a_search_is_met_to_the_percent(photo, tmp_path):
    argv = ("-o", tmp_path, "--quantization", "search", "--tune", "psnr")
    assert compress_pil(photo, *argv, "--target_bpp", 1.5) == 0
    size = (tmp_path / "a.jpg").stat().st_size
    assert 0.99 * 1.5 <= 8 * size / (168 * 184) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, value, tolerance",
    [("psnr", 26, 0.05), ("ms_ssim", 0.97, 0.0004), ("ssimulacra2", 60, 0.4)],
)
def test_target_qualities_are_met_from_above(photo, tmp_path, name, value, tolerance):
    assert run_ljpeg(photo, "-o", tmp_path, f"--target_{name}", value) == 0
    found = independent(tmp_path / "a.jpg", name)
    assert value - 1e-6 <= found <= value + tolerance


@pytest.mark.slow
def test_a_quality_of_plain_tables_is_the_lowest_that_holds(tmp_path):
    """Against all of 1..100."""
    image, path = photograph(40, 56), save_png(tmp_path / "a.png", 40, 56)
    assert compress_pil(path, "--target_psnr", 33, "-v") == 0
    best = (tmp_path / "a.jpg").read_bytes()
    files = []
    for quality in range(1, 101):
        argv = ("--quality", quality, "-o", tmp_path / "b.jpg", "--force")
        assert compress_pil(path, *argv) == 0
        data = (tmp_path / "b.jpg").read_bytes()
        with Image.open(io.BytesIO(data)) as coded:
            decoded = np.array(coded.convert("RGB"))  # without chroma a file is gray
        mse = np.mean((image.astype(float) - decoded) ** 2)
        files.append((10 * math.log10(255**2 / mse), data))
    assert best == min(f for f in files if f[0] >= 33)[1]


@pytest.mark.slow
def test_a_run_is_searched_from_the_checkpoint_of_the_nearest_lambda(
    photo, tmp_path, capsys
):
    argv = ("-o", tmp_path, "--quantization", "search", "--target_bpp", 1.2, "--json")
    run = "example_experiments/tables_rdoq_mse"
    assert compress_ljpeg(run, photo, *argv, tmp_path / "x.jsonl") == 0
    record = json.loads((tmp_path / "x.jsonl").read_text())
    assert 0.99 * 1.2 <= record["bpp"] <= 1.2
    folder, lmbda = re.match(r"lambda_(\w+), lambda (\S+)", record["setting"]).groups()
    ratio = float(folder.replace("0", "0.", 1)) / float(lmbda)
    assert 1 / 2.1 < ratio < 2.1


@pytest.mark.slow
def test_targets_that_cannot_be_reached_are_one_line(photo, tmp_path, capsys):
    for flags in (("--target_bytes", 150), ("--target_psnr", 99)):
        assert run_ljpeg(photo, "-o", tmp_path, *flags) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
        assert re.search(rf"a\.png: {flags[0]} .* cannot be reached, the nearest", line)
    assert not (tmp_path / "a.jpg").exists()


def test_a_metric_that_is_not_defined_is_one_line(tmp_path, capsys):
    path = save_png(tmp_path / "a.png", 40, 56)
    assert run_ljpeg(path, "--target_ms_ssim", 0.9) == 1
    err = capsys.readouterr().err
    assert "56x40 px: --target_ms_ssim needs sides of at least 161 px" in err


def test_a_blank_page_is_no_endless_search(tmp_path, caplog):
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "a.png")
    assert run_ljpeg(tmp_path / "a.png", "--target_psnr", 40) == 0
    assert "--target_psnr 40.000 dB: the nearest is inf dB" in caplog.text


def test_an_absurd_target_does_not_fill_the_screen():
    image = np.zeros((10, 20, 3), np.uint8)
    for name in targets.KINDS:
        low, high = targets.KINDS[name].allowed
        value = 1e300 if high > 1e300 else -1e300
        if not low < value < high:
            continue
        tried = targets.Tried(1, b"", 1.0, slack=1e3)
        goal = targets.Goal(Target(name, value), "a.png", len)
        assert goal.miss(tried).startswith(f"a.png: --target_{name} {value:g}: ")
    goal = Target("bytes", 123456789).goal(image, "a.png")
    assert "--target_bytes 123456789: " in goal.miss(tried)


# Flags


@pytest.mark.parametrize(
    "text, value",
    [
        ("99", 99),
        ("1e3", 1000),
        ("99.9B", 99),
        ("200k", 200_000),
        ("200KB", 200_000),
        ("200 kB", 200_000),
        ("200kb", 200_000),
        ("1.5M", 1_500_000),
        (".5 mb", 500_000),
        ("2GB", 2_000_000_000),
        ("10KiB", 10_240),
        ("10ki", 10_240),
        ("2MiB", 2_097_152),
    ],
)
def test_bytes_may_have_a_unit(text, value):
    argv = ["compress", "a.png", "--target_bytes", text]
    assert arg_parser.parse_model(StandardJPEG, argv).target_bytes == value


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--target_bytes", "0"], "'0' is not a number of bytes"),
        (["--target_bytes", "k"], "'k' is not a number of bytes"),
        (["--target_bytes", "infM"], "'infM' is not a number of bytes"),
        (["--target_bytes", "1e999"], "'1e999' is not a number of bytes"),
        (["--target_bytes", "-5k"], "one argument"),
        (["--target_bytes", "1.2.3"], "'1.2.3' is not a number of bytes"),
        (["--target_bytes", "5iB"], "'5iB' is not a number of bytes"),
        (["--target_bytes", "5 TB"], "'5 TB' is not a number of bytes"),
        (["--target_ms_ssim", "1"], "'1' is not a number between 0 and 1"),
        (["--target_ssimulacra2", "100"], "'100' is not a number below 100"),
        (["--target_psnr", "-3"], "'-3' is not a number above 0"),
        (["--target_psnr", "30", "--target_bpp", "1"], "not allowed with argument"),
        (["--target_psnr", "30", "--quality", "50"], "not allowed with argument"),
    ],
)
def test_wrong_targets_are_usage_errors(capsys, flags, words):
    with pytest.raises(SystemExit, match="2"):
        arg_parser.parse_model(StandardJPEG, ["compress", "a.png", *flags])
    assert words in capsys.readouterr().err


# The calibration


@pytest.fixture
def curve(monkeypatch):
    curve = {"lambda": [0.001, 0.01, 0.1], "bpp": [0.1, 0.4, 1.6], "psnr": [20, 30, 40]}
    monkeypatch.setattr(calibration, "_table", lambda: {"psnr": curve})
    return curve


def calibration_of(name, value, tune="psnr", effort=2):
    goal = Target(name, value).goal(np.zeros((10, 20, 3), np.uint8), "")
    return Calibration(tune, effort, goal, (10, 20))


@pytest.mark.parametrize("name, value", [("bpp", 0.8), ("bytes", 20), ("psnr", 35)])
def test_start_of_a_target_is_the_lambda_of_the_mean(curve, name, value):
    for effort in (2, 3):  # of which nothing else is known
        known = calibration_of(name, value, effort=effort)
        assert known.start() == pytest.approx(math.sqrt(0.001), rel=0.006)
        wanted = 10 if name == "psnr" else math.log(4)
        slope = known.slope(math.sqrt(0.001))
        assert slope == pytest.approx(wanted / math.log(10))
    assert not calibration_of(name, value, "model").is_known
    curve["bpp"], curve["psnr"] = [0.4, 1.6, 6.4], [30, 40, 50]
    assert calibration_of(name, value, effort=1).start() == pytest.approx(
        math.sqrt(1e-5), rel=0.006
    )


def test_the_first_quantization_tells_where_the_search_comes_to(curve):
    """The last file has 0.3 dB more here, and 0.1 dB more a unit of log(lambda)."""
    curve["changes"] = {"psnr": [0.3, 0, 0.1, 0, 0, 0]}
    steering = Steering(calibration_of("psnr", 35), 0.01)
    steering._calibration._goal.measure = lambda data: 30 + 2 * len(data)
    aim = 35 + 0.4 * 0.05
    last = 32 + 0.3 + 0.1 * math.log(0.01)
    factor = steering(b"1")
    assert math.log(factor) == pytest.approx((aim - last) / (10 / math.log(10)))
    assert steering.lmbda == pytest.approx(0.01 * factor)
    assert steering(b"12") is not None
    assert steering(b"123") is None  # a third one would not be better


def test_without_a_known_change_a_search_is_not_steered(curve):
    steering = Steering(calibration_of("bytes", 20), 0.01)
    assert steering(b"1") is None and steering.lmbda == 0.01


@pytest.mark.parametrize("value", [24, 35, 37])
def test_a_file_that_meets_its_goal_by_steering_is_the_only_one(curve, value):
    curve["changes"] = {"psnr": [1, 0, 0, 0, 0, 0]}
    goal = Target("psnr", value).goal(np.zeros((10, 20, 3), np.uint8), "")
    goal.measure = float  # the files hold their PSNR
    known = Calibration("psnr", 2, goal, (10, 20))
    seen = []

    def encode(lmbda, steer):
        """Has a PSNR 2 dB above the mean, and a first quantization of 1 dB less."""
        seen.append(lmbda)

        def psnr(lmbda):
            return 32 + 10 * math.log10(lmbda / 0.01)

        while steer and (factor := steer(repr(psnr(lmbda) - 1).encode())):
            lmbda *= factor
        return repr(psnr(lmbda)).encode()

    found = calibration.closest_file(encode, goal, known, 1.0)
    assert len(seen) == 1
    assert found.value == pytest.approx(value + 0.4 * 0.05, abs=1e-6)
    assert found.setting == pytest.approx(0.01 * 10 ** ((found.value - 32) / 10))


def test_kinds_are_those_of_the_flags():
    args = vars(arg_parser.parse_model(LJPEG, ["compress", "a.png"]))
    flags = {name for name in args if name.startswith("target_")}
    assert flags == {f"target_{name}" for name in targets.KINDS}
