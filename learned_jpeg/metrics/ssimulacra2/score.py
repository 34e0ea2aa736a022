"""SSIMULACRA2, a score of what people see of an image's errors: 100 if they see none.

The metric of Jon Sneyers, Cloudinary (https://github.com/cloudinary/ssimulacra2), in
version 2.1; the constants are those of the tool `ssimulacra2` of libjxl (BSD licence).
Both images, in JPEG XL's colour space XYB and at up to six scales, give three maps of
errors: SSIM without its luminance term; ringing, which is edges that the original does
not have; blur, edges that were lost. The score is a polynomial of the weighted sum of
their means and 4-norms.

What depends on the original only is computed once. Planes whose weights are all below
0.002 (X and B at fine scales, all of the sixth scale) are left out: that halves the
time, and changes scores of JPEG files by less than 0.001.

The tool works in single precision, and the rounding errors of its blur count: by an
exact blur scores are up to 0.03 higher below 75, and up to 0.3 higher above. These
errors depend on the last bit of each pixel. So light, XYB and blur are rounded here as
they are there, and scores agree within 0.0005. For sides below 113 px the tool has
fewer scales, and pairs the weights of Y and B with others of them; here each scale
keeps its own.
"""

import dataclasses
import math

import numpy as np

from learned_jpeg.common import threads
from learned_jpeg.common.compiled import borrowed, fma, from_bits, njit, to_bits
from learned_jpeg.metrics.ssimulacra2 import MIN_SIDE
from learned_jpeg.metrics.ssimulacra2.recursive_blur import (
    REACH,
    ROWS,
    STEP,
    blur_block,
    blur_down,
    load_block,
    new_blur,
)

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


def _linear_light():
    """Returns linear light of the 256 levels of sRGB (IEC 61966-2-1), as in libjxl.

    A quotient of polynomials, fitted to within 5e-7, by fused operations: the product
    of two floats is exact in float64.
    """
    levels = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    sums = np.zeros((2, 256), np.float32)
    for numerator, denominator in (
        (0.8210152774, 0.006521209011),
        (0.7961564959, -0.05512498495),
        (0.1624820318, 0.498752835),
        (0.01043637593, 1.076976492),
        (0.0002200248328, 0.263184697),
    ):
        summands = np.array([[numerator], [denominator]], np.float32)
        sums = (sums.astype(np.float64) * levels + summands).astype(np.float32)
    slope = np.float32(1) / np.float32(12.92)
    is_linear = levels <= np.float32(0.04045)
    return np.where(is_linear, levels * slope, sums[0] / sums[1])


_LINEAR = _linear_light()

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
BIAS = np.float32(0.00379307325)
BIAS_ROOT = np.float32(0.00379307325 ** (1 / 3))

C2 = np.float32(0.0009)

_STRIP = 512  # rows that are a task for a thread

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _ONE, _TWO, _HALF = map(np.float32, (0, 1, 2, 0.5))


@dataclasses.dataclass(frozen=True)
class Scale:
    """The original at one scale, as the metric compares with it; float32."""

    planes: np.ndarray  # [n, h, w], the first n of Y, X, B, all in about 0..1
    mean: np.ndarray  # [n, h, w], local mean
    variance: np.ndarray  # [n, h, w], local variance


def reference_scales(original: np.ndarray) -> tuple[Scale, ...]:
    """Computes the `Scale`s of an original, from fine to coarse.

    Args:
      original: uint8 [h, w, 3], sRGB.

    Returns:
      tuple of `Scale`, for `score`, about 20 bytes per pixel; empty if a side is below
      `MIN_SIDE`.

    Raises:
      ValueError: `original` is not uint8.
    """
    return scales_by(_local_statistics, original, WEIGHTS)


