"""A picture as planes of coefficients, and what a decoder shows of them.

Chroma may be subsampled. The decoder (libjpeg, like all that matter) brings it back to
full size by a triangle filter: 3/4 of the nearest sample and 1/4 of the next, on each
subsampled axis, with the last sample repeated at the edges. Here are that filter, its
adjoint, and the chroma samples that come closest to the original through it.
"""

import functools

import numpy as np

from learned_jpeg.common.compiled import njit
from learned_jpeg.jpeg.sampling import blocks_of, factors, nearest_weight, plane_sizes
from learned_jpeg.jpeg.standard import (
    BLOCK,
    RGB_TO_YCBCR,
    YCBCR_TO_RGB,
    ZIGZAG,
    dct_matrix,
)
from learned_jpeg.search.chunks import chunks

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

# Coefficients of a block in zigzag order are this matrix times its 64 samples.
_DCT = np.kron(dct_matrix(), dct_matrix())[ZIGZAG].astype(np.float32)

# Blocks, and rows of pixels, that are worked on at a time.
_CHUNK = 4096
_ROWS = 64

# Least squares of chroma: Landweber steps, scaled by the row sums of the normal matrix.
_STEPS = 10
_STEP = 1.12


@functools.cache
def filter_energies(sampling, width):
    """What the decoder's filter makes of a chroma coefficient's squared error.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.
      width: of the component, in samples.

    Returns:
      float64 `[64]`, zigzag: sum of squares, over the full-size samples, of the
      filtered basis function, as if its wave went on beyond the block: `f(v) f(u)`,
      with `f(n) = 1.25 + 0.75 cos(pi n / 8)` on a subsampled axis, else 1. Samples
      that are only repeated count twice.
    """
    frequency = np.arange(BLOCK)
    subsampled = 1.25 + 0.75 * np.cos(np.pi * frequency / BLOCK)
    if nearest_weight(width) == 1:
        subsampled = np.full(BLOCK, 2.0)
    v, h = (subsampled if f == 2 else np.ones(BLOCK) for f in factors(sampling))
    return np.outer(v, h).ravel()[ZIGZAG]


def upsample(samples, sampling, height, width):
    """A chroma component at full size, as a decoder shows it.

    Args:
      samples: float32 `[h, w]`, of the component's true size.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      height, width: of the picture.

    Returns:
      float32 `[height, width]`.
    """
    return _upsampled(samples, sampling, slice(0, height), slice(0, width))


def _upsampled(samples, sampling, rows, cols):
    """The part of `upsample` in slices of the picture."""
    v, h = factors(sampling)
    part = np.empty((rows.stop - rows.start, cols.stop - cols.start), np.float32)
    weight = nearest_weight(samples.shape[1])
    _upsample(samples, v, h, weight, rows.start, cols.start, part)
    return part


def upsample_adjoint(full, sampling, shape):
    """The adjoint of `upsample`: `[height, width]` to `shape`, that of the samples."""
    v, h = factors(sampling)
    samples = np.zeros(shape, np.float32)
    _upsample_adjoint(full, v, h, nearest_weight(shape[1]), samples)
    return samples


@njit
def _other(place, factor, count):
    """The second sample that shows at a place on a subsampled axis, or the nearest."""
    if factor == 1:
        return place
    near = place // 2
    return min(near + 1, count - 1) if place % 2 else max(near - 1, 0)


