"""The coded image: the decoded pixels of the integers that the search has chosen."""

from __future__ import annotations

import numpy as np

from learned_jpeg.common import threads
from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.sampling import factors, nearest_weight, plane_sizes
from learned_jpeg.jpeg.standard import RGB_TO_YCBCR, YCBCR_TO_RGB
from learned_jpeg.search import planes
from learned_jpeg.search.chunks import chunks

_CHUNK = 4096  # blocks
_ROWS = 64  # rows of pixels that an error is measured in at a time
_AT_ONCE = 8  # such parts of which errors are kept
_NEARLY = 4  # levels from white or black at which what is clipped is no error
# Decoded values minus 128 that are clipped, past rounding errors.
_LOW, _HIGH = np.float32(-128.01), np.float32(127.01)

_ALL = slice(None)


class CodedImage:
    """An image and its coefficients while they are searched for.

    Attributes:
      image: uint8 RGB `[height, width, 3]`, the original.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      sizes: (height, width) in samples of each component.
      originals: coefficients of the original, float32 `[blocks, 64]` (zigzag) of each
        component. Those of subsampled chroma are the ones that come closest to it.
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
        self._samples = [np.empty(0, np.float32)] * 3
        self._excess: dict[int, np.ndarray | None] = {}  # found, not yet asked for
        self._levels = np.ascontiguousarray(np.moveaxis(image, 2, 0))  # [3, h, w]

        def code(component: int) -> np.ndarray:
            samples = planes.ycbcr_plane(image, component)
            if component:
                samples = planes.subsample(samples, sampling)
            self._samples[component] = samples
            return planes.to_coefficients(samples)

        cb, cr, luma = threads.run(code, (1, 2, 0))
        self.originals = [luma, cb, cr]

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
        self._coded[component] = integers, np.copy(steps)
        self._excess.clear()
        self._samples[component] = planes.samples_of(
            lambda blocks: self.coefficients(component, blocks), *self.sizes[component]
        )

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
            return self.originals[component][blocks]
        integers, steps = coded
        return integers[blocks] * steps

    def moved(self, component: int, way: np.ndarray) -> np.ndarray:
        """Returns `coefficients` minus `way`, float32 `[blocks, 64]`, overwritten."""
        for chunk in chunks(len(way), _CHUNK):
            coefficients = self.coefficients(component, chunk)
            np.subtract(coefficients, way[chunk], out=way[chunk])
        return way

    def decoded(
        self, rows: slice = _ALL, cols: slice = _ALL
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the decoded components at full size.

        Args:
          rows, cols: slices of the image, for a region of it.

        Returns:
          Three float32 planes `[h, w]`: Y minus 128, Cb, Cr.
        """
        height, width = self.image.shape[:2]
        rows, cols = slice(*rows.indices(height)[:2]), slice(*cols.indices(width)[:2])
        if self.sampling == "4:4:4":
            luma, cb, cr = (samples[rows, cols] for samples in self._samples)
            return luma, cb, cr
        luma, cb, cr = self._samples
        return (
            np.ascontiguousarray(luma[rows, cols]),
            planes.upsample_region(cb, self.sampling, rows, cols),
            planes.upsample_region(cr, self.sampling, rows, cols),
        )

    def decoded_rgb(self, rows: slice = _ALL, cols: slice = _ALL) -> np.ndarray:
        """Returns the decoded image: RGB minus 128, clipped, float32 `[3, h, w]`.

        Args:
          rows, cols: slices of the image, for a region of it.
        """
        return planes.to_rgb(*self.decoded(rows, cols))

    def error_slope(self, component: int, rows: slice = _ALL) -> np.ndarray:
        """Returns half the slope of the mean squared error, times the pixels.

        The error is that of the decoded RGB, clipped to 0..255: where it is clipped, a
        further error costs nothing.

        Args:
          component: 0, 1 or 2, in whose decoded full-size samples it is the slope.
          rows: a slice of the image, for some of its rows.

        Returns:
          float32 `[height, width]`.
        """
        luma, cb, cr = self.decoded(rows)
        matrix = YCBCR_TO_RGB.astype(np.float32)
        top = rows.indices(len(self.image))[0]
        return _error_slope(self._levels, top, luma, cb, cr, matrix, component)

    def add_error_slope(
        self, gradient: Gradient, component: int, factor: float
    ) -> None:
        """Adds `error_slope`, times a factor, to a gradient of the component."""
        height, width = self.image.shape[:2]

        def slope_of(rows: slice) -> np.ndarray:
            slope = self.error_slope(component, rows)
            slope *= np.float32(factor)
            return slope

        parts = chunks(height, _ROWS)
        for some in chunks(len(parts), _AT_ONCE):
            slopes = threads.run(slope_of, parts[some])
            for rows, slope in zip(parts[some], slopes, strict=True):
                gradient.add(rows, slice(0, width), slope)

    def clipped_excess(self, component: int) -> np.ndarray | None:
        """Returns what decoders clip of the coded image where that is no error.

        A white pixel may be coded as more than white, a black one as less. What is
        beyond the range is free to the search, which saves most where type and line art
        have sharp edges.

        Args:
          component: 0, 1 or 2.

        Returns:
          Coefficients of the excess, float32 `[blocks, 64]`; None if there is none.
        """
        if component not in self._excess:
            # Those of chroma are asked for together.
            self._excess = self._find_excess((1, 2) if component else (0,))
        return self._excess.pop(component)

    def _find_excess(self, components: tuple[int, ...]) -> dict[int, np.ndarray | None]:
        """Returns `clipped_excess` of components of one size."""
        height, width = self.sizes[components[0]]
        excess = np.zeros((len(components), height, width), np.float32)
        to_rgb = YCBCR_TO_RGB.astype(np.float32)
        own = RGB_TO_YCBCR[list(components)].astype(np.float32)
        v, h = self.factors(components[0])

        def find(rows: slice) -> bool:
            decoded = self.decoded(rows)
            return _add_excess(
                *(self._levels, rows.start, *decoded, to_rgb, own, v, h, excess)
            )

        if not any(threads.run(find, chunks(self.image.shape[0], _ROWS))):
            return dict.fromkeys(components)
        found = [planes.to_coefficients(samples) for samples in excess]
        return dict(zip(components, found, strict=True))

    def new_gradient(self, component: int) -> Gradient:
        """Returns a `Gradient` of a component, zero so far."""
        sampling = self._sampling_of(component)
        return Gradient(sampling, self.image.shape[:2], self.sizes[component])