def scales_by(local_statistics, original, weights):
    """Does what `reference_scales` does, by another blur and for other weights.

    Args:
      local_statistics: writes local mean and variance of a plane.
      original: uint8 [h, w, 3], sRGB.
      weights: for each scale `[n, 6]`, see `WEIGHTS`.
    """
    scales = tuple(
        Scale(planes, np.empty_like(planes), np.empty_like(planes))
        for planes in _planes_of_scales(original, weights)
    )
    threads.run(lambda plane: local_statistics(*plane), _by_plane(scales))
    return scales


def _by_plane(scales):
    """Returns the plane, mean and variance of every plane, from fine to coarse."""
    return [
        of_plane
        for scale in scales
        for of_plane in zip(scale.planes, scale.mean, scale.variance, strict=True)
    ]


def score(scales: tuple[Scale, ...], decoded: np.ndarray) -> float:
    """Computes SSIMULACRA2 of a decoded image.

    Args:
      scales: of the original, from `reference_scales`.
      decoded: uint8 [h, w, 3], sRGB, of the size of the original.

    Returns:
      At most 100, which equal images have; about 90 where differences can
      hardly be seen, 70 for high, 50 for medium, 30 for low quality; it may be
      negative. nan if a side is below `MIN_SIDE`.

    Raises:
      ValueError: `decoded` has another size or is not uint8.
    """
    if not scales:
        return math.nan
    start = np.zeros(1, np.int64)
    return score_by_tile(scales, decoded, start, start)[0]


def score_by_tile(
    scales: tuple[Scale, ...], decoded: np.ndarray, tops: np.ndarray, lefts: np.ndarray
) -> tuple[float, np.ndarray]:
    """Computes SSIMULACRA2 of a decoded image and of the errors in each of its tiles.

    The score of a tile is that of the maps of the whole image there. It is close to the
    score of the tile as an image of its own, whose blurs end at its borders.

    Args:
      scales: of the original, from `reference_scales`, at least one.
      decoded: uint8 `[h, w, 3]`, sRGB, of the size of the original.
      tops, lefts: int64, rising from 0: the rows and columns in which tiles begin,
        multiples of 16 px.

    Returns:
      (score of the image, as `score`; float64 `[tops, lefts]`).

    Raises:
      ValueError: `decoded` has another size or is not uint8.
    """
    if decoded.shape[:2] != scales[0].planes.shape[1:]:
        raise ValueError(f"not of the original's size: {list(decoded.shape)}")
    starts = [(tops >> number, lefts >> number) for number in range(len(scales))]
    all_planes = list(_planes_of_scales(decoded, WEIGHTS))
    # Small images have fewer scales.
    others = [
        (plane, own_weights, *starts[number])
        for number, (planes, weights) in enumerate(
            zip(all_planes, WEIGHTS, strict=False)
        )
        for plane, own_weights in zip(planes, weights, strict=True)
    ]
    tasks = list(zip(_by_plane(scales), others, strict=True))
    all_sums = iter(threads.run(lambda task: _error_sums(*task[0], *task[1]), tasks))
    total, of_tiles = 0.0, np.zeros((tops.size, lefts.size))
    for planes, weights, (rows, cols) in zip(all_planes, WEIGHTS, starts, strict=False):
        height, width = planes.shape[1:]
        areas = np.outer(np.diff(rows, append=height), np.diff(cols, append=width))
        sums = np.array([next(all_sums) for _ in planes])
        whole = sums.sum((1, 2), keepdims=True)
        total += _weighted(whole, areas.sum(keepdims=True), weights)[0, 0]
        of_tiles += _weighted(sums, areas, weights)
    return _to_score(float(total)), np.vectorize(_to_score, otypes=[float])(of_tiles)


def _weighted(sums, areas, weights):
    """Returns the weighted sums of the norms of all maps of a scale, `[tops, lefts]`.

    Args:
      sums: float64 `[planes, tops, lefts, 2, 3]`, of `_error_sums`.
      areas: `[tops, lefts]`, numbers of pixels.
      weights: float64 `[planes, 6]`.
    """
    norms = sums / areas[:, :, np.newaxis, np.newaxis]
    norms[..., 1, :] **= 0.25
    return np.einsum("ptlmk,pmk->tl", norms, weights.reshape(-1, 2, 3))


