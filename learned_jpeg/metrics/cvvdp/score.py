"""ColorVideoVDP for still images: 10 just objectionable differences if none is seen.

The metric of R. K. Mantiuk, P. Hanji, M. Ashraf, Y. Asano and A. Chapiro,
"ColorVideoVDP: A visual difference predictor for image, video and display distortions",
2024 (https://github.com/gfxdisp/ColorVideoVDP), in version 0.5.7 for the display
`standard_4k`; the constants are those of the package cvvdp (MIT licence, copyright 2024
Graphics and Displays group).

Both images become light of the display, in an achromatic, a red-green and a
yellow-violet channel, and Laplacian pyramids of these. A difference from the local mean
over the local luminance is a contrast. What people see of a difference of contrasts
follows from their sensitivity, by frequency and luminance, and from the contrast that
both images share there, which masks it. What depends on the original only is computed
once. Scores are within 0.0001 of the package's.
"""

import dataclasses
import math

import numpy as np

from learned_jpeg.common import threads
from learned_jpeg.common.compiled import fma, njit
from learned_jpeg.metrics.cvvdp import MIN_SIDE
from learned_jpeg.metrics.cvvdp.powers import exp2, log2, power
from learned_jpeg.metrics.cvvdp.pyramid import expand_row, reduce_as_package
from learned_jpeg.metrics.cvvdp.sensitivity import (
    BANDS,
    FIRST_LUMINANCE,
    LAST_LUMINANCE,
    log2_sensitivities,
)

# The display: a monitor of 30 inches and 3840x2160 px, seen from 0.75 m, which gives 75
# px per degree; in an office of 250 lux, of which it reflects 0.5 %.
_PEAK = 200.0  # cd/m^2
_BLACK = _PEAK / 1000
_REFLECTED = 250 / math.pi * 0.005
LIGHT = _PEAK - _BLACK  # of white without that of black

# From linear sRGB to the space DKL of the white D65, by the cones' responses.
_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.072175],
        [0.0193339, 0.119192, 0.9503041],
    ]
)
_XYZ_TO_LMS = np.array(
    [
        [0.187596268556126, 0.585168649077728, -0.026384263306304],
        [-0.133397430663221, 0.405505777260049, 0.034502127690364],
        [0.000244379021663, -0.000542995890619, 0.019406849066323],
    ]
)
_LMS_TO_DKL = np.array(
    [
        [1, 1, 0],
        [1, -2.311130179947035, 0],
        [-1, -1, 50.977571328718781],
    ]
)
RGB_TO_DKL = (_LMS_TO_DKL @ _XYZ_TO_LMS @ _RGB_TO_XYZ).astype(np.float32)

# Masking: the exponent of a difference, those of the channels that mask it, and how
# much a channel (row) masks another (column).
_P = np.float32(2.264355182647705)
MASK_EXPONENTS = np.array(
    [1.302622675895691, 2.8885908126831055, 3.6807713508605957], np.float32
)
MASK_WEIGHTS = np.exp2(
    np.array(
        [
            [-0.18950104713439941, -5.962151050567627, -4.31834602355957],
            [2.5655593872070312, 0.34406712651252747, -2.719646453857422],
            [3.8118371963500977, -1.0051705837249756, -0.5193376541137695],
        ]
    )
).astype(np.float32)
LARGEST = np.float32(10**2.5642454624176025)  # of a difference, approached softly

# The contrast that masks is blurred by a Gaussian of 3 px, and scaled.
REACH = 6  # px
_GAUSSIAN = np.exp(-np.square(np.arange(REACH + 1) / 3) / 2)
_GAUSSIAN /= 2 * _GAUSSIAN.sum() - 1
TAPS = tuple(_GAUSSIAN.astype(np.float32))  # from the middle to the end
MASK_SCALE = np.float32(10**-0.7954971194267273)

# Pooling: weights of the mean's differences, and the score.
_MEAN_WEIGHTS = np.array([0.0036334486212581396, 1.6627724170684814, 4.11874532699585])
STILL_FACTOR = 0.577918291091919
JOD_FACTOR, JOD_EXPONENT = 0.0439569391310215, 0.9302042722702026
_LINEAR_BELOW = 0.1  # where the power's slope would be too steep

# The package adds this to a base, and subtracts the power of it.
_EPSILON = 1e-5
_LEAST, _TWICE_LEAST = np.float32(_EPSILON), np.float32(2 * _EPSILON)


