"""The search for the smallest file: integers and tables of a picture, pass by pass.

What is minimised is a distortion, in bits, plus the bits of JPEG's entropy coder. The
search knows no metric by name: a distortion gives, for one component at a time and for
what is coded at that moment, a quadratic form in its coefficients (`Form`); a pass
chooses the integers of Cb, Cr and Y by that form (trellis.py), measures the code
lengths anew and moves the tables to what suits the integers.
"""

import functools
from typing import NamedTuple

import numpy as np

from learned_jpeg.jpeg.huffman import (
    MAX_LENGTH,
    code_lengths,
    standard_code_lengths,
)
from learned_jpeg.jpeg.progressive import band_histogram, choose_bands
from learned_jpeg.jpeg.sampling import blocks_of, factors
from learned_jpeg.jpeg.standard import BLOCK, ZIGZAG
from learned_jpeg.search import trellis
from learned_jpeg.search.distortion import Distortion
from learned_jpeg.search.planes import CodedImage, to_natural

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

DEAD_ZONE = 0.36  # of the first integers: |z| is rounded up from 1 - this
LEAST = 0.5  # steps: smaller coefficients become zero
# Integers chosen for the old step hold the regression back, so that each goes too short
# a way; at the last pass the integers stay, and the exact factor is right.
_OVER_RELAXATION = 2
_LEAST_COUNT = 8  # of integers other than 0, for a step to be moved so far

_UNSEEN = 0.3  # count of a symbol that did not occur so far
_LONGEST_END = 6.0  # bits of a block's end while its path is searched


class SearchResult(NamedTuple):
    """The coding that the search found.

    Attributes:
      planes: integers of Y, Cb and Cr, int16 `[rows, cols, 8 (v), 8 (u)]` each.
      qtables: uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`.
    """

    planes: tuple[np.ndarray, np.ndarray, np.ndarray]
    qtables: np.ndarray