def _to_score(total):
    """Returns the score of a weighted sum of the norms of all maps."""
    total *= 0.9562382616834844
    bent = (
        2.326765642916932 * total
        - 0.020884521182843837 * total**2
        + 6.248496625763138e-05 * total**3
    )
    return 100 - 10 * max(bent, 0.0) ** 0.6276336467831387


def _planes_of_scales(image, weights):
    """Yields the planes [n, h, w] that count, float32, from fine to coarse."""
    if image.dtype != np.uint8:  # which the kernels do not check
        raise ValueError(f"not a uint8 image: {image.dtype}")
    height, width = image.shape[:2]
    linear = np.empty((3, height, width), np.float32)
    _by_rows(_linearize, image, linear)
    for own_weights in weights:
        if min(linear.shape[1:]) < MIN_SIDE:
            return
        yield to_xyb(linear, len(own_weights))
        linear = halve(linear)


def to_xyb(linear, count):
    """Converts linear RGB `[3, h, w]` to planes of Y, X, B, float32 `[count, h, w]`.

    These are Y + 0.01, 14 X + 0.42 and B - Y + 0.55, where X and Y are half of the
    difference and of the sum of the first two cone responses, and B is the third.
    """
    planes = np.empty((count, *linear.shape[1:]), np.float32)
    _by_rows(_to_xyb, linear, planes)
    return planes


