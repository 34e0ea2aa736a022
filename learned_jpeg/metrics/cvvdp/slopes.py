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

import math
from typing import NamedTuple

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.metrics.cvvdp import score
from learned_jpeg.metrics.cvvdp.powers import exp2, log2
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
from learned_jpeg.metrics.tiling import Slopes, tiles

MIN_SIDE = 8  # px, the least with a band of the loss
BANDS = (1, 2)  # scales of the pyramid; images below 16 px have the first one only

# A large image is processed in tiles, with a margin that the pyramid and its adjoint
# reach.
_TILE_SIDE = 1024  # px
_HALO = 64

_LEAST_SQUARE = 1e-9  # of D
_FLOOR = 0.5  # of D, in Q, where the curvature is taken
_STEEPNESS = np.float32(2.5)  # of the curvature; 3 is that of a fourth power

# IEC 61966-2-1: sRGB is a power from 0.04045 on.
_FIRST_POWER, _OFFSET, _EXPONENT = map(np.float32, (0.04045, 0.055, 1.4))
_PER_LEVEL, _PER_BASE, _LINEAR = (np.float32(1 / n) for n in (255, 1.055, 12.92))
_POWER_SLOPE = np.float32(2.4 / 1.055)
_MASKED_BY = tuple(score.MASK_WEIGHTS[:, 0])  # how much each channel masks luminance
_FACTORS = score.RGB_TO_DKL[0] * np.float32(score.LIGHT)  # of RGB in luminance

# Numbers of the kernels below in single precision: Python's would make it double.
_ZERO, _QUARTER, _HALF, _ONE = map(np.float32, (0, 0.25, 0.5, 1))
_MIDDLE = np.float32(128)
_PER_LARGEST = np.float32(1 / score.LARGEST)