class Gradient:
    """A gradient in a component's coefficients that is given region by region."""

    def __init__(
        self, sampling: str, image_size: tuple[int, ...], size: tuple[int, int]
    ):
        """Starts with zeros.

        Args:
          sampling: one of `jpeg.SUBSAMPLINGS`; "4:4:4" for luma.
          image_size: (height, width) of the image, in px.
          size: (height, width) of the component, in samples.
        """
        self._factors = factors(sampling)
        self._image_size = image_size
        self._weight = nearest_weight(size[1])
        self._samples = np.zeros(size, np.float32)

    def add(self, rows: slice, cols: slice, gradient: np.ndarray) -> None:
        """Adds the gradient in a region of the decoded component at full size.

        Args:
          rows, cols: slices of the image that start at even numbers.
          gradient: float32 `[h, w]`.
        """
        if self._factors == (1, 1):
            self._samples[rows, cols] += gradient
            return
        # Two px more on each side, which the filter mixes with those of the region.
        margins = [
            (min(2, region.start), min(2, side - region.stop))
            for region, side in zip((rows, cols), self._image_size, strict=True)
        ]
        padded = np.pad(gradient, margins)
        places = [
            slice(
                (region.start - before) // factor,
                -(-(region.stop + after) // factor),
            )
            for region, (before, after), factor in zip(
                (rows, cols), margins, self._factors, strict=True
            )
        ]
        own = self._samples[tuple(places)]
        planes.add_adjoint(padded, self._factors, self._weight, own)

    def coefficients(self) -> np.ndarray:
        """Returns the gradient, float32 `[blocks, 64]`, zigzag, and frees its memory.

        Nothing can be added afterwards.
        """
        samples = self._samples
        del self._samples
        return planes.gradient_to_coefficients(samples)


@njit
def _error_slope(levels, top, luma, cb, cr, matrix, component):
    height, width = luma.shape
    out = np.zeros((height, width), np.float32)
    for y in range(height):
        for channel in range(3):
            row = matrix[channel]
            _add_slope_row(
                *(levels[channel, top + y], luma[y], cb[y], cr[y]),
                *(row[0], row[1], row[2], row[component], out[y]),
            )
        _divide_row(out[y], np.float32(3))
    return out


@njit
def _add_slope_row(levels, luma, cb, cr, a, b, c, own, out):
    for x in range(out.size):
        value = a * (luma[x] + np.float32(128)) + (b * cb[x] + c * cr[x])
        value = min(max(value, np.float32(0)), np.float32(255))
        out[x] += own * (value - np.float32(levels[x]))


@njit
def _divide_row(row, divisor):
    for x in range(row.size):
        row[x] /= divisor


@njit
def _add_excess(levels, top, luma, cb, cr, to_rgb, own, v, h, excess):
    """Adds what is clipped of some rows, as means over `v` times `h` px, to `excess`.

    Args:
      levels: uint8 `[3, height, width]`, the original.
      top: number of the first row.
      luma, cb, cr: the decoded rows.
      to_rgb: `YCBCR_TO_RGB`.
      own: rows of `RGB_TO_YCBCR`, one for each component of `excess`.
      v, h: px for a sample of the components.
      excess: float32 `[components, rows, cols]`.

    Returns:
      Whether anything is clipped.
    """
    height, width = luma.shape
    share = np.float32(1) / np.float32(v * h)
    beyond = np.empty((3, width), np.float32)
    is_found = False
    for y in range(height):
        count = 0
        for channel in range(3):
            row = to_rgb[channel]
            count += _write_beyond(
                *(levels[channel, top + y], luma[y], cb[y], cr[y]),
                *(row[0], row[1], row[2], beyond[channel]),
            )
        if count == 0:
            continue
        is_found = True
        for component in range(own.shape[0]):
            out = excess[component, (top + y) // v]
            _add_cells(beyond, own[component], share, h, out)
    return is_found


@njit
def _write_beyond(levels, luma, cb, cr, a, b, c, out):
    """Writes by how much a channel is clipped; returns how often."""
    count = 0
    for x in range(out.size):
        value = a * luma[x] + b * cb[x] + c * cr[x]
        is_high = (value > _HIGH) & (levels[x] >= 255 - _NEARLY)
        is_low = (value < _LOW) & (levels[x] <= _NEARLY)
        beyond = value - np.float32(127) if is_high else np.float32(0)
        out[x] = value + np.float32(128) if is_low else beyond
        count += is_high | is_low
    return count


@njit
def _add_cells(beyond, own, share, h, out):
    for x in range(beyond.shape[1]):
        found = own[0] * beyond[0, x] + own[1] * beyond[1, x] + own[2] * beyond[2, x]
        if found != 0:
            out[x // h] += share * found
