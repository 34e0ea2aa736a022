"""MS-SSIM, the multi-scale structural similarity of two pictures.

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality
assessment", 2003, with the defaults and the numbers of `tf.image.ssim_multiscale`,
several times faster: what depends on the original alone is computed once, and the
Gaussian blur is a few small matrix products.
"""

import dataclasses

import numpy as np

MIN_SIDE = 161  # px: below it the coarsest scale is smaller than the blur.

_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_TAPS = 11
_SIGMA = 1.5  # px
_TILE = 24  # outputs of one matrix product of the blur: small enough for one thread
_STRIP = 64  # rows compared at a time: so much stays in the processor's cache.


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


def _gaussian_band():
    """Matrix [_TILE + 10, _TILE] that blurs a row vector, float32."""
    x = np.arange(_TAPS) - _TAPS // 2
    gaussian = np.exp(-0.5 * (x / _SIGMA) ** 2)
    gaussian /= gaussian.sum()
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
