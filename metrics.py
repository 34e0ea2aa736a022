"""Picture metrics of a decoded file: MSE, PSNR, MS-SSIM and LPIPS; bits per pixel.

MS-SSIM is that of Wang, Simoncelli, Bovik, "Multiscale structural similarity for
image quality assessment", 2003, with the defaults and the numbers of
`tf.image.ssim_multiscale`, several times faster: what depends on the original alone
is computed once, and the Gaussian blur is a few small matrix products.
"""

import dataclasses
import math
import threading

import numpy as np
import tensorflow.compat.v1 as tf

import lpips_tensorflow

MS_SSIM_MIN_SIDE = 161  # px: below it the coarsest scale is smaller than the blur.

_MS_SSIM_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_TAPS = 11
_SIGMA = 1.5  # px
_TILE = 24  # outputs of one matrix product of the blur: small enough for one thread
_STRIP = 64  # rows compared at a time: so much stays in the processor's cache.


@dataclasses.dataclass(frozen=True)
class _Scale:
    """What MS-SSIM needs of the original at one scale; float32, pixels minus 128."""

    planes: np.ndarray  # [3, h, w]
    mean: np.ndarray  # [3, h - 10, w - 10], local mean
    variance: np.ndarray  # [3, h - 10, w - 10], local variance


@dataclasses.dataclass(frozen=True)
class Reference:
    """An original with all that comparisons with it need, see `PictureMetrics`."""

    original: np.ndarray  # [h, w, 3], uint8
    scales: tuple  # of five _Scale; empty where MS-SSIM is undefined
    features: tuple  # of lpips_tensorflow.features; empty where LPIPS is undefined

    @property
    def nbytes(self):
        """Size of all arrays in bytes."""
        arrays = [self.original, *self.features]
        for scale in self.scales:
            arrays += [scale.planes, scale.mean, scale.variance]
        return sum(array.nbytes for array in arrays)


class PictureMetrics:
    """Compares decoded pictures with their originals.

    Owns a TensorFlow graph and session, made at the first use. Several threads may
    use one object at once.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._lpips = None

    def reference(self, original):
        """Computes what depends on the original only.

        Args:
          original: uint8 [h, w, 3], RGB.

        Returns:
          `Reference`, for `compare`; about 90 bytes per pixel.

        Raises:
          ValueError: `original` is not a uint8 array of that shape.
        """
        _check_picture(original)
        smallest = min(original.shape[:2])
        scales = features = ()
        if smallest >= MS_SSIM_MIN_SIDE:
            scales = _reference_scales(original)
        if smallest >= lpips_tensorflow.MIN_SIDE:
            features = self._lpips_graph().features(original)
        return Reference(original, scales, features)

    def compare(self, reference, decoded):
        """Metrics of a decoded picture.

        Args:
          reference: `Reference` of the original.
          decoded: uint8 [h, w, 3], RGB, of the size of the original.

        Returns:
          dict of floats: "mse" on the 0..255 scale; "psnr" in dB, inf for equal
          pictures; "ms-ssim" in 0..1, nan if a side is below `MS_SSIM_MIN_SIDE`;
          "lpips", nan if a side is below `lpips_tensorflow.MIN_SIDE`.

        Raises:
          ValueError: `decoded` is not a uint8 array of the original's shape.
        """
        _check_picture(decoded)
        if decoded.shape != reference.original.shape:
            raise ValueError(
                f"shapes differ: {reference.original.shape} and {decoded.shape}"
            )
        result = {
            "mse": mean_squared_error(reference.original, decoded),
            "lpips": math.nan,
            "ms-ssim": math.nan,
        }
        result["psnr"] = psnr(result["mse"])
        if reference.scales:
            result["ms-ssim"] = _ms_ssim(reference.scales, decoded)
        if reference.features:
            result["lpips"] = self._lpips_graph().distance(reference.features, decoded)
        return result

    def _lpips_graph(self):
        with self._lock:
            if self._lpips is None:
                self._lpips = _LpipsGraph()
            return self._lpips


def bits_per_pixel(num_bytes, height, width):
    """Rate of a file of `num_bytes` bytes that holds `height` x `width` pixels."""
    return 8 * num_bytes / (height * width)


def mean_squared_error(original, decoded):
    """Mean squared error of two uint8 arrays of one shape, exact up to the division."""
    difference = np.subtract(original, decoded, dtype=np.int16)
    squares = np.square(difference, dtype=np.int32)
    return int(np.sum(squares, dtype=np.int64)) / squares.size


def psnr(mse):
    """PSNR in dB of pictures in 0..255 from their mean squared error: inf for 0."""
    return 10 * math.log10(255**2 / mse) if mse else math.inf


class _LpipsGraph:
    """Graph and session for LPIPS in float32, for pictures of any size."""

    def __init__(self):
        with tf.Graph().as_default() as graph:
            self._picture = tf.placeholder(tf.uint8, [None, None, 3])
            x = tf.cast(self._picture[tf.newaxis], tf.float32) / 255
            self._features = lpips_tensorflow.features(x)
            self._original = [
                tf.placeholder(tf.float32, y.shape) for y in self._features
            ]
            self._distance = lpips_tensorflow.distance(self._original, self._features)
        self._session = tf.Session(graph=graph)

    def features(self, picture):
        """Features of a uint8 picture [h, w, 3], a tuple of float32 arrays."""
        return tuple(self._session.run(self._features, {self._picture: picture}))

    def distance(self, features, picture):
        """LPIPS of a uint8 picture [h, w, 3] and one whose features are known."""
        feed = dict(zip(self._original, features, strict=True))
        (distance,) = self._session.run(self._distance, feed | {self._picture: picture})
        return float(distance)


def _check_picture(picture):
    """Raises ValueError unless `picture` is uint8 [h, w, 3]."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(
            f"not a uint8 picture [h, w, 3]: {picture.dtype} {list(picture.shape)}"
        )


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


def _reference_scales(original):
    """The `_Scale` of the original at every scale, from fine to coarse."""
    scales = []
    planes = _planes(original)
    for _ in _MS_SSIM_POWERS:
        _, height, width = planes.shape
        mean = np.empty((3, height - _TAPS + 1, width - _TAPS + 1), np.float32)
        variance = np.empty_like(mean)
        for blurred_rows, rows in _strips(height):
            x = planes[:, rows]
            blurred = _blur(np.stack([x, x * x]))
            mean[:, blurred_rows] = blurred[0]
            variance[:, blurred_rows] = blurred[1] - blurred[0] ** 2
        scales.append(_Scale(planes, mean, variance))
        planes = _halve(planes)
    return tuple(scales)


def _similarity(scale, planes):
    """Means over all positions of SSIM and of its contrast-structure part.

    Args:
      scale: `_Scale` of the original.
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


def _ms_ssim(scales, decoded):
    """MS-SSIM, mean over the channels, of `decoded` and the original of `scales`."""
    planes = _planes(decoded)
    product = np.ones(3)
    for i, (scale, power) in enumerate(zip(scales, _MS_SSIM_POWERS, strict=True)):
        ssim, contrast = _similarity(scale, planes)
        coarsest = i == len(scales) - 1
        # Negative similarities count as 0, which also keeps the power real.
        product *= np.maximum(ssim if coarsest else contrast, 0) ** power
        planes = _halve(planes)
    return min(float(product.mean()), 1.0)  # Rounding may lead just above.
