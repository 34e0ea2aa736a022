"""What an encoder does beyond rounding, for any model: which search, by which loss."""

from learned_jpeg.codec.distortion_gradient import DistortionGradient
from learned_jpeg.codec.refinement import refine
from learned_jpeg.common.errors import UserError
from learned_jpeg.search import passes, tunes
from learned_jpeg.search.fixed_step_error import FixedStepError
from training.rate_models import bits_of_checkpoint

_BITS_LIMIT = 64  # bits of larger integers go on linearly
# Tables that were trained with rounding are coarser than a refinement wants: with finer
# ones and a lower lambda the held-out photographs took fewer bits at equal LPIPS.
_REFINED_LAMBDA = 0.2  # of the lambda of the training
# Bits that a squared error of one step is worth where no lambda is in bits. With LPIPS
# in the loss more: that sees what texture is missing, whatever its energy.
_BITS_PER_SQUARED_STEP = 6.0
_LPIPS_BITS_PER_SQUARED_STEP = 48.0


class Searcher:
    """What the searches of all checkpoints of a kind share."""

    def __init__(self, settings, quantization):
        """Takes the loss of the model.

        Args:
          settings: of the model, as attributes.
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
            self._gradient = DistortionGradient(self._settings, dtype)

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
        # Tables that themselves say what an error costs stay what they are; those that
        # were not made for a rate are no good start.
        is_start = _is_in_bits(self._settings) or not distortion.moves_tables
        coding = self._quantization.entropy_coding
        return passes.search(
            picture,
            distortion,
            sampling=self._quantization.sampling,
            entropy_coding="standard" if coding == "default" else coding,
            qtables=qtables if is_start else None,
        )

    @property
    def weighs_by_steps(self):
        """Whether lambda is the bits of a squared step of the model's tables."""
        return _weighs_by_steps(self._settings, self._quantization.tune)

    def tune_for(self, picture):
        """What is minimised for a picture, one of `tunes.TUNES`, or "model"."""
        tune = self._quantization.tune
        if tune == "model" and not self.weighs_by_steps:
            return tunes.tune_of_loss(**_distortion_weights(self._settings))
        if tune == "model":
            return tune
        return tunes.tune_for(picture.shape[:2], tune)

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
        lmbda = tunes.lambda_of_tables(qtables)
        if _is_in_bits(settings):
            lmbda = self._lmbda * _squared_error_worth(settings)
        return lmbda * _equal_rate(tune or tunes.DEFAULT_TUNE)

    def _distortion(self, picture, qtables, lmbda):
        if self.weighs_by_steps:
            return FixedStepError(qtables, lmbda)
        if self._quantization.tune == "model":
            weights = _distortion_weights(self._settings)
            return tunes.distortion_of_loss(picture, lmbda, **weights)
        return tunes.distortion(self.tune_for(picture), picture, lmbda)


def _rate_model(settings):
    """Of a model's loss; models without a rate of their own count as "proxy"."""
    return getattr(settings, "rate_model", "proxy")


def _is_in_bits(settings):
    """Whether the lambda of the loss weighs bits."""
    return _rate_model(settings) != "proxy"


def _has_lpips(settings):
    return bool(getattr(settings, "lpips_weight", 0))


def _weighs_by_steps(settings, tune):
    """Whether the tables alone say what an error costs, not the lambda of the loss."""
    return tune == "model" and (_has_lpips(settings) or not _is_in_bits(settings))


def _distortion_weights(settings):
    """The weights of a model's loss, as arguments of `tunes.distortion_of_loss`."""
    return {
        "ms_ssim_weight": getattr(settings, "msssim_weight", 0.0),
        "ssimulacra2_weight": getattr(settings, "ssimulacra2_weight", 0.0),
    }


def _equal_rate(tune):
    return tunes.TUNES[tune].equal_rate


def _squared_error_worth(settings):
    """Of the squared error alone, the factor on a loss's lambda at equal rate."""
    weights = _distortion_weights(settings)
    if weight := weights["ssimulacra2_weight"]:
        return 1.0 + weight / _equal_rate("ssimulacra2")
    return 1.0 / _equal_rate(tunes.tune_of_loss(**weights))
