"""SSIMULACRA2 against scores of its author's tool, and that tool in numpy."""

import csv
import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy import ndimage

from learned_jpeg.common import threads
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from tests.metrics import ssimulacra2_references as references
from tests.paths import EXAMPLE_IMAGES, SHARED

GOLDEN = SHARED / "anchors" / "ssimulacra2_golden.csv"

# Of libjxl's ssimulacra2 2.1: (image, quality of Pillow): (4:4:4, 4:2:0).
EXAMPLE_SCORES = {
    ("astronaut.png", 10): (15.1100, 9.1314),
    ("astronaut.png", 30): (62.1447, 56.7494),
    ("astronaut.png", 60): (75.4897, 71.1303),
    ("astronaut.png", 90): (88.3872, 84.9828),
    ("chelsea.png", 10): (5.2249, 2.2866),
    ("chelsea.png", 30): (59.0388, 55.7765),
    ("chelsea.png", 60): (73.8383, 71.4378),
    ("chelsea.png", 90): (88.1678, 86.6678),
    ("coffee.png", 10): (-2.4740, -6.9839),
    ("coffee.png", 30): (52.6341, 48.0596),
    ("coffee.png", 60): (69.3770, 64.1949),
    ("coffee.png", 90): (86.6156, 82.2975),
    ("hubble_deep_field.png", 10): (-19.6825, -21.8678),
    ("hubble_deep_field.png", 30): (39.7086, 31.8428),
    ("hubble_deep_field.png", 60): (58.6181, 50.8233),
    ("hubble_deep_field.png", 90): (82.0502, 72.4090),
    # The tool takes the original's Adobe RGB and the JPEG's numbers as sRGB.
    ("rocket.png", 10): (-24.4033, -26.6367),
    ("rocket.png", 30): (31.6146, 27.9999),
    ("rocket.png", 60): (47.5045, 44.8189),
    ("rocket.png", 90): (59.6844, 56.9052),
}
SUBSAMPLINGS = ("4:4:4", "4:2:0")


def score(original, decoded):
    return ssimulacra2.score(ssimulacra2.reference_scales(original), decoded)


def tool_score(original, decoded):
    return references.score(original, decoded, references.TOOL)


