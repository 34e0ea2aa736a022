"""SSIMULACRA2 as a distortion of the search, with terms at fine scales."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.jpeg.standard import BLOCK, YCBCR_TO_RGB
from learned_jpeg.metrics.ssimulacra2 import METRIC
from learned_jpeg.search.basis_energies import grams
from learned_jpeg.search.chunks import chunks
from learned_jpeg.search.distortion import (
    FirstSteps,
    LossOfTraining,
    QuadraticModel,
    Schedule,
    Tune,
    rising,
)
from learned_jpeg.search.squared_error import SquaredError

if TYPE_CHECKING:
    from learned_jpeg.metrics.slopes.tiling import Direction, Term
    from learned_jpeg.search.coded_image import CodedImage, Gradient

NUMBERS_VERSION = 5  # see evaluation/fingerprint.py

_FIRST_POINTS = 6.0  # replaces `loss.POINTS` near the original
# Correlations between the errors of a block, averaged over the image, are less certain
# than variances.
_SHRINKAGE = 0.3
_REACH = 0.28  # steps that a target may differ from the original's coefficient
_CHROMA_REACH = 0.5  # factor on how far targets of chroma move

_PASSES_WITH_NORMS = 2  # passes that find the norms of their images

_CHUNK = 1 << 10  # blocks: their arrays fit into a cache


class Ssimulacra2Distortion:
    """`lmbda * (100 - score) * pixels`, of `ssimulacra2.loss`, approximately.

    A squared error is added if that has a weight.

    In every pass, for chroma and for luma, the metric is replaced by its gradient and a
    quadratic form whose weights differ by block. The correlations between the errors of
    a block's coefficients are those of the image's mean block.
    """

    first_steps = FirstSteps(dc=2.0, ac=2.9, slope=0.0, chroma=1.0)
    moves_tables = True
    schedules: Mapping[int, Schedule] = {
        1: Schedule(warm_up_rounds=1, damping=(1.5,), first_rounds=2, step_scale=0.95),
        2: Schedule(warm_up_rounds=2, damping=(1.0, 2.0, 4.0, 6.0)),
        3: Schedule(warm_up_rounds=3, damping=rising(6.0, passes=16), first_rounds=2),
    }

    def __init__(self, image: np.ndarray, lmbda: float, mse_lmbda: float = 0.0):
        """Prepares what depends on the original only.

        Args:
          image: uint8 RGB `[h, w, 3]`, sides of at least `METRIC.min_side` px.
          lmbda: bits per pixel that a point of the score is worth.
          mse_lmbda: bits per pixel that a mean squared error of 1 is worth.
        """
        from learned_jpeg.metrics.ssimulacra2.loss import POINTS, WEIGHTS
        from learned_jpeg.metrics.ssimulacra2.slopes import Original

        self._squared = SquaredError(mse_lmbda) if mse_lmbda else None
        self._mse_lmbda = mse_lmbda
        self._image = image
        factor = lmbda * image.shape[0] * image.shape[1]
        # Bits that a unit of the metric's weighted sum is worth.
        self._scale, self._first_scale = POINTS * factor, _FIRST_POINTS * factor
        self._original = Original(image, WEIGHTS)
        self._norms: list[np.ndarray] | None = None  # of the last linearisation
        self._passes: Counter[tuple[int, ...]] = Counter()  # by components
        self._gradients: dict[int, Gradient] = {}
        self._curvatures: dict[int, np.ndarray] = {}
        self._last_weights: dict[int, np.ndarray] = {}  # of the last pass

    def weights(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns weights of the coefficients without correlations, `[blocks, 64]`."""
        if component == 0:
            self._linearise(coded, (0, 1, 2), wants_gradients=False)
        return self._weights(coded, component)

    def quadratic_model(
        self, coded: CodedImage, component: int, damping: float
    ) -> QuadraticModel:
        """Returns the model of a component near the coded image."""
        self._linearise_for(component, coded)
        weights, scales = self._averaged_weights(coded, component)
        correlations = self._correlations(coded, component, scales)
        del self._curvatures[component]  # which take memory
        triangle = np.linalg.cholesky(correlations)
        diagonal = np.diag(triangle)
        factors = (damping * diagonal**2).astype(np.float32)
        inverse = np.linalg.inv(correlations) * (self._scale / 2 / damping)
        target = self._target(coded, component, weights, inverse, factors)
        coupling = (triangle / diagonal[:, np.newaxis]).T.astype(np.float32)
        return QuadraticModel(target, weights, coupling)

    def _linearise_for(self, component: int, coded: CodedImage) -> None:
        """Linearises twice a pass: for both components of chroma, and for luma."""
        if component != 2:  # Cr takes that of Cb.
            self._linearise(coded, (1, 2) if component else (0,))

    def _averaged_weights(
        self, coded: CodedImage, component: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the geometric mean of these weights and those of the last pass.

        Returns:
          (weights `[blocks, 64]`, one over the geometric mean of each block's
          `[blocks]`), float32.
        """
        from learned_jpeg.search.block_weights import average_weights

        curvature = self._curvatures[component]
        own = self._variances(coded, component)
        added = self._weights_of_squares(coded, component)
        weights = kept_memory.empty((len(curvature), 64))
        is_first = component not in self._last_weights
        if is_first:
            self._last_weights[component] = np.empty(weights.shape, np.uint16)
        before = self._last_weights[component]
        products = np.empty(len(weights), np.float32)
        exponents = np.empty(len(weights), np.int32)

        def average(blocks: slice) -> None:
            np.matmul(curvature[blocks], own, out=weights[blocks])
            average_weights(
                *(weights[blocks], added, before[blocks], is_first),
                *(products[blocks], exponents[blocks]),
            )

        threads.run(average, chunks(len(weights), _CHUNK))
        return weights, np.exp2((exponents + np.log2(products)) / np.float32(-64))

    def _linearise(
        self,
        coded: CodedImage,
        components: tuple[int, ...],
        wants_gradients: bool = True,
    ) -> None:
        """Finds gradients and curvatures of components near the coded image."""
        from learned_jpeg.metrics.slopes.tiling import slopes
        from learned_jpeg.metrics.ssimulacra2.slopes import Term

        # From the third pass on, an image changes little from one to the next.
        if self._passes[components] < _PASSES_WITH_NORMS:
            self._norms = None
        self._passes[components] += wants_gradients
        loss = Term(self._original, coded.is_original, self._norms)
        scale = self._first_scale if coded.is_original else self._scale
        terms = [(loss, scale), *self._other_terms(coded.is_original)]
        sums = [coded.new_gradient(c) for c in components if wants_gradients]

        def take(number: int, rows: slice, gradient: np.ndarray) -> None:
            sums[number].add(rows, gradient)

        height, width = coded.image.shape[:2]
        found = slopes(
            [term for term, _ in terms],
            (height, width),
            coded.decoded_rgb,
            directions_of(coded, components),
            take if wants_gradients else None,
        )
        if not coded.is_original:
            self._norms = loss.norms()
        scales = np.repeat([scale for _, scale in terms], [t.kinds for t, _ in terms])
        for curvature in found.curvatures:
            curvature *= scales.astype(np.float32)
        self._gradients = dict(zip(components, sums, strict=False))
        self._curvatures = dict(zip(components, found.curvatures, strict=True))

    def _other_terms(self, is_original: bool) -> list[tuple[Term, float]]:
        """Returns metrics beside SSIMULACRA2, with the bits that a unit is worth."""
        from learned_jpeg.metrics.slopes import squared_error

        del is_original
        if not self._squared:
            return []
        # Its curvature is added to the weights.
        weight = self._mse_lmbda / self._scale
        return [(squared_error.Term(self._image, weight), self._mse_lmbda)]

    def _grams(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns the energies of a block whose weights the curvatures are.

        Returns:
          float64 `[kinds, 64, 64]`, zigzag: the energies of products of two errors.
        """
        return _energies(coded.factors(component), len(self._original.sizes))

    def _variances(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns the energies of single errors, float32 `[kinds, 64]`."""
        own = np.einsum("xaa->xa", self._grams(coded, component))
        return own.astype(np.float32)

    def _weights_of_squares(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns the weights that the squared error adds, float32 `[64]`."""
        if not self._squared:
            return np.zeros(64, np.float32)
        return self._squared.weights(coded, component)[0]

    def _weights(self, coded: CodedImage, component: int) -> np.ndarray:
        curvature, own = self._curvatures[component], self._variances(coded, component)
        added = self._weights_of_squares(coded, component)
        weights = kept_memory.empty((len(curvature), 64))

        def write(blocks: slice) -> None:
            np.matmul(curvature[blocks], own, out=weights[blocks])
            weights[blocks] += added

        threads.run(write, chunks(len(weights), _CHUNK))
        return weights

    def _correlations(
        self, coded: CodedImage, component: int, scales: np.ndarray
    ) -> np.ndarray:
        """Returns those of the mean block's quadratic form, shrunk, `[64, 64]`.

        Args:
          coded: the image as it is coded at the moment.
          component: 0, 1 or 2.
          scales: factors on the blocks' forms, float32 `[blocks]`.
        """
        mean = (scales @ self._curvatures[component]).astype(float)
        form = np.tensordot(mean, self._grams(coded, component), 1)
        squared = self._weights_of_squares(coded, component)
        form += np.diag(scales.sum(dtype=float) * squared)
        roots = np.sqrt(np.diag(form))
        form /= np.outer(roots, roots)
        return (1 - _SHRINKAGE) * form + _SHRINKAGE * np.eye(64)

    def _target(
        self,
        coded: CodedImage,
        component: int,
        weights: np.ndarray,
        inverse: np.ndarray,
        factors: np.ndarray,
    ) -> np.ndarray:
        """Returns the minimum of the form, within reach of the original.

        Args:
          coded: the image as it is coded at the moment.
          component: 0, 1 or 2.
          weights: float32 `[blocks, 64]`, which are multiplied by `factors` afterwards.
          inverse: `[64, 64]`, of the form in errors times the roots of the weights.
          factors: float32 `[64]`.
        """
        from learned_jpeg.search.block_targets import divide_by_roots, write_targets

        target = self._gradients.pop(component).coefficients()
        inverse = inverse.astype(np.float32)
        reach = np.float32(_REACH) * coded.steps(component)
        part = np.float32(_CHROMA_REACH if component else 1)

        def write(chunk: tuple[slice, slice]) -> None:
            block_rows, own = chunk
            scaled = np.empty((own.stop - own.start, 64), np.float32)
            divide_by_roots(target[own], weights[own], scaled)
            original = coded.original(component, block_rows)
            excess = coded.clipped_excess(component, block_rows)
            if excess is not None:
                original = original + excess
            write_targets(
                *(scaled @ inverse, weights[own], factors),
                *(coded.coefficients(component, own), original),
                *(reach, part, target[own]),
            )

        threads.run(write, coded.chunks_of_rows(component, _CHUNK))
        return target


def directions_of(coded: CodedImage, components: tuple[int, ...]) -> list[Direction]:
    """Returns the `Direction`s of components of a coded image."""
    from learned_jpeg.metrics.slopes.tiling import Direction

    directions = []
    for component in components:
        v, h = coded.factors(component)
        directions.append(Direction(YCBCR_TO_RGB[:, component], BLOCK * v, BLOCK * h))
    return directions


@functools.cache
def _energies(own_factors: tuple[int, int], scales: int) -> np.ndarray:
    """Returns `Grams` as `[kinds * scales, 64, 64]`: variance, mean and detail.

    The kinds are those of `metrics.ssimulacra2.slopes`.
    """
    from learned_jpeg.metrics.ssimulacra2.window import window

    plain, mean, detail = grams(own_factors, tuple(window()))
    kinds = np.stack([plain - mean, mean, detail])
    return kinds[:, :scales].reshape(-1, 64, 64)


_EQUAL_RATE = 1.1

TUNES = (
    Tune(
        name="ssimulacra2",
        help="SSIMULACRA2, with terms at fine scales that keep other metrics good",
        metric_name=METRIC.name,
        min_side=METRIC.min_side,
        equal_rate=_EQUAL_RATE,
        distortion=lambda image, lmbda: Ssimulacra2Distortion(image, lmbda),
        lambdas=(6e-4, 2.5),
        loss=LossOfTraining(
            weight="ssimulacra2",
            distortion=lambda image, lmbda, weight: Ssimulacra2Distortion(
                image, weight * lmbda, lmbda
            ),
            squared_error_worth=lambda weight: 1.0 + weight / _EQUAL_RATE,
        ),
        minimises=("ssimulacra2",),
        versions={"perceptual": NUMBERS_VERSION},
    ),
)
