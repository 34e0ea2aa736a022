"""The ways from a model's coefficients to the bytes of a file.

`Rounding` takes the nearest integers, `MozjpegTrellis` leaves the choice to mozjpeg,
and `Search` chooses integers and tables by rate-distortion optimisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np

from learned_jpeg.codec.models import CodecModel
from learned_jpeg.codec.options import OWN_LOSS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import transform
from learned_jpeg.jpeg.file import QuantizedImage
from learned_jpeg.jpeg.sampling import groups, planes_of
from learned_jpeg.models.settings import ModelSettings
from learned_jpeg.pictures.strips import in_strips
from learned_jpeg.search import calibration, tunes
from learned_jpeg.search.fixed_step_error import FixedStepError
from learned_jpeg.search.subsampling import AUTO, choose_subsampling

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

# Bits that a squared error of one quantization step is worth where lambda does not
# weigh bits. LPIPS in the loss needs more: it sees missing texture of any energy.
_BITS_PER_SQUARED_STEP = 6.0
_LPIPS_BITS_PER_SQUARED_STEP = 48.0


class Quantizer(Protocol):
    """A way from what a model makes of an image to the bytes of a file."""

    def for_image(
        self, model: CodecModel, image: np.ndarray, quality: int
    ) -> Callable[[SearchSetting], bytes]:
        """Prepares what does not depend on the setting of a search.

        Args:
          model: `CodecModel`.
          image: uint8 RGB `[h, w, 3]`.
          quality: 1..100 for models that take one, else 0.

        Returns:
          Function from a `SearchSetting` to the bytes of a .jpg file without metadata.
          Only a search looks at the setting.
        """
        ...


@dataclasses.dataclass(frozen=True)
class SearchSetting:
    """The setting of a search for one file.

    Attributes:
      lmbda: weight of the distortion against bits; None for the usual one.
      sampling: one of `jpeg.SUBSAMPLINGS`; None for that of the options, where
        `subsampling.AUTO` chooses by the image and lambda.
      block_gains: factors on the weights of blocks, see `passes.search`.
      steer: function from the bytes of a file of the first quantization, in standard
        coding, to a factor on lambda by which it is made again, or None to go on; see
        `calibration.Steering`.
    """

    lmbda: float | None = None
    sampling: str | None = None
    block_gains: np.ndarray | None = None
    steer: Callable[[bytes], float | None] | None = None


class Rounding:
    """Rounds coefficients to the nearest integers, perhaps after a refinement."""

    def __init__(self, entropy_coding: str, refine: Callable | None = None):
        """Stores the coding and a refinement.

        Args:
          entropy_coding: one of `learned_jpeg.jpeg.ENTROPY_CODINGS`.
          refine: function (image, coefficients in units of their step, tables) to such
            coefficients, see `refinement.Refinement`; None to round them as they are.
        """
        self._entropy_coding = entropy_coding
        self._refine = refine

    def for_image(self, model, image, quality):
        """Encodes an image, see `Quantizer.for_image`."""
        quantized = self.quantize(model, image, quality)
        data = _file(quantized, self._entropy_coding)
        return lambda setting: data

    def quantize(self, model, image, quality=0) -> QuantizedImage:
        """Rounds the coefficients of an image, see `Quantizer.for_image`."""
        qtables = model.qtables(quality)
        own_groups = groups(model.sampling)

        def integers_of(strip):
            dct, _ = model.code(strip, quality, edited=False)
            z = [
                own / transform.of_components(qtables, components).astype(np.float32)
                for own, (components, _) in zip(dct, own_groups, strict=True)
            ]
            if self._refine:
                z = [self._refine(strip, *z, qtables)]
            return [transform.round_to_integers(own) for own in z], None

        heights = [8 * v for _, (v, _) in own_groups]
        integers, _ = in_strips(integers_of, image, heights)
        planes = [np.ascontiguousarray(plane) for plane in planes_of(integers)]
        return _quantized(planes, qtables, model.sampling, image)


class MozjpegTrellis:
    """Lets mozjpeg quantize the edited image by its own trellis search.

    The tables are the model's; mozjpeg transforms and subsamples the image itself.
    """

    def for_image(self, model, image, quality):
        """Encodes an image, see `Quantizer.for_image`."""
        edited = edited_image(model, image, quality)
        qtables = model.qtables(quality)
        data = jpeg_file.encode_mozjpeg(edited, qtables, model.sampling)
        return lambda setting: data


class Search:
    """Chooses integers and tables by rate-distortion optimisation.

    What is minimised, `lambda * distortion + bits`, follows from the tune and from the
    loss that the model was trained for:

    - a named tune: that metric. Lambda is the model's where its loss weighs bits, else
      it follows from the model's tables; either way it is scaled to files of about the
      same size for every metric;
    - `OWN_LOSS` of a model whose loss weighs bits: the distortion of that loss;
    - `OWN_LOSS` of others (and with LPIPS, which no search minimises): a squared error
      in units of the model's own steps. The tables stay as they are.
    """

    def __init__(
        self,
        settings: ModelSettings,
        tune: str | None,
        sampling: str,
        entropy_coding: str,
        effort: int,
    ):
        """Stores the model's settings and the options.

        Args:
          settings: of the model.
          tune: as in `EncodeOptions`.
          sampling: of the files, one of `learned_jpeg.jpeg.SUBSAMPLINGS`, or
            `subsampling.AUTO`.
          entropy_coding: whose bits are counted, one of
            `learned_jpeg.jpeg.ENTROPY_CODINGS`.
          effort: one of `search.distortion.EFFORTS`.
        """
        self._settings = settings
        self._tune = tune
        self._sampling = sampling
        self._entropy_coding = entropy_coding
        self._effort = effort

    @property
    def effort(self) -> int:
        """The effort of the options."""
        return self._effort

    @property
    def weighs_by_steps(self) -> bool:
        """Whether lambda is the bits of a squared step of the model's tables."""
        is_own = self._tune == OWN_LOSS
        has_lpips = bool(self._settings.weights.lpips)
        return is_own and (has_lpips or not self._settings.weighs_bits)

    @property
    def needs_lambda(self) -> bool:
        """Whether lambda has to come from the settings of the model."""
        return self._settings.weighs_bits and not self.weighs_by_steps

    def tune_for(self, image: np.ndarray) -> str | None:
        """Returns the metric that is minimised for an image; None for squared steps."""
        if self.weighs_by_steps:
            return None
        if self._tune == OWN_LOSS:
            return tunes.tune_of_loss(vars(self._settings.weights))
        height, width = image.shape[:2]
        return tunes.tune_for((height, width), self._tune)

    def usual_lambda(self, qtables: np.ndarray) -> float:
        """Returns the weight of the distortion that the model was made for.

        Args:
          qtables: `[2, 8, 8]`, the model's.
        """
        if self.weighs_by_steps:
            if self._settings.weights.lpips:
                return _LPIPS_BITS_PER_SQUARED_STEP
            return _BITS_PER_SQUARED_STEP
        if self._tune == OWN_LOSS:
            return self._own_lambda
        lmbda = tunes.lambda_of_tables(qtables)
        if self._settings.weighs_bits:
            worth = tunes.squared_error_worth(vars(self._settings.weights))
            lmbda = self._own_lambda * worth
        return lmbda * tunes.TUNES[self._tune or tunes.DEFAULT_TUNE].equal_rate

    @property
    def fixed_sampling(self) -> str | None:
        """The subsampling of all files; None where each image has what suits it."""
        return None if self._sampling == AUTO else self._sampling

    def sampling_for(self, image: np.ndarray, lmbda: float) -> str:
        """Returns the subsampling of an image's file at a lambda."""
        if self.fixed_sampling:
            return self.fixed_sampling
        score = calibration.score(self.tune_for(image), lmbda)
        return choose_subsampling(image, score)

    def for_image(self, model, image, quality):
        """Prepares the search of an image, see `Quantizer.for_image`.

        Raises:
          UserError: the image is too small for the distortion.
        """
        # Imported here: it compiles for most of a second.
        from learned_jpeg.search.passes import search

        edited = edited_image(model, image, quality)
        qtables = model.qtables(quality)

        def encode(setting):
            lmbda = setting.lmbda
            if lmbda is None:
                lmbda = self.usual_lambda(qtables)
            sampling = setting.sampling or self.sampling_for(edited, lmbda)
            distortion = self._distortion(edited, qtables, lmbda)
            # Tables that were not made for a rate are no good start.
            is_start = self._settings.weighs_bits or not distortion.moves_tables

            def steer(first):
                coded = _quantized(first.planes, first.qtables, sampling, edited)
                return setting.steer(_file(coded, "standard"))

            found = search(
                edited,
                distortion,
                sampling=sampling,
                entropy_coding=self._entropy_coding,
                qtables=qtables if is_start else None,
                block_gains=setting.block_gains,
                effort=self._effort,
                steer=steer if setting.steer else None,
            )
            quantized = _quantized(found.planes, found.qtables, sampling, edited)
            return _file(quantized, self._entropy_coding)

        return encode

    def _distortion(self, image, qtables, lmbda):
        if self.weighs_by_steps:
            return FixedStepError(qtables, lmbda)
        if self._tune == OWN_LOSS:
            weights = vars(self._settings.weights)
            return tunes.distortion_of_loss(image, lmbda, weights)
        height, width = image.shape[:2]
        tune = tunes.tune_for((height, width), self._tune)
        return tunes.distortion(tune, image, lmbda)

    @property
    def _own_lambda(self) -> float:
        assert self._settings.lmbda is not None, "see needs_lambda"
        return self._settings.lmbda


def edited_image(model: CodecModel, image: np.ndarray, quality: int = 0) -> np.ndarray:
    """Returns the image as a model edits it, uint8 RGB `[h, w, 3]`."""
    if model.is_identity:
        return image
    heights = [8 * v for _, (v, _) in groups(model.sampling)]
    _, edited = in_strips(
        lambda strip: model.code(strip, quality, edited=True), image, heights
    )
    assert edited is not None
    return edited


def _quantized(planes, qtables, sampling, image):
    height, width = image.shape[:2]
    return QuantizedImage(
        planes=tuple(planes),
        sampling=sampling,
        qtables=qtables,
        height=height,
        width=width,
    )


def _file(quantized: QuantizedImage, entropy_coding: str) -> bytes:
    """Writes the file, with luma only where there is no colour."""
    return jpeg_file.encode(quantized.without_zero_chroma(), entropy_coding)
