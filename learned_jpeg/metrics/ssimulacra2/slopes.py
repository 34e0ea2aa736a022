"""Gradient and local curvature of SSIMULACRA2's weighted sum of errors.

What a search needs of the metric near a decoded image: the exact gradient of the sum
that the score is a polynomial of, and a positive quadratic form in its place where the
sum is not smooth or not convex. That form has a weight for each pixel, plane of XYB and
scale, for three kinds of energy of a further error e, with G e its local mean:

- `G e^2 - (G e)^2`, which SSIM's structure term divides by the local variances: the
  derivative of the norm in the map, over these;
- `(G e)^2`, of its luminance term;
- `(e - G e)^2`, of ringing and blur, by iteratively reweighted least squares.

Of a 4-norm the derivative is taken where the map is at least half of the norm: the
weight of a pixel without errors would be zero, whatever the next step does to it.
"""

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.metrics.ssimulacra2.score import (
    BIAS_ROOT,
    C2,
    CONES,
    MIN_SIDE,
    cone_response,
    halve,
    to_xyb,
)
from learned_jpeg.metrics.ssimulacra2.window import (
    REACH,
    blur_columns,
    blur_row,
    error_sums,
    new_blur,
    next_moments,
    reference_scales,
)
from learned_jpeg.metrics.tiling import Slopes, tiles

MAPS = 3  # kinds of energy of an error, see above

# A large image is processed in tiles, with a margin that their blurs reach at the
# coarsest scale: a blur of a blur, of 4 px each, of 16 px.
_TILE_SIDE = 1024  # px
_HALO = 128

_FLOOR = 0.5  # of a map, in 4-norms
_LEAST_NORM = 1e-4
_LEAST_EDGE = 0.01  # error of an edge, of which a mean has the full slope
_FIRST_EDGE = 0.05  # the same where nothing is coded yet

_TABLE_STEPS = 16  # of the tables of sRGB, a level
_LEVELS = np.arange(255 * _TABLE_STEPS + 2) / (255 * _TABLE_STEPS)
_BASES = (_LEVELS + 0.055) / 1.055  # IEC 61966-2-1
_IS_LINEAR = _LEVELS <= 0.04045
_LINEAR = np.where(_IS_LINEAR, _LEVELS / 12.92, _BASES**2.4).astype(np.float32)
_POWERS = 2.4 / 1.055 * _BASES**1.4
_SLOPE = (np.where(_IS_LINEAR, 1 / 12.92, _POWERS) / 255).astype(np.float32)

_ZERO, _ONE, _TWO, _HALF = map(np.float32, (0, 1, 2, 0.5))


class Original:
    """The original, as `slopes` compares with it; a large one is read tile by tile."""

    def __init__(self, image, weights):
        """Stores the image and the weights of the sum.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `ssimulacra2.MIN_SIDE` px.
          weights: for each scale `[n, 6]`, as `score.WEIGHTS`.
        """
        self._image = image
        sizes = [
            tuple(-(-side >> number) for side in image.shape[:2])
            for number in range(len(weights))
        ]
        self.sizes = [size for size in sizes if min(size) >= MIN_SIDE]
        self.weights = weights[: len(self.sizes)]
        self.tiles = tiles(image.shape, _TILE_SIDE, _HALO)
        self._scales = None
        if len(self.tiles) == 1:
            self._scales = reference_scales(image, self.weights)

    def scales(self, tile):
        """Returns the `score.Scale`s of a tile."""
        if self._scales is not None:
            return self._scales
        part = self._image[tile.seen(1, 1)]
        return reference_scales(np.ascontiguousarray(part), self.weights)