def _light_of_levels():
    """Returns the light that the display sends at the 256 levels of sRGB, in cd/m^2."""
    levels = np.arange(256) / 255
    linear = np.where(
        levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4
    )
    return (LIGHT * linear + _BLACK + _REFLECTED).astype(np.float32)


_LIGHT_OF_LEVELS = _light_of_levels()

# Binary logarithms of the sensitivities, at equal steps of that of the luminance.
_LOG_SENSITIVITIES = log2_sensitivities().astype(np.float32)
_LOG_LUMINANCES = np.linspace(
    math.log2(FIRST_LUMINANCE),
    math.log2(LAST_LUMINANCE),
    _LOG_SENSITIVITIES.shape[-1],
).astype(np.float32)
_LOG_FIRST = _LOG_LUMINANCES[0]
_STEPS_PER_OCTAVE = np.float32(1 / (_LOG_LUMINANCES[1] - _LOG_LUMINANCES[0]))
_LAST_STEP = np.float32(len(_LOG_LUMINANCES) - 1.001)
_NEXT_STEP = np.uint32(1)

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _ONE = map(np.float32, (0, 1))

_ROWS = 256  # of a band that are written at a time


@dataclasses.dataclass(frozen=True)
class Band:
    """One band of the original; float32 `[3 (channels of DKL), h, w]`.

    Attributes:
      contrast: in units of what can just be seen.
      gain: factor from the contrast of light to these units.
    """

    contrast: np.ndarray
    gain: np.ndarray


@dataclasses.dataclass(frozen=True)
class Original:
    """The original, as the metric compares with it; about 32 bytes per pixel.

    Attributes:
      bands: from fine to coarse.
      mean: float32 `[3, h, w]`, the coarsest planes over their mean luminance.
      sensitivity: float32 `[3]`, to differences of `mean`.
    """

    bands: tuple[Band, ...]
    mean: np.ndarray
    sensitivity: np.ndarray


def prepare(image: np.ndarray) -> Original:
    """Computes what depends on the original only.

    Args:
      image: uint8 `[h, w, 3]`, sRGB, sides of at least `MIN_SIDE` px.

    Raises:
      ValueError: it has another type, or is smaller.
    """
    planes = to_dkl(image)
    bands = []
    for number in range(band_count(*planes.shape[1:])):
        coarser = reduce_as_package(planes)
        bands.append(new_band(planes, coarser, number))
        planes = coarser
    mean, luminance = _over_mean(planes)
    place = np.log2(luminance)
    logs = [np.interp(place, _LOG_LUMINANCES, row) for row in _LOG_SENSITIVITIES[BANDS]]
    return Original(tuple(bands), mean, np.exp2(logs).astype(np.float32))


def band_count(height: int, width: int) -> int:
    """Returns the number of bands of an image; the coarsest has sides of 4 to 7 px."""
    return min(min(height, width).bit_length() - 2, BANDS)


def new_band(planes: np.ndarray, coarser: np.ndarray, number: int) -> Band:
    """Computes a band from the planes of its scale and of the next."""
    band = Band(np.empty_like(planes), np.empty_like(planes))
    log_gains = _LOG_SENSITIVITIES[number] + np.float32(number > 0)

    def write(rows: slice) -> None:
        own = planes, coarser, log_gains, rows.start, rows.stop
        _write_band(*own, band.contrast, band.gain)

    height = planes.shape[1]
    starts = range(0, height, _ROWS)
    threads.run(write, [slice(i, min(i + _ROWS, height)) for i in starts])
    return band


def score(original: Original, decoded: np.ndarray) -> float:
    """Computes the score of a decoded image.

    Args:
      original: from `prepare`.
      decoded: uint8 `[h, w, 3]`, sRGB, of the size of the original.

    Returns:
      At most 10, which equal images have. A score that is lower by 1 means that three
      of four people would say which of the two images is worse.

    Raises:
      ValueError: `decoded` has another size or is not uint8.
    """
    planes = to_dkl(decoded)
    if planes.shape != original.bands[0].contrast.shape:
        raise ValueError(f"not of the original's size: {list(decoded.shape)}")
    means = []
    for band in original.bands:
        coarser = reduce_as_package(planes)
        sums = _difference_sums(planes, coarser, band.contrast, band.gain)
        means.append(sums.sum(1) / planes[0].size)
        planes = coarser
    mean, _ = _over_mean(planes)
    sensitivity = original.sensitivity[:, np.newaxis, np.newaxis]
    differences = np.abs(mean - original.mean) * sensitivity
    means.append((differences * (differences + _TWICE_LEAST)).mean((1, 2), dtype=float))
    norms = _root(np.array(means), 2)
    norms[-1] *= _MEAN_WEIGHTS
    return _to_score(_norm(_norm(norms)))


