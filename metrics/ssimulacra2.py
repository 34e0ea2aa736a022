"""SSIMULACRA2, a score of what people see of a picture's errors: 100 if they see none.

The metric of Jon Sneyers, Cloudinary (https://github.com/cloudinary/ssimulacra2), in
version 2.1; the constants are those of the tool `ssimulacra2` of libjxl (BSD licence).
Both pictures, in JPEG XL's colour space XYB and at up to six scales, give three maps of
errors: SSIM without its luminance term; ringing, which is edges that the original does
not have; blur, edges that were lost. The score is a polynomial of the weighted sum of
their means and 4-norms.

What depends on the original alone is computed once. Planes whose weights are all below
0.002 (X and B at fine scales, all of the sixth scale) are left out: that halves the
time, and changes scores of JPEG files by less than 0.001.

The tool blurs by a recursive filter in single precision, whose noise counts where there
are few errors: it differs by up to 0.03 below a score of 75 and by up to 0.3 above. For
sides below 113 px it has fewer scales, and pairs the weights of Y and B with others of
them; here each scale keeps its own.
"""

import dataclasses
import math

import numpy as np

from jpeg.compiled import njit

MIN_SIDE = 8  # px, of a picture and of each scale

# For each scale, from fine to coarse, a row for each plane, Y, X and B, that counts:
# weights of the mean of the SSIM, ringing and blur map, and of the 4-norm of these.
WEIGHTS = (
    np.array([[0, 0, 0, 7.46689033, 0, 17.445834]]),
    np.array(
        [
            [6.2356016e-4, 0, 0, 6.68367815, 3.7724408e-4, 1.02788994],
            [0, 4.3711557e-4, 0, 1.10417264, 6.6284834e-4, 1.5231633e-4],
        ]
    ),
    np.array(
        [
            [225.205153, 0, 0, 19.2132382, 1.14015246e-3, 1.23775564e-3],
            [0, 1.64064375e-3, 0, 1.84224555, 11.4411726, 0],
        ]
    ),
    np.array(
        [
            [176.393176, 0, 0, 24.43301, 0.285208026, 4.4854369e-4],
            [7.9891094e-4, 1.7681644e-4, 0, 1.8787595, 10.9490699, 0],
            [2.0827006e-3, 0, 0, 8.82698276, 23.1924334, 0],
        ]
    ),
    np.array(
        [
            [0, 0, 0, 34.7790634, 44.8356253, 0],
            [7.289347e-4, 0.967793708, 0, 1.4003424e-4, 0.998176698, 3.1949756e-4],
            [
                95.1080499,
                0.986397803,
                0.983438279,
                1.2286405e-3,
                171.266726,
                0.980785887,
            ],
        ]
    ),
)


def linear_light(levels):
    """Linear light of levels of sRGB in 0..1 (IEC 61966-2-1), float64."""
    powers = ((levels + 0.055) / 1.055) ** 2.4
    return np.where(levels <= 0.04045, levels / 12.92, powers)


_LINEAR = linear_light(np.arange(256) / 255).astype(np.float32)

# Responses of three kinds of cones to linear RGB: the cube root of these sums plus the
# bias, minus the cube root of the bias.
CONES = np.array(
    [
        [0.3, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.243422689, 0.204767444, 0.551809867],
    ],
    np.float32,
)
_BIAS = np.float32(0.00379307325)
BIAS_ROOT = np.float32(0.00379307325 ** (1 / 3))

# Gaussian of 1.5 px as a sum of truncated cosines: D. Charalampidis, "Recursive
# implementation of the Gaussian filter using truncated cosine functions", 2016. From
# the middle to the end; zeros outside of the picture.
_TAPS = np.array(
    [0.26462111, 0.21292859, 0.10933537, 0.03601111, 0.00941437], np.float32
)
REACH = len(_TAPS) - 1
C2 = np.float32(0.0009)

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _ONE, _TWO, _HALF = map(np.float32, (0, 1, 2, 0.5))


def window():
    """The blur's taps along one axis, float32 `[9]`."""
    return np.concatenate([_TAPS[:0:-1], _TAPS])


