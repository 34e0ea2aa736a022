"""The search for the smallest file: integers and tables of an image, pass by pass.

The search minimises a distortion, in bits, plus the bits of JPEG's entropy coder. Each
pass asks the distortion for a quadratic model of one component at a time, near the
coded image (distortion.py). It chooses the integers of the component by that model and
by the code lengths of the integers before (trellis.py, bit_costs.py). Then it moves the
quantization steps to what suits the integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from learned_jpeg.common import blas, kept_memory, threads
from learned_jpeg.jpeg.sampling import blocks_of
from learned_jpeg.jpeg.standard import BLOCK, ZIGZAG
from learned_jpeg.search import trellis
from learned_jpeg.search.bit_costs import (
    ProgressiveCosts,
    SequentialCosts,
    bit_costs,
)
from learned_jpeg.search.chunks import chunks
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.distortion import DEFAULT_EFFORT, Distortion, QuadraticModel
from learned_jpeg.search.planes import to_natural

NUMBERS_VERSION = 3  # see evaluation/fingerprint.py; also of squared_error.py

# Numbers of the quantization tables, and the components that use each.
LUMA, CHROMA = 0, 1
_COMPONENTS = {LUMA: (0,), CHROMA: (1, 2)}
_TABLE_OF = (LUMA, CHROMA, CHROMA)

DEAD_ZONE = 0.36  # of the first integers: |z| is rounded up from 1 - this
# Fitted steps change too little, because the integers were chosen for the old step. So
# they are over-relaxed, except in the last pass: then the integers stay.
_OVER_RELAXATION = 2
_FAR = 0.2  # change of log(lambda) by which a first quantization moves the weights
_LEAST_COUNT = 8  # integers other than 0 that over-relaxation needs
_CHUNK = 1 << 10  # blocks at a time


class SearchResult(NamedTuple):
    """The coding that the search found.

    Attributes:
      planes: integers of Y, Cb and Cr, int16 `[rows, cols, 8 (v), 8 (u)]` each.
      qtables: uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`.
    """

    planes: tuple[np.ndarray, ...]
    qtables: np.ndarray


@kept_memory.kept()
@blas.one_thread()
def search(
    image: np.ndarray,
    distortion: Distortion,
    *,
    sampling: str,
    entropy_coding: str,
    qtables: np.ndarray | None = None,
    moves_tables: bool = True,
    block_gains: np.ndarray | None = None,
    effort: int = DEFAULT_EFFORT,
    steer: Callable[[SearchResult], float | None] | None = None,
) -> SearchResult:
    """Searches for the integers and tables of least `distortion + bits`.

    Args:
      image: uint8 RGB `[height, width, 3]`.
      distortion: what is minimised in addition to the bits.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      entropy_coding: "standard" counts the bits of the standard's Huffman tables in a
        sequential scan; any other coding those of tables made for the image's
        progressive scans.
      qtables: `[2, 8, 8]`, 1..255, to start from; None for tables that follow from the
        distortion.
      moves_tables: False keeps given tables, also where the distortion would move them;
        then their entries need not be whole numbers.
      block_gains: factors on the weights of each block, float32 `[rows, cols]` for
        blocks of luma; None for 1.
      effort: one of `EFFORTS`.
      steer: is shown the first quantization, and returns the factor on the weights of
        all coefficients by which it is made again and shown again, or None to go on;
        only where its tables follow from the distortion, and without gains.
    """
    schedule = distortion.schedules[effort]
    moves_tables = moves_tables and distortion.moves_tables
    coded = CodedImage(image, sampling)
    height, width = image.shape[:2]
    costs = bit_costs(entropy_coding, height, width, sampling)
    state = PassState(coded, distortion, costs, schedule.step_scale, block_gains)
    state.round_original(qtables)
    for number in range(schedule.warm_up_rounds):
        if number:
            state.round_original(qtables)
        state.update_coded_image(0, 1, 2)
    while steer and qtables is None and (factor := steer(state.result())) is not None:
        state.weigh(factor)
        if schedule.warm_up_rounds:
            state.update_coded_image(0, 1, 2)
            if abs(np.log(factor)) > _FAR:  # near other integers weights are other ones
                state.round_original(None)
                state.update_coded_image(0, 1, 2)
    groups = ((1, 2), (0,)) if moves_tables else ((1,), (2,), (0,))
    for number, damping in enumerate(schedule.damping):
        is_first, is_last = number == 0, number == len(schedule.damping) - 1
        rounds = schedule.first_rounds if is_first else 1
        for components in groups:
            models = {c: state.model(c, damping) for c in components}
            state.forget_coded_image(*components)
            for turn in range(rounds):
                is_new = is_first and turn == 0
                sums = state.choose_integers(models, is_new)
                if moves_tables:
                    is_fixed = is_last and turn == rounds - 1
                    state.move_steps(components, sums, is_fixed)
            del models  # before the next ones are made: they take memory
            state.update_coded_image(*components)
    return state.result()


def first_steps(
    coded: CodedImage, distortion: Distortion, scale: float = 1.0
) -> np.ndarray:
    """Returns the steps that follow from the weights, `[2 (luma, chroma), 64]`.

    Args:
      coded: the image as it is coded at the moment.
      distortion: whose weights and rule they follow.
      scale: factor on the rule.

    Returns:
      float64, zigzag, before they are rounded to whole numbers in 1..255.

    Raises:
      ValueError: the distortion has no rule for them.
    """
    rule = distortion.first_steps
    if rule is None:
        raise ValueError(f"{type(distortion).__name__} needs qtables to start from")
    logs = [_mean_logs(distortion.weights(coded, c)) for c in range(3)]
    frequencies = (ZIGZAG // BLOCK + ZIGZAG % BLOCK) / (2 * (BLOCK - 1))
    factors = np.tile(rule.ac * (1 + rule.slope * frequencies), (2, 1))
    factors[CHROMA] *= rule.chroma
    factors[:, 0] = rule.dc
    return scale * factors / np.exp(np.stack([logs[0], (logs[1] + logs[2]) / 2]) / 2)


def _mean_logs(weights: np.ndarray) -> np.ndarray:
    """Returns the means of the logarithms over the blocks, float64 `[64]`."""
    total = np.zeros(64)
    for chunk in chunks(len(weights), _CHUNK):
        total += np.log(weights[chunk]).sum(0)
    return total / len(weights)


class PassState:
    """The integers and quantization steps of the current pass."""

    def __init__(
        self,
        coded: CodedImage,
        distortion: Distortion,
        costs: SequentialCosts | ProgressiveCosts,
        step_scale: float = 1.0,
        block_gains: np.ndarray | None = None,
    ):
        """Stores what stays; `round_original` sets integers and steps."""
        self._step_scale = step_scale
        self._coded = coded
        self._distortion = distortion
        self._costs = costs
        self._gains: list[np.ndarray] | None = None  # [blocks, 1] of each component
        if block_gains is not None:
            self._gains = [
                _gains_of_component(block_gains, coded.factors(c)) for c in range(3)
            ]
        self._weight: np.float32 | None = None  # factor on all weights
        self._exact_steps = np.ones((2, 64))  # zigzag, those of the first quantization
        self._steps = np.ones((2, 64), np.float32)  # zigzag
        self._integers: list[np.ndarray] = []  # int16 [blocks, 64], zigzag

    def round_original(self, qtables: np.ndarray | None) -> None:
        """Rounds the original's coefficients with a dead zone, by first steps.

        Args:
          qtables: `[2, 8, 8]`; None for `first_steps`.
        """
        if qtables is None:
            steps = first_steps(self._coded, self._distortion, self._step_scale)
            self._exact_steps = steps / np.sqrt(self._weight or 1)
            self._round_by(np.rint(self._exact_steps).clip(1, 255))
        else:
            self._round_by(np.asarray(qtables).reshape(2, 64)[:, ZIGZAG])

    def weigh(self, factor: float) -> None:
        """Multiplies all weights, and rounds the original by the steps of these."""
        self._weight = np.float32(factor * (self._weight or 1))
        self._exact_steps = self._exact_steps / np.sqrt(factor)
        self._round_by(np.rint(self._exact_steps).clip(1, 255))

    def _round_by(self, steps: np.ndarray) -> None:
        self._steps = steps.astype(np.float32)
        self._integers = [self._rounded(component) for component in range(3)]

    def _rounded(self, component: int) -> np.ndarray:
        """Returns the rounded coefficients of the original, int16 `[blocks, 64]`."""
        count = math.prod(blocks_of(*self._coded.sizes[component]))
        integers = np.empty((count, BLOCK**2), np.int16)
        steps = self._steps[_TABLE_OF[component]]

        def write(chunk: tuple[slice, slice]) -> None:
            rows, own = chunk
            _round(self._coded.original(component, rows), steps, integers[own])

        threads.run(write, self._coded.chunks_of_rows(component, _CHUNK))
        return integers

    def model(self, component: int, damping: float) -> _StepModel:
        """Returns the model of a component near the coded image.

        Args:
          component: 0, 1 or 2.
          damping: of the pass, see `Schedule`.
        """
        model = self._distortion.quadratic_model(self._coded, component, damping)
        gains = self._weight if self._gains is None else self._gains[component]
        return _StepModel(model, gains)

    def choose_integers(
        self, models: Mapping[int, _StepModel], is_new: bool
    ) -> np.ndarray:
        """Chooses the integers of components that share a table, by their models.

        Args:
          models: by component.
          is_new: whether the integers are those of rounding.

        Returns:
          Sums for `move_steps`, see `trellis.regression`.
        """
        table = _TABLE_OF[min(models)]
        own = [self._integers[component] for component in _COMPONENTS[table]]
        dc_lengths = self._costs.dc_lengths(table, own)

        def choose(component: int) -> np.ndarray:
            models[component].rescale(self._steps[table])
            return self._choose(component, models[component], dc_lengths, is_new)

        return np.sum(threads.run(choose, models), axis=0)

    def _choose(
        self, component: int, model: _StepModel, dc_lengths: np.ndarray, is_new: bool
    ) -> np.ndarray:
        """Chooses the integers of a component; returns its part of the sums."""
        integers = self._integers[component]
        bands = self._costs.bands(_TABLE_OF[component], integers, is_new)
        z, weights, coupling = model.z, model.weights, model.coupling
        if coupling is None or is_new:
            for band in bands:
                trellis.search_ac(z, weights, band, integers)
        if coupling is not None:
            # The errors of higher frequencies move the targets of lower ones.
            z = trellis.coupled_targets(model.z, weights, coupling, integers)
            for band in bands:
                trellis.search_ac(z, weights, band, integers)
            trellis.move_dc(model.z, weights, coupling, integers, z)
        order = self._costs.dc_order(component, len(integers))
        trellis.search_dc(z, weights, order, dc_lengths, integers)
        return trellis.regression(z, weights, integers)

    def move_steps(
        self, components: Sequence[int], sums: np.ndarray, is_last: bool
    ) -> None:
        """Moves the steps of components to the least weighted error of their integers.

        Args:
          components: all that share a table.
          sums: those of `choose_integers`.
          is_last: whether the integers stay.
        """
        steps = self._steps[_TABLE_OF[components[0]]]
        products, squares, counts = sums
        enough = (counts >= (1 if is_last else _LEAST_COUNT)) & (squares > 0)
        fitted = steps * np.where(enough, products / np.where(enough, squares, 1), 1)
        if not is_last:
            fitted = steps + _OVER_RELAXATION * (fitted - steps)
        steps[:] = np.rint(fitted).clip(1, 255)

    def update_coded_image(self, *components: int) -> None:
        """Tells the coded image the integers and steps of components."""
        for component in components:
            steps = self._steps[_TABLE_OF[component]]
            self._coded.replace(component, self._integers[component], steps)

    def forget_coded_image(self, *components: int) -> None:
        """Frees the decoded components that are updated next."""
        for component in components:
            self._coded.forget(component)

    def result(self) -> SearchResult:
        """Returns the integers and tables in natural order."""
        planes = tuple(
            to_natural(integers, *size)
            for integers, size in zip(self._integers, self._coded.sizes, strict=True)
        )
        flat = np.empty((2, 64), np.uint8)
        flat[:, ZIGZAG] = self._steps
        return SearchResult(planes, flat.reshape(2, BLOCK, BLOCK))


class _StepModel:
    """A quadratic model in units of quantization steps.

    Attributes:
      z: float32 `[blocks, 64]`, the target.
      weights: float32 `[blocks or 1, 64]`: bits of a squared error of one step.
      coupling: see `QuadraticModel`.
    """

    def __init__(self, model: QuadraticModel, gains: np.ndarray | np.float32 | None):
        """Stores the arrays of a model; gains are factors on its weights, `[n, 1]`."""
        self.z, self.weights, self.coupling = model
        if gains is not None:
            self.weights = self.weights * gains
        self._steps = np.ones(64, np.float32)

    def rescale(self, steps: np.ndarray) -> None:
        """Changes the steps, float32 `[64]`."""
        # In place, because a model takes as much memory as all coefficients.
        trellis.rescale(self.z, self.weights, steps / self._steps)
        self._steps = steps.copy()


def _round(coefficients: np.ndarray, steps: np.ndarray, integers: np.ndarray) -> None:
    """Writes coefficients `[n, 64]` as integers by steps, with a dead zone of AC."""
    z = np.abs(coefficients) / steps
    rounded = np.floor(z + np.float32(DEAD_ZONE))
    rounded[:, 0] = np.rint(z[:, 0])
    integers[:] = np.copysign(rounded.clip(max=trellis.MAX_DC), coefficients)


def _gains_of_component(gains: np.ndarray, own_factors: tuple[int, int]) -> np.ndarray:
    """Returns the largest gain of the luma blocks that each block covers, `[n, 1]`."""
    v, h = own_factors
    padded = np.pad(gains, [(0, -gains.shape[0] % v), (0, -gains.shape[1] % h)], "edge")
    rows, cols = padded.shape
    return padded.reshape(rows // v, v, cols // h, h).max((1, 3)).reshape(-1, 1)
