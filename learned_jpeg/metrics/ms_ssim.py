"""MS-SSIM, the multi-scale structural similarity of two images.

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality
assessment", 2003, with the defaults and the numbers of `tf.image.ssim_multiscale`,
several times faster: what depends on the original only is computed once, and the
Gaussian blur is a few small matrix products.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from learned_jpeg.common import kept_memory
from learned_jpeg.metrics.basic import ms_ssim_db
from learned_jpeg.metrics.metric import ComparisonScale, Metric, TargetKind

MIN_SIDE = 161  # px: below it the coarsest scale is smaller than the blur.

_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_TAPS = 11
_SIGMA = 1.5  # px
_TILE = 24  # outputs of one matrix product of the blur: small enough for one thread
_STRIP = 64  # rows compared at a time: so much stays in the processor's cache.
_BLOCK = 8  # px
_LEAST_MEAN = 1e-6  # of a scale's mean, where a slope is asked for


@dataclasses.dataclass(frozen=True)
class Scale:
    """The original at one scale, as MS-SSIM compares with it; float32, minus 128."""

    planes: np.ndarray  # [3, h, w]
    mean: np.ndarray  # [3, h - 10, w - 10], local mean
    variance: np.ndarray  # [3, h - 10, w - 10], local variance


def _planes(image):
    """Returns uint8 `[h, w, 3]` as float32 `[3, h, w]`, minus 128 for less rounding."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    planes -= 128
    return planes


def window():
    """Returns the Gaussian window along one axis, float64 `[11]`, of sum 1."""
    x = np.arange(_TAPS) - _TAPS // 2
    gaussian = np.exp(-0.5 * (x / _SIGMA) ** 2)
    return gaussian / gaussian.sum()


def _gaussian_band():
    """Returns the matrix that blurs a row vector, float32 `[_TILE + 10, _TILE]`."""
    gaussian = window()
    band = np.zeros((_TILE + _TAPS - 1, _TILE), np.float32)
    for i in range(_TILE):
        band[i : i + _TAPS, i] = gaussian
    return band


_BAND = _gaussian_band()
_WEIGHTS = window().astype(np.float32)
_CONSTANTS = np.array([_C1, _C2], np.float32)


def _blur(planes):
    """Blurs without padding, `[..., h, w]` to `[..., h - 10, w - 10]`.

    A matrix product is so fast that it pays to multiply with many zeros: `_TILE`
    outputs at a time, first along the columns, then along the rows.
    """
    height, width = planes.shape[-2] - _TAPS + 1, planes.shape[-1] - _TAPS + 1
    tall = np.empty((*planes.shape[:-2], height, planes.shape[-1]), np.float32)
    for i in range(0, height, _TILE):
        n = min(_TILE, height - i)
        band = _BAND[: n + _TAPS - 1, :n].T
        np.matmul(band, planes[..., i : i + n + _TAPS - 1, :], tall[..., i : i + n, :])
    blurred = np.empty((*planes.shape[:-2], height, width), np.float32)
    for i in range(0, width, _TILE):
        n = min(_TILE, width - i)
        band = _BAND[: n + _TAPS - 1, :n]
        np.matmul(tall[..., i : i + n + _TAPS - 1], band, blurred[..., i : i + n])
    return blurred


def _halve(planes):
    """Averages 2x2 pixels, `[..., h, w]` to half of both sides, rounded up.

    An odd side is continued by its last pixel first, as in TensorFlow.
    """
    odd = [(0, 0)] * (planes.ndim - 2) + [(0, side % 2) for side in planes.shape[-2:]]
    planes = np.pad(planes, odd, mode="edge")
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25)


def _strips(height):
    """Yields slices (rows of the blurred planes, rows that they come from)."""
    for start in range(0, height - _TAPS + 1, _STRIP):
        stop = min(start + _STRIP, height - _TAPS + 1)
        yield slice(start, stop), slice(start, stop + _TAPS - 1)


