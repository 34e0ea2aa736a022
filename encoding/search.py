"""What an encoder does beyond rounding: refinement and `rdoq`, for any model.

Both go by the loss that the model was trained for, on the picture at hand.
"""

import numpy as np

from encoding.distortion_gradient import DistortionGradient, curvature
from encoding.refinement import refine
from errors import UserError
from jpeg import rdoq, transform
from training.rate_models import bits_of_checkpoint

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py

_BITS_LIMIT = 64  # bits of larger integers go on linearly
# Tables that were trained with rounding are coarser than a refinement wants: with finer
# ones and a lower lambda the held-out photographs took fewer bits at equal LPIPS.
_REFINED_LAMBDA = 0.2  # of the lambda of the training
# Bits that a squared step is worth with LPIPS in the loss. That sees what texture is
# missing, whatever its energy: by the curvature of LPIPS, and with 6 to 24 bits, LPIPS
# got worse than by rounding (held-out photographs).
_LPIPS_BITS_PER_SQUARED_STEP = 48.0
# Of the step: even a coefficient that is met exactly may err in another picture.
_LEAST_ERROR = 0.05


class Searcher:
    """What the searches of all checkpoints of a kind share."""

    def __init__(self, settings, quantization):
        """Decides what tells the cost of an error.

        Args:
          settings: of the model, as attributes.
          quantization: `codec.Quantization`.

        Raises:
          UserError: a refinement without an entropy model.
        """
        rate_model = getattr(settings, "rate_model", "proxy")
        if quantization.refine_steps and rate_model != "entropy":
            raise UserError(
                f"--refine_steps: a model of --rate_model {rate_model} has no entropy "
                "model; train with --rate_model entropy, or leave it out"
            )
        self._settings = settings
        self._quantization = quantization
        self._gradient = None
        self._weighting = rdoq.BITS_PER_SQUARED_STEP
        if getattr(settings, "lpips_weight", 0):
            self._weighting = _LPIPS_BITS_PER_SQUARED_STEP
        elif rate_model != "proxy":  # The lambda of any other loss is not in bits.
            self._weighting = "curvature" if settings.msssim_weight else "mse"

    @property
    def needs_gradient(self):
        """Whether the search asks for the gradient of the model's distortion."""
        return bool(self._quantization.refine_steps) or self._weighting == "curvature"

    @property
    def needs_lambda(self):
        """Whether the search weighs bits by the lambda of the model's loss."""
        weighs_errors = not isinstance(self._weighting, float)
        return bool(self._quantization.refine_steps) or weighs_errors

    def build(self, dtype):
        """Adds what the search needs to the default graph, beside the model.

        Args:
          dtype: tf.float32 or tf.bfloat16, of the convolutions of LPIPS.
        """
        if self.needs_gradient:
            self._gradient = DistortionGradient(self._settings, dtype)

    def restored(self, prefix, lmbda, session=None):
        """The `Search` of a checkpoint.

        Args:
          prefix: path prefix of the checkpoint; None for a model without one.
          lmbda: of its loss; None for a model without a checkpoint.
          session: with the checkpoint's weights; None where no gradient is needed.
        """
        bits = gradient = None
        if self._quantization.refine_steps:
            bits = bits_of_checkpoint(prefix, _BITS_LIMIT)
        if self._gradient:

            def gradient(picture, dct):
                return self._gradient.at(session, picture, dct)

        return Search(self._quantization, lmbda, gradient, bits, self._weighting)


class Search:
    """Chooses integers; may be called from several threads."""

    def __init__(self, quantization, lmbda, gradient, bits, weighting):
        """Takes what `Searcher.restored` found.

        Args:
          quantization: `codec.Quantization`.
          lmbda: of the model's loss. For a refinement, and with "mse" or "curvature":
            bits per pixel that a distortion of 1 is worth.
          gradient: function (picture, dct) as `DistortionGradient.at`, or None.
          bits: as for `refinement.refine`, or None.
          weighting: what tells the cost of an error: "mse", "curvature" (of the
            distortion), or a number, the bits of a squared step.
        """
        self._quantization = quantization
        self._lmbda = lmbda
        self._gradient = gradient
        self._bits = bits
        self._weighting = weighting

    def prepare(self, picture, dct, qtables):
        """Refines a picture, or a strip of one, and finds what its errors cost.

        Args:
          picture: uint8 `[h, w, 3]`.
          dct: (edited) coefficients, float32 `[rows, cols, 8, 8, 3]`.
          qtables: `[8, 8, 2]`.

        Returns:
          (z, weights), as for `rdoq.quantize`, float32 `[rows, cols, 8, 8, 3]` and
          `[rows, cols or 1, ...]`.
        """
        height, width = picture.shape[:2]
        num_pixels = height * width
        scale = transform.per_component(qtables).astype(np.float32)
        z = dct / scale
        steps = self._quantization.refine_steps
        if steps:
            z = refine(
                *(z, qtables, lambda dct: self._gradient(picture, dct)),
                *(self._bits, _REFINED_LAMBDA * self._lmbda, steps, num_pixels),
            )
        if self._quantization.method == "round":
            weights = np.zeros_like(z[:, :1])
        elif isinstance(self._weighting, float):
            weights = np.full_like(z[:, :1], self._weighting)
        elif self._weighting == "mse":
            weights = rdoq.mse_weights(qtables, self._lmbda)
            weights = np.broadcast_to(weights, z[:, :1].shape)
        else:
            # Half the second derivative times a squared error is what it adds.
            factor = 0.5 * self._lmbda * num_pixels * scale**2
            weights = factor * self._curvature(picture, dct, z, scale)
        return z, weights

    def _curvature(self, picture, dct, z, scale):
        expected = rdoq.quantize(z, rdoq.BITS_PER_SQUARED_STEP, "optimized", passes=1)
        errors = (np.abs(z - expected) + _LEAST_ERROR) * scale
        return curvature(lambda dct: self._gradient(picture, dct), dct, errors)

    def integers(self, z, weights, qtables):
        """Integers and tables of a whole picture.

        Args:
          z, weights: what `prepare` returned.
          qtables: `[8, 8, 2]`, entries of the tables of `z`.

        Returns:
          int16, shaped as `z`, and `[8, 8, 2]`: tables made for the picture where the
          loss tells what a squared error is worth, else the ones given.
        """
        if self._quantization.method == "round":
            return transform.round_to_integers(z), qtables
        coding = self._quantization.entropy_coding
        if self._weighting != "curvature":
            weights = weights[0, 0]  # All blocks have the same ones.
        if isinstance(self._weighting, float):
            return rdoq.quantize(z, weights, coding), qtables
        return rdoq.quantize_with_tables(z, weights, coding, qtables)
