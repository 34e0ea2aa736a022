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

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from learned_jpeg.common import threads
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.metrics.slopes.light import (
    add_halve_adjoint,
    halve,
    levels,
    linear_light,
)
from learned_jpeg.metrics.slopes.tiling import (
    Direction,
    Light,
    Strip,
    add_block_sums,
    strips,
)
from learned_jpeg.metrics.ssimulacra2 import MIN_SIDE
from learned_jpeg.metrics.ssimulacra2.score import CONES
from learned_jpeg.metrics.ssimulacra2.window import (
    REACH,
    ROWS,
    blur_columns,
    blur_rows,
    edge_error,
    error_sums,
    load_moments,
    new_blur,
    ssim_error,
    statistics,
)
from learned_jpeg.metrics.ssimulacra2.xyb import add_light_gradient, to_xyb

MAPS = 3  # kinds of energy of an error, see above

# The first scales are processed strip by strip, coarser ones as a whole.
_SCALES_OF_STRIPS = 2
_COARSE = 1 << _SCALES_OF_STRIPS  # px of the image for one of the first whole scale
# Images up to this size keep the original at the scales of strips, 40 bytes a pixel.
_KEPT_PIXELS = 1 << 22

_FLOOR = 0.5  # of a map, in 4-norms
_LEAST_NORM = 1e-4
_LEAST_EDGE = np.float32(0.01)  # error of an edge, of which a mean has the full slope
_FIRST_EDGE = 0.05  # the same where nothing is coded yet

_ZERO, _ONE, _TWO, _HALF = map(np.float32, (0, 1, 2, 0.5))


class Planes(NamedTuple):
    """Planes of XYB of the decoded image at one scale, float32.

    Attributes:
      linear: `[3, h, w]`, linear light.
      planes: `[n, h, w]`, the first n of Y, X, B.
      cones: `[2 or 3, h, w]`, slopes of the cones' responses in linear light.
      slope: `[3, h, w]`, of linear light in the decoded RGB.
    """

    linear: np.ndarray
    planes: np.ndarray
    cones: np.ndarray
    slope: np.ndarray


class Reference(NamedTuple):
    """The original at one scale, float32 `[n, h, w]`: planes, local mean, variance."""

    planes: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class Original:
    """The original, as `Term` compares with it.

    Attributes:
      size: (height, width) in px.
      sizes: those of the scales.
      weights: of the sum, for each scale `[n, 6]`.
    """

    def __init__(self, image: np.ndarray, weights: Sequence[np.ndarray]):
        """Prepares what is kept of the original.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `MIN_SIDE` px.
          weights: for each scale `[n, 6]`, as `score.WEIGHTS`.
        """
        self._image = image
        height, width = self.size = image.shape[:2]
        sizes = [
            (-(-height >> number), -(-width >> number))
            for number in range(len(weights))
        ]
        self.sizes = [size for size in sizes if min(size) >= MIN_SIDE]
        self.weights = list(weights[: len(self.sizes)])
        keeps = height * width <= _KEPT_PIXELS
        coarse = np.empty((3, *_coarse_size(self.size)), np.float32)

        def prepare(strip: Strip) -> list[Reference] | None:
            linear = self._scales_of(strip)
            halved = halve(linear[-1])
            coarse[:, strip.own(_COARSE)] = halved[:, strip.inside(_COARSE)]
            return self._compared(strip, linear) if keeps else None

        self._kept = threads.run(prepare, strips(height, width))
        self._coarse_light = coarse
        self._coarse = self._whole(coarse) if keeps else None

    def fine(self, strip: Strip) -> list[Reference]:
        """Returns the `Reference`s of the scales of a strip."""
        kept = self._kept[strip.number]
        return kept or self._compared(strip, self._scales_of(strip))

    def coarse(self) -> list[Reference]:
        """Returns the `Reference`s of the scales that are processed as a whole."""
        return self._coarse or self._whole(self._coarse_light)

    def _scales_of(self, strip: Strip) -> list[np.ndarray]:
        linear, _ = linear_light(levels(self._image[strip.seen()]))
        return [linear, halve(linear)]

    def _compared(self, strip: Strip, linear: Sequence[np.ndarray]) -> list[Reference]:
        found = []
        fine = self.weights[:_SCALES_OF_STRIPS]
        for number, (weights, light) in enumerate(zip(fine, linear, strict=False)):
            planes, _ = to_xyb(
                light, len(weights), strip.around(2 * REACH, 1 << number)
            )
            rows = strip.around(REACH, 1 << number)
            found.append(_reference(planes, rows))
        return found

    def _whole(self, linear: np.ndarray) -> list[Reference]:
        found = []
        for number, weights in enumerate(self.weights[_SCALES_OF_STRIPS:]):
            if number:
                linear = halve(linear)
            rows = slice(0, linear.shape[1])
            found.append(_reference(to_xyb(linear, len(weights), rows)[0], rows))
        return found