def reference_scales(original: np.ndarray) -> tuple[Scale, ...]:
    """Computes the `Scale`s of an original, from fine to coarse.

    Args:
      original: uint8 `[h, w, 3]`, with sides of at least `MIN_SIDE` px.
    """
    scales = []
    planes = _planes(original)
    for _ in _POWERS:
        _, height, width = planes.shape
        mean = np.empty((3, height - _TAPS + 1, width - _TAPS + 1), np.float32)
        variance = np.empty_like(mean)
        for blurred_rows, rows in _strips(height):
            x = planes[:, rows]
            blurred = _blur(np.stack([x, x * x]))
            mean[:, blurred_rows] = blurred[0]
            variance[:, blurred_rows] = blurred[1] - blurred[0] ** 2
        scales.append(Scale(planes, mean, variance))
        planes = _halve(planes)
    return tuple(scales)


def _similarity(scale, planes):
    """Computes means over all positions of SSIM and of its contrast-structure part.

    Args:
      scale: `Scale` of the original.
      planes: float32 `[3, h, w]`, the decoded image at that scale minus 128.

    Returns:
      two float64 arrays [3]: SSIM, contrast-structure part.
    """
    ssim, contrast = np.zeros(3), np.zeros(3)
    for blurred_rows, rows in _strips(planes.shape[1]):
        x, y = scale.planes[:, rows], planes[:, rows]
        mean_y, square_y, product = _blur(np.stack([y, y * y, x * y]))
        mean_x = scale.mean[:, blurred_rows]
        variance = scale.variance[:, blurred_rows] + square_y - mean_y**2
        covariance = product - mean_x * mean_y
        structure = (2 * covariance + _C2) / (variance + _C2)
        mean_x, mean_y = mean_x + 128, mean_y + 128
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        contrast += structure.sum((1, 2), np.float64)
        ssim += (structure * luminance).sum((1, 2), np.float64)
    positions = scale.mean[0].size
    return ssim / positions, contrast / positions


def ms_ssim(scales: tuple[Scale, ...], decoded: np.ndarray) -> float:
    """Computes MS-SSIM, the mean over the channels.

    Args:
      scales: of the original, from `reference_scales`.
      decoded: uint8 `[h, w, 3]`, of the size of the original.

    Returns:
      At most 1, which equal images have.
    """
    planes = _planes(decoded)
    product = np.ones(3)
    for i, (scale, power) in enumerate(zip(scales, _POWERS, strict=True)):
        ssim, contrast = _similarity(scale, planes)
        coarsest = i == len(scales) - 1
        # Negative similarities count as 0, which also keeps the power real.
        product *= np.maximum(ssim if coarsest else contrast, 0) ** power
        planes = _halve(planes)
    return min(float(product.mean()), 1.0)  # Rounding may lead just above.


class Slopes(NamedTuple):
    """MS-SSIM near a decoded image, see `slopes`.

    Attributes:
      value: MS-SSIM, the mean over the channels.
      contrast: for each scale float32 `[3, rows, cols]`: what a unit of local variance
        of an error takes off the value, mean over the windows of each 8x8 block.
      luminance: the same at the coarsest scale, of a unit of the squared local mean.
    """

    value: float
    contrast: list
    luminance: np.ndarray