def _norm(values):
    """Returns the 4-norm along the first axis."""
    return _root(((values + _EPSILON) ** 4 - _EPSILON**4).sum(0), 4)


def _root(values, degree):
    """Returns a root whose slope at 0 is finite."""
    return (values + _EPSILON) ** (1 / degree) - _EPSILON ** (1 / degree)


def _to_score(norm):
    """Returns the score of the norm of all differences."""
    seen = float(norm) * STILL_FACTOR
    if seen > _LINEAR_BELOW:
        return 10 - JOD_FACTOR * seen**JOD_EXPONENT
    return 10 - JOD_FACTOR * _LINEAR_BELOW ** (JOD_EXPONENT - 1) * seen


def to_dkl(image):
    """Returns the display's light in DKL, float32 `[3, h, w]`, of a uint8 image."""
    if image.dtype != np.uint8:  # which the kernels do not check
        raise ValueError(f"not a uint8 image: {image.dtype}")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"sides below {MIN_SIDE} px: {width}x{height}")
    planes = np.empty((3, height, width), np.float32)
    _write_dkl(np.ascontiguousarray(image).reshape(height, -1), planes)
    return planes


def _over_mean(planes):
    """Returns planes over their mean luminance, and that."""
    luminance = planes[0].mean()
    return planes / luminance, luminance


@njit
def _write_dkl(image, planes):
    """Writes what `to_dkl` returns, of levels `[h, 3 w]`."""
    _, height, width = planes.shape
    light = np.empty((3, width), np.float32)
    for y in range(height):
        _light_row(image[y], light[0], light[1], light[2])
        for c in range(3):
            _dkl_row(light, RGB_TO_DKL[c], planes[c, y])


@njit
def _light_row(levels, red, green, blue):
    for x in range(red.size):
        red[x] = _LIGHT_OF_LEVELS[levels[3 * x]]
        green[x] = _LIGHT_OF_LEVELS[levels[3 * x + 1]]
        blue[x] = _LIGHT_OF_LEVELS[levels[3 * x + 2]]


@njit
def _dkl_row(light, factors, row):
    red, green, blue = light[0], light[1], light[2]
    by_red, by_green, by_blue = factors[0], factors[1], factors[2]
    for x in range(row.size):
        row[x] = by_red * red[x] + by_green * green[x] + by_blue * blue[x]


@njit
def _write_band(planes, coarser, log_gains, first, last, contrast, gain):
    """Writes rows of the contrast and the gain of a `Band`, see `new_band`."""
    width = planes.shape[2]
    expanded = np.empty((3, width), np.float32)
    columns = np.empty(coarser.shape[2], np.float32)
    inverse = np.empty(width, np.float32)
    places = np.empty(width, np.float32)
    for y in range(first, last):
        expand_row(coarser, y, expanded, columns)
        luminance = expanded[0]
        for x in range(width):
            inverse[x] = _ONE / luminance[x]
        for x in range(width):
            place = (log2(luminance[x]) - _LOG_FIRST) * _STEPS_PER_OCTAVE
            places[x] = min(max(place, _ZERO), _LAST_STEP)
        for c in range(3):
            _gain_row(places, log_gains[c], gain[c, y])
            _contrast_row(
                planes[c, y], expanded[c], inverse, gain[c, y], contrast[c, y]
            )


@njit
def _gain_row(places, log_gains, gain):
    """Writes a row of gains: powers of 2 of what is between the table's values."""
    for x in range(gain.size):
        step = np.uint32(places[x])
        part = places[x] - np.float32(step)
        low, high = log_gains[step], log_gains[step + _NEXT_STEP]
        gain[x] = low + part * (high - low)
    for x in range(gain.size):
        gain[x] = exp2(gain[x])


@njit
def _contrast_row(plane, expanded, inverse, gain, contrast):
    """Writes a row of contrasts: the difference from the local mean, times the rest."""
    for x in range(contrast.size):
        contrast[x] = (plane[x] - expanded[x]) * inverse[x] * gain[x]


