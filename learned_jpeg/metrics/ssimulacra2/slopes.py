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

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.metrics.slopes.light import (
    add_halve_adjoint,
    halve,
    light_of,
)
from learned_jpeg.metrics.slopes.tiling import (
    Direction,
    Light,
    Strip,
    strips,
)
from learned_jpeg.metrics.ssimulacra2 import MIN_SIDE
from learned_jpeg.metrics.ssimulacra2.block_weights import BlockWeights, squares_of
from learned_jpeg.metrics.ssimulacra2.plane_slopes import (
    MAPS,
    Reference,
    factors_of,
    new_space,
    plane_slopes,
)
from learned_jpeg.metrics.ssimulacra2.window import REACH, statistics
from learned_jpeg.metrics.ssimulacra2.xyb import add_light_gradient, to_xyb

# The first scales are processed strip by strip, coarser ones as a whole.
_SCALES_OF_STRIPS = 2
_COARSE = 1 << _SCALES_OF_STRIPS  # px of the image for one of the first whole scale
# Images up to this size keep the original at the scales of strips, 21 bytes a pixel.
_KEPT_PIXELS = 3 << 22


class Planes(NamedTuple):
    """Planes of XYB of the decoded image at one scale, float32.

    Attributes:
      planes: `[n, h, w]`, the first n of Y, X, B.
      cones: `[2 or 3, h, w]`, slopes of the cones' responses in linear light.
    """

    planes: np.ndarray
    cones: np.ndarray


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
        # Whether ringing and blur count, for each plane of each scale.
        self.has_edges = [
            [bool(own[[1, 2, 4, 5]].any()) for own in planes] for planes in self.weights
        ]
        keeps = height * width <= _KEPT_PIXELS
        coarse = np.empty((3, *_coarse_size(self.size)), np.float32)

        def prepare(strip: Strip) -> list[tuple[int, Reference]] | None:
            linear = self._scales_of(strip)
            halved = halve(linear[-1])
            coarse[:, strip.own(_COARSE)] = halved[:, strip.inside(_COARSE)]
            return list(self._references(strip, linear)) if keeps else None

        self._kept = threads.run(prepare, strips(height, width))
        self._coarse_light = coarse
        self._coarse = self._whole(coarse) if keeps else None

    def fine(self, strip: Strip) -> Iterable[tuple[int, Reference]]:
        """Returns scales of a strip with their `Reference`s, from coarse to fine."""
        kept = self._kept[strip.number]
        return kept or self._references(strip, self._scales_of(strip))

    def coarse(self) -> list[Reference]:
        """Returns the `Reference`s of the scales that are processed as a whole."""
        return self._coarse or self._whole(self._coarse_light)

    def _scales_of(self, strip: Strip) -> list[np.ndarray]:
        linear = light_of(self._image[strip.seen()])
        return [linear, halve(linear)]

    def _references(
        self, strip: Strip, linear: list[np.ndarray]
    ) -> Iterator[tuple[int, Reference]]:
        """Yields what `fine` returns; empties the list of linear light."""
        del linear[len(self.weights) :]  # scales that a small image does not have
        while linear:
            number = len(linear) - 1
            # Without names for what is yielded, as it takes memory.
            yield number, self._reference(strip, number, linear.pop())

    def _reference(self, strip: Strip, number: int, linear: np.ndarray) -> Reference:
        planes = _planes(strip, number, linear, self.weights).planes
        rows = strip.around(REACH, 1 << number)
        return Reference(planes, *statistics(planes, rows))

    def _whole(self, linear: np.ndarray) -> list[Reference]:
        found = []
        for number, weights in enumerate(self.weights[_SCALES_OF_STRIPS:]):
            if number:
                linear = halve(linear)
            rows = slice(0, linear.shape[1])
            planes, _ = to_xyb(linear, len(weights), rows)
            found.append(Reference(planes, *statistics(planes, rows)))
        return found