class Original:
    """The original, as `slopes` compares with it: about 3 bytes per pixel.

    Attributes:
      size: (height, width) in px.
      tiles: the `Tile`s in which it is processed.
      halved: float32 `[1, h / 2, w / 2]`, its luminance, reduced once.
      weights: for each band float32 `[h, w]`, the factors a above.
    """

    def __init__(self, image):
        """Prepares what depends on the original only.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `MIN_SIDE` px.
        """
        height, width = self.size = image.shape[:2]
        self.tiles = tiles(image.shape, _TILE_SIDE, _HALO)
        self.halved = np.empty((1, (height + 1) // 2, (width + 1) // 2), np.float32)
        for tile in self.tiles:
            seen = np.moveaxis(image[tile.seen(1, 1)], -1, 0) - _MIDDLE
            luminance, _ = _luminance(np.ascontiguousarray(seen))
            self.halved[0][tile.own(2, 2)] = reduce(luminance)[0][tile.inside(2, 2)]
        self.weights = _weights(image)


class _Seen(NamedTuple):
    """The errors of a decoded image in a tile, float32.

    Attributes:
      errors: for each band `[1, h, w]`, the difference of luminance.
      weights: for each band `[h, w]`, as those of `Original`.
      derivatives: `[3, h, w]`, of luminance by the decoded RGB.
    """

    errors: list
    weights: list
    derivatives: np.ndarray


def slopes(original, decoded, directions, take=None):
    """Computes value, gradients and curvature of the loss.

    Args:
      original: `Original`.
      decoded: a function from slices of rows and columns to the decoded RGB there minus
        128, float32 `[3, h, w]`, within -128..127.
      directions: `Direction`s whose gradients and curvatures are wanted.
      take: None, or a function that is given the gradients of a large image part by
        part: the number of the direction, slices of rows and columns, float32 `[h, w]`.

    Returns:
      `Slopes`: the loss in JOD, and curvatures of the bands, from fine to coarse. The
      energy of a further error in a band is the sum of its squares over the pixels of
      that scale.
    """
    squares, kept = _forward(original, decoded)
    value, factors = _loss(squares)
    floors = _FLOOR**2 * squares
    sizes = [weights.size for weights in original.weights]
    curvatures = [
        np.empty((*_blocks(original.size, direction), len(squares)), np.float32)
        for direction in directions
    ]
    for tile in original.tiles:
        seen = kept or _see(original, decoded, tile)
        maps = []
        for number, (errors, weights) in enumerate(
            zip(seen.errors, seen.weights, strict=True)
        ):
            maps.append(np.empty_like(weights))
            factor = np.float32(factors[number] / sizes[number])
            floor = np.float32(floors[number])
            _write_slopes(errors[0], weights, factor, floor, maps[-1])
        gradient = _gradient(seen)
        for number, direction in enumerate(directions):
            by_pixel, by_block = _in_direction(
                gradient, seen.derivatives, maps, direction
            )
            units = direction.height, direction.width
            curvatures[number][tile.own(*units)] = by_block[tile.inside(*units)]
            if take is not None:
                take(number, *tile.own(1, 1), by_pixel[tile.inside(1, 1)])
    return Slopes(value, [c.reshape(-1, len(squares)) for c in curvatures])


def _blocks(size, direction):
    """Returns the numbers of rows and columns of a direction's blocks."""
    height, width = size
    return -(-height // direction.height), -(-width // direction.width)


def _forward(original, decoded):
    """Returns (means of D^2 of the bands, `_Seen` of an image of one tile or None)."""
    sums = np.zeros(len(original.weights))
    for tile in original.tiles:
        seen = _see(original, decoded, tile)
        for number, (errors, weights) in enumerate(
            zip(seen.errors, seen.weights, strict=True)
        ):
            unit = 1 << BANDS[number]
            rows, cols = tile.inside(unit, unit)
            by_column = _column_sums(errors[0], weights, rows.start, rows.stop)
            sums[number] += by_column[cols].sum()
    means = sums / [weights.size for weights in original.weights]
    return means + _LEAST_SQUARE, seen if len(original.tiles) == 1 else None


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


def _see(original, decoded, tile):
    """Returns the `_Seen` of a tile."""
    luminance, derivatives = _luminance(decoded(*tile.seen(1, 1)))
    finer = reduce(luminance)
    finer -= original.halved[0][tile.seen(2, 2)]
    errors, weights = [], []
    for number, whole in zip(BANDS, original.weights, strict=False):
        coarser = reduce(finer)
        subtract_expanded(coarser, finer)
        errors.append(finer)
        unit = 1 << number
        weights.append(np.ascontiguousarray(whole[tile.seen(unit, unit)]))
        finer = coarser
    return _Seen(errors, weights, derivatives)


def _gradient(seen):
    """Returns the gradient in luminance, float32 `[h, w]`, of those in the bands."""
    coarse = None
    for finer in reversed(seen.errors):
        if coarse is None:
            height, width = finer.shape[1:]
            coarse = np.zeros((1, (height + 1) // 2, (width + 1) // 2), np.float32)
        subtract_expand_adjoint(finer, coarse)
        add_reduce_adjoint(coarse, finer)
        coarse = finer
    gradient = np.zeros((1, *seen.derivatives.shape[1:]), np.float32)
    add_reduce_adjoint(coarse, gradient)
    return gradient[0]


def _in_direction(gradient, derivatives, maps, direction):
    """Returns (gradient `[h, w]`, curvatures `[rows, cols, bands]`) of a direction."""
    by_pixel = np.empty_like(gradient)
    height, width = gradient.shape
    squares = np.empty(((height + 1) // 2, (width + 1) // 2), np.float32)
    rgb = np.asarray(direction.rgb, np.float32)
    _write_direction(gradient, derivatives, rgb, by_pixel, squares)
    by_block = np.empty((*_blocks(gradient.shape, direction), len(maps)), np.float32)
    for number, curvature in enumerate(maps):
        if number:
            squares = _halved(squares)
        cell = direction.height >> BANDS[number], direction.width >> BANDS[number]
        _write_block_means(curvature, squares, *cell, by_block[..., number])
    return by_pixel, by_block


def _weights(image):
    """Returns the factors a of each band, float32 `[h, w]`."""
    planes = score.to_dkl(image)
    found = []
    for number in range(min(score.band_count(*planes.shape[1:]), BANDS[-1] + 1)):
        coarser = reduce_as_package(planes)
        if number in BANDS:
            band = score.new_band(planes, coarser, number)
            squares, masking = np.empty_like(planes[0]), np.empty_like(planes[0])
            _write_weights(coarser, band.contrast, band.gain, squares, masking)
            mean = masking.mean(dtype=float)
            mean_square = np.square(masking).mean(dtype=float)
            factor = np.float32(math.sqrt(mean_square / mean))
            found.append(squares * np.sqrt(masking) * factor)
        planes = coarser
    return found


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


def _luminance(decoded):
    """Returns luminance without that of black, and its derivatives.

    Args:
      decoded: float32 `[3, h, w]`, RGB minus 128.

    Returns:
      float32 `[1, h, w]`; `[3, h, w]`, by the decoded RGB.
    """
    luminance = np.empty((1, *decoded.shape[1:]), np.float32)
    derivatives = np.empty_like(decoded)
    _write_luminance(decoded, luminance[0], derivatives)
    return luminance, derivatives


@njit
def _write_luminance(decoded, luminance, derivatives):
    """Writes what `_luminance` returns."""
    _, height, width = decoded.shape
    light = np.empty(width, np.float32)
    for y in range(height):
        total = luminance[y]
        for x in range(width):
            total[x] = _ZERO
        for c in range(3):
            _light_row(decoded[c, y], light, derivatives[c, y])
            factor = _FACTORS[c]
            for x in range(width):
                total[x] += factor * light[x]
            row = derivatives[c, y]
            factor *= _PER_LEVEL
            for x in range(width):
                row[x] *= factor


@njit
def _light_row(decoded, light, slope):
    """Writes a row of linear light 0..1, and its slope in sRGB 0..1."""
    for x in range(light.size):
        level = (decoded[x] + _MIDDLE) * _PER_LEVEL
        base = (level + _OFFSET) * _PER_BASE
        power = exp2(_EXPONENT * log2(base))
        is_linear = level <= _FIRST_POWER
        light[x] = level * _LINEAR if is_linear else power * base
        slope[x] = _LINEAR if is_linear else power * _POWER_SLOPE


@njit
def _column_sums(errors, weights, first, last):
    """Sums D^2 down each column, from row `first` to before `last`; float64 `[w]`."""
    sums = np.zeros(errors.shape[1])
    for y in range(first, last):
        row, own = errors[y], weights[y]
        for x in range(sums.size):
            power = own[x] * row[x] * row[x]
            seen = power / (_ONE + power * _PER_LARGEST)
            sums[x] += seen * seen
    return sums


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


@njit
def _write_direction(gradient, derivatives, rgb, by_pixel, squares):
    """Writes the gradient in a direction, and squared derivatives of 2x2 px.

    Args:
      gradient: float32 `[h, w]`, in luminance.
      derivatives: float32 `[3, h, w]`, of luminance.
      rgb: float32 `[3]`, the direction.
      by_pixel: float32 `[h, w]`.
      squares: float32 `[h / 2, w / 2]`, means.
    """
    height, width = gradient.shape
    means = np.empty(width, np.float32)
    for y in range(height):
        row, own = by_pixel[y], gradient[y]
        red, green, blue = derivatives[0, y], derivatives[1, y], derivatives[2, y]
        for x in range(width):
            row[x] = rgb[0] * red[x] + rgb[1] * green[x] + rgb[2] * blue[x]
        if y % 2:
            for x in range(width):
                means[x] = _HALF * (means[x] + row[x] * row[x])
        else:
            for x in range(width):
                means[x] = row[x] * row[x]
        for x in range(width):
            row[x] *= own[x]
        if y % 2 or y == height - 1:
            _halve_row(means, squares[y // 2])


def _halved(plane):
    """Returns means of 2x2 pixels; an odd side has means of fewer at its end."""
    height, width = plane.shape
    halved = np.empty(((height + 1) // 2, (width + 1) // 2), np.float32)
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