def search(
    image: np.ndarray,
    distortion: Distortion,
    *,
    sampling: str,
    entropy_coding: str,
    qtables: np.ndarray | None = None,
    moves_tables: bool = True,
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
        then they may be other than whole numbers.
    """
    coded = CodedImage(image, sampling)
    moves_tables = moves_tables and distortion.moves_tables
    state = _State(coded, entropy_coding, _first_steps(coded, distortion, qtables))
    for number in range(distortion.warm_up_rounds):
        if number:
            steps = _first_steps(coded, distortion, qtables)
            state = _State(coded, entropy_coding, steps)
        for component in range(3):
            state.show(component)
    for number in range(distortion.passes):
        state.measure(number)
        sums = 0
        for component in (1, 2, 0):
            # Without a name of its own: a form is as large as all that is coded.
            found = state.choose(
                component, distortion.quadratic_model(coded, component, number)
            )
            sums = found + (sums if component == 2 else 0)
            if component != 1 and moves_tables:
                is_last = number == distortion.passes - 1
                state.move_steps(min(component, 1), sums, is_last)
            if component != 1 or not moves_tables:
                state.show(component)
            if component == 2 and moves_tables:
                state.show(1)
    return SearchResult(state.integers_by_block(), state.qtables())


def _first_steps(coded, distortion, qtables):
    """float32 `[2 (luma, chroma), 64]`, zigzag."""
    if qtables is not None:
        return np.asarray(qtables, np.float32).reshape(2, 64)[:, ZIGZAG]
    rule = distortion.first_steps
    logs = [np.log(distortion.weights(coded, c)).mean(0) for c in range(3)]
    frequencies = (ZIGZAG // BLOCK + ZIGZAG % BLOCK) / (2 * (BLOCK - 1))
    factors = np.tile(rule.ac * (1 + rule.slope * frequencies), (2, 1))
    factors[1] *= rule.chroma
    factors[:, 0] = rule.dc
    steps = factors / np.exp(np.stack([logs[0], (logs[1] + logs[2]) / 2]) / 2)
    return np.rint(steps).clip(1, 255).astype(np.float32)


class _State:
    """Integers, steps and code lengths of the pass at hand."""

    def __init__(self, coded, entropy_coding, steps):
        """Rounds the original's coefficients with a dead zone."""
        self._coded = coded
        self._steps = steps
        self._is_standard = entropy_coding == "standard"
        height, width = coded.picture.shape[:2]
        self._orders = [
            np.arange(len(coefficients)) for coefficients in coded.originals
        ]
        if self._is_standard:
            self._orders[0] = interleaved_order(height, width, coded.sampling)
        self._bands = [[(1, 63)]] * 3
        self.integers = []
        for component, coefficients in enumerate(coded.originals):
            z = np.abs(coefficients) / steps[min(component, 1)]
            rounded = np.floor(z + np.float32(DEAD_ZONE))
            rounded[:, 0] = np.rint(z[:, 0])
            signed = np.copysign(rounded.clip(max=trellis.MAX_DC), coefficients)
            self.integers.append(signed.astype(np.int16))

    def measure(self, number):
        """Code lengths of what is coded; bands of the scans from the second pass on."""
        if self._is_standard:
            self._dc_lengths = [_standard_lengths(table)[0] for table in (0, 1)]
            return
        counts = np.zeros((2, 16), np.int64)
        for component, integers in enumerate(self.integers):
            order = self._orders[component]
            trellis.count_dc(integers, order, counts[min(component, 1)])
            if number:
                self._bands[component] = choose_bands(integers)
        self._dc_lengths = [dc_lengths(own) for own in counts]

    def choose(self, component, form):
        """Sets the integers of a component; returns its sums for `move_steps`."""
        table = min(component, 1)
        steps = self._steps[table]
        integers = self.integers[component]
        z = np.divide(form.target, steps, out=form.target)
        weights = np.multiply(form.weights, steps**2, out=form.weights)
        bands = [
            (first, last, *self._band_lengths(component, first, last))
            for first, last in self._bands[component]
        ]
        self._search_ac(z, weights, bands, integers)
        if form.coupling is not None:
            # What higher frequencies leave moves the targets of lower ones.
            uncoupled, coupled = z, (weights, form.coupling, integers)
            z = trellis.coupled_targets(uncoupled, *coupled)
            self._search_ac(z, weights, bands, integers)
            z[:, :1] = trellis.coupled_targets(uncoupled, *coupled, count=1)
            del uncoupled
        lengths = self._dc_lengths[table]
        trellis.search_dc(z, weights, self._orders[component], lengths, integers)
        return trellis.regression(z, weights, integers)

    @staticmethod
    def _search_ac(z, weights, bands, integers):
        for first, last, lengths, runs, end in bands:
            trellis.search_ac(
                *(z, weights, first, last, lengths, runs, end),
                *(np.float32(LEAST), integers),
            )

    def _band_lengths(self, component, first, last):
        """(lengths, run lengths, end) for `trellis.search_ac`."""
        if self._is_standard:
            _, lengths = _standard_lengths(min(component, 1))
            return lengths, np.empty(0, np.float32), lengths[0]
        counts = band_histogram(self.integers[component], first, last)
        return scan_lengths(counts)

    def move_steps(self, table, sums, is_last):
        """Steps of the least weighted error for the integers; further but at last."""
        steps = self._steps[table]
        products, squares, counts = sums
        enough = (counts >= (1 if is_last else _LEAST_COUNT)) & (squares > 0)
        fitted = steps * np.where(enough, products / np.where(enough, squares, 1), 1)
        if not is_last:
            fitted = steps + _OVER_RELAXATION * (fitted - steps)
        self._steps[table] = np.rint(fitted).clip(1, 255)

    def show(self, component):
        """Tells the picture what is coded of a component."""
        steps = self._steps[min(component, 1)]
        self._coded.replace(component, self.integers[component], steps)

    def integers_by_block(self):
        """Integers of the components, `[rows, cols, 8, 8]`, natural order."""
        pairs = zip(self.integers, self._coded.sizes, strict=True)
        return tuple(to_natural(integers, *size) for integers, size in pairs)

    def qtables(self):
        """The steps as tables, uint8 `[2, 8, 8]`, natural order."""
        flat = np.empty((2, 64), np.uint8)
        flat[:, ZIGZAG] = self._steps
        return flat.reshape(2, 8, 8)


def interleaved_order(height, width, sampling):
    """Indices of the blocks of luma in the order of the units of a sequential scan."""
    v, h = factors(sampling)
    rows, cols = blocks_of(height, width)
    row, col = np.divmod(np.arange(rows * cols), cols)
    return np.lexsort((col % h, row % v, col // h, row // v))


@functools.cache
def _standard_lengths(table):
    """(DC `[16]`, AC `[256]`): code lengths of the standard's tables, float32."""
    return tuple(np.float32(x) for x in standard_code_lengths(table))


def dc_lengths(counts):
    """Of the DC symbols: those of a Huffman code; an estimate for what is unseen."""
    return np.where(counts > 0, code_lengths(counts), _self_information(counts)).astype(
        np.float32
    )


def scan_lengths(counts):
    """Bits in a progressive scan of AC whose symbols occurred so often.

    Midway between a Huffman code and self-information: the code is that of the integers
    before, self-information changes less with them.

    Returns:
      (lengths, run lengths, end) for `trellis.search_ac`.
    """
    information = _self_information(counts)
    mixed = (information + code_lengths(counts)) / 2
    lengths = np.where(counts > 0, mixed, information).astype(np.float32)
    sizes = np.arange(trellis.RUN_CLASSES)
    runs = lengths[16 * sizes] + sizes.astype(np.float32)
    return lengths, runs, min(lengths[0], np.float32(_LONGEST_END))


def _self_information(counts):
    total = counts.sum() or 1
    information = -np.log2((counts + _UNSEEN) / (total + _UNSEEN))
    return np.minimum(information, MAX_LENGTH)
