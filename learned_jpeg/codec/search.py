"""What an encoder does beyond rounding, for any model: which search, by which loss."""

import numpy as np

from learned_jpeg.codec.distortion_gradient import DistortionGradient
from learned_jpeg.codec.refinement import refine
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.standard import STD_QTABLES
from learned_jpeg.metrics.ms_ssim import MIN_SIDE as MS_SSIM_MIN_SIDE
from learned_jpeg.metrics.ssimulacra2.score import MIN_SIDE as SSIMULACRA2_MIN_SIDE
from learned_jpeg.search import passes as search
from learned_jpeg.search.ms_ssim_distortion import MultiScaleSimilarity
from learned_jpeg.search.ssimulacra2_distortion import SeenError
from training.rate_models import bits_of_checkpoint

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

# What the search minimises where neither a model nor the user says it; the squared
# error of pictures that are too small for it.
DEFAULT_TUNE = "ssimulacra2"

_BITS_LIMIT = 64  # bits of larger integers go on linearly
# Tables that were trained with rounding are coarser than a refinement wants: with finer
# ones and a lower lambda the held-out photographs took fewer bits at equal LPIPS.
_REFINED_LAMBDA = 0.2  # of the lambda of the training
# Bits that a squared error of one step is worth where no lambda is in bits. With LPIPS
# in the loss more: that sees what texture is missing, whatever its energy.
_BITS_PER_SQUARED_STEP = 6.0
_LPIPS_BITS_PER_SQUARED_STEP = 48.0
# Fitted to the mean PSNR of 20 held-out photographs at the qualities 10 to 90, 4:4:4,
# within 10 % of lambda.
_STANDARD_LAMBDA, _LAMBDA_EXPONENT = 0.0169, -1.39
# 1 - MS-SSIM beside MSE, where a loss mixes them or one lambda serves for both.
_MS_SSIM_SCALE = 5000.0
# Factors on lambda that give files of about the same size, on held-out photographs.
_EQUAL_RATE = {"psnr": 1.0, "mixed": 1 / 4, "ms-ssim": 1 / 2.4, "ssimulacra2": 1.1}
# The shorter side (px) that a metric is defined from.
_MIN_SIDES = {
    "mixed": ("MS-SSIM", MS_SSIM_MIN_SIDE),
    "ms-ssim": ("MS-SSIM", MS_SSIM_MIN_SIDE),
    "ssimulacra2": ("SSIMULACRA2", SSIMULACRA2_MIN_SIDE),
}


class Searcher:
    """What the searches of all checkpoints of a kind share."""

    def __init__(self, settings, quantization):
        """Takes the loss of the model.

        Args:
          settings: `ModelSettings`.
          quantization: `codec.Quantization`.

        Raises:
          UserError: a refinement without an entropy model, or of subsampled chroma.
        """
        rate_model = _rate_model(settings)
        if quantization.refine_steps and rate_model != "entropy":
            raise UserError(
                f"--refine_steps: a model of --rate_model {rate_model} has no entropy "
                "model; train with --rate_model entropy, or leave it out"
            )
        if quantization.refine_steps and quantization.sampling != "4:4:4":
            raise UserError(
                f"--refine_steps: full chroma alone, not {quantization.sampling}; pass "
                "--subsampling 4:4:4, or leave it out"
            )
        self._settings = settings
        self._quantization = quantization
        self._gradient = None

    @property
    def needs_gradient(self):
        """Whether the search asks for the gradient of the model's distortion."""
        return bool(self._quantization.refine_steps)

    @property
    def needs_lambda(self):
        """Whether the search weighs bits by the lambda of the model's loss."""
        settings = self._settings
        by_steps = _weighs_by_steps(settings, self._quantization.tune)
        return self.needs_gradient or (_is_in_bits(settings) and not by_steps)

    def build(self, dtype):
        """Adds what the search needs to the default graph, beside the model.

        Args:
          dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
        """
        if self.needs_gradient:
            self._gradient = DistortionGradient(self._settings.weights, dtype)

    def restored(self, prefix, lmbda, session=None):
        """The search of a checkpoint: a `Refinement`, or a `Search`.

        Args:
          prefix: path prefix of the checkpoint; None for a model without one.
          lmbda: of its loss; None for a model without a checkpoint.
          session: with the checkpoint's weights; None where no gradient is needed.
        """
        quantization = self._quantization
        if not self.needs_gradient:
            return Search(quantization, self._settings, lmbda)
        bits = bits_of_checkpoint(prefix, _BITS_LIMIT)

        def gradient(picture, dct):
            return self._gradient.at(session, picture, dct)

        return Refinement(quantization.refine_steps, lmbda, gradient, bits)