def _coarse_size(size: Sequence[int]) -> tuple[int, int]:
    height, width = size
    return -(-height // _COARSE), -(-width // _COARSE)


class Term:
    """The weighted sum of errors near one decoded image, a `tiling.Term`.

    The value is the sum before the score's polynomial. The curvatures are those of the
    scales, one after the other, for each of `MAPS` kinds of energy.
    """

    def __init__(
        self,
        original: Original,
        is_original: bool = False,
        norms: Sequence[np.ndarray] | None = None,
    ):
        """Starts to compare an image.

        Args:
          original: what it is compared with.
          is_original: whether nothing is coded yet: the curvature is that of errors as
            they may come; value and gradient have no meaning.
          norms: `norms()` of a term of nearly the same image, by which its maps count:
            that spares a comparison. None for those of the image itself.
        """
        self._original = original
        self._is_original = is_original
        self._norms = norms
        self.kinds = MAPS * len(original.sizes)
        self._sums = self._new_sums()
        shape = (3, *_coarse_size(original.size))
        self._linear = kept_memory.empty(shape)
        self._slope = kept_memory.empty(shape)
        self._factors: list[list[np.ndarray]] = []
        scales = enumerate(zip(original.weights, original.sizes, strict=True))
        self._weights = [
            BlockWeights(number, len(own), size, number >= _SCALES_OF_STRIPS)
            for number, (own, size) in scales
        ]
        # In the linear light of the finest coarse scale.
        self._gradient: np.ndarray | None = None
        self._squares = np.empty(0, np.float32)

    def norms(self) -> list[np.ndarray]:
        """Returns the norms of the maps of each scale, `[n, 2 (mean, 4-norm), 3]`."""
        found = []
        for size, sums in zip(self._original.sizes, self._sums, strict=True):
            norms = sums.sum(0) / math.prod(size)
            norms[:, 1] **= 0.25
            found.append(norms)
        return found

    def look(self, strip: Strip, light: Light) -> None:
        """Halves a strip for the coarse scales; compares it where norms are needed."""
        own, inside = strip.own(_COARSE), strip.inside(_COARSE)
        half = halve(light.linear)
        self._linear[:, own] = halve(half)[:, inside]
        self._slope[:, own] = halve(halve(light.slope))[:, inside]
        if self._needs_norms():
            weights = self._original.weights
            for number, reference in self._original.fine(strip):
                linear = half if number else light.linear
                planes = _planes(strip, number, linear, weights)
                self._compare(reference, planes, number, strip)
                del reference, planes  # before the next ones are made

    def settle(self, directions: Sequence[Direction]) -> None:
        """Processes the coarse scales."""
        tasks: list[Callable[[], Any]] = [
            lambda: self._coarse_planes(directions),
            self._original.coarse,
        ]
        scales, references = threads.run(lambda find: find(), tasks)
        if self._needs_norms():
            for number, pair in enumerate(zip(references, scales, strict=True)):
                self._compare(*pair, _SCALES_OF_STRIPS + number)
            self._norms = self.norms()
            self._sums = self._new_sums()
        self._set_factors()
        gradients = [kept_memory.empty(planes.planes.shape) for planes in scales]

        def add_plane(task: tuple[int, int]) -> None:
            number, i = task
            planes, scale = scales[number], _SCALES_OF_STRIPS + number
            gradient = None if self._is_original else gradients[number]
            space = new_space(planes.planes.shape[2])
            self._add_plane(references[number], planes, scale, i, gradient, space)

        numbers = enumerate(scales)
        threads.run(
            add_plane, [(n, i) for n, own in numbers for i in range(len(own.planes))]
        )
        if not self._is_original:
            self._gradient = None
            for planes, own in zip(reversed(scales), reversed(gradients), strict=True):
                rows = slice(0, own.shape[1])
                self._gradient = _light_gradient(planes, own, rows, self._gradient)

    def add_slopes(
        self,
        strip: Strip,
        light: Light,
        directions: Sequence[Direction],
        curvatures: Sequence[np.ndarray],
        gradient: np.ndarray | None,
    ) -> None:
        """Adds the gradient of a strip, and the weights of its scales."""
        del directions, curvatures  # see `finish`
        coarser = None
        if self._gradient is not None:
            coarser = self._gradient[:, strip.own(_COARSE)]
        for number, reference in self._original.fine(strip):
            linear = halve(light.linear) if number else light.linear
            planes = _planes(strip, number, linear, self._original.weights)
            own = None if gradient is None else kept_memory.empty(planes.planes.shape)
            space = new_space(planes.planes.shape[2])
            for i in range(len(planes.planes)):
                self._add_plane(reference, planes, number, i, own, space, strip)
            if own is not None:
                rows = strip.inside(1 << number)
                coarser = _light_gradient(planes, own, rows, coarser)
            del reference, planes, own, space  # before the next ones are made
        if gradient is not None:
            gradient += coarser

    def finish(
        self, directions: Sequence[Direction], curvatures: Sequence[np.ndarray]
    ) -> float:
        """Writes the curvatures; returns the value."""
        scales = len(self._weights)

        def add(number: int) -> None:
            own = [curvature[..., number::scales] for curvature in curvatures]
            for found in own:
                found[:] = 0
            size = self._original.size
            self._weights[number].add_products(self._squares, directions, size, own)

        if directions:
            threads.run(add, range(scales))
        pairs = zip(self._original.weights, self.norms(), strict=True)
        return sum(float((own * norms.reshape(-1, 6)).sum()) for own, norms in pairs)

    def _new_sums(self) -> list[np.ndarray]:
        count = len(strips(*self._original.size))
        return [np.zeros((count, len(own), 2, 3)) for own in self._original.weights]

    def _needs_norms(self) -> bool:
        return self._norms is None and not self._is_original

    def _coarse_planes(self, directions: Sequence[Direction]) -> list[Planes]:
        """Returns the planes of the coarse scales, and sets `_squares`."""
        linear, slope = self._linear, self._slope
        del self._linear, self._slope
        if directions:
            _, cones = to_xyb(linear, 3, slice(0, linear.shape[1]))
            self._squares = squares_of(directions, slope, cones)
        found = []
        for number, weights in enumerate(self._original.weights[_SCALES_OF_STRIPS:]):
            if number:
                linear = halve(linear)
            rows = slice(0, linear.shape[1])
            found.append(Planes(*to_xyb(linear, len(weights), rows)))
        return found

    def _set_factors(self) -> None:
        norms = self._norms or [
            np.zeros((len(w), 2, 3)) for w in self._original.weights
        ]
        for weights, size, own in zip(
            self._original.weights, self._original.sizes, norms, strict=True
        ):
            pairs = zip(weights / math.prod(size), own[:, 1], strict=True)
            self._factors.append([factors_of(*p, self._is_original) for p in pairs])

    def _compare(
        self,
        reference: Reference,
        planes: Planes,
        number: int,
        strip: Strip | None = None,
    ) -> None:
        """Adds the sums of the errors at a scale, of a strip or the whole."""
        space = new_space(planes.planes.shape[2])
        for i, has_edges in enumerate(self._original.has_edges[number]):
            plane_slopes(
                reference,
                planes.planes,
                i,
                _NO_FACTORS,
                rows=_rows(planes, number, strip),
                has_edges=has_edges,
                cell=1,
                blurs_weights=False,
                weights=None,
                gradient=None,
                sums=self._sums[number][strip.number if strip else 0, i],
                space=space,
            )

    def _add_plane(
        self,
        reference: Reference,
        planes: Planes,
        number: int,
        i: int,
        gradient: np.ndarray | None,
        space: tuple[np.ndarray, ...],
        strip: Strip | None = None,
    ) -> None:
        """Adds the slopes of plane i at a scale, of a strip or the whole."""
        weights = self._weights[number]
        plane_slopes(
            reference,
            planes.planes,
            i,
            self._factors[number][i],
            rows=_rows(planes, number, strip),
            has_edges=self._original.has_edges[number][i],
            cell=weights.cell,
            blurs_weights=strip is None,
            weights=weights.sums[i, strip.own(BLOCK) if strip else slice(None)],
            gradient=gradient,
            sums=self._sums[number][strip.number if strip else 0, i],
            space=space,
        )


_NO_FACTORS = np.zeros((2, 3, 3), np.float32)


def _planes(
    strip: Strip, number: int, linear: np.ndarray, weights: Sequence[np.ndarray]
) -> Planes:
    """Returns the planes of a scale of a strip, of its linear light."""
    rows = strip.around(2 * REACH, 1 << number)
    return Planes(*to_xyb(linear, len(weights[number]), rows))


def _rows(planes: Planes, number: int, strip: Strip | None) -> slice:
    """Returns the rows of planes at a scale that count."""
    return strip.inside(1 << number) if strip else slice(0, planes.planes.shape[1])


def _light_gradient(
    planes: Planes, by_plane: np.ndarray, rows: slice, coarser: np.ndarray | None
) -> np.ndarray:
    """Returns the gradient in linear light of rows of a scale, float32 `[3, n, w]`.

    Args:
      planes: the scale.
      by_plane: float32 `[n, h, w]`, the gradient in its planes.
      rows: a slice.
      coarser: the gradient of the next scale, or None if there is none.
    """
    shape = 3, rows.stop - rows.start, by_plane.shape[2]
    gradient = kept_memory.zeros(shape)
    add_light_gradient(by_plane, planes.cones, rows, gradient)
    if coarser is not None:
        add_halve_adjoint(coarser, gradient)
    return gradient