def halve(planes):
    """Averages 2x2 pixels, `[n, h, w]`; an odd side repeats its last pixel."""
    count, height, width = planes.shape
    halved = np.empty((count, (height + 1) // 2, (width + 1) // 2), np.float32)
    _by_rows(_halve, planes, halved)
    return halved


def _by_rows(function, source, target):
    """Calls a function for strips of the rows of its target, `[n, h, w]`."""
    height = target.shape[1]
    starts = range(0, height, _STRIP)
    threads.run(
        lambda start: function(source, start, min(start + _STRIP, height), target),
        starts,
    )


@njit
def _linearize(image, first, last, linear):
    """Writes rows of linear RGB `[3, h, w]` of a uint8 image `[h, w, 3]`."""
    for y in range(first, last):
        for c in range(3):
            row = linear[c, y]
            for x in range(row.size):
                row[x] = _LINEAR[image[y, x, c]]


@njit
def _halve(planes, first, last, halved):
    """Writes rows of what `halve` returns."""
    _, height, width = planes.shape
    quarter = _HALF * _HALF
    for c in range(planes.shape[0]):
        for y in range(first, last):
            upper, lower = planes[c, 2 * y], planes[c, min(2 * y + 1, height - 1)]
            row = halved[c, y]
            for x in range(width // 2):
                sum_above = upper[2 * x] + upper[2 * x + 1]
                row[x] = quarter * (sum_above + lower[2 * x] + lower[2 * x + 1])
            if width % 2:
                row[-1] = quarter * (upper[-1] + upper[-1] + lower[-1] + lower[-1])


@njit
def _to_xyb(linear, first, last, planes):
    """Writes rows of what `to_xyb` returns."""
    linear, planes = borrowed(linear), borrowed(planes)
    count, _, width = planes.shape
    long = np.empty(width, np.float32)
    medium = np.empty(width, np.float32)
    for y in range(first, last):
        _cone_response(linear, y, CONES[0], long)
        _cone_response(linear, y, CONES[1], medium)
        row = planes[0, y]
        for x in range(width):
            row[x] = _HALF * (long[x] + medium[x]) + np.float32(0.01)
        if count > 1:
            row = planes[1, y]
            for x in range(width):
                row[x] = np.float32(7) * (long[x] - medium[x]) + np.float32(0.42)
        if count > 2:
            row = planes[2, y]
            _cone_response(linear, y, CONES[2], row)
            for x in range(width):
                row[x] = row[x] - _HALF * (long[x] + medium[x]) + np.float32(0.55)


@njit
def _cone_response(linear, y, sensitivity, response):
    """Writes the cube roots of row y, see `CONES`.

    To take minus a third of a float's exponent is to take the inverse of its cube root,
    about. Four of Newton's steps, the last one with less rounding, lead from there to
    single precision; libjxl's `CubeRootAndAdd`, after A. Fog's vector class library.
    """
    linear = borrowed(linear)
    red, green, blue = linear[0, y], linear[1, y], linear[2, y]
    by_red, by_green, by_blue = sensitivity[0], sensitivity[1], sensitivity[2]
    third, four_thirds = _ONE / np.float32(3), np.float32(4) / np.float32(3)
    for x in range(response.size):
        total = fma(by_green, green[x], fma(by_blue, blue[x], BIAS))
        total = fma(by_red, red[x], total)
        exponent = to_bits(total) >> np.int32(23)
        start = np.int32(0x54800000) - exponent * np.int32(0x2AAAAA)
        inverse = from_bits(np.int32(start))
        for _ in range(3):
            square = inverse * inverse
            inverse = fma(-(third * total), square * square, four_thirds * inverse)
        square = inverse * inverse
        rest = fma(-total, square * square, inverse)
        inverse = fma(third, rest, inverse)
        response[x] = fma(inverse * inverse, total, -BIAS_ROOT)


def _local_statistics(plane, mean, variance):
    """Writes the local mean and variance of a plane of the original."""
    none = np.zeros(0, np.int64), np.zeros(0, np.int64)
    sums = np.zeros((0, 0, 2, 3))
    _visit(plane, mean, variance, plane, np.zeros(6), *none, _space(plane, 2), sums)


def _error_sums(original, mean, variance, decoded, weights, tops, lefts):
    """Sums the maps of errors in each tile: their values, their fourth powers.

    Args:
      original, mean, variance: float32 `[h, w]`, one plane of a `Scale`.
      decoded: float32 `[h, w]`, the same plane of the other image.
      weights: float64 `[6]`, see `WEIGHTS`; sums whose weight is 0 stay 0.
      tops, lefts: int64, rising from 0: the rows and columns in which tiles begin.

    Returns:
      float64 `[tops, lefts, 2, 3 (SSIM, ringing, blur)]`.
    """
    sums = np.zeros((tops.size, lefts.size, 2, 3))
    planes = original, mean, variance, decoded
    _visit(*planes, weights, tops, lefts, _space(original, 3), sums)
    return sums


def _space(plane, count):
    """Allocates what `_visit` writes to: the blur, a row of maps, sums of columns."""
    width = plane.shape[1]
    blur = new_blur(width, count)
    return *blur, np.empty((3, width), np.float32), np.zeros((2, 3, width))


@njit
def _visit(original, mean, variance, decoded, weights, tops, lefts, space, sums):
    """Visits a plane row by row, see `_local_statistics` and `_error_sums`.

    With the space of two maps, local statistics of the original are written; with that
    of three, errors are summed: two functions would take twice as long to compile.
    """
    original, mean, variance = borrowed(original), borrowed(mean), borrowed(variance)
    decoded, sums = borrowed(decoded), borrowed(sums)
    maps, of_columns = borrowed(space[5]), borrowed(space[6])
    height = len(original)
    tile = 0
    for y in range(-REACH, height, STEP):
        moments = borrowed(_next_moments(decoded, original, y, space))
        for r in range(min(STEP, height - y) if y >= 0 else 0):
            row = y + r
            if moments.shape[1] == 2:
                _write_statistics(moments[r], mean[row], variance[row])
                continue
            _ssim_errors(mean[row], variance[row], moments[r], maps[0])
            _edge_errors(original[row], mean[row], decoded[row], moments[r, 0], maps)
            _accumulate(maps, weights, of_columns)
            if row + 1 == (tops[tile + 1] if tile + 1 < tops.size else height):
                _move_sums(of_columns, lefts, sums[tile])
                tile += 1


@njit
def _write_statistics(moments, mean, variance):
    """Writes a row of the local mean and variance, of blurs of pixels and squares."""
    means, squares = moments[0], moments[1]
    for x in range(mean.size):
        mean[x] = means[x]
        variance[x] = squares[x] - means[x] * means[x]


@njit
def _next_moments(plane, other, y, space):
    """Blurs of a plane, of its square and, of three maps, of its product with another.

    Called for every `STEP`th row, from -`REACH` on.

    Returns:
      float32 `[STEP, 2 or 3, w]`, the moments from row y on; overwritten by the next
      call.
    """
    if (y + REACH) % ROWS == 0:
        _load(plane, other, y + REACH, borrowed(space[0]))
        blur_block(y + REACH, space)
    return blur_down(y, space)


@njit
def _load(plane, other, first, blocks):
    """Writes rows `first` and on of the maps that `_next_moments` blurs."""
    values = blocks[0]
    load_block(plane, first, values)
    if len(blocks) == 3:
        load_block(other, first, blocks[2])
        _multiply(blocks[2], values, blocks[2])
    _multiply(values, values, blocks[1])


@njit
def _multiply(factors, others, products):
    for x in range(products.size):
        products[x] = factors[x] * others[x]


@njit
def _ssim_errors(mean, variance, moments, errors):
    """Writes one row of 1 - SSIM; luminance is 1 - (difference of means)^2 of it."""
    moments = borrowed(moments)
    decoded_mean, square, product = moments[0], moments[1], moments[2]
    for x in range(errors.size):
        difference = mean[x] - decoded_mean[x]
        covariance = product[x] - mean[x] * decoded_mean[x]
        decoded_variance = square[x] - decoded_mean[x] * decoded_mean[x]
        structure = (_ONE - difference * difference) * (_TWO * covariance + C2)
        errors[x] = max(_ONE - structure / (variance[x] + decoded_variance + C2), _ZERO)


@njit
def _edge_errors(original, mean, decoded, decoded_mean, maps):
    """Writes one row of ringing, `maps[1]`, and of blur, `maps[2]`.

    These are the positive and the negative part of (1 + |decoded edge|) / (1 +
    |original edge|) - 1, where an edge is what a pixel differs from the local mean.
    """
    maps = borrowed(maps)
    ringing, blur = maps[1], maps[2]
    for x in range(original.size):
        size = abs(original[x] - mean[x])
        error = (abs(decoded[x] - decoded_mean[x]) - size) / (_ONE + size)
        ringing[x], blur[x] = max(error, _ZERO), max(-error, _ZERO)


@njit
def _accumulate(maps, weights, sums):
    """Adds a row of the maps and of their fourth powers to the sums of its columns."""
    maps, sums = borrowed(maps), borrowed(sums)
    for i in range(3):
        if weights[i] != 0:
            _add(maps[i], sums[0, i])
        if weights[3 + i] != 0:
            _add_fourth_powers(maps[i], sums[1, i])


@njit
def _move_sums(of_columns, lefts, sums):
    """Writes the sums of columns `[2, 3, w]` as those of tiles `[lefts, 2, 3]`."""
    width = of_columns.shape[2]
    for tile in range(lefts.size):
        end = lefts[tile + 1] if tile + 1 < lefts.size else width
        for m in range(2):
            for i in range(3):
                for x in range(lefts[tile], end):
                    sums[tile, m, i] += of_columns[m, i, x]
    of_columns[:] = 0


@njit
def _add(values, total):
    for x in range(values.size):
        total[x] += values[x]


@njit
def _add_fourth_powers(values, total):
    for x in range(values.size):
        square = values[x] * values[x]
        total[x] += square * square
