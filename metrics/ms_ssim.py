"""MS-SSIM, the multi-scale structural similarity of two pictures.

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality
assessment", 2003, with the defaults and the numbers of `tf.image.ssim_multiscale`,
several times faster: what depends on the original alone is computed once, and the
Gaussian blur is a few small matrix products.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

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
    """What MS-SSIM needs of the original at one scale; float32, pixels minus 128."""

    planes: np.ndarray  # [3, h, w]
    mean: np.ndarray  # [3, h - 10, w - 10], local mean
    variance: np.ndarray  # [3, h - 10, w - 10], local variance


def _planes(picture):
    """[h, w, 3] uint8 as [3, h, w] float32, minus 128: smaller rounding errors."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
    planes -= 128
    return planes


def window():
    """The Gaussian window along one axis, float64 `[11]`, of sum 1."""
    x = np.arange(_TAPS) - _TAPS // 2
    gaussian = np.exp(-0.5 * (x / _SIGMA) ** 2)
    return gaussian / gaussian.sum()


def _gaussian_band():
    """Matrix [_TILE + 10, _TILE] that blurs a row vector, float32."""
    gaussian = window()
    band = np.zeros((_TILE + _TAPS - 1, _TILE), np.float32)
    for i in range(_TILE):
        band[i : i + _TAPS, i] = gaussian
    return band


_BAND = _gaussian_band()