def slopes(original, decoded, directions, take=None, is_original=False):
    """Computes value, gradients and curvature of the weighted sum of errors.

    Args:
      original: `Original`.
      decoded: a function from slices of rows and columns to the decoded RGB there minus
        128, float32 `[3, h, w]`, within -128..127.
      directions: `Direction`s whose gradients and curvatures are wanted.
      take: None, or a function that is given the gradients of a large image part by
        part: the number of the direction, slices of rows and columns, float32 `[h, w]`.
      is_original: whether nothing is coded yet: the curvature is that of errors as
        they may come, and a gradient has no meaning.

    Returns:
      `Slopes`: the sum before the score's polynomial, and curvatures of the scales one
      after the other, for each of `MAPS` kinds of energy.
    """
    value, factors, kept = _forward(original, decoded, is_original)
    size, scales = original.sizes[0], len(factors)
    curvatures = []
    for direction in directions:
        blocks = [
            -(-side // unit) for side, unit in zip(size, direction[1:], strict=True)
        ]
        curvatures.append(np.empty((*blocks, MAPS, scales), np.float32))
    for tile in original.tiles:
        seen = kept or _seen(original, decoded, tile)
        by_pixel, by_block = _backward(*seen, factors, directions)
        inside = by_pixel[(slice(None), *tile.inside(1, 1))]
        if take is not None:
            for number, direction in enumerate(directions):
                rgb = np.asarray(direction.rgb, np.float32)
                take(number, *tile.own(1, 1), np.tensordot(rgb, inside, 1))
        for direction, found, own in zip(directions, curvatures, by_block, strict=True):
            units = direction.height, direction.width
            found[tile.own(*units)] = own[tile.inside(*units)]
    joined = [c.reshape(-1, MAPS * scales) for c in curvatures]
    return Slopes(value, joined)


def _seen(original, decoded, tile):
    """Returns (`Scale`s of the original, `_pyramid` of the decoded) of a tile."""
    scales = original.scales(tile)
    return scales, _pyramid(decoded(*tile.seen(1, 1)), len(scales))


def _forward(original, decoded, is_original):
    """Returns (weighted sum, `_factors` of the planes of each scale, `_seen` or None).

    What was read is kept if it is all of the image.
    """
    sums = [np.zeros((len(own), 2, 3)) for own in original.weights]
    for tile in original.tiles:
        seen = _seen(original, decoded, tile)
        for number, (scale, (linear, _)) in enumerate(zip(*seen, strict=True)):
            unit = 1 << number
            rows, cols = tile.inside(unit, unit)
            planes = to_xyb(linear, len(scale.planes))
            for i, plane in enumerate(planes):
                reference = scale.planes[i], scale.mean[i], scale.variance[i]
                own = error_sums(*reference, plane, rows.start, rows.stop)
                sums[number][i] += own[..., cols].sum(-1)
    value, factors = 0.0, []
    by_scale = zip(original.weights, original.sizes, sums, strict=True)
    for weights, (height, width), own_sums in by_scale:
        own = own_sums / (height * width)
        own[:, 1] **= 0.25
        value += float((weights * own.reshape(-1, 6)).sum())
        triples = zip(weights / (height * width), own[:, 1], strict=True)
        factors.append([_factors(row, norms, is_original) for row, norms in triples])
    return value, factors, seen if len(original.tiles) == 1 else None


def _backward(scales, pyramid, factors, directions):
    """Returns (gradient in the decoded RGB, curvatures by direction) of a tile.

    These are float32 `[3, h, w]`, and `[rows, cols, MAPS, scales]`.

    Args:
      scales, pyramid: as from `_seen`; the pyramid is used up.
      factors: for each scale those of its planes.
      directions: see `slopes`.
    """
    gradient = derivative = np.empty(0, np.float32)
    curvatures = [[] for _ in directions]
    for number in reversed(range(len(scales))):
        linear, derivative = pyramid.pop()
        own = _Backward(linear, derivative, number, directions)
        planes = to_xyb(linear, len(factors[number]))
        for i, (plane, of_plane) in enumerate(
            zip(planes, factors[number], strict=True)
        ):
            own.add(i, plane, scales[number], of_plane)
        own_gradient = own.gradient()
        if number + 1 < len(scales):
            _add_halve_adjoint(gradient, own_gradient)
        gradient = own_gradient
        for found, means in zip(curvatures, own.block_means(), strict=True):
            found.insert(0, means)
    gradient *= derivative
    return gradient, [_by_block(means) for means in curvatures]


def _by_block(means):
    """Joins `[rows, cols, MAPS]` of all scales; blocks that a scale adds are left out.

    Returns:
      float32 `[rows, cols, MAPS, scales]`.
    """
    rows, cols = means[0].shape[:2]
    return np.stack([m[:rows, :cols] for m in means], -1)


def _pyramid(decoded, count):
    """Returns for each scale linear RGB and its slope, float32 `[3, h, w]`."""
    linear, derivative = np.empty_like(decoded), np.empty_like(decoded)
    _linearize(decoded, linear, derivative)
    pyramid = [(linear, derivative)]
    for _ in range(count - 1):
        linear, derivative = halve(linear), halve(derivative)
        pyramid.append((linear, derivative))
    return pyramid


@njit
def _linearize(decoded, linear, derivative):
    """Writes linear RGB and its slope, by interpolation in the tables."""
    _, height, width = decoded.shape
    for c in range(3):
        for y in range(height):
            for x in range(width):
                level = (decoded[c, y, x] + np.float32(128)) * np.float32(_TABLE_STEPS)
                index = int(level)
                part = level - np.float32(index)
                low, high = _LINEAR[index], _LINEAR[index + 1]
                linear[c, y, x] = low + part * (high - low)
                low, high = _SLOPE[index], _SLOPE[index + 1]
                derivative[c, y, x] = low + part * (high - low)


def _factors(weights, norms, is_original):
    """Returns factors of the slope and the curvature of one plane's maps.

    Args:
      weights: `[6]`, a pixel's part of those of the plane.
      norms: `[3]`, 4-norms of its maps.
      is_original: see `slopes`.

    Returns:
      float32 `[2, 3 (SSIM, ringing, blur), 3]`. The slope of the sum in a map's value d
      is `a + b d^3` with (a, b, _) of the first part; by (a, b, c) of the second the
      curvature of SSIM is `a + b (d^2 + c)^1.5`, of edges `a / (d + least) + b (d^2 +
      c)`.
    """
    factors = np.zeros((2, 3, 3), np.float32)
    means, fourths = weights[:3], weights[3:]
    if is_original:
        factors[1, 0, 0] = means[0] + fourths[0]
        factors[1, 1:, 1] = 1
        factors[1, 1:, 2] = weights[[1, 2, 4, 5]].sum() / _FIRST_EDGE
        return factors
    cubes = np.maximum(norms, _LEAST_NORM) ** 3
    factors[:, :, 0] = means
    factors[:, :, 1] = fourths / cubes
    factors[1, :, 2] = np.square(_FLOOR * norms)
    return factors


class _Backward:
    """Gradient and curvature of one scale, plane by plane."""

    def __init__(self, linear, derivative, number, directions):
        """Stores linear RGB, its slope in the decoded RGB, and the scale's number."""
        self._linear = linear
        self._derivative = derivative
        self._sensitivities = np.empty_like(linear)
        _sensitivities(linear, self._sensitivities)
        self._number = number
        self._directions = directions
        _, height, width = linear.shape
        self._cells = [
            tuple(max(side >> number, 1) for side in (d.height, d.width))
            for d in directions
        ]
        self._sums = [
            np.zeros((-(-height // cell_height), -(-width // cell_width), MAPS))
            for cell_height, cell_width in self._cells
        ]
        self._by_plane = np.zeros_like(linear)

    def add(self, number, decoded, scale, factors):
        """Adds plane `number` of Y, X, B by its `_factors`."""
        maps = np.empty((MAPS, *decoded.shape), np.float32)
        original = scale.planes[number], scale.mean[number], scale.variance[number]
        _plane_slopes(*original, decoded, factors, self._by_plane[number], maps)
        pairs = zip(self._directions, self._cells, self._sums, strict=True)
        for direction, cell, sums in pairs:
            _add_curvature(
                maps,
                self._sensitivities,
                self._derivative,
                np.asarray(direction.rgb, np.float32),
                number,
                *cell,
                sums,
            )

    def gradient(self):
        """Returns the gradient in linear RGB, float32 `[3, h, w]`."""
        _to_linear(self._by_plane, self._sensitivities)
        return self._by_plane

    def block_means(self):
        """Returns means over blocks by direction, float32 `[rows, cols, MAPS]`."""
        sides = self._linear.shape[1:]
        found = []
        for direction, cell, sums in zip(
            self._directions, self._cells, self._sums, strict=True
        ):
            counts = [
                np.minimum(np.arange(1, n + 1) * c, side) - np.arange(n) * c
                for n, c, side in zip(sums.shape, cell, sides, strict=False)
            ]
            means = sums / np.outer(*counts)[..., np.newaxis]
            for axis, side in enumerate((direction.height, direction.width)):
                repeats = max((1 << self._number) // side, 1)
                means = np.repeat(means, repeats, axis)
            found.append(means.astype(np.float32))
        return found


@njit
def _sensitivities(linear, sensitivities):
    """Writes the slopes of the three cube roots of the cones, `1 / (3 root^2)`."""
    third = _ONE / np.float32(3)
    for cone in range(3):
        for y in range(linear.shape[1]):
            row = sensitivities[cone, y]
            cone_response(linear, y, CONES[cone], row)
            for x in range(row.size):
                root = row[x] + BIAS_ROOT
                row[x] = third / (root * root)


@njit
def _plane_slopes(original, mean, variance, decoded, factors, gradient, maps):
    """Writes the gradient in the decoded plane, and the weights of the energies.

    Args:
      original, mean, variance: float32 `[h, w]`, one plane of a `Scale`.
      decoded: float32 `[h, w]`, the same plane of the decoded image.
      factors: of `_factors`.
      gradient: float32 `[h, w]`.
      maps: float32 `[MAPS, h, w]`.
    """
    height, width = original.shape
    blur = new_blur(width, 3)
    # Of gradients in the local means: of the error, its square, the decoded's square;
    # of the weights of the first two energies.
    rows, blurred, wide = new_blur(width, 5)
    backs = np.empty((5, width), np.float32)
    for y in range(-REACH, height + REACH):
        newest = rows[y % len(rows)]
        if y < height:
            moments = next_moments(original, decoded, y, blur)
        if 0 <= y < height:
            direct, edges = gradient[y], maps[2, y]
            _ssim_slopes(mean[y], variance[y], moments, factors[:, 0], backs)
            _edge_slopes(
                original[y],
                mean[y],
                decoded[y],
                moments[0],
                factors,
                direct,
                edges,
                backs[0],
            )
            for i in range(len(backs)):
                inside = wide[REACH:-REACH]
                for x in range(width):
                    inside[x] = backs[i, x]
                blur_row(wide, newest[i])
        else:
            newest[:] = _ZERO
        done = y - REACH
        if done >= 0:
            blur_columns(rows, done, blurred)
            row, ours, others = gradient[done], decoded[done], original[done]
            for x in range(width):
                row[x] += blurred[0, x] + _TWO * (
                    (ours[x] - others[x]) * blurred[1, x] + ours[x] * blurred[2, x]
                )
            for i in range(2):
                row, source = maps[i, done], blurred[3 + i]
                for x in range(width):
                    row[x] = source[x]


@njit
def _ssim_slopes(mean, variance, moments, factors, backs):
    """Writes the SSIM map's part of `backs`, see `_plane_slopes`, for one row."""
    difference, square, decoded_square = moments[0], moments[1], moments[2]
    plain, cubic = factors[0, 0], factors[0, 1]
    flat, steep, floor = factors[1, 0], factors[1, 1], factors[1, 2]
    for x in range(difference.size):
        luminance = difference[x] * difference[x]
        decoded_mean = mean[x] + difference[x]
        variances = variance[x] + (decoded_square[x] - decoded_mean * decoded_mean)
        inverse = _ONE / (variances + C2)
        structure = (square[x] - luminance) * inverse
        rest = _ONE - luminance
        error = max(luminance + rest * structure, _ZERO)
        slope = plain + cubic * error * error * error
        by_square = slope * rest * inverse
        backs[1, x] = by_square
        backs[2, x] = -by_square * structure
        backs[0, x] = _TWO * (
            slope * difference[x] * (_ONE - structure)
            + by_square * (structure * decoded_mean - difference[x])
        )
        smoothed = error * error + floor
        curvature = flat + steep * smoothed * np.sqrt(smoothed)
        backs[3, x] = curvature * inverse
        backs[4, x] = curvature


@njit
def _edge_slopes(
    original, mean, decoded, difference, factors, direct, curvature, by_mean
):
    """Writes `direct` and `curvature` of ringing and blur, adds to `by_mean`."""
    for x in range(direct.size):
        edge = original[x] - mean[x]
        inverse = _ONE / (_ONE + abs(edge))
        decoded_edge = edge + (decoded[x] - original[x]) - difference[x]
        error = (abs(decoded_edge) - abs(edge)) * inverse
        own = factors[:, 1] if error > 0 else factors[:, 2]
        size = abs(error)
        slope = (own[0, 0] + own[0, 1] * size * size * size) * inverse
        if (error < 0) != (decoded_edge < 0):
            slope = -slope
        direct[x] = slope
        by_mean[x] -= slope
        weight = own[1, 1] * (size * size + own[1, 2])
        weight += own[1, 0] / (size + np.float32(_LEAST_EDGE))
        curvature[x] = _HALF * weight * inverse * inverse


@njit
def _to_linear(by_plane, sensitivities):
    """Turns a gradient in Y, X, B into one in linear RGB, in place."""
    _, height, width = by_plane.shape
    seven = np.float32(7)
    for y in range(height):
        for x in range(width):
            luma = (by_plane[0, y, x] - by_plane[2, y, x]) * _HALF
            red_green = by_plane[1, y, x] * seven
            long = (luma + red_green) * sensitivities[0, y, x]
            medium = (luma - red_green) * sensitivities[1, y, x]
            short = by_plane[2, y, x] * sensitivities[2, y, x]
            for c in range(3):
                by_plane[c, y, x] = (
                    CONES[0, c] * long + CONES[1, c] * medium + CONES[2, c] * short
                )


@njit
def _add_curvature(
    maps, sensitivities, derivative, rgb, plane, cell_height, cell_width, sums
):
    """Adds the maps, times the squared slope of a plane in a direction, to `sums`.

    Args:
      maps: float32 `[MAPS, h, w]`.
      sensitivities: of the cones; derivative: of linear RGB, float32 `[3, h, w]`.
      rgb: float32 `[3]`, the direction.
      plane: 0 for Y, 1 for X, 2 for B.
      cell_height, cell_width: px of this scale that one sum is over.
      sums: float64 `[rows, cols, MAPS]`.
    """
    _, height, width = maps.shape
    mixed = CONES * rgb
    squares = np.empty(width, np.float32)
    for y in range(height):
        for x in range(width):
            red, green, blue = (
                derivative[0, y, x],
                derivative[1, y, x],
                derivative[2, y, x],
            )
            long = mixed[0, 0] * red + mixed[0, 1] * green + mixed[0, 2] * blue
            long *= sensitivities[0, y, x]
            medium = mixed[1, 0] * red + mixed[1, 1] * green + mixed[1, 2] * blue
            medium *= sensitivities[1, y, x]
            slope = _HALF * (long + medium)
            if plane == 1:
                slope = np.float32(7) * (long - medium)
            if plane == 2:
                short = mixed[2, 0] * red + mixed[2, 1] * green + mixed[2, 2] * blue
                slope = short * sensitivities[2, y, x] - slope
            squares[x] = slope * slope
        row = sums[y // cell_height]
        for i in range(MAPS):
            values = maps[i, y]
            for col in range(row.shape[0]):
                total = _ZERO
                for x in range(col * cell_width, min((col + 1) * cell_width, width)):
                    total += squares[x] * values[x]
                row[col, i] += total


@njit
def _add_halve_adjoint(halved, planes):
    """Adds the adjoint of `ssimulacra2.halve`, of `[n, rows, cols]`, to `planes`."""
    count, height, width = planes.shape
    quarter = _HALF * _HALF
    for c in range(count):
        for y in range(height):
            # The last pixel of an odd side was counted twice.
            own = _HALF if height % 2 and y == height - 1 else quarter
            source, row = halved[c, y // 2], planes[c, y]
            for x in range(width):
                row[x] += own * source[x // 2]
            if width % 2:
                row[-1] += own * source[-1]
