"""A loss in place of CVVDP, with its gradient and local curvature, for the search.

Of the metric's parts the loss keeps those by which JPEG's errors are judged: luminance,
in the bands of 12 and 6 cycles per degree. Sensitivity, background and masking are of
the original alone, so that the error enters as a weighted sum of powers:

    U = a l^2,  D = U / (1 + U / 366.6),  Q = sqrt(mean of D^2),
    loss = 0.04396 (0.578 S)^0.93,  S the 4-norm of the Q of both bands.

Here l is the difference of the two images' luminance in a band. The factor a is the
square of sensitivity over local luminance, times the square root of what masking leaves
of an error, scaled so that its mean square over the image is that of the latter: files
that were searched with half of the masking have better scores than with all of it. The
exponent of l is 2 in place of the metric's 2.26, so that no power is computed.

The curvature is a weight of l^2 at each pixel, by iteratively reweighted least squares:
that of the slope where D is at least half of Q, times a constant, since the slope of a
fourth power is steeper than that of a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.cvvdp import score
from learned_jpeg.metrics.cvvdp.pyramid import (
    add_reduce_adjoint,
    expand_row,
    reduce,
    reduce_as_package,
    subtract_expand_adjoint,
    subtract_expanded,
)
from learned_jpeg.metrics.cvvdp.score import (
    REACH,
    blur_mask,
    mask_reach,
    mask_row,
    new_masks,
)
from learned_jpeg.metrics.slopes.light import light_of
from learned_jpeg.metrics.slopes.tiling import Direction, Light, Strip, strips

MIN_SIDE = 8  # px, the least with a band of the loss
BANDS = (1, 2)  # scales of the pyramid; images below 16 px have the first one only

_LEAST_SQUARE = 1e-9  # of D
_FLOOR = 0.5  # of D, in Q, where the curvature is taken
_STEEPNESS = np.float32(2.5)  # of the curvature; 3 is that of a fourth power

_MASKED_BY = tuple(score.MASK_WEIGHTS[:, 0])  # how much each channel masks luminance
_FACTORS = score.RGB_TO_DKL[0] * np.float32(score.LIGHT)  # of RGB in luminance

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _HALF, _ONE = map(np.float32, (0, 0.5, 1))
_PER_LARGEST = np.float32(1 / score.LARGEST)


class Original:
    """The original, as `Term` compares with it: about 3 bytes per pixel.

    Attributes:
      size: (height, width) in px.
      halved: float32 `[1, h / 2, w / 2]`, its luminance, reduced once.
      weights: for each band float32 `[h, w]`, the factors a above.
    """

    def __init__(self, image: np.ndarray):
        """Prepares what depends on the original only.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `MIN_SIDE` px.
        """
        height, width = self.size = image.shape[:2]
        self.halved = np.empty(_halved_shape(self.size), np.float32)

        def prepare(strip: Strip) -> None:
            _reduce_strip(strip, light_of(image[strip.seen()]), self.halved)

        threads.run(prepare, strips(height, width))
        self.weights = _weights(image)


def _halved_shape(size: Sequence[int]) -> tuple[int, int, int]:
    return 1, (size[0] + 1) // 2, (size[1] + 1) // 2


def _reduce_strip(strip: Strip, linear: np.ndarray, halved: np.ndarray) -> None:
    """Writes the reduced luminance of a strip of linear light."""
    luminance = kept_memory.empty((1, *linear.shape[1:]))
    _write_luminance(linear, luminance[0])
    halved[:, strip.own(2)] = reduce(luminance)[:, strip.inside(2)]


class Term:
    """The loss near one decoded image, a `tiling.Term`; its value is in JOD.

    The curvatures are those of the bands, from fine to coarse. The energy of a further
    error in a band is the sum of its squares over the pixels of that scale.
    """

    def __init__(
        self,
        original: Original,
        weight: float = 1.0,
        expected: Sequence[float] | None = None,
    ):
        """Starts to compare an image.

        Args:
          original: what it is compared with.
          weight: of the gradient.
          expected: None, or the mean of D^2 for each of `BANDS` where nothing is coded
            yet: the curvature is that of errors as they may come; value and gradient
            have no meaning.
        """
        self._original = original
        self._weight = weight
        self._expected = expected
        self.kinds = len(original.weights)
        self._halved = kept_memory.empty(original.halved.shape)
        self._maps: list[np.ndarray] = []
        self._value = math.nan

    def look(self, strip: Strip, light: Light) -> None:
        """Reduces the luminance of a strip; it is compared as a whole."""
        _reduce_strip(strip, light.linear, self._halved)

    def settle(self, directions: Sequence[Direction]) -> None:
        """Finds the value, and the gradient in the reduced luminance."""
        del directions
        errors = self._errors()
        weights = self._original.weights
        squares = np.array(
            [_mean_square(*pair) for pair in zip(errors, weights, strict=True)]
        )
        if self._expected is not None:
            squares += self._expected[: len(squares)]
        squares += _LEAST_SQUARE
        self._value, factors = _loss(squares)
        for band, own, factor, square in zip(
            errors, weights, factors, squares, strict=True
        ):
            self._maps.append(kept_memory.empty(own.shape))
            by_pixel, floor = factor / own.size, _FLOOR**2 * square
            _write_slopes(
                band[0], own, np.float32(by_pixel), np.float32(floor), self._maps[-1]
            )
        self._halved = _gradient(errors)

    def add_slopes(
        self,
        strip: Strip,
        light: Light,
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
        gradient: np.ndarray | None,
    ) -> None:
        """Adds the gradient of a strip, and writes its curvatures."""
        inside = strip.inside()
        if gradient is not None:
            rows = strip.seen(2)
            luminance = kept_memory.zeros((1, *light.linear.shape[1:]))
            add_reduce_adjoint(np.ascontiguousarray(self._halved[:, rows]), luminance)
            by_light = np.float32(self._weight) * _FACTORS
            _add_light(luminance[0], inside.start, by_light, gradient)
        for direction, curvature in zip(directions, curvatures, strict=True):
            mixed = _FACTORS * np.float32(direction.rgb)
            self._write_curvatures(
                strip,
                _mean_squares(light.slope, inside, mixed),
                direction,
                curvature[strip.own(direction.height)],
            )

    def finish(
        self, directions: Sequence[Direction], curvatures: Sequence[np.ndarray]
    ) -> float:
        """Returns the value."""
        del directions, curvatures
        return self._value

    def _write_curvatures(
        self,
        strip: Strip,
        squares: np.ndarray,
        direction: Direction,
        curvature: np.ndarray,
    ) -> None:
        for number, (band, weights) in enumerate(zip(BANDS, self._maps, strict=False)):
            if number:
                squares = _halved(squares)
            cell = direction.height >> band, direction.width >> band
            own = weights[strip.own(1 << band)]
            _write_block_means(own, squares, *cell, curvature[..., number])

    def _errors(self) -> list[np.ndarray]:
        """Returns the difference of luminance in the bands, float32 `[1, h, w]`."""
        finer = self._halved
        finer -= self._original.halved
        errors = []
        for _ in self._original.weights:
            coarser = reduce(finer)
            subtract_expanded(coarser, finer)
            errors.append(finer)
            finer = coarser
        return errors


def _loss(squares):
    """Returns the loss, and factors f of its slope in the bands' errors.

    The slope at a pixel is `f U c^3 a l`, where `c = 1 / (1 + U / 366.6)`.

    Args:
      squares: `[bands]`, means of D^2.
    """
    norms = np.sqrt(squares)
    joined = (norms**4).sum() ** 0.25
    value = score.JOD_FACTOR * (score.STILL_FACTOR * joined) ** score.JOD_EXPONENT
    by_norm = score.JOD_EXPONENT * value / joined * (norms / joined) ** 3
    return float(value), 2 * by_norm / norms


def _gradient(errors: list[np.ndarray]) -> np.ndarray:
    """Returns the gradient in the reduced luminance, of those in the bands."""
    coarse = None
    for finer in reversed(errors):
        if coarse is None:
            coarse = kept_memory.zeros(_halved_shape(finer.shape[1:]))
        subtract_expand_adjoint(finer, coarse)
        add_reduce_adjoint(coarse, finer)
        coarse = finer
    assert coarse is not None
    return coarse


def _weights(image):
    """Returns the factors a of each band, float32 `[h, w]`."""
    planes = _halved_dkl(image)
    found = []
    for number in BANDS:
        if number < score.band_count(*image.shape[:2]):
            coarser = reduce_as_package(planes)
            band = score.new_band(planes, coarser, number)
            squares, masking = np.empty_like(planes[0]), np.empty_like(planes[0])
            _write_weights(coarser, band.contrast, band.gain, squares, masking)
            mean = masking.mean(dtype=float)
            mean_square = np.square(masking).mean(dtype=float)
            factor = np.float32(math.sqrt(mean_square / mean))
            found.append(squares * np.sqrt(masking) * factor)
            planes = coarser
    return found


def _halved_dkl(image):
    """Returns the light in DKL, reduced once, float32 `[3, h / 2, w / 2]`."""
    height, width = image.shape[:2]
    halved = np.empty((3, *_halved_shape((height, width))[1:]), np.float32)

    def write(strip: Strip) -> None:
        reduced = reduce_as_package(score.to_dkl(image[strip.seen()]), height)
        halved[:, strip.own(2)] = reduced[:, strip.inside(2)]

    threads.run(write, strips(height, width))
    return halved


@njit
def _write_weights(coarser, contrast, gain, squares, masking):
    """Writes the squared sensitivity over luminance, and what masking leaves of errors.

    Args:
      coarser: float32 `[3, h / 2, w / 2]`, planes of the next scale.
      contrast, gain: of the original's `score.Band`.
      squares, masking: float32 `[h, w]`.
    """
    _, height, width = contrast.shape
    reach = mask_reach(height, width)
    expanded = np.empty((1, width), np.float32)
    columns = np.empty(coarser.shape[2], np.float32)
    masked = np.empty((3, width), np.float32)
    rows, wide = new_masks(width)
    first, second, third = _MASKED_BY
    for y in range(height + reach):
        if y < height:
            expand_row(coarser[:1], y, expanded, columns)
            row, own = squares[y], gain[0, y]
            for x in range(width):
                sensitivity = own[x] / expanded[0, x]
                row[x] = sensitivity * sensitivity
            for c in range(3):
                values, inside = contrast[c, y], wide[REACH:-REACH]
                for x in range(width):
                    inside[x] = abs(values[x])
                blur_mask(wide, reach, rows[y % len(rows), c])
        if y >= reach:
            mask_row(rows, y - reach, height, reach, masked)
            row = masking[y - reach]
            luma, red_green, violet = masked[0], masked[1], masked[2]
            for x in range(width):
                mask = first * luma[x] + second * red_green[x] + third * violet[x]
                row[x] = _ONE / (_ONE + mask)


@njit
def _write_luminance(linear, luminance):
    """Writes the luminance of linear light, without that of black."""
    linear, luminance = borrowed(linear), borrowed(luminance)
    for y in range(len(luminance)):
        _luminance_row(linear[0, y], linear[1, y], linear[2, y], luminance[y])


@njit
def _luminance_row(red, green, blue, luminance):
    by_red, by_green, by_blue = _FACTORS[0], _FACTORS[1], _FACTORS[2]
    for x in range(luminance.size):
        luminance[x] = by_red * red[x] + by_green * green[x] + by_blue * blue[x]


def _mean_square(errors: np.ndarray, weights: np.ndarray) -> float:
    """Returns the mean of D^2 in a band."""
    return float(_sum_of_squares(errors[0], weights)) / weights.size


@njit
def _sum_of_squares(errors, weights):
    sums = np.zeros(errors.shape[1])
    for y in range(len(errors)):
        _add_squares_row(errors[y], weights[y], sums)
    return sums.sum()


@njit
def _add_squares_row(errors, weights, sums):
    for x in range(sums.size):
        power = weights[x] * errors[x] * errors[x]
        seen = power / (_ONE + power * _PER_LARGEST)
        sums[x] += seen * seen


@njit
def _add_light(luminance, first, factors, gradient):
    """Adds a gradient in luminance to rows of that in linear light."""
    for c in range(3):
        for y in range(gradient.shape[1]):
            _add_scaled_row(luminance[first + y], factors[c], gradient[c, y])


@njit
def _add_scaled_row(source, factor, row):
    for x in range(row.size):
        row[x] += factor * source[x]


@njit
def _write_slopes(errors, weights, factor, floor, curvature):
    """Turns errors into the loss's slopes in them, and writes the weights of energies.

    Args:
      errors, weights: float32 `[h, w]`, of a band; the errors are overwritten.
      factor: see `_loss`, over the number of pixels.
      floor: least square of D where the curvature is taken.
      curvature: float32 `[h, w]`.
    """
    for y in range(len(errors)):
        row, own, bent = errors[y], weights[y], curvature[y]
        for x in range(row.size):
            power = own[x] * row[x] * row[x]
            power = np.sqrt(power * power + floor)
            kept = _ONE / (_ONE + power * _PER_LARGEST)
            steepness = _STEEPNESS * _HALF * factor * kept * kept * kept
            bent[x] = steepness * power * own[x]
        for x in range(row.size):
            power = own[x] * row[x] * row[x]
            kept = _ONE / (_ONE + power * _PER_LARGEST)
            row[x] *= factor * power * kept * kept * kept * own[x]


def _mean_squares(slope: np.ndarray, rows: slice, mixed: np.ndarray) -> np.ndarray:
    """Returns squared slopes of luminance in a direction, means of 2x2 px.

    Args:
      slope: float32 `[3, h, w]`, of linear light.
      rows: a slice of the rows that are wanted.
      mixed: float32 `[3]`, what the direction of linear RGB adds to luminance.
    """
    height, width = rows.stop - rows.start, slope.shape[2]
    squares = kept_memory.empty(_halved_shape((height, width))[1:])
    _write_mean_squares(slope, rows.start, rows.stop, mixed, squares)
    return squares


@njit
def _write_mean_squares(slope, first, last, mixed, squares):
    """Writes what `_mean_squares` returns."""
    slope = borrowed(slope)
    means = np.empty(slope.shape[2], np.float32)
    for y in range(len(squares)):
        upper, lower = first + 2 * y, min(first + 2 * y + 1, last - 1)
        _mean_squares_row(slope, upper, lower, mixed, means)
        _halve_row(means, squares[y])


@njit
def _mean_squares_row(slope, upper, lower, mixed, means):
    red, green, blue = slope[0, upper], slope[1, upper], slope[2, upper]
    next_red, next_green, next_blue = slope[0, lower], slope[1, lower], slope[2, lower]
    by_red, by_green, by_blue = mixed[0], mixed[1], mixed[2]
    for x in range(means.size):
        own = by_red * red[x] + by_green * green[x] + by_blue * blue[x]
        below = by_red * next_red[x] + by_green * next_green[x] + by_blue * next_blue[x]
        means[x] = _HALF * (own * own + below * below)


def _halved(plane):
    """Returns means of 2x2 pixels; an odd side has means of fewer at its end."""
    height, width = plane.shape
    halved = kept_memory.empty(((height + 1) // 2, (width + 1) // 2))
    _write_halved(plane, halved)
    return halved


@njit
def _write_halved(plane, halved):
    """Writes what `_halved` returns."""
    means = np.empty(plane.shape[1], np.float32)
    for y in range(len(halved)):
        upper, lower = plane[2 * y], plane[min(2 * y + 1, len(plane) - 1)]
        for x in range(means.size):
            means[x] = _HALF * (upper[x] + lower[x])
        _halve_row(means, halved[y])


@njit
def _halve_row(row, halved):
    """Writes means of two pixels, and an odd row's last pixel."""
    for x in range(row.size // 2):
        halved[x] = _HALF * (row[2 * x] + row[2 * x + 1])
    if row.size % 2:
        halved[-1] = row[-1]


@njit
def _write_block_means(curvature, squares, cell_height, cell_width, means):
    """Writes means of the product of two planes over cells, `[rows, cols]`."""
    height, width = curvature.shape
    rows, cols = means.shape
    sums = np.empty(width, np.float32)
    for i in range(rows):
        first, last = i * cell_height, min((i + 1) * cell_height, height)
        for x in range(width):
            sums[x] = _ZERO
        for y in range(first, last):
            row, own = curvature[y], squares[y]
            for x in range(width):
                sums[x] += row[x] * own[x]
        for j in range(cols):
            left, right = j * cell_width, min((j + 1) * cell_width, width)
            total = _ZERO
            for x in range(left, right):
                total += sums[x]
            means[i, j] = total / np.float32((last - first) * (right - left))