def _blur(planes):
    """Gaussian blur without padding, [..., h, w] -> [..., h - 10, w - 10].

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
    """Mean of 2x2 pixels, [..., h, w] -> [..., (h + 1) // 2, (w + 1) // 2].

    An odd side is continued by its last pixel first, as in TensorFlow.
    """
    odd = [(0, 0)] * (planes.ndim - 2) + [(0, side % 2) for side in planes.shape[-2:]]
    planes = np.pad(planes, odd, mode="edge")
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25)


def _strips(height):
    """Slices (rows of the blurred planes, rows of the planes they come from)."""
    for start in range(0, height - _TAPS + 1, _STRIP):
        stop = min(start + _STRIP, height - _TAPS + 1)
        yield slice(start, stop), slice(start, stop + _TAPS - 1)


def reference_scales(original):
    """The `Scale` of the original at every scale, from fine to coarse."""
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
    """Means over all positions of SSIM and of its contrast-structure part.

    Args:
      scale: `Scale` of the original.
      planes: [3, h, w], float32, the decoded picture at that scale minus 128.

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


def ms_ssim(scales, decoded):
    """MS-SSIM, mean over the channels, of `decoded` and the original of `scales`."""
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
    """MS-SSIM near a decoded picture, see `slopes`.

    Attributes:
      value: MS-SSIM, the mean over the channels.
      gradient: float32 `[3, h, w]`, of the value in the decoded pixels.
      contrast: for each scale float32 `[3, rows, cols]`: what a unit of local variance
        of an error takes off the value, mean over the windows of each 8x8 block.
      luminance: the same at the coarsest scale, of a unit of the squared local mean.
    """

    value: float
    gradient: np.ndarray
    contrast: list
    luminance: np.ndarray


def slopes(scales, planes):
    """Value, gradient and local curvature of MS-SSIM.

    The curvature is exact for contrast and structure: with D the sum of both local
    variances and the constant, `1 - cs = Var(x - y) / D`.

    Args:
      scales: of the original, as from `reference_scales`.
      planes: float32 `[3, h, w]`, the decoded picture minus 128.

    Returns:
      `Slopes`.
    """
    blocks = tuple(-(-side // _BLOCK) for side in planes.shape[1:])
    means, gradients, contrast = [], [], []
    for number, scale in enumerate(scales):
        is_coarsest = number == len(scales) - 1
        mean, gradient, maps = _scale_slopes(scale, planes, is_coarsest)
        positions = scale.mean[0].size
        means.append(np.maximum(mean, _LEAST_MEAN))
        gradient /= np.float32(positions)
        gradients.append(gradient)
        of_blocks = [_block_means(m, number, blocks) / positions for m in maps]
        contrast.append(of_blocks[0])
        planes = _halve(planes)
    values = np.prod([m**p for m, p in zip(means, _POWERS, strict=True)], axis=0)
    # Of the value in the mean of each scale, by channel.
    factors = [
        (values * power / (3 * mean)).astype(np.float32)[:, np.newaxis, np.newaxis]
        for mean, power in zip(means, _POWERS, strict=True)
    ]
    total = np.float32(0)  # from coarse to fine, in place
    for factor, gradient in zip(factors[::-1], gradients[::-1], strict=True):
        gradient *= factor
        if gradient is not gradients[-1]:
            gradient += _halve_adjoint(total, *gradient.shape[1:])
        total = gradient
    contrast = [f * c for f, c in zip(factors, contrast, strict=True)]
    return Slopes(float(values.mean()), total, contrast, factors[-1] * of_blocks[1])


def _scale_slopes(scale, planes, is_coarsest):
    """(mean, gradient of its sum, maps) of one scale, the mean for each channel.

    The mean is of the contrast-structure part, at the coarsest scale of SSIM. Maps are
    1 / D over all windows, and at the coarsest scale that of the luminance part.
    """
    total = np.zeros(3)
    gradient = np.zeros_like(planes)
    maps = [np.empty_like(scale.mean) for _ in range(1 + is_coarsest)]
    for blurred_rows, rows in _strips(planes.shape[1]):
        x, y = scale.planes[:, rows], planes[:, rows]
        mean_y, square_y, product = _blur(np.stack([y, y * y, x * y]))
        mean_x = scale.mean[:, blurred_rows]
        inverse = 1 / (scale.variance[:, blurred_rows] + square_y - mean_y**2 + _C2)
        structure = (2 * (product - mean_x * mean_y) + _C2) * inverse
        by_product, by_square = 2 * inverse, -2 * structure * inverse
        maps[0][:, blurred_rows] = inverse
        value = structure
        by_mean = -by_product * mean_x - by_square * mean_y
        if is_coarsest:
            bright_x, bright_y = mean_x + 128, mean_y + 128
            inverse_l = 1 / (bright_x**2 + bright_y**2 + _C1)
            luminance = (2 * bright_x * bright_y + _C1) * inverse_l
            by_luminance = 2 * (bright_x - luminance * bright_y) * inverse_l
            maps[1][:, blurred_rows] = inverse_l
            value = structure * luminance
            by_product, by_square = by_product * luminance, by_square * luminance
            by_mean = by_mean * luminance + structure * by_luminance
        total += value.sum((1, 2), np.float64)
        back = _blur_adjoint(np.stack([by_product, by_square, by_mean]))
        gradient[:, rows] += x * back[0] + y * back[1] + back[2]
    return total / scale.mean[0].size, gradient, maps


def _blur_adjoint(maps):
    """Adjoint of `_blur`: `[..., h, w]` to `[..., h + 10, w + 10]`."""
    border = [(0, 0)] * (maps.ndim - 2) + [(_TAPS - 1, _TAPS - 1)] * 2
    return _blur(np.pad(maps, border))  # The kernel is symmetric.


def _halve_adjoint(planes, height, width):
    """Adjoint of `_halve`, to `[..., height, width]`."""
    spread = np.repeat(np.repeat(planes * np.float32(0.25), 2, -2), 2, -1)
    # The last pixel of an odd side was counted twice.
    if height % 2:
        spread[..., height - 1, :] += spread[..., height, :]
    if width % 2:
        spread[..., width - 1] += spread[..., width]
    return spread[..., :height, :width]


def _block_means(maps, number, blocks):
    """Means of maps over windows for each 8x8 block of the picture.

    Args:
      maps: `[3, h, w]`, over the windows of scale `number`.
      number: 0 for full size; each scale is half of the one before.
      blocks: (rows, cols).

    Returns:
      float32 `[3, rows, cols]`; windows beyond the map's edge count as its last ones.
    """
    border = _TAPS // 2
    side = max(_BLOCK >> number, 1)
    repeats = max((1 << number) // _BLOCK, 1)
    sizes = [-(-count // repeats) * side for count in blocks]
    padding = [
        (border, max(size - length - border, 0))
        for size, length in zip(sizes, maps.shape[1:], strict=True)
    ]
    padded = np.pad(maps, [(0, 0), *padding], mode="edge")[:, : sizes[0], : sizes[1]]
    shape = (3, sizes[0] // side, side, sizes[1] // side, side)
    means = padded.reshape(shape).mean((2, 4))
    means = np.repeat(np.repeat(means, repeats, 1), repeats, 2)
    return means[:, : blocks[0], : blocks[1]]
