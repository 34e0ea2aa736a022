"""The error in quantization steps as a distortion of the search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from learned_jpeg.common import threads
from learned_jpeg.jpeg.sampling import blocks_of
from learned_jpeg.jpeg.standard import ZIGZAG
from learned_jpeg.search.distortion import QuadraticModel, Schedule

if TYPE_CHECKING:
    from learned_jpeg.search.coded_image import CodedImage


_CHUNK = 1 << 12  # blocks


def _schedule(passes: int) -> Schedule:
    return Schedule(warm_up_rounds=0, damping=(1.0,) * passes)


TUNES = ()  # a model's tables choose it, not `--tune`


class FixedStepError:
    """A fixed number of bits for a squared error of one step of given tables.

    It suits tables that say by themselves what an error costs, as those of a standard
    do, and keeps them.
    """

    first_steps = None
    schedules: Mapping[int, Schedule] = {
        1: _schedule(2),
        2: _schedule(5),
        3: _schedule(8),
    }
    moves_tables = False

    def __init__(self, qtables: np.ndarray, bits: float):
        """Prepares the weights.

        Args:
          qtables: `[2, 8, 8]`, 1..255.
          bits: that a squared error of one step is worth.
        """
        tables = np.asarray(qtables, np.float32).reshape(2, 64)[:, ZIGZAG]
        self._weights = np.float32(bits) / tables**2

    def weights(self, coded: CodedImage, component: int) -> np.ndarray:
        """Returns the same weights for all blocks, float32 `[1, 64]`."""
        del coded
        return self._weights[min(component, 1)][np.newaxis]

    def quadratic_model(
        self, coded: CodedImage, component: int, damping: float
    ) -> QuadraticModel:
        """Returns the model whose target are the original's coefficients."""
        weights = self.weights(coded, component) * np.float32(damping)
        target = np.empty((math.prod(blocks_of(*coded.sizes[component])), 64), "f4")

        def write(chunk: tuple[slice, slice]) -> None:
            rows, own = chunk
            target[own] = coded.original(component, rows)

        threads.run(write, coded.chunks_of_rows(component, _CHUNK))
        return QuadraticModel(target, weights)