@dataclasses.dataclass(frozen=True)
class Scale:
    """What the metric needs of the original at one scale; float32."""

    planes: np.ndarray  # [n, h, w], the first n of Y, X, B, all in about 0..1
    mean: np.ndarray  # [n, h, w], local mean
    variance: np.ndarray  # [n, h, w], local variance


def reference_scales(original, weights=WEIGHTS):
    """The `Scale` of the original at every scale, from fine to coarse.

    Args:
      original: uint8 [h, w, 3], sRGB.
      weights: for each scale `[n, 6]`, see `WEIGHTS`.

    Returns:
      tuple of `Scale`, for `score`, about 20 bytes per pixel; empty if a side is below
      `MIN_SIDE`.

    Raises:
      ValueError: `original` is not uint8.
    """
    scales = []
    for planes in _planes_of_scales(original, weights):
        mean, variance = np.empty_like(planes), np.empty_like(planes)
        for plane, *statistics in zip(planes, mean, variance, strict=True):
            _local_statistics(plane, *statistics)
        scales.append(Scale(planes, mean, variance))
    return tuple(scales)


def score(scales, decoded):
    """SSIMULACRA2 of a decoded picture and the original of `scales`.

    Args:
      scales: of `reference_scales`.
      decoded: uint8 [h, w, 3], sRGB, of the size of the original.

    Returns:
      float, at most 100, which equal pictures have; about 90 where differences can
      hardly be seen, 70 for high, 50 for medium, 30 for low quality; it may be
      negative. nan if a side is below `MIN_SIDE`.

    Raises:
      ValueError: `decoded` has another size or is not uint8.
    """
    if not scales:
        return math.nan
    if decoded.shape[:2] != scales[0].planes.shape[1:]:
        raise ValueError(f"not of the original's size: {list(decoded.shape)}")
    total = 0.0
    by_scale = zip(WEIGHTS, scales, _planes_of_scales(decoded), strict=False)
    for weights, scale, planes in by_scale:  # small pictures have fewer scales
        for i, own_weights in enumerate(weights):
            original = scale.planes[i], scale.mean[i], scale.variance[i]
            sums = error_sums(*original, planes[i], 0, len(planes[i])).sum(-1)
            mean, mean_fourth = sums / planes[i].size
            total += own_weights @ np.concatenate([mean, mean_fourth**0.25])
    return _to_score(float(total))


def _to_score(total):
    """The score of a weighted sum of the norms of all maps."""
    total *= 0.9562382616834844
    bent = (
        2.326765642916932 * total
        - 0.020884521182843837 * total**2
        + 6.248496625763138e-05 * total**3
    )
    return 100 - 10 * max(bent, 0.0) ** 0.6276336467831387


def _planes_of_scales(picture, weights=WEIGHTS):
    """Yields the planes [n, h, w] that count, float32, from fine to coarse."""
    if picture.dtype != np.uint8:  # which the kernels do not check
        raise ValueError(f"not a uint8 picture: {picture.dtype}")
    height, width = picture.shape[:2]
    linear = np.empty((3, height, width), np.float32)
    _linearize(picture, linear)
    for own_weights in weights:
        if min(linear.shape[1:]) < MIN_SIDE:
            return
        yield to_xyb(linear, len(own_weights))
        linear = halve(linear)


def to_xyb(linear, count):
    """The first planes of Y, X, B, float32 `[count, h, w]`, of linear RGB `[3, h, w]`.

    These are Y + 0.01, 14 X + 0.42 and B - Y + 0.55, where X and Y are half of the
    difference and of the sum of the first two cone responses, and B is the third.
    """
    planes = np.empty((count, *linear.shape[1:]), np.float32)
    _to_xyb(linear, planes)
    return planes


