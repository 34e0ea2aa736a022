"""The coded image: the decoded pixels of the integers that the search has chosen."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from learned_jpeg.common import kept_memory, threads
from learned_jpeg.common.compiled import borrowed, njit
from learned_jpeg.jpeg.sampling import blocks_of, factors, nearest_weight, plane_sizes
from learned_jpeg.jpeg.standard import BLOCK, RGB_TO_YCBCR, YCBCR_TO_RGB
from learned_jpeg.search import planes
from learned_jpeg.search.chunks import chunks, chunks_of_rows

_CHUNK = 4096  # blocks
_ROWS = 32  # rows of samples whose error is measured in a task
# Images up to this size keep the coefficients of the original's luma, 4 bytes a pixel.
_KEPT_PIXELS = 3 << 22
_SEGMENT = 128  # px of a row that are looked at together for what is clipped
# Levels of the original at which what is clipped is no error.
_NEARLY_BLACK, _NEARLY_WHITE = np.float32(4), np.float32(251)
# Decoded values minus 128 that are clipped, past rounding errors.
_LOW, _HIGH = np.float32(-128.01), np.float32(127.01)

_ALL = slice(None)


class CodedImage:
    """An image and its coefficients while they are searched for.

    Attributes:
      image: uint8 RGB `[height, width, 3]`, the original.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      sizes: (height, width) in samples of each component.
    """

    def __init__(self, image: np.ndarray, sampling: str):
        """Starts with the original's own coefficients."""
        self.image = image
        self.sampling = sampling
        height, width = image.shape[:2]
        self.sizes = plane_sizes(height, width, sampling)
        # (integers, steps) of each component, once they are chosen.
        self._coded: list[tuple[np.ndarray, np.ndarray] | None] = [None] * 3
        # Decoded; chroma at its own size.
        self._samples = [np.empty((0, 0), np.float32)] * 3
        self._is_nearly_clipped = _find_nearly_clipped(image)
        # Found and not yet asked for, by component and rows of blocks.
        self._excess: dict[tuple[int, int, int], np.ndarray | None] = {}

        keeps_luma = height * width <= _KEPT_PIXELS

        def code(component: int) -> np.ndarray | None:
            samples = planes.ycbcr_plane(image, component)
            if component:
                samples = planes.subsample(samples, sampling)
            self._samples[component] = samples
            if component or keeps_luma:
                return planes.to_coefficients(samples)
            return None

        cb, cr, luma = threads.run(code, (1, 2, 0))
        self._originals = [luma, cb, cr]

    @property
    def is_original(self) -> bool:
        """Whether no integers are chosen yet."""
        return all(coded is None for coded in self._coded)

    def factors(self, component: int) -> tuple[int, int]:
        """Returns (v, h): px of the image for a sample of a component, 1 or 2 each."""
        return factors(self._sampling_of(component))

    def filter_energies(self, component: int) -> np.ndarray:
        """Returns `planes.filter_energies` of a component; they are 1 for luma."""
        width = self.sizes[component][1]
        return planes.filter_energies(self._sampling_of(component), width)

    def _sampling_of(self, component: int) -> str:
        return self.sampling if component else "4:4:4"

    def replace(
        self, component: int, integers: np.ndarray, steps: np.ndarray | float = 1.0
    ) -> None:
        """Sets the integers and steps of a component, and decodes it.

        Args:
          component: 0, 1 or 2.
          integers: `[blocks, 64]`, zigzag. They are kept, not copied: they take half of
            the memory of coefficients.
          steps: quantization steps, float32 `[64]`, zigzag, or a number for all.
        """
        self._excess.clear()
        own_steps = np.empty(BLOCK**2, np.float32)
        own_steps[:] = steps
        self._coded[component] = integers, own_steps
        self._samples[component] = planes.samples_of(
            lambda blocks: self.coefficients(component, blocks), *self.sizes[component]
        )

    def forget(self, component: int) -> None:
        """Frees the memory of the decoded component, which is to be replaced next."""
        self._samples[component] = np.empty((0, 0), np.float32)

    def chunks_of_rows(self, component: int, blocks: int) -> list[tuple[slice, slice]]:
        """Returns `chunks_of_rows` of a component, of about some number of blocks."""
        return chunks_of_rows(*blocks_of(*self.sizes[component]), blocks)

    def original(self, component: int, block_rows: slice = _ALL) -> np.ndarray:
        """Returns coefficients of the original, float32 `[n, 64]`, not to be changed.

        Those of subsampled chroma are the ones that come closest to the original. Luma
        of large images is computed anew at each call.

        Args:
          component: 0, 1 or 2.
          block_rows: a slice, for some of the component's rows of blocks.
        """
        rows, cols = blocks_of(*self.sizes[component])
        first, last, _ = block_rows.indices(rows)
        kept = self._originals[component]
        if kept is not None:
            return kept[first * cols : last * cols]
        pixels = self.image[first * BLOCK : last * BLOCK]
        return planes.to_coefficients(planes.ycbcr_plane(pixels, component))

    def steps(self, component: int) -> np.ndarray:
        """Returns the quantization steps of a component, float32 `[64]`, zigzag."""
        coded = self._coded[component]
        assert coded is not None, "no integers are chosen yet"
        return coded[1]

    def coefficients(self, component: int, blocks: slice = _ALL) -> np.ndarray:
        """Returns the coded coefficients of a component, `[n, 64]`, not to be changed.

        Args:
          component: 0, 1 or 2.
          blocks: a slice, for some of the blocks.
        """
        coded = self._coded[component]
        if coded is None:
            rows, cols = blocks_of(*self.sizes[component])
            start, stop, _ = blocks.indices(rows * cols)
            top = start // cols
            found = self.original(component, slice(top, -(-stop // cols)))
            return found[start - top * cols : stop - top * cols]
        integers, steps = coded
        coefficients = np.empty((len(integers[blocks]), BLOCK**2), np.float32)
        _multiply(integers[blocks], steps, coefficients)
        return coefficients

    def moved(self, component: int, way: np.ndarray) -> np.ndarray:
        """Returns `coefficients` minus `way`, float32 `[blocks, 64]`, overwritten."""
        for chunk in chunks(len(way), _CHUNK):
            coefficients = self.coefficients(component, chunk)
            np.subtract(coefficients, way[chunk], out=way[chunk])
        return way

    def decoded_rgb(self, rows: slice = _ALL) -> np.ndarray:
        """Returns the decoded image: RGB minus 128, clipped, float32 `[3, n, w]`.

        Args:
          rows: a slice of the image, for some of its rows.
        """
        height, width = self.image.shape[:2]
        rows = slice(*rows.indices(height)[:2])
        return planes.decoded_rgb(self._samples, self.factors(1), rows, width)

    def add_error_slope(
        self, gradient: Gradient, component: int, factor: float
    ) -> None:
        """Adds half the slope of the mean squared error, times the pixels.

        The error is that of the decoded RGB, clipped to 0..255: where it is clipped, a
        further error costs nothing.

        Args:
          gradient: of the component; to which the slope is added.
          component: 0, 1 or 2.
          factor: on the slope.
        """
        v, h = self.factors(1)
        own_v, own_h = self.factors(component)
        matrix = YCBCR_TO_RGB.astype(np.float32)
        cols, own_cols = (self.sizes[c][1] for c in (1, component))

        samples = gradient.samples

        def add(rows: slice) -> None:
            _add_error_slope(
                self.image,
                *self._samples,
                *(v, h, nearest_weight(cols)),
                *(planes.work_lines(cols), planes.work_lines(cols)),
                *(matrix, component, np.float32(factor)),
                *(own_v, own_h, nearest_weight(own_cols)),
                *(planes.work_lines(own_cols), rows.start, rows.stop),
                samples,
            )

        threads.run(add, chunks(self.sizes[component][0], _ROWS))

    def clipped_excess(self, component: int, block_rows: slice) -> np.ndarray | None:
        """Returns what decoders clip of the coded image where that is no error.

        A white pixel may be coded as more than white, a black one as less. What is
        beyond the range is free to the search, which saves most where type and line art
        have sharp edges.

        Args:
          component: 0, 1 or 2.
          block_rows: a slice of the component's rows of blocks, `start` and `stop`.

        Returns:
          Coefficients of the excess, float32 `[blocks, 64]`; None if there is none.
        """
        key = component, block_rows.start, block_rows.stop
        if key not in self._excess:
            # Those of chroma are asked for one after the other.
            components = (1, 2) if component else (0,)
            found = self._find_excess(components, block_rows)
            for other, own in zip(components, found, strict=True):
                self._excess[other, block_rows.start, block_rows.stop] = own
        samples = self._excess.pop(key)
        return None if samples is None else planes.to_coefficients(samples)

    def _find_excess(
        self, components: tuple[int, ...], block_rows: slice
    ) -> Sequence[np.ndarray | None]:
        """Returns the excess in samples of components of one size, or None for each."""
        height, width = self.sizes[components[0]]
        first, stop = block_rows.start * BLOCK, min(block_rows.stop * BLOCK, height)
        v, h = self.factors(components[0])
        nothing = [None] * len(components)
        if not self._is_nearly_clipped[first * v : stop * v].any():
            return nothing
        excess = kept_memory.zeros((len(components), stop - first, width))
        cols = self.sizes[1][1]
        is_found = _add_excess(
            *(self.image, self._is_nearly_clipped, *self._samples),
            *(*self.factors(1), nearest_weight(cols)),
            *(planes.work_lines(cols), planes.work_lines(cols)),
            YCBCR_TO_RGB.astype(np.float32),
            RGB_TO_YCBCR[list(components)].astype(np.float32),
            *(v, h, first, excess),
        )
        return list(excess) if is_found else nothing

    def new_gradient(self, component: int) -> Gradient:
        """Returns a `Gradient` of a component, zero so far."""
        return Gradient(self._sampling_of(component), self.sizes[component])


class Gradient:
    """A gradient in a component's coefficients that is given region by region."""

    def __init__(self, sampling: str, size: tuple[int, int]):
        """Starts with zeros.

        Args:
          sampling: one of `jpeg.SUBSAMPLINGS`; "4:4:4" for luma.
          size: (height, width) of the component, in samples.
        """
        self._factors = factors(sampling)
        self._size = size
        # Rows at the edges of what was added, with their number, and the samples' rows
        # beyond the edge, to which the filter adds them.
        self._edges: list[tuple[int, int, np.ndarray]] = []

    @functools.cached_property
    def samples(self) -> np.ndarray:
        """The gradient in the component's samples so far, float32."""
        return kept_memory.zeros(self._size)  # not before something is added

    def add(self, rows: slice, gradient: np.ndarray) -> None:
        """Adds the gradient in some rows of the decoded component at full size.

        Args:
          rows: a slice of the image that starts at an even number.
          gradient: float32 `[n, width]`.
        """
        v = self._factors[0]
        own = slice(rows.start // v, -(-rows.stop // v))
        planes.add_adjoint(gradient, self._factors, rows.start, self.samples, own)
        if v == 1:
            return
        # Sums of float32 depend on their order, and threads add rows in any order.
        last = rows.stop - 1
        if own.start > 0:
            self._edges.append((rows.start, own.start - 1, gradient[:1].copy()))
        if own.stop < self._size[0]:
            self._edges.append((last, own.stop, gradient[-1:].copy()))

    def coefficients(self) -> np.ndarray:
        """Returns the gradient, float32 `[blocks, 64]`, zigzag, and frees its memory.

        Nothing can be added afterwards.
        """
        samples = self.samples
        del self.samples
        for top, row, gradient in sorted(self._edges, key=lambda edge: edge[0]):
            own = slice(row, row + 1)
            planes.add_adjoint(gradient, self._factors, top, samples, own)
        return planes.gradient_to_coefficients(samples)


@njit
def _multiply(integers, steps, out):
    integers, out = borrowed(integers), borrowed(out)
    for block in range(len(out)):
        _multiply_row(integers[block], steps, out[block])


@njit
def _multiply_row(integers, steps, out):
    for k in range(out.size):
        out[k] = np.float32(integers[k]) * steps[k]


@njit
def _find_nearly_clipped(image):
    """Returns which segments have levels near white or black, bool `[h, segments]`."""
    height, width, _ = image.shape
    found = np.zeros((height, -(-width // _SEGMENT)), np.bool_)
    for y in range(height):
        levels = image[y].ravel()
        for segment in range(found.shape[1]):
            first = segment * _SEGMENT
            own = levels[3 * first : 3 * min(first + _SEGMENT, width)]
            found[y, segment] = _is_nearly_clipped(own)
    return found


@njit
def _is_nearly_clipped(levels):
    low, high = np.uint8(255), np.uint8(0)
    for level in levels:
        low, high = min(low, level), max(high, level)
    return low <= _NEARLY_BLACK or high >= _NEARLY_WHITE


@njit
def _add_error_slope(
    image,
    luma,
    cb,
    cr,
    v,
    h,
    weight,
    lines,
    other_lines,
    matrix,
    component,
    factor,
    own_v,
    own_h,
    own_weight,
    own_lines,
    first,
    stop,
    samples,
):
    """Adds the slope to rows `first` to `stop` of a component's samples.

    Args:
      image: uint8 `[height, width, 3]`, the original.
      luma, cb, cr: samples of the decoded components.
      v, h, weight: of chroma, as in `planes.full_row`.
      lines, other_lines: as from `planes.work_lines`.
      matrix: `YCBCR_TO_RGB`.
      component: number of the component.
      factor: on the slope.
      own_v, own_h, own_weight, own_lines: as before, of the component.
      first, stop: rows of samples.
      samples: float32, of the component.
    """
    image, luma, cb, cr = borrowed(image), borrowed(luma), borrowed(cb), borrowed(cr)
    lines, other_lines = borrowed(lines), borrowed(other_lines)
    own_lines, samples = borrowed(own_lines), borrowed(samples)
    height, width = luma.shape
    slope, levels = np.empty(width, np.float32), np.empty((3, width), np.float32)
    margin = own_v - 1  # rows of px beyond, which the filter mixes in
    for y in range(max(first * own_v - margin, 0), min(stop * own_v + margin, height)):
        blue = planes.full_row(cb, y, v, h, weight, lines, width)
        red = planes.full_row(cr, y, v, h, weight, other_lines, width)
        _split(image[y].ravel(), levels[0], levels[1], levels[2])
        _write_slope(
            *(levels[0], levels[1], levels[2], luma[y], blue, red),
            *(matrix, component, factor, slope),
        )
        planes.add_adjoint_row(
            slope, y, own_v, own_h, own_weight, own_lines, samples, first, stop
        )


@njit
def _write_slope(reds, greens, blues, luma, cb, cr, matrix, component, factor, out):
    red_cr, green_cb, green_cr = matrix[0, 2], matrix[1, 1], matrix[1, 2]
    blue_cb = matrix[2, 1]
    by_red, by_green, by_blue = (
        matrix[0, component],
        matrix[1, component],
        matrix[2, component],
    )
    for x in range(out.size):
        bright = luma[x] + np.float32(128)
        red = _clipped(bright + red_cr * cr[x])
        green = _clipped(bright + (green_cb * cb[x] + green_cr * cr[x]))
        blue = _clipped(bright + blue_cb * cb[x])
        total = by_red * (red - reds[x]) + by_green * (green - greens[x])
        total += by_blue * (blue - blues[x])
        out[x] = total / np.float32(3) * factor


@njit
def _split(pixels, reds, greens, blues):
    """Writes uint8 `[3 n]` as levels of each channel, float32 `[n]`."""
    for x in range(reds.size):
        reds[x] = pixels[3 * x]
        greens[x] = pixels[3 * x + 1]
        blues[x] = pixels[3 * x + 2]


@njit
def _clipped(value):
    return min(max(value, np.float32(0)), np.float32(255))


@njit
def _add_excess(
    image,
    is_nearly_clipped,
    luma,
    cb,
    cr,
    v,
    h,
    weight,
    lines,
    other_lines,
    to_rgb,
    own,
    own_v,
    own_h,
    first,
    excess,
):
    """Adds what is clipped of some rows of samples, as means over their px.

    Args:
      image: uint8 `[height, width, 3]`, the original.
      is_nearly_clipped: segments, as from `_find_nearly_clipped`.
      luma, cb, cr: samples of the decoded components.
      v, h, weight: of chroma, as in `planes.full_row`.
      lines, other_lines: as from `planes.work_lines`.
      to_rgb: `YCBCR_TO_RGB`.
      own: rows of `RGB_TO_YCBCR`, of some components of one size.
      own_v, own_h: px for a sample of the components.
      first: row of samples of the first row of `excess`.
      excess: float32 `[components, rows, cols]`.

    Returns:
      Whether anything is clipped.
    """
    image, luma, cb, cr = borrowed(image), borrowed(luma), borrowed(cb), borrowed(cr)
    lines, other_lines, excess = (
        borrowed(lines),
        borrowed(other_lines),
        borrowed(excess),
    )
    height, width = luma.shape
    share = np.float32(1) / np.float32(own_v * own_h)
    beyond, found = np.empty((3, _SEGMENT), np.float32), np.empty(_SEGMENT, np.float32)
    is_found = False
    for y in range(first * own_v, min((first + excess.shape[1]) * own_v, height)):
        if not is_nearly_clipped[y].any():
            continue
        blues = planes.full_row(cb, y, v, h, weight, lines, width)
        reds = planes.full_row(cr, y, v, h, weight, other_lines, width)
        pixels = image[y].ravel()
        for segment in range(is_nearly_clipped.shape[1]):
            if not is_nearly_clipped[y, segment]:
                continue
            left, right = segment * _SEGMENT, min((segment + 1) * _SEGMENT, width)
            bright = luma[y, left:right]
            blue, red = blues[left:right], reds[left:right]
            if not _is_any_beyond(bright, blue, red, to_rgb):
                continue
            count = 0
            for channel in range(3):
                row = to_rgb[channel]
                count += _write_beyond(
                    *(pixels[3 * left + channel : 3 * right], bright, blue, red),
                    *(row[1], row[2], beyond[channel]),
                )
            if count == 0:
                continue
            is_found = True
            work = found[: right - left]
            for component in range(len(own)):
                row = excess[component, y // own_v - first, left // own_h :]
                _add_cells(beyond, own[component], share, own_h, work, row)
    return is_found


@njit
def _is_any_beyond(luma, cb, cr, to_rgb):
    """Returns whether any px of a part of a row is clipped."""
    red_cr, green_cb, green_cr = to_rgb[0, 2], to_rgb[1, 1], to_rgb[1, 2]
    blue_cb = to_rgb[2, 1]
    count = np.int32(0)
    for x in range(luma.size):
        red = luma[x] + red_cr * cr[x]
        green = luma[x] + green_cb * cb[x] + green_cr * cr[x]
        blue = luma[x] + blue_cb * cb[x]
        is_high = (red > _HIGH) | (green > _HIGH) | (blue > _HIGH)
        is_low = (red < _LOW) | (green < _LOW) | (blue < _LOW)
        count += np.int32(is_high | is_low)
    return count > 0


@njit
def _write_beyond(pixels, luma, cb, cr, by_cb, by_cr, out):
    """Writes by how much a channel is clipped; returns how often.

    Args:
      pixels: uint8, of which every third one is the channel's.
      luma, cb, cr: float32 `[n]`, decoded.
      by_cb, by_cr: of the channel.
      out: float32 `[n]` and more.
    """
    count = np.int32(0)
    for x in range(luma.size):
        value = luma[x] + by_cb * cb[x] + by_cr * cr[x]
        level = np.float32(pixels[3 * x])
        is_high = (value > _HIGH) & (level >= _NEARLY_WHITE)
        is_low = (value < _LOW) & (level <= _NEARLY_BLACK)
        beyond = value - np.float32(127) if is_high else np.float32(0)
        out[x] = value + np.float32(128) if is_low else beyond
        count += np.int32(is_high | is_low)
    return count


@njit
def _add_cells(beyond, own, share, h, found, out):
    """Adds the sums of a component over h px each, times a share, to `out`.

    Args:
      beyond: float32 `[3, n]` and more, of the channels.
      own: row of `RGB_TO_YCBCR`.
      share: factor on the sums.
      h: px for a sample, 1 or 2.
      found: float32 `[n]`, work space.
      out: float32, the samples of these px and more.
    """
    _mix(beyond[0], beyond[1], beyond[2], own[0], own[1], own[2], found)
    if h == 1:
        for x in range(found.size):
            out[x] += share * found[x]
        return
    whole = found.size // 2
    for x in range(whole):
        out[x] = out[x] + share * found[2 * x] + share * found[2 * x + 1]
    if found.size % 2:
        out[whole] += share * found[2 * whole]


@njit
def _mix(reds, greens, blues, a, b, c, out):
    for x in range(out.size):
        out[x] = a * reds[x] + b * greens[x] + c * blues[x]