@njit
def _upsample(samples, v, h, weight, top, left, part):
    rows, cols = samples.shape
    first = max(left // h - 1, 0)
    last = min((left + part.shape[1] - 1) // h + 2, cols)
    line = np.empty(cols, np.float32)
    for y in range(top, top + part.shape[0]):
        near, far = y // v, _other(y, v, rows)
        for col in range(first, last):
            own = samples[near, col]
            line[col] = own + (1 - weight) * (samples[far, col] - own)
        for x in range(left, left + part.shape[1]):
            own = line[x // h]
            value = own + (1 - weight) * (line[_other(x, h, cols)] - own)
            part[y - top, x - left] = value


@njit
def _upsample_adjoint(full, v, h, weight, samples):
    rows, cols = samples.shape
    line = np.empty(cols, np.float32)
    for y in range(full.shape[0]):
        line[:] = 0
        for x in range(full.shape[1]):
            line[x // h] += weight * full[y, x]
            line[_other(x, h, cols)] += (1 - weight) * full[y, x]
        near, far = y // v, _other(y, v, rows)
        for col in range(cols):
            samples[near, col] += weight * line[col]
            samples[far, col] += (1 - weight) * line[col]


def to_coefficients(samples):
    """DCT coefficients of a component, padded by its edge to whole blocks.

    Args:
      samples: float32 `[h, w]`.

    Returns:
      float32 `[blocks, 64]`, row by row, zigzag.
    """
    return _coefficients(samples, True)


def gradient_to_coefficients(gradient):
    """As `to_coefficients`, of a gradient: what lies outside has none."""
    return _coefficients(gradient, False)


def to_samples(coefficients, height, width):
    """Inverse of `to_coefficients`: the component's samples `[height, width]`."""
    return _to_samples(lambda some: coefficients[some], height, width)


def _coefficients(samples, repeats_edge):
    """`to_coefficients`; beyond the samples there is their edge again, or zeros."""
    count = int(np.prod(blocks_of(*samples.shape)))
    coefficients = np.empty((count, BLOCK * BLOCK), np.float32)
    for some in chunks(count, _CHUNK):
        blocks = np.zeros((some.stop - some.start, BLOCK * BLOCK), np.float32)
        _cut_blocks(samples, repeats_edge, some.start, blocks)
        np.matmul(blocks, _DCT.T, out=coefficients[some])
    return coefficients


def _to_samples(coefficients, height, width):
    """`to_samples` of a function that takes a slice of the blocks."""
    samples = np.empty((height, width), np.float32)
    for some in chunks(int(np.prod(blocks_of(height, width))), _CHUNK):
        _join_blocks(coefficients(some) @ _DCT, some.start, samples)
    return samples


@njit
def _cut_blocks(samples, repeats_edge, first, blocks):
    height, width = samples.shape
    cols = -(-width // BLOCK)
    for block in range(blocks.shape[0]):
        number = first + block
        top, left = number // cols * BLOCK, number % cols * BLOCK
        for v in range(BLOCK):
            for u in range(BLOCK):
                y, x = min(top + v, height - 1), min(left + u, width - 1)
                if repeats_edge or (y == top + v and x == left + u):
                    blocks[block, BLOCK * v + u] = samples[y, x]


@njit
def _join_blocks(blocks, first, samples):
    height, width = samples.shape
    cols = -(-width // BLOCK)
    for block in range(blocks.shape[0]):
        number = first + block
        top, left = number // cols * BLOCK, number % cols * BLOCK
        for v in range(min(BLOCK, height - top)):
            for u in range(min(BLOCK, width - left)):
                samples[top + v, left + u] = blocks[block, BLOCK * v + u]


def ycbcr_plane(picture, component):
    """Y minus 128, Cb or Cr of uint8 RGB `[h, w, 3]`, float32 `[h, w]`."""
    plane = _weighted_sum(picture, RGB_TO_YCBCR[component].astype(np.float32))
    if component == 0:
        plane -= np.float32(128)
    return plane


@njit
def _weighted_sum(picture, weights):
    height, width, _ = picture.shape
    out = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            pixel = picture[y, x]
            total = weights[0] * pixel[0] + weights[1] * pixel[1]
            out[y, x] = total + weights[2] * pixel[2]
    return out


def subsample(plane, sampling):
    """The chroma samples whose picture, through the decoder's filter, comes closest.

    Least squares by Landweber iteration, from the mean of each cell.

    Args:
      plane: float32 `[height, width]`.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Returns:
      float32, the component's samples.
    """
    if sampling == "4:4:4":
        return plane
    height, width = plane.shape
    v, h = factors(sampling)
    padded = np.pad(plane, [(0, -height % v), (0, -width % h)], mode="edge")
    shape = padded.shape[0] // v, padded.shape[1] // h
    samples = padded.reshape(shape[0], v, shape[1], h).mean((1, 3), dtype=np.float32)
    ones = np.ones((height, width), np.float32)  # the filter keeps what is even
    scale = np.float32(_STEP) / upsample_adjoint(ones, sampling, shape)
    del ones, padded
    for _ in range(_STEPS):
        error = upsample(samples, sampling, height, width)
        np.subtract(plane, error, out=error)
        samples = samples + scale * upsample_adjoint(error, sampling, shape)
    return samples


def to_natural(coefficients, height, width):
    """`[blocks, 64]`, zigzag, as `[rows, cols, 8 (v), 8 (u)]` of a component."""
    natural = np.empty_like(coefficients)
    natural[:, ZIGZAG] = coefficients
    return natural.reshape(*blocks_of(height, width), BLOCK, BLOCK)


class CodedImage:
    """A picture and its coefficients while they are searched for.

    Attributes:
      picture: uint8 RGB `[height, width, 3]`, the original.
      sampling: one of `jpeg.SUBSAMPLINGS`.
      sizes: (height, width) in samples of each component.
      originals: coefficients of the original, float32 `[blocks, 64]` (zigzag) of each
        component; of subsampled chroma those that come closest to it.
    """

    def __init__(self, picture, sampling):
        """Starts with the original's own coefficients."""
        self.picture = picture
        self.sampling = sampling
        height, width = picture.shape[:2]
        self.sizes = plane_sizes(height, width, sampling)
        self.originals, self._coded = [], [None] * 3
        self._samples = []  # what is coded; chroma at its own size
        for component in range(3):
            samples = ycbcr_plane(picture, component)
            if component:
                samples = subsample(samples, sampling)
            self.originals.append(to_coefficients(samples))
            self._samples.append(samples)

    def factors(self, component):
        """(v, h): px of the picture for a sample of a component, as `factors`."""
        return factors(self.sampling) if component else (1, 1)

    @property
    def is_replaced(self):
        """Whether something else than the original is coded."""
        return any(coded is not None for coded in self._coded)

    def steps(self, component):
        """Of what is coded of a component, float32 `[64]`, zigzag."""
        return self._coded[component][1]

    def coefficients(self, component, blocks=slice(None)):
        """What is coded of (blocks of) a component, `[n, 64]`; not to be changed."""
        if self._coded[component] is None:
            return self.originals[component][blocks]
        integers, steps = self._coded[component]
        return integers[blocks] * steps

    def replace(self, component, integers, steps=1.0):
        """Sets what is coded of a component, and what is shown of it.

        Args:
          component: 0, 1 or 2.
          integers: `[blocks, 64]`, zigzag; kept, not copied: they take half of the
            memory of coefficients.
          steps: float32 `[64]`, or a number, of one integer in the coefficients.
        """
        self._coded[component] = integers, np.copy(steps)
        self._samples[component] = _to_samples(
            lambda some: self.coefficients(component, some), *self.sizes[component]
        )

    def decoded(self, rows=slice(None), cols=slice(None)):
        """What a decoder shows of what is coded at the moment.

        Args:
          rows, cols: slices, of the part of the picture that is wanted.

        Returns:
          Three float32 planes `[h, w]`, Y minus 128.
        """
        height, width = self.picture.shape[:2]
        rows, cols = slice(*rows.indices(height)[:2]), slice(*cols.indices(width)[:2])
        if self.sampling == "4:4:4":
            return [samples[rows, cols] for samples in self._samples]
        luma, *chroma = self._samples
        return [
            luma[rows, cols],
            *(_upsampled(own, self.sampling, rows, cols) for own in chroma),
        ]

    def decoded_rgb(self, rows=slice(None), cols=slice(None)):
        """Returns the decoded image: RGB minus 128, float32 `[3, h, w]`.

        Args:
          rows, cols: slices of the image, for a part of it.
        """
        matrix = YCBCR_TO_RGB.astype(np.float32)
        return _decoded_rgb(*self.decoded(rows, cols), matrix)

    def error_slope(self, component, rows=slice(None)):
        """Returns half the slope of the mean squared error, times the pixels.

        The error is that of the decoded RGB, clipped to 0..255: where it is clipped, a
        further error costs nothing.

        Args:
          component: 0, 1 or 2, in whose decoded full-size samples it is the slope.
          rows: a slice of the image, for a part of it.

        Returns:
          float32 `[height, width]`.
        """
        matrix = YCBCR_TO_RGB.astype(np.float32)
        return _error_slope(self.picture[rows], *self.decoded(rows), matrix, component)

    def add_error_slope(self, gradient, component, factor):
        """Adds `error_slope`, times a factor, to a `Gradient` of the component."""
        height, width = self.picture.shape[:2]
        for rows in chunks(height, _ROWS):
            slope = self.error_slope(component, rows)
            slope *= np.float32(factor)
            gradient.add(rows, slice(0, width), slope)

    def moved(self, component, way):
        """`coefficients` minus `way`, float32 of their shape, which is overwritten."""
        for some in chunks(len(way), _CHUNK):
            np.subtract(self.coefficients(component, some), way[some], out=way[some])
        return way

    def new_gradient(self, component):
        """A `Gradient` of a component, zero so far."""
        sampling = self.sampling if component else "4:4:4"
        return Gradient(sampling, *self.picture.shape[:2], self.sizes[component])

    def filter_energies(self, component):
        """`filter_energies` of a component: ones for luma."""
        sampling = self.sampling if component else "4:4:4"
        return filter_energies(sampling, self.sizes[component][1])


class Gradient:
    """A gradient in a component's coefficients that is given part by part."""

    def __init__(self, sampling, height, width, size):
        """Takes a component's sampling, the picture's size, and its own in samples."""
        self._factors = factors(sampling)
        self._picture = height, width
        self._weight = nearest_weight(size[1])
        self._samples = np.zeros(size, np.float32)

    def add(self, rows, cols, gradient):
        """Adds what is shown of a part.

        Args:
          rows, cols: slices of the picture that start at even numbers.
          gradient: float32 `[h, w]`, in what is shown there.
        """
        if self._factors == (1, 1):
            self._samples[rows, cols] += gradient
            return
        # Two px more on each side, which the filter mixes with those of the part.
        margins = [
            (min(2, part.start), min(2, side - part.stop))
            for part, side in zip((rows, cols), self._picture, strict=True)
        ]
        padded = np.pad(gradient, margins)
        places = [
            slice((part.start - before) // factor, -(-(part.stop + after) // factor))
            for part, (before, after), factor in zip(
                (rows, cols), margins, self._factors, strict=True
            )
        ]
        own = self._samples[tuple(places)]
        _upsample_adjoint(padded, *self._factors, self._weight, own)

    def coefficients(self):
        """The gradient, float32 `[blocks, 64]`, zigzag; afterwards it is used up."""
        samples, self._samples = self._samples, None
        return gradient_to_coefficients(samples)


@njit
def _decoded_rgb(luma, cb, cr, matrix):
    height, width = luma.shape
    out = np.empty((3, height, width), np.float32)
    for channel in range(3):
        row = matrix[channel]
        for y in range(height):
            for x in range(width):
                value = row[0] * luma[y, x] + row[1] * cb[y, x] + row[2] * cr[y, x]
                out[channel, y, x] = min(max(value, np.float32(-128)), np.float32(127))
    return out


@njit
def _error_slope(picture, luma, cb, cr, matrix, component):
    height, width = luma.shape
    out = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            slope = np.float32(0)
            for channel in range(3):
                row = matrix[channel]
                value = row[0] * (luma[y, x] + np.float32(128))
                value += row[1] * cb[y, x] + row[2] * cr[y, x]
                value = min(max(value, np.float32(0)), np.float32(255))
                slope += row[component] * (value - picture[y, x, channel])
            out[y, x] = slope / np.float32(3)
    return out