def halve(planes):
    """Means of 2x2 pixels, `[n, h, w]`; an odd side is continued by its last pixel."""
    count, height, width = planes.shape
    halved = np.empty((count, (height + 1) // 2, (width + 1) // 2), np.float32)
    _halve(planes, halved)
    return halved


@njit
def _linearize(picture, linear):
    """Writes linear RGB `[3, h, w]` of a uint8 picture `[h, w, 3]`."""
    for y in range(picture.shape[0]):
        for c in range(3):
            row = linear[c, y]
            for x in range(row.size):
                row[x] = _LINEAR[picture[y, x, c]]


@njit
def _halve(planes, halved):
    """Writes what `halve` returns."""
    _, height, width = planes.shape
    quarter = _HALF * _HALF
    for c in range(planes.shape[0]):
        for y in range(halved.shape[1]):
            upper, lower = planes[c, 2 * y], planes[c, min(2 * y + 1, height - 1)]
            row = halved[c, y]
            for x in range(width // 2):
                left = upper[2 * x] + lower[2 * x]
                row[x] = quarter * (left + upper[2 * x + 1] + lower[2 * x + 1])
            if width % 2:
                row[-1] = _HALF * (upper[-1] + lower[-1])


@njit
def _to_xyb(linear, planes):
    """Writes what `to_xyb` returns."""
    count, height, width = planes.shape
    long, medium = np.empty((2, width), np.float32)
    for y in range(height):
        cone_response(linear, y, CONES[0], long)
        cone_response(linear, y, CONES[1], medium)
        row = planes[0, y]
        for x in range(width):
            row[x] = _HALF * (long[x] + medium[x]) + np.float32(0.01)
        if count > 1:
            row = planes[1, y]
            for x in range(width):
                row[x] = np.float32(7) * (long[x] - medium[x]) + np.float32(0.42)
        if count > 2:
            row, luma = planes[2, y], planes[0, y]
            cone_response(linear, y, CONES[2], row)
            for x in range(width):
                row[x] = row[x] - luma[x] + np.float32(0.56)


@njit
def cone_response(linear, y, sensitivity, response):
    """Writes the cube roots of row y, see `CONES`.

    To take a third of a float's bits, as an integer, is to take a third of its
    logarithm, about: 3 % off (W. Kahan, "Computing a real cube root", 1991). Two steps
    of Halley's method lead from there to single precision.
    """
    width = response.size
    sums = np.empty(width, np.float32)
    red, green, blue = linear[0, y], linear[1, y], linear[2, y]
    for x in range(width):
        sums[x] = sensitivity[0] * red[x] + sensitivity[1] * green[x]
    for x in range(width):
        sums[x] += sensitivity[2] * blue[x] + _BIAS
    bits, root_bits = sums.view(np.int32), response.view(np.int32)
    third = _ONE / np.float32(3)
    for x in range(width):
        root_bits[x] = np.int32(third * np.float32(bits[x])) + np.int32(709921077)
    for x in range(width):
        root = response[x]
        for _ in range(2):
            cube = root * root * root
            root *= (cube + _TWO * sums[x]) / (_TWO * cube + sums[x])
        response[x] = root - BIAS_ROOT


@njit
def _local_statistics(plane, mean, variance):
    """Writes the local mean and variance of a plane of the original."""
    height, width = plane.shape
    black = np.zeros_like(plane)
    blur = new_blur(width, 3)
    for y in range(-REACH, height):
        means, squares, _ = next_moments(black, plane, y, blur)
        if y >= 0:
            for x in range(width):
                mean[y, x] = means[x]
            for x in range(width):
                variance[y, x] = squares[x] - means[x] * means[x]


@njit
def error_sums(original, mean, variance, decoded, first, last):
    """Sums of the maps of errors down each column: of the values, of fourth powers.

    Args:
      original, mean, variance: float32 `[h, w]`, one plane of a `Scale`.
      decoded: float32 `[h, w]`, the same plane of the other picture.
      first, last: the rows that count, without the last.

    Returns:
      float64 `[2, 3 (SSIM, ringing, blur), w]`.
    """
    height, width = original.shape
    blur = new_blur(width, 3)
    maps = np.empty((3, width), np.float32)
    sums = np.zeros((2, 3, width))
    for y in range(-REACH, height):
        moments = next_moments(original, decoded, y, blur)
        if first <= y < last:
            _ssim_errors(mean[y], variance[y], moments, maps[0])
            _edge_errors(original[y], mean[y], decoded[y], moments[0], maps[1:])
            _accumulate(maps, sums)
    return sums


@njit
def new_blur(width, count):
    """Memory to blur `count` maps: rows, blurred along them; their blur; a wider row.

    Zeros stand for what is above the picture, and beside it.
    """
    rows = np.zeros((2 * REACH + 1, count, width), np.float32)
    columns = np.empty((count, width), np.float32)
    return rows, columns, np.zeros(width + 2 * REACH, np.float32)


@njit
def next_moments(original, decoded, y, blur):
    """Blurs of the difference of two planes, of its square, of the decoded's square.

    Called for one row after the other, from -`REACH` on: so the rows that the next
    ones need stay in the cache.

    Returns:
      float32 `[3, w]`, the moments at row y; overwritten by the next call.
    """
    rows, moments, wide = blur
    newest = rows[(y + REACH) % len(rows)]
    if y + REACH < len(decoded):
        ours, others = decoded[y + REACH], original[y + REACH]
        inside = wide[REACH:-REACH]
        for x in range(ours.size):
            inside[x] = ours[x] - others[x]
        blur_row(wide, newest[0])
        for x in range(ours.size):
            inside[x] *= inside[x]
        blur_row(wide, newest[1])
        for x in range(ours.size):
            inside[x] = ours[x] * ours[x]
        blur_row(wide, newest[2])
    else:
        newest[:] = _ZERO
    if y >= 0:
        blur_columns(rows, y, moments)
    return moments


@njit
def blur_row(wide, blurred):
    """Writes the blur of a row that has `REACH` pixels more at both ends."""
    for x in range(blurred.size):
        blurred[x] = (
            _TAPS[0] * wide[x + 4]
            + _TAPS[1] * (wide[x + 3] + wide[x + 5])
            + _TAPS[2] * (wide[x + 2] + wide[x + 6])
            + _TAPS[3] * (wide[x + 1] + wide[x + 7])
            + _TAPS[4] * (wide[x] + wide[x + 8])
        )


@njit
def blur_columns(rows, y, blurred):
    """Writes the blur at row y, whose neighbours are at their number modulo 9."""
    for moment in range(len(blurred)):
        row, middle = blurred[moment], rows[y % len(rows), moment]
        for x in range(row.size):
            row[x] = _TAPS[0] * middle[x]
        for distance in range(1, REACH + 1):
            above = rows[(y - distance) % len(rows), moment]
            below = rows[(y + distance) % len(rows), moment]
            for x in range(row.size):
                row[x] += _TAPS[distance] * (above[x] + below[x])


@njit
def _ssim_errors(mean, variance, moments, errors):
    """Writes one row of 1 - SSIM, with the luminance term 1 - (difference of means)^2.

    With e the difference of the pictures, E its local mean, V the variances and C the
    covariance, 1 - (1 - E^2) (2 C + c2) / (V1 + V2 + c2) is the same as the below,
    since V1 + V2 - 2 C = V(e): there small errors are not differences of large numbers.
    """
    difference, square, decoded_square = moments
    for x in range(errors.size):
        luminance = difference[x] * difference[x]
        decoded_mean = mean[x] + difference[x]
        variances = variance[x] + (decoded_square[x] - decoded_mean * decoded_mean)
        structure = (square[x] - luminance) / (variances + C2)
        errors[x] = luminance + (_ONE - luminance) * structure


@njit
def _edge_errors(original, mean, decoded, difference, errors):
    """Writes one row of ringing, `errors[0]`, and of blur, `errors[1]`.

    These are the positive and the negative part of (1 + |decoded edge|) / (1 +
    |original edge|) - 1, where an edge is what a pixel differs from the local mean.
    """
    ringing, blur = errors
    for x in range(ringing.size):
        edge = original[x] - mean[x]
        change = (decoded[x] - original[x]) - difference[x]
        ringing[x] = (abs(edge + change) - abs(edge)) / (_ONE + abs(edge))
    for x in range(ringing.size):
        blur[x] = max(-ringing[x], _ZERO)
        ringing[x] = max(ringing[x], _ZERO)


@njit
def _accumulate(maps, sums):
    """Adds a row of the maps and of their fourth powers to the sums of its columns."""
    for i in range(3):
        values, total, total_fourth = maps[i], sums[0, i], sums[1, i]
        for x in range(values.size):
            total[x] += values[x]
        for x in range(values.size):
            square = values[x] * values[x]
            total_fourth[x] += square * square