class Refinement:
    """Moves the coefficients of a picture before they are rounded."""

    def __init__(self, steps, lmbda, gradient, bits):
        """Takes what `refinement.refine` needs of a checkpoint."""
        self._steps = steps
        self._lmbda = lmbda
        self._gradient = gradient
        self._bits = bits

    def refined(self, picture, z, qtables):
        """Refines a picture, or a strip of one.

        Args:
          picture: uint8 `[h, w, 3]`.
          z: (edited) coefficients in units of their step, float32 `[rows, cols, 8, 8,
            3]`.
          qtables: `[2, 8, 8]`.

        Returns:
          float32, shaped as `z`.
        """
        num_pixels = picture.shape[0] * picture.shape[1]
        return refine(
            *(z, qtables, lambda dct: self._gradient(picture, dct)),
            *(self._bits, _REFINED_LAMBDA * self._lmbda, self._steps, num_pixels),
        )


class Search:
    """Chooses integers and tables; may be called from several threads."""

    def __init__(self, quantization, settings, lmbda):
        """Takes what is asked for and the loss of the model, see `Searcher`."""
        self._quantization = quantization
        self._settings = settings
        self._lmbda = lmbda

    def __call__(self, picture, qtables, lmbda=None):
        """Searches a picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          qtables: `[2, 8, 8]`, the model's.
          lmbda: weight of the distortion against bits; None for `usual_lambda`.

        Returns:
          Three int16 arrays `[rows, cols, 8, 8]`, and tables, uint8 `[2, 8, 8]`.

        Raises:
          UserError: the picture is too small for the distortion.
        """
        if lmbda is None:
            lmbda = self.usual_lambda(qtables)
        distortion = self._distortion(picture, qtables, lmbda)
        quantization = self._quantization
        # Tables that themselves say what an error costs stay what they are; those that
        # were not made for a rate are no good start.
        moves_tables = not isinstance(distortion, search.SquaredSteps)
        is_start = _is_in_bits(self._settings) or not moves_tables
        start = qtables if is_start else None
        return search.search(
            *(picture, quantization.sampling, quantization.entropy_coding),
            *(distortion, start, moves_tables),
        )

    @property
    def weighs_by_steps(self):
        """Whether lambda is the bits of a squared step of the model's tables."""
        return _weighs_by_steps(self._settings, self._quantization.tune)

    def tune_for(self, picture):
        """What is minimised for a picture, one of `jpeg.TUNES`."""
        tune = self._quantization.tune
        if tune is None:
            _, min_side = _MIN_SIDES[DEFAULT_TUNE]
            return DEFAULT_TUNE if min(picture.shape[:2]) >= min_side else "psnr"
        if tune == "model" and not self.weighs_by_steps:
            return _own_tune(self._settings)
        return tune

    def usual_lambda(self, qtables):
        """The weight of the distortion that the model was made for.

        Args:
          qtables: `[2, 8, 8]`, the model's.
        """
        settings, tune = self._settings, self._quantization.tune
        if self.weighs_by_steps:
            if _has_lpips(settings):
                return _LPIPS_BITS_PER_SQUARED_STEP
            return _BITS_PER_SQUARED_STEP
        if tune == "model":
            return self._lmbda
        lmbda = lambda_of_tables(qtables)
        if _is_in_bits(settings):
            lmbda = self._lmbda * _squared_error_worth(settings)
        return lmbda * _EQUAL_RATE[tune or DEFAULT_TUNE]

    def _distortion(self, picture, qtables, lmbda):
        if self.weighs_by_steps:
            return search.SquaredSteps(qtables, lmbda)
        if self._quantization.tune == "model":
            return distortion_of_loss(picture, self._settings, lmbda)
        tune = self.tune_for(picture)
        _check_size(picture, tune)
        if tune == "ssimulacra2":
            return SeenError(picture, lmbda)
        return _mixed(
            picture,
            lmbda if tune != "ms-ssim" else 0.0,
            _MS_SSIM_SCALE * lmbda if tune != "psnr" else 0.0,
        )