def slopes(
    original: np.ndarray,
    decoded: Callable[[slice], np.ndarray],
    take: Callable[[slice, np.ndarray], None] | None = None,
) -> Slopes:
    """Computes value, gradient and local curvature of MS-SSIM.

    The curvature is exact for contrast and structure: with D the sum of both local
    variances and the constant, `1 - cs = Var(x - y) / D`. The image is processed in
    strips, twice at full size, because the gradient of a strip depends on the mean of
    the whole image. So nothing of full size is kept.

    Args:
      original: uint8 `[h, w, 3]`.
      decoded: function from a slice of rows to the decoded RGB there minus 128, float32
        `[3, n, w]`.
      take: None, or a function that is given the gradient of the value in the decoded
        pixels strip by strip, from top to bottom: a slice of rows that starts at an
        even number, and float32 `[3, n, w]`.

    Returns:
      `Slopes`.
    """
    pyramid = _Pyramid(original, decoded)
    blocks = tuple(-(-side // _BLOCK) for side in original.shape[:2])
    means, gradients, maps = [], [], []
    for number in range(len(_POWERS)):
        if number:
            pyramid.halve()
        size = (3, *pyramid.size)
        gradient = kept_memory.zeros(size) if number and take else None
        mean, own_maps = _scale_slopes(pyramid, number, blocks, gradient)
        means.append(np.maximum(mean, _LEAST_MEAN))
        gradients.append(gradient)
        maps.append(own_maps)
    values = np.prod([m**p for m, p in zip(means, _POWERS, strict=True)], axis=0)
    # Of the value in the mean of each scale, by channel.
    factors = [
        (values * power / (3 * mean)).astype(np.float32)[:, np.newaxis, np.newaxis]
        for mean, power in zip(means, _POWERS, strict=True)
    ]
    if take:
        pyramid = _Pyramid(original, decoded)
        coarse = _coarse_gradient(gradients, factors)
        del gradients
        _give_gradient(pyramid, factors[0], coarse, take)
    contrast = [f * own[0] for f, own in zip(factors, maps, strict=True)]
    return Slopes(float(values.mean()), contrast, factors[-1] * maps[-1][1])


class _Pyramid:
    """The original and a decoded image at one scale, at full size only in strips.

    Attributes:
      size: (height, width) at the scale, full size at first.
    """

    def __init__(self, original, decoded):
        """Stores an image and a function, see `slopes`."""
        self._original = original
        self._decoded = decoded
        self._pair = None
        self.size = original.shape[:2]

    def halve(self):
        """Goes to the next scale; those before are given up."""
        from learned_jpeg.metrics.slopes.ms_ssim_windows import halve

        height, width = self.size
        self.size = -(-height // 2), -(-width // 2)
        pair = [kept_memory.empty((3, *self.size)) for _ in range(2)]
        for start in range(0, height, _STRIP):
            parts = self.rows(slice(start, min(start + _STRIP, height)))
            own = slice(start // 2, (start + _STRIP) // 2)
            for planes, part in zip(pair, parts, strict=True):
                for plane, of_channel in zip(planes, part, strict=True):
                    halve(of_channel, plane[own])
        self._pair = pair

    def rows(self, rows):
        """Returns (original, decoded) in some rows, float32 `[3, n, w]`, minus 128."""
        if self._pair:
            return [planes[:, rows] for planes in self._pair]
        return [_planes(self._original[rows]), self._decoded(rows)]


def _scale_slopes(pyramid, number, blocks, gradient):
    """Computes the means of a scale, and maps by block.

    Args:
      pyramid: `_Pyramid`, at this scale.
      number: of the scale, 0 for full size.
      blocks: (rows, cols) of the image's 8x8 blocks.
      gradient: None, or zeros `[3, h, w]` to which that of the sum over the windows is
        added.

    Returns:
      For each channel the mean of the contrast-structure part, at the coarsest scale of
      SSIM; and a list of means by block, over the number of windows, `[3, rows, cols]`:
      of 1 / D, and at the coarsest scale of the luminance part's.
    """
    height, width = (side - _TAPS + 1 for side in pyramid.size)
    is_coarsest = number == len(_POWERS) - 1
    totals = np.zeros(3)
    lines = kept_memory.empty((1 + is_coarsest, 3, height, blocks[1]))
    for windows, rows in _strips(height + _TAPS - 1):
        pairs = zip(*pyramid.rows(rows), strict=True)
        for channel, (x, y) in enumerate(pairs):
            value, maps, back = _channel_slopes(x, y, is_coarsest, gradient is not None)
            totals[channel] += value
            lines[:, channel, windows] = _block_means(maps, number, blocks[1])
            if gradient is not None:
                gradient[channel, rows] += back
    maps = _block_means(lines.swapaxes(2, 3), number, blocks[0]).swapaxes(2, 3)
    positions = height * width
    return totals / positions, list(maps / np.float32(positions))


def _channel_slopes(
    x, y, is_coarsest, wants_gradient
) -> tuple[float, np.ndarray, np.ndarray]:
    """Compares the windows of one channel, `[h, w]`.

    Returns:
      (sum over the windows, maps, gradient of the sum in y). The maps, `[1 or 2, h -
      10, w - 10]`, are 1 / D, and at the coarsest scale also that of the luminance
      part. The gradient is `[0, 0]` where it is not wanted.
    """
    from learned_jpeg.metrics.slopes.ms_ssim_windows import compare_windows

    height, width = y.shape
    sides = height - _TAPS + 1, width - _TAPS + 1
    maps = kept_memory.empty((1 + is_coarsest, *sides))
    gradient = kept_memory.empty(y.shape if wants_gradient else (0, 0))
    total = compare_windows(x, y, _WEIGHTS, _CONSTANTS, is_coarsest, maps, gradient)
    return total, maps, gradient


def _coarse_gradient(gradients, factors):
    """Returns the gradient of the value by all coarse scales, at the finest of them.

    Args:
      gradients: of the sums over the windows of each scale, overwritten.
      factors: of the value in the means, `[3, 1, 1]` each.
    """
    total = None  # from coarse to fine, in place
    for number in range(len(gradients) - 1, 0, -1):
        gradient, (height, width) = gradients[number], gradients[number].shape[1:]
        gradient /= np.float32((height - _TAPS + 1) * (width - _TAPS + 1))
        gradient *= factors[number]
        if total is not None:
            gradient += _halve_adjoint(total, height, width)
        total = gradient
    return total


def _give_gradient(pyramid, factor, coarse, take):
    """Gives the whole gradient to `take`, strip by strip, see `slopes`."""
    height, width = pyramid.size
    positions = np.float32((height - _TAPS + 1) * (width - _TAPS + 1))
    left = np.zeros((3, 0, width), np.float32)  # of rows that the next strip shares
    for windows, rows in _strips(height):
        pairs = zip(*pyramid.rows(rows), strict=True)
        gradient = np.stack([_channel_slopes(x, y, False, True)[2] for x, y in pairs])
        gradient[:, : left.shape[1]] += left
        stop = height if rows.stop == height else windows.stop
        count = stop - rows.start
        left = gradient[:, count:].copy()
        gradient = gradient[:, :count]
        gradient /= positions
        gradient *= factor
        below = coarse[:, rows.start // 2 : -(-stop // 2)]
        gradient += _halve_adjoint(below, count, width)
        take(slice(rows.start, stop), gradient)


def _halve_adjoint(planes, height, width):
    """Applies the adjoint of `_halve`, to `[..., height, width]`."""
    spread = np.repeat(np.repeat(planes * np.float32(0.25), 2, -2), 2, -1)
    # The last pixel of an odd side was counted twice.
    if height % 2:
        spread[..., height - 1, :] += spread[..., height, :]
    if width % 2:
        spread[..., width - 1] += spread[..., width]
    return spread[..., :height, :width]


def _block_means(maps, number, count):
    """Averages maps over each 8 px of the image, along the last axis.

    Args:
      maps: float32 `[..., n]`, over the windows of scale `number`.
      number: 0 for full size; each scale is half of the one before.
      count: of the image's blocks along the axis.

    Returns:
      float32 `[..., count]`; windows beyond the maps' edge count as the last ones.
    """
    from learned_jpeg.metrics.slopes.ms_ssim_windows import write_means

    side = max(_BLOCK >> number, 1)
    repeats = max((1 << number) // _BLOCK, 1)
    rows = np.ascontiguousarray(maps).reshape(-1, maps.shape[-1])
    means = np.empty((len(rows), -(-count // repeats)), np.float32)
    write_means(rows, _TAPS // 2, side, means)
    means = np.repeat(means, repeats, -1)[:, :count]
    return means.reshape(*maps.shape[:-1], count)


METRIC = Metric(
    key="ms-ssim",
    name="MS-SSIM",
    scale=ComparisonScale(ms_ssim_db, "dB", decimals=2),
    prepare=reference_scales,
    compare=ms_ssim,
    min_side=MIN_SIDE,
    higher_is_better=True,
    order=20,
    rank=40,
    in_overview=True,
    decimals=4,
    json_name="ms-ssim-rgb",
    codec_compare=("msssim", "Multi-scale structural similarity over RGB"),
    target=TargetKind(
        tolerance=0.05,  # dB
        text="{:.5f}",
        slope=2.5,
        metavar="X",
        help="from above, 0..1",
        allowed=(0.0, 1.0),
    ),
)