def _coarse_size(size: Sequence[int]) -> tuple[int, int]:
    height, width = size
    return -(-height // _COARSE), -(-width // _COARSE)


def _reference(planes: np.ndarray, rows: slice) -> Reference:
    found = [statistics(plane, rows) for plane in planes]
    mean, variance = (np.stack(own) for own in zip(*found, strict=True))
    return Reference(planes, mean, variance)


class Term:
    """The weighted sum of errors near one decoded image, a `tiling.Term`.

    The value is the sum before the score's polynomial. The curvatures are those of the
    scales, one after the other, for each of `MAPS` kinds of energy.
    """

    def __init__(self, original: Original, is_original: bool = False):
        """Starts to compare an image.

        Args:
          original: what it is compared with.
          is_original: whether nothing is coded yet: the curvature is that of errors as
            they may come; value and gradient have no meaning.
        """
        self._original = original
        self._is_original = is_original
        self.kinds = MAPS * len(original.sizes)
        self._sums = [
            np.zeros((len(strips(*original.size)), len(own), 2, 3))
            for own in original.weights
        ]
        shape = (3, *_coarse_size(original.size))
        self._linear = np.empty(shape, np.float32)
        self._slope = np.empty(shape, np.float32)
        self._factors: list[list[np.ndarray]] = []
        # In the linear light of the finest coarse scale.
        self._gradient: np.ndarray | None = None

    def see(self, strip: Strip, light: Light) -> list[Planes]:
        """Returns the planes of the scales of a strip."""
        found = []
        linear, slope = light.linear, light.slope
        for number, weights in enumerate(self._original.weights[:_SCALES_OF_STRIPS]):
            if number:
                linear, slope = halve(linear), halve(slope)
            rows = strip.around(2 * REACH, 1 << number)
            found.append(Planes(linear, *to_xyb(linear, len(weights), rows), slope))
        return found

    def compare(self, strip: Strip, light: Light, seen: list[Planes]) -> None:
        """Compares a strip with the original, and halves it for the coarse scales."""
        del light
        if not self._is_original:
            references = self._original.fine(strip)
            for number, (planes, reference) in enumerate(
                zip(seen, references, strict=True)
            ):
                rows = strip.inside(1 << number)
                for i, weights in enumerate(self._original.weights[number]):
                    self._sums[number][strip.number, i] = _sums_of(
                        reference, planes, i, rows, weights
                    )
        if len(self._original.sizes) > _SCALES_OF_STRIPS:
            own, inside = strip.own(_COARSE), strip.inside(_COARSE)
            self._linear[:, own] = halve(seen[-1].linear)[:, inside]
            self._slope[:, own] = halve(seen[-1].slope)[:, inside]

    def settle(
        self, directions: Sequence[Direction], curvatures: Sequence[np.ndarray]
    ) -> float:
        """Returns the value; processes the coarse scales."""
        scales, references = self._coarse_scales(), self._original.coarse()
        if not self._is_original:
            self._compare_whole(scales, references)
        value = 0.0
        for weights, (height, width), sums in zip(
            self._original.weights, self._original.sizes, self._sums, strict=True
        ):
            norms = sums.sum(0) / (height * width)
            norms[:, 1] **= 0.25
            value += float((weights * norms.reshape(-1, 6)).sum())
            triples = zip(weights / (height * width), norms[:, 1], strict=True)
            self._factors.append(
                [_factors(row, norm, self._is_original) for row, norm in triples]
            )
        if directions:
            self._add_whole(scales, references, directions, curvatures)
        return value

    def add_slopes(
        self,
        strip: Strip,
        light: Light,
        seen: list[Planes],
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
        gradient: np.ndarray | None,
    ) -> None:
        """Adds the gradient of a strip, and writes the curvatures of its scales."""
        del light
        coarser = None
        if gradient is not None and self._gradient is not None:
            coarser = self._gradient[:, strip.own(_COARSE)]
        own = [
            c[strip.own(d.height)] for d, c in zip(directions, curvatures, strict=True)
        ]
        references = self._original.fine(strip)
        for number in reversed(range(len(seen))):
            rows = strip.inside(1 << number)
            found = _ScaleSlopes(seen[number], number, rows, directions)
            for i, factors in enumerate(self._factors[number]):
                found.add_plane(references[number], i, factors, gradient is not None)
            found.write(own)
            if gradient is not None:
                coarser = found.gradient(coarser)
        if gradient is not None and coarser is not None:
            gradient += coarser

    def _coarse_scales(self) -> list[Planes]:
        found = []
        linear, slope = self._linear, self._slope
        del self._linear, self._slope
        for number, weights in enumerate(self._original.weights[_SCALES_OF_STRIPS:]):
            if number:
                linear, slope = halve(linear), halve(slope)
            rows = slice(0, linear.shape[1])
            found.append(Planes(linear, *to_xyb(linear, len(weights), rows), slope))
        return found

    def _compare_whole(self, scales: list[Planes], references: list[Reference]) -> None:
        tasks = _tasks(scales)

        def sums_of(task: tuple[int, int]) -> np.ndarray:
            number, i = task
            rows = slice(0, scales[number].planes.shape[1])
            weights = self._original.weights[_SCALES_OF_STRIPS + number][i]
            return _sums_of(references[number], scales[number], i, rows, weights)

        for (number, i), sums in zip(tasks, threads.run(sums_of, tasks), strict=True):
            self._sums[_SCALES_OF_STRIPS + number][0, i] = sums

    def _add_whole(
        self,
        scales: list[Planes],
        references: list[Reference],
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
    ) -> None:
        """Writes curvatures of the coarse scales; keeps their gradient."""
        found = [
            _ScaleSlopes(
                planes,
                _SCALES_OF_STRIPS + number,
                slice(0, planes.planes.shape[1]),
                directions,
            )
            for number, planes in enumerate(scales)
        ]

        def add_plane(task: tuple[int, int]) -> None:
            number, i = task
            factors = self._factors[_SCALES_OF_STRIPS + number][i]
            wants_gradient = not self._is_original
            found[number].add_plane(references[number], i, factors, wants_gradient)

        threads.run(add_plane, _tasks(scales))
        gradient = None
        for own in reversed(found):
            own.write(curvatures)
            gradient = own.gradient(gradient)
        self._gradient = gradient


def _tasks(scales: list[Planes]) -> list[tuple[int, int]]:
    """Returns (number of the scale, of the plane) of all planes."""
    return [(n, i) for n, own in enumerate(scales) for i in range(len(own.planes))]


def _sums_of(
    reference: Reference, scale: Planes, i: int, rows: slice, weights: np.ndarray
) -> np.ndarray:
    """Returns `error_sums` of plane i, whose weights tell whether edges count."""
    own = reference.planes[i], reference.mean[i], reference.variance[i]
    has_edges = bool(weights[[1, 2, 4, 5]].any())
    return error_sums(*own, scale.planes[i], rows, has_edges)


class _ScaleSlopes:
    """Gradient and curvature of rows of one scale, plane by plane.

    Planes are added by several threads, but each of them by one only.
    """

    def __init__(
        self,
        scale: Planes,
        number: int,
        rows: slice,
        directions: Sequence[Direction],
    ):
        """Stores the decoded image at scale `number`, and the rows that count."""
        self._scale, self._number, self._rows = scale, number, rows
        self._directions = directions
        height, width = rows.stop - rows.start, scale.planes.shape[2]
        self._cells = np.array(
            [[max(side >> number, 1) for side in d[1:]] for d in directions]
        )
        counts = -(-np.array([height, width]) // self._cells)
        count = len(scale.planes)
        self._sums = np.zeros(
            (count, len(directions), *counts.max(0), MAPS), np.float32
        )
        self._counts = counts
        self._mixed = np.stack([CONES * np.float32(d.rgb) for d in directions])
        self._by_plane = np.empty_like(scale.planes)

    def add_plane(
        self, reference: Reference, i: int, factors: np.ndarray, wants_gradient: bool
    ) -> None:
        """Finds the slopes of plane i of Y, X, B by its `_factors`."""
        scale, by_cone = self._scale, _CONES_OF_PLANES[i]
        _plane_slopes(
            reference.planes[i],
            reference.mean[i],
            reference.variance[i],
            scale.planes[i],
            factors,
            scale.slope,
            scale.cones,
            (self._mixed * by_cone[:, np.newaxis])[:, : 3 if i == 2 else 2],
            self._cells,
            self._rows.start,
            self._rows.stop,
            wants_gradient,
            self._by_plane[i],
            self._sums[i],
            _new_space(len(self._directions), scale.planes.shape[2]),
        )

    def write(self, curvatures: Sequence[np.ndarray]) -> None:
        """Writes means over blocks into `[rows, cols, kinds]` of each direction."""
        sides = self._rows.stop - self._rows.start, self._scale.planes.shape[2]
        sums = self._sums.sum(0)
        for direction, cell, counts, own, found in zip(
            self._directions, self._cells, self._counts, sums, curvatures, strict=True
        ):
            areas = [
                np.minimum(np.arange(1, n + 1) * c, side) - np.arange(n) * c
                for n, c, side in zip(counts, cell, sides, strict=True)
            ]
            means = own[: counts[0], : counts[1]] / np.outer(*areas)[..., np.newaxis]
            for axis, side in enumerate((direction.height, direction.width)):
                # A pixel of a coarse scale may be of several blocks.
                if 1 << self._number > side:
                    means = np.repeat(means, (1 << self._number) // side, axis)
            rows, cols, kinds = found.shape
            scales = kinds // MAPS
            found[..., self._number :: scales] = means[:rows, :cols]

    def gradient(self, coarser: np.ndarray | None) -> np.ndarray:
        """Returns the gradient in linear light, float32 `[3, n, w]`.

        Args:
          coarser: that of the next scale, or None if there is none.
        """
        width = self._scale.planes.shape[2]
        gradient = np.zeros((3, self._rows.stop - self._rows.start, width), np.float32)
        add_light_gradient(self._by_plane, self._scale.cones, self._rows, gradient)
        if coarser is not None:
            add_halve_adjoint(coarser, gradient)
        return gradient


# What the cones' responses add to Y, X, B.
_CONES_OF_PLANES = np.array(
    [[0.5, 0.5, 0.0], [7.0, -7.0, 0.0], [-0.5, -0.5, 1.0]], np.float32
)


def _factors(weights: np.ndarray, norms: np.ndarray, is_original: bool) -> np.ndarray:
    """Returns factors of the slope and the curvature of one plane's maps.

    Args:
      weights: `[6]`, a pixel's part of those of the plane.
      norms: `[3]`, 4-norms of its maps.
      is_original: see `Term`.

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


def _new_space(directions: int, width: int) -> tuple[np.ndarray, ...]:
    """Allocates what `_plane_slopes` needs for planes of a width."""
    return (
        *new_blur(3, width),
        np.empty((ROWS, 3, width), np.float32),
        # Of gradients in the local means: of the error, its square, the decoded's
        # square; of the weights of the first two energies.
        *new_blur(5, width),
        np.empty((ROWS, 5, width), np.float32),
        # Of edges, which are not blurred: the gradient, and the weights, of two blocks.
        np.zeros((2, ROWS, 2, width), np.float32),
        np.empty(width, np.float32),
        np.zeros((directions, MAPS, width), np.float32),
    )


@njit
def _plane_slopes(
    original,
    mean,
    variance,
    decoded,
    factors,
    slope,
    cones,
    mixed,
    cells,
    first,
    last,
    wants_gradient,
    gradient,
    sums,
    space,
):
    """Writes the gradient in rows of a plane, and adds the weights of the energies.

    Args:
      original, mean, variance: float32 `[h, w]`, one plane of a `Reference`.
      decoded: float32 `[h, w]`, the same plane of the decoded image.
      factors: of `_factors`.
      slope, cones: those of `Planes`.
      mixed: float32 `[directions, 2 or 3 cones, 3]`, what each direction of linear RGB
        adds to the plane by way of each cone.
      cells: `[directions, 2]`, height and width of the cells that sums are over, in px.
      first, last: the rows, without the last; `first` is a multiple of `ROWS`.
      wants_gradient: whether `gradient` is written.
      gradient: float32 `[h, w]`.
      sums: float32 `[directions, rows, cols, MAPS]`.
      space: of `_new_space`.
    """
    original, mean, variance = borrowed(original), borrowed(mean), borrowed(variance)
    decoded, slope, cones = borrowed(decoded), borrowed(slope), borrowed(cones)
    gradient, sums = borrowed(gradient), borrowed(sums)
    ring, wide, moments = borrowed(space[0]), borrowed(space[1]), borrowed(space[2])
    back_ring, back_wide = borrowed(space[3]), borrowed(space[4])
    backs, edges = borrowed(space[5]), borrowed(space[6])
    along, energies = borrowed(space[7]), borrowed(space[8])
    height = len(original)
    has_edges = np.any(factors[:, 1:] != _ZERO)
    # Weights without a gradient are the last two of the blurred rows.
    lowest = 0 if wants_gradient else 3
    for block in range(first // ROWS - 2, (last - 1) // ROWS + 3):
        load_moments(original, decoded, block, ring, wide)
        middle = block - 1
        if middle < first // ROWS - 1:
            continue
        blur_columns(ring, middle, 0, moments)
        for r in range(ROWS):
            y = ROWS * middle + r
            newest = back_ring[middle % 3, r]
            if 0 <= y < height:
                own = edges[middle % 2, r]
                _ssim_slopes(mean[y], variance[y], moments[r], factors, back_wide)
                if has_edges:
                    difference = moments[r, 0]
                    _edge_slopes(
                        original[y], mean[y], decoded[y], difference, factors, own
                    )
                    _subtract_row(own[0], back_wide)
                blur_rows(back_wide, lowest, newest)
            else:
                newest[:] = _ZERO
        done = middle - 1
        if done < first // ROWS:
            continue
        blur_columns(back_ring, done, lowest, backs)
        for y in range(ROWS * done, min(ROWS * middle, last)):
            r = y - ROWS * done
            own = edges[done % 2, r]
            if wants_gradient:
                _gradient_row(original[y], decoded[y], own[0], backs[r], gradient[y])
            for i in range(len(mixed)):
                _direction_row(mixed[i], slope, cones, y, along)
                _add_energies_row(along, backs[r, 3], backs[r, 4], own[1], energies[i])
                cell = y - first
                if cell % cells[i, 0] == cells[i, 0] - 1 or y == last - 1:
                    row = sums[i, cell // cells[i, 0]]
                    add_block_sums(energies[i], cells[i, 1], row)


@njit
def _ssim_slopes(mean, variance, moments, factors, backs):
    """Writes a row of the SSIM map's gradients in moments, and weights of energies."""
    difference, square, decoded_square = moments[0], moments[1], moments[2]
    by_mean, by_square = backs[0, REACH:-REACH], backs[1, REACH:-REACH]
    by_decoded_square = backs[2, REACH:-REACH]
    varying, local = backs[3, REACH:-REACH], backs[4, REACH:-REACH]
    plain, cubic = factors[0, 0, 0], factors[0, 0, 1]
    flat, steep, floor = factors[1, 0, 0], factors[1, 0, 1], factors[1, 0, 2]
    for x in range(difference.size):
        error, luminance, structure, inverse, decoded_mean = ssim_error(
            mean[x], variance[x], difference[x], square[x], decoded_square[x]
        )
        slope = plain + cubic * (error * error * error)
        by_structure = slope * (_ONE - luminance) * inverse
        by_square[x] = by_structure
        by_decoded_square[x] = -by_structure * structure
        by_mean[x] = _TWO * (
            slope * difference[x] * (_ONE - structure)
            + by_structure * (structure * decoded_mean - difference[x])
        )
        smoothed = error * error + floor
        curvature = flat + steep * smoothed * np.sqrt(smoothed)
        varying[x] = curvature * inverse
        local[x] = curvature


@njit
def _edge_slopes(original, mean, decoded, difference, factors, edges):
    """Writes a row of the gradient in edges, and the weights of their energies."""
    gradient, weights = edges[0], edges[1]
    # As numbers, without which the loop is not vectorised.
    ringing, blur = factors[0, 1], factors[0, 2]
    ringing_plain, ringing_cubic = ringing[0], ringing[1]
    blur_plain, blur_cubic = blur[0], blur[1]
    ringing, blur = factors[1, 1], factors[1, 2]
    ringing_steep, ringing_flat, ringing_floor = ringing[0], ringing[1], ringing[2]
    blur_steep, blur_flat, blur_floor = blur[0], blur[1], blur[2]
    for x in range(gradient.size):
        error, decoded_edge, inverse = edge_error(
            original[x], mean[x], decoded[x], difference[x]
        )
        rings = error > _ZERO
        size = abs(error)
        square = size * size
        plain = ringing_plain if rings else blur_plain
        cubic = ringing_cubic if rings else blur_cubic
        slope = (plain + cubic * (square * size)) * inverse
        # Blur grows towards 0.
        falls = (error < _ZERO) != (decoded_edge < _ZERO)
        gradient[x] = -slope if falls else slope
        steep = ringing_steep if rings else blur_steep
        flat = ringing_flat if rings else blur_flat
        floor = ringing_floor if rings else blur_floor
        weight = steep / (size + _LEAST_EDGE) + flat * (square + floor)
        weights[x] = _HALF * weight * inverse * inverse


@njit
def _subtract_row(by_edge, backs):
    """Subtracts the gradient in edges from that in the local mean."""
    by_mean = backs[0, REACH:-REACH]
    for x in range(by_edge.size):
        by_mean[x] -= by_edge[x]


@njit
def _gradient_row(original, decoded, by_edge, backs, gradient):
    by_mean, by_square, by_decoded_square = backs[0], backs[1], backs[2]
    for x in range(gradient.size):
        by_squares = (decoded[x] - original[x]) * by_square[x]
        by_squares += decoded[x] * by_decoded_square[x]
        gradient[x] = by_edge[x] + by_mean[x] + _TWO * by_squares


@njit
def _direction_row(mixed, slope, cones, y, along):
    """Writes a row of a plane's slope in a direction of the decoded RGB."""
    red, green, blue = slope[0, y], slope[1, y], slope[2, y]
    long, medium = cones[0, y], cones[1, y]
    first_red, first_green, first_blue = mixed[0, 0], mixed[0, 1], mixed[0, 2]
    next_red, next_green, next_blue = mixed[1, 0], mixed[1, 1], mixed[1, 2]
    for x in range(along.size):
        first = first_red * red[x] + first_green * green[x] + first_blue * blue[x]
        second = next_red * red[x] + next_green * green[x] + next_blue * blue[x]
        along[x] = first * long[x] + second * medium[x]
    if len(mixed) == 3:
        short = cones[2, y]
        last_red, last_green, last_blue = mixed[2, 0], mixed[2, 1], mixed[2, 2]
        for x in range(along.size):
            third = last_red * red[x] + last_green * green[x] + last_blue * blue[x]
            along[x] += third * short[x]


@njit
def _add_energies_row(along, varying, local, edges, energies):
    first, second, third = energies[0], energies[1], energies[2]
    for x in range(along.size):
        square = along[x] * along[x]
        first[x] += square * varying[x]
        second[x] += square * local[x]
        third[x] += square * edges[x]