def _rate_model(settings):
    """Of a model's loss; models without a rate of their own count as "proxy"."""
    return settings.rate_model


def _is_in_bits(settings):
    """Whether the lambda of the loss weighs bits."""
    return _rate_model(settings) != "proxy"


def _has_lpips(settings):
    return bool(settings.weights.lpips)


def _weighs_by_steps(settings, tune):
    """Whether the tables alone say what an error costs, not the lambda of the loss."""
    return tune == "model" and (_has_lpips(settings) or not _is_in_bits(settings))


def _seen_weight(settings):
    return settings.weights.ssimulacra2


def _squared_error_worth(settings):
    """Of the squared error alone, the factor on a loss's lambda at equal rate."""
    if weight := _seen_weight(settings):
        return 1.0 + weight / _EQUAL_RATE["ssimulacra2"]
    return 1.0 / _EQUAL_RATE[_own_tune(settings)]


def _own_tune(settings):
    """The one of `jpeg.TUNES` that the loss of a model is nearest to."""
    if _seen_weight(settings):
        return "ssimulacra2"
    return "mixed" if settings.weights.ms_ssim else "psnr"


def distortion_of_loss(picture, settings, lmbda):
    """What a model's loss weighs with lambda, without LPIPS.

    Args:
      picture: uint8 `[h, w, 3]`.
      settings: `ModelSettings`.
      lmbda: bits per pixel that a distortion of 1 is worth.

    Raises:
      UserError: the picture is too small for it.
    """
    _check_size(picture, _own_tune(settings))
    if weight := _seen_weight(settings):
        return SeenError(picture, weight * lmbda, lmbda)
    return _mixed(picture, lmbda, settings.weights.ms_ssim * lmbda)


def _mixed(picture, mse_lmbda, msssim_lmbda):
    """The distortion of MSE and 1 - MS-SSIM with these lambdas."""
    if not msssim_lmbda:
        return search.SquaredError(mse_lmbda)
    return MultiScaleSimilarity(picture, msssim_lmbda, mse_lmbda)


def _check_size(picture, tune):
    """Raises `UserError` where a metric is undefined for a picture."""
    height, width = picture.shape[:2]
    metric, side = _MIN_SIDES.get(tune, ("", 0))
    if min(height, width) < side:
        raise UserError(
            f"a picture of {width}x{height} px: {metric} needs sides of at least "
            f"{side} px; pass --tune psnr"
        )


def lambda_of_tables(qtables):
    """The lambda whose search has the PSNR of rounding with these tables.

    Bits per pixel that an MSE of 1 is worth, by the geometric mean of the tables'
    entries over those of the standard (quality 50), of the lowest frequencies: others
    are cut off at 255 at low qualities.
    """
    ratios = np.asarray(qtables, float)[:, :2, :2] / STD_QTABLES[:, :2, :2]
    scale = np.exp(np.log(ratios).mean())
    return float(_STANDARD_LAMBDA * scale**_LAMBDA_EXPONENT)