@njit
def _difference_sums(planes, coarser, contrast, gain):
    """Sums the squares of the differences that are seen in a band down each column.

    Args:
      planes, coarser: float32 `[3, h, w]`, of the decoded image; the next scale.
      contrast, gain: of the original's `Band`.

    Returns:
      float64 `[3, w]`.
    """
    _, height, width = planes.shape
    reach = mask_reach(height, width)
    expanded = np.empty((3, width), np.float32)
    masked = np.empty((3, width), np.float32)
    columns = np.empty(coarser.shape[2], np.float32)
    inverse = np.empty(width, np.float32)
    decoded = np.empty(width, np.float32)
    rows, wide = new_masks(width)
    differences = np.empty((REACH + 1, 3, width), np.float32)
    sums = np.zeros((3, width))
    for y in range(height + reach):
        if y < height:
            expand_row(coarser, y, expanded, columns)
            for x in range(width):
                inverse[x] = _ONE / expanded[0, x]
            for c in range(3):
                _contrast_row(planes[c, y], expanded[c], inverse, gain[c, y], decoded)
                own = differences[y % len(differences), c]
                _difference_row(contrast[c, y], decoded, own, wide[REACH:-REACH])
                blur_mask(wide, reach, rows[y % len(rows), c])
        done = y - reach
        if done >= 0:
            mask_row(rows, done, height, reach, masked)
            for c in range(3):
                own = differences[done % len(differences), c]
                _accumulate(own, masked, MASK_WEIGHTS[:, c], sums[c])
    return sums


@njit
def mask_reach(height, width):
    """Returns how far the blur of a band reaches, which is 0 in the smallest ones."""
    return REACH if min(height, width) > REACH else 0


@njit
def new_masks(width):
    """Allocates rows of masking contrast, blurred along them, and a wider row."""
    rows = np.empty((2 * REACH + 1, 3, width), np.float32)
    return rows, np.empty(width + 2 * REACH, np.float32)


@njit
def _difference_row(original, decoded, difference, shared):
    """Writes the power of a difference of contrasts, and what both images share."""
    # Exactly 0 where the images are equal.
    least = power(_LEAST, _P)
    for x in range(shared.size):
        shared[x] = min(abs(original[x]), abs(decoded[x]))
    for x in range(difference.size):
        difference[x] = power(abs(original[x] - decoded[x]) + _LEAST, _P) - least


@njit
def blur_mask(wide, reach, blurred):
    """Writes the blur along a row, which is in the middle of a wider one."""
    width = blurred.size
    first, last = REACH, REACH + width - 1
    if reach == 0:
        for x in range(width):
            blurred[x] = wide[first + x]
        return
    for distance in range(1, REACH + 1):
        wide[first - distance] = wide[first + distance]
        wide[last + distance] = wide[last - distance]
    for x in range(width):
        blurred[x] = (
            TAPS[0] * wide[x + 6]
            + TAPS[1] * (wide[x + 5] + wide[x + 7])
            + TAPS[2] * (wide[x + 4] + wide[x + 8])
            + TAPS[3] * (wide[x + 3] + wide[x + 9])
            + TAPS[4] * (wide[x + 2] + wide[x + 10])
            + TAPS[5] * (wide[x + 1] + wide[x + 11])
            + TAPS[6] * (wide[x] + wide[x + 12])
        )


@njit
def mask_row(rows, y, height, reach, masked):
    """Writes powers of the contrast that masks at row y, float32 `[3, w]`."""
    for c in range(3):
        row, middle = masked[c], rows[y % len(rows), c]
        own = TAPS[0] if reach else _ONE
        for x in range(row.size):
            row[x] = own * middle[x]
        for distance in range(1, reach + 1):
            above = rows[abs(y - distance) % len(rows), c]
            place = y + distance
            below = rows[min(place, 2 * (height - 1) - place) % len(rows), c]
            weight = TAPS[distance]
            for x in range(row.size):
                row[x] += weight * (above[x] + below[x])
        exponent = MASK_EXPONENTS[c]
        for x in range(row.size):
            row[x] = power(fma(MASK_SCALE, row[x], _LEAST), exponent)


@njit
def _accumulate(difference, masked, weights, sums):
    """Adds the squares of a row of masked differences to the sums of its columns."""
    first, second, third = masked[0], masked[1], masked[2]
    for x in range(difference.size):
        mask = weights[0] * first[x] + weights[1] * second[x] + weights[2] * third[x]
        raised = difference[x]
        seen = LARGEST * raised / (LARGEST * (_ONE + mask) + raised)
        sums[x] += seen * (seen + _TWICE_LEAST)
