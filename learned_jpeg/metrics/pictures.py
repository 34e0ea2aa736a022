"""Picture metrics of a decoded file: MSE, PSNR, MS-SSIM, LPIPS, SSIMULACRA2.

Where its tool is on the PATH also Butteraugli.
"""

import dataclasses
import math
import threading

import numpy as np

import lpips_tensorflow
import tensorflow_v1 as tf
from learned_jpeg.metrics import butteraugli, ms_ssim
from learned_jpeg.metrics.basic import mean_squared_error, psnr
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py


@dataclasses.dataclass(frozen=True)
class Reference:
    """An original with all that comparisons with it need, see `PictureMetrics`."""

    original: np.ndarray  # [h, w, 3], uint8
    scales: tuple  # of five ms_ssim.Scale; empty where MS-SSIM is undefined
    features: tuple  # of lpips_tensorflow.features; empty where LPIPS is undefined
    xyb_scales: tuple  # of ssimulacra2.Scale; empty where SSIMULACRA2 is undefined

    @property
    def nbytes(self):
        """Size of all arrays in bytes."""
        arrays = [self.original, *self.features]
        for scale in (*self.scales, *self.xyb_scales):
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
          `Reference`, for `compare`; about 110 bytes per pixel.

        Raises:
          ValueError: `original` is not a uint8 array of that shape.
        """
        _check_picture(original)
        smallest = min(original.shape[:2])
        scales = features = ()
        if smallest >= ms_ssim.MIN_SIDE:
            scales = ms_ssim.reference_scales(original)
        if smallest >= lpips_tensorflow.MIN_SIDE:
            features = self._lpips_graph().features(original)
        xyb_scales = ssimulacra2.reference_scales(original)
        return Reference(original, scales, features, xyb_scales)

    def compare(self, reference, decoded):
        """Metrics of a decoded picture.

        Args:
          reference: `Reference` of the original.
          decoded: uint8 [h, w, 3], RGB, of the size of the original.

        Returns:
          dict of floats: "mse" on the 0..255 scale; "psnr" in dB, inf for equal
          pictures; "ms-ssim" in 0..1, nan if a side is below `ms_ssim.MIN_SIDE`;
          "lpips", nan if a side is below `lpips_tensorflow.MIN_SIDE`; "ssimulacra2",
          at most 100, nan if a side is below `ssimulacra2.MIN_SIDE`; where there is
          `butteraugli.TOOL`, "butteraugli", nan if a side is below its `MIN_SIDE`.

        Raises:
          ValueError: `decoded` is not a uint8 array of the original's shape.
          UserError: Butteraugli's tool fails.
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
            "ssimulacra2": ssimulacra2.score(reference.xyb_scales, decoded),
        }
        result["psnr"] = psnr(result["mse"])
        if reference.scales:
            result["ms-ssim"] = ms_ssim.ms_ssim(reference.scales, decoded)
        if reference.features:
            result["lpips"] = self._lpips_graph().distance(reference.features, decoded)
        if butteraugli.find_tool():
            result["butteraugli"] = butteraugli.three_norm(reference.original, decoded)
        return result

    def _lpips_graph(self):
        with self._lock:
            if self._lpips is None:
                self._lpips = _LpipsGraph()
            return self._lpips


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