def picture_pair(seed, height, width, noise=12):
    """A smooth random picture and a noisy copy of it, uint8."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (3, 3, 0))
    x = np.clip(128 + 60 * smooth / smooth.std(), 0, 255)
    y = np.clip(x + rng.normal(0, noise, x.shape), 0, 255)
    return x.round().astype(np.uint8), y.round().astype(np.uint8)


def jpeg_of(picture, quality, subsampling="4:4:4"):
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(data))


def assert_equals_the_tool(found, wanted):
    """But for the planes of small weights that are left out."""
    assert found == pytest.approx(wanted, abs=0.001)


@pytest.mark.parametrize("image, quality", EXAMPLE_SCORES)
def test_scores_of_the_example_images_are_those_of_the_tool(image, quality):
    original = Image.open(EXAMPLE_IMAGES / image)
    pixels, rounding = np.asarray(original), 0
    if image == "rocket.png":
        profile = io.BytesIO(original.info["icc_profile"])
        converted = ImageCms.profileToProfile(
            original, ImageCms.ImageCmsProfile(profile), ImageCms.createProfile("sRGB")
        )
        pixels, rounding = np.asarray(converted), 0.25  # to 8 bits, unlike the tool
    wanted = EXAMPLE_SCORES[image, quality]
    for subsampling, value in zip(SUBSAMPLINGS, wanted, strict=True):
        found = score(pixels, jpeg_of(original, quality, subsampling))
        if rounding:
            assert found == pytest.approx(value, abs=rounding)
        else:
            assert_equals_the_tool(found, value)


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.exists(), reason=f"no scores of the tool in {GOLDEN}")
def test_scores_of_kodak_images_are_those_of_the_tool():
    with open(GOLDEN, newline="") as file:
        rows = list(csv.DictReader(file))
    copied = {
        (image, quality, subsampling): value
        for (image, quality), values in EXAMPLE_SCORES.items()
        for subsampling, value in zip(SUBSAMPLINGS, values, strict=True)
    }
    seen = 0
    for row in rows:
        image, quality = row["image"], int(row["pillow_quality"])
        wanted = float(row["ssimulacra2"])
        if not image.startswith("kodim"):
            assert copied[image, quality, row["subsampling"]] == wanted
            continue
        original = Image.open(SHARED / "KODAK" / image)
        decoded = jpeg_of(original, quality, row["subsampling"])
        assert_equals_the_tool(score(np.asarray(original), decoded), wanted)
        seen += 1
    assert seen == 32 and len(rows) == 72


# 113 px are the least with five scales; then four, three, two, one.
@pytest.mark.slow
@pytest.mark.parametrize(
    "height, width",
    [(8, 8), (9, 200), (15, 14), (16, 17), (31, 33), (57, 75), (113, 130), (201, 331)],
)
@pytest.mark.parametrize("noise", [2, 12, 60])
def test_score_equals_the_tool_in_numpy_for_even_odd_and_small_sizes(
    height, width, noise
):
    x, y = picture_pair(height + noise, height, width, noise)
    wanted = tool_score(x, y)
    assert score(x, y) == pytest.approx(wanted, abs=0.002)


@pytest.mark.slow
def test_score_of_jpegs_of_photographs_equals_the_tool_in_numpy():
    original = Image.open(EXAMPLE_IMAGES / "chelsea.png").crop((0, 0, 203, 161))
    x = np.asarray(original)
    for quality in (3, 20, 60, 95):
        y = jpeg_of(original, quality)
        assert score(x, y) == pytest.approx(tool_score(x, y), abs=0.002)


def test_score_of_gray_and_of_flat_pictures_equals_the_tool_in_numpy():
    x, y = (np.repeat(z[..., :1], 3, axis=-1) for z in picture_pair(5, 90, 121))
    assert score(x, y) == pytest.approx(tool_score(x, y), abs=0.002)
    for level, other in ((0, 255), (255, 254), (250, 190)):
        x = np.full((70, 65, 3), level, np.uint8)
        y = x.copy()
        y[20:40, 30:50] = other
        assert score(x, y) == pytest.approx(tool_score(x, y), abs=0.002)


@pytest.mark.parametrize("height, width", [(8, 8), (61, 40), (130, 257)])
def test_equal_pictures_have_exactly_100(height, width):
    noise = np.random.default_rng(6).integers(0, 256, (height, width, 3), np.uint8)
    for picture in (noise, picture_pair(6, height, width)[0], 0 * noise, 0 * noise - 1):
        assert score(picture, picture.copy()) == 100


@pytest.mark.parametrize("height, width", [(7, 100), (100, 7), (1, 1), (7, 7)])
def test_score_of_pictures_below_8_px_is_nan(height, width):
    x, y = picture_pair(7, height, width)
    assert ssimulacra2.reference_scales(x) == ()
    assert math.isnan(score(x, y))


def test_a_lower_quality_has_a_lower_score():
    original = Image.open(EXAMPLE_IMAGES / "coffee.png")
    scales = ssimulacra2.reference_scales(np.asarray(original))
    scores = [
        ssimulacra2.score(scales, jpeg_of(original, quality))
        for quality in (2, 5, 10, 20, 40, 60, 80, 90, 95, 100)
    ]
    assert np.all(np.diff(scores) > 0.5) and scores[-1] < 100


def test_threads_get_the_same_score_bit_for_bit():
    pairs = [picture_pair(i, 100 + 30 * i, 240 - 20 * i) for i in range(8)]
    serial = [score(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        scales = list(pool.map(lambda p: ssimulacra2.reference_scales(p[0]), pairs * 4))
        pictures = [decoded for _, decoded in pairs * 4]
        assert list(pool.map(ssimulacra2.score, scales, pictures)) == serial * 4


def test_strips_of_any_height_give_the_same_score_on_any_number_of_cores(monkeypatch):
    x, y = picture_pair(9, 101, 83)
    with threads.limit(1):
        wanted = score(x, y)
    for rows in (1, 34, 512):
        monkeypatch.setattr(ssimulacra2, "_STRIP", rows)
        assert score(x, y) == wanted


def test_any_layout_of_the_pixels_has_the_same_score():
    x, y = picture_pair(9, 50, 40)
    y.flags.writeable = False
    mirrored = y[:, ::-1].copy()[:, ::-1]
    in_columns = np.asfortranarray(y)
    assert score(x, y) == score(x, mirrored) == score(x, in_columns)


def test_a_picture_of_another_size_or_type_is_refused():
    x, y = picture_pair(10, 20, 30)
    scales = ssimulacra2.reference_scales(x)
    with pytest.raises(ValueError, match="size"):
        ssimulacra2.score(scales, y[:19])
    with pytest.raises(ValueError, match="uint8"):
        ssimulacra2.score(scales, y.astype(np.int64))
    with pytest.raises(ValueError, match="uint8"):
        ssimulacra2.reference_scales(x / np.float32(255))


def test_scores_by_tile_are_close_to_those_of_the_tiles_by_themselves():
    rng = np.random.default_rng(2)
    image = np.kron(rng.integers(60, 200, (18, 27, 3)), np.ones((12, 12, 1)))
    noise = rng.normal(size=image.shape) * np.linspace(6, 20, 324)[:, np.newaxis]
    image, decoded = (
        np.clip(i, 0, 255).astype(np.uint8) for i in (image, image + noise)
    )
    scales = ssimulacra2.reference_scales(image)
    whole, tiles = ssimulacra2.score_by_tile(
        scales, decoded, np.array([0, 96]), np.array([0, 112, 208])
    )
    assert whole == ssimulacra2.score(scales, decoded)
    assert tiles.shape == (2, 3)
    for row, rows in enumerate((slice(0, 96), slice(96, 216))):
        for col, cols in enumerate((slice(0, 112), slice(112, 208), slice(208, 324))):
            own, other = (np.ascontiguousarray(i[rows, cols]) for i in (image, decoded))
            score = ssimulacra2.score(ssimulacra2.reference_scales(own), other)
            assert tiles[row, col] == pytest.approx(score, abs=6)
    one = np.zeros(1, np.int64)
    assert ssimulacra2.score_by_tile(scales, decoded, one, one)[1][0, 0] == whole
