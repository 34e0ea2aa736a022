"""SSIMULACRA2 against scores of its author's tool, and its formulas in float64."""

import csv
import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy import ndimage

from metrics import ssimulacra2
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

# All 108, also those that the module leaves out: of X, Y and B - Y a row for each
# scale; of the means, then of the 4-norms, those of SSIM, ringing and blur.
WEIGHTS = np.reshape(
    [
        *(0, 0.000737660671, 0, 0, 0.000779348168, 0),
        *(0, 0.000437115573, 0, 1.10417264, 0.000662848341, 0.000152316328),
        *(0, 0.00164064375, 0, 1.84224555, 11.4411726, 0),
        *(0.000798910944, 0.000176816438, 0, 1.8787595, 10.9490699, 0),
        *(0.000728934699, 0.967793708, 0),
        *(0.000140034243, 0.998176698, 0.000319497559),
        *(0.000455099211, 0, 0, 0.00136487662, 0, 0),
        *(0, 0, 0, 7.46689033, 0, 17.445834),
        *(0.000623560163, 0, 0, 6.68367815, 0.00037724408, 1.02788994),
        *(225.205153, 0, 0, 19.2132382, 0.00114015246, 0.00123775564),
        *(176.393176, 0, 0, 24.43301, 0.285208026, 0.000448543692),
        *(0, 0, 0, 34.7790634, 44.8356253, 0),
        *(0, 0, 0, 0, 0, 0),
        *(0, 0.000868055657, 0, 0, 0, 0),
        *(0, 0.000531319187, 0, 0.000165338142, 0, 0),
        *(0, 0, 0, 0.00041791718, 0.00172908282, 0),
        *(0.00208270058, 0, 0, 8.82698276, 23.1924334, 0),
        *(95.1080499, 0.986397803, 0.983438279),
        *(0.0012286405, 171.266726, 0.980785887),
        *(0, 0, 0, 0.000513006459, 0, 0.000108540579),
    ],
    (3, 6, 6),
)


def truncated_cosines(sigma=1.5):
    """Charalampidis' Gaussian: sums of cosines that are 0 at their ends.

    Their factors make the sum of the taps 1, and the second derivative of their
    transform that of the Gaussian; see section 2 of the paper.
    """
    n = round(3.2795 * sigma + 0.2546)
    omega = np.array([1, 3, 5]) * np.pi / (2 * n)
    p = np.array([1, -1, 1]) / np.tan(omega / 2)
    r = p**2 * np.array([1, -1, 1]) / np.sin(omega)
    rho = np.exp(-(sigma**2) * omega**2 / 2) / n
    normal = np.cross(p, r) / (p[0] * r[1] - r[0] * p[1])
    factors = np.linalg.solve([p, r, normal], [1, n**2 - sigma**2, normal @ rho])
    return np.cos(np.outer(np.arange(1 - n, n), omega)) @ factors


def blur(plane):
    taps = truncated_cosines()
    for axis in (0, 1):
        plane = ndimage.convolve1d(plane, taps, axis, mode="constant")
    return plane


def float64_planes(linear):
    """X, Y and B - Y of linear RGB [h, w, 3], each in about 0..1."""
    x_to_z = [0.24342268924547819, 0.20476744424496821]
    cones = np.array([[0.3, 0.622], [0.23, 0.692], x_to_z])
    cones = np.column_stack([cones, 1 - cones.sum(1)])
    bias = 0.0037930732552754493
    long, medium, short = np.moveaxis(np.cbrt(linear @ cones.T + bias), -1, 0)
    x, y = (long - medium) / 2, (long + medium) / 2 - np.cbrt(bias)
    return 14 * x + 0.42, y + 0.01, short - np.cbrt(bias) - y + 0.55


def float64_norms(original, decoded):
    """Means, then 4-norms, of the three maps of errors of a plane."""
    x, y, c2 = original, decoded, 0.0009
    mean_x, mean_y = blur(x), blur(y)
    structure = (2 * (blur(x * y) - mean_x * mean_y) + c2) / (
        blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2 + c2
    )
    edge = (1 + abs(y - mean_y)) / (1 + abs(x - mean_x)) - 1
    maps = [1 - (1 - (mean_x - mean_y) ** 2) * structure, edge, -edge]
    maps = [np.maximum(values, 0) for values in maps]
    return [m.mean() for m in maps] + [(m**4).mean() ** 0.25 for m in maps]


def float64_score(original, decoded):
    """All planes of all scales, nothing left out."""
    pair = []
    for picture in (original, decoded):
        v = picture / 255
        pair.append(np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92))
    total = 0
    for scale in range(6):
        if min(pair[0].shape[:2]) < 8:
            break
        planes = zip(*map(float64_planes, pair), strict=True)
        for plane, (x, y) in enumerate(planes):
            total += WEIGHTS[plane, scale] @ float64_norms(x, y)
        for i, z in enumerate(pair):
            odd = [(0, z.shape[0] % 2), (0, z.shape[1] % 2), (0, 0)]
            z = np.pad(z, odd, mode="edge")
            pair[i] = z.reshape(z.shape[0] // 2, 2, z.shape[1] // 2, 2, 3).mean((1, 3))
    s = 0.9562382616834844 * total
    p = np.polyval(
        [6.248496625763138e-05, -0.020884521182843837, 2.326765642916932, 0], s
    )
    return 100 - 10 * p**0.6276336467831387


def score(original, decoded):
    return ssimulacra2.score(ssimulacra2.reference_scales(original), decoded)


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


def assert_near_the_tool(found, wanted):
    """The tool's own rounding errors are larger where there is little else."""
    assert found == pytest.approx(wanted, abs=0.035 if wanted < 75 else 0.3)


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
            assert_near_the_tool(found, value)


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
        assert_near_the_tool(score(np.asarray(original), decoded), wanted)
        seen += 1
    assert seen == 32 and len(rows) == 72


# 113 px are the least with five scales; then four, three, two, one.
@pytest.mark.parametrize(
    "height, width",
    [(8, 8), (9, 200), (15, 14), (16, 17), (31, 33), (57, 75), (113, 130), (201, 331)],
)
@pytest.mark.parametrize("noise", [2, 12, 60])
def test_score_equals_float64_for_even_odd_and_small_sizes(height, width, noise):
    x, y = picture_pair(height + noise, height, width, noise)
    wanted = float64_score(x, y)
    assert score(x, y) == pytest.approx(wanted, abs=0.002)


def test_score_of_jpegs_of_photographs_equals_float64():
    original = Image.open(EXAMPLE_IMAGES / "chelsea.png").crop((0, 0, 203, 161))
    x = np.asarray(original)
    for quality in (3, 20, 60, 95):
        y = jpeg_of(original, quality)
        assert score(x, y) == pytest.approx(float64_score(x, y), abs=0.002)


def test_score_of_gray_and_of_flat_pictures_equals_float64():
    x, y = (np.repeat(z[..., :1], 3, axis=-1) for z in picture_pair(5, 90, 121))
    assert score(x, y) == pytest.approx(float64_score(x, y), abs=0.002)
    for level, other in ((0, 255), (255, 254), (250, 190)):
        x = np.full((70, 65, 3), level, np.uint8)
        y = x.copy()
        y[20:40, 30:50] = other
        assert score(x, y) == pytest.approx(float64_score(x, y), abs=0.002)


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
