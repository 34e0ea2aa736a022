"""Trained models as codecs: restored from their folders for any options."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable

import numpy as np

from learned_jpeg.codec.codec import Codec
from learned_jpeg.codec.models import TablesModel
from learned_jpeg.codec.optional import needs_tensorflow
from learned_jpeg.codec.options import DEFAULT_QUALITY, EncodeOptions
from learned_jpeg.codec.quantizers import MozjpegTrellis, Rounding, Search
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.models import folders
from learned_jpeg.models.contract import MODELS, load_model_class
from learned_jpeg.models.settings import FULL_CHROMA, ModelSettings
from learned_jpeg.search.subsampling import AUTO
from learned_jpeg.search.tunes import LAMBDAS

_BITS_LIMIT = 64  # The bits of larger integers go on linearly.


class Networks:
    """The graphs of networks, each built once and restored from any checkpoint.

    TensorFlow is loaded when the first one is asked for.
    """

    def __init__(self, precision: str | None = None):
        """Stores what all graphs share.

        Args:
          precision: "float32" or "bfloat16", of the convolutions; None for what the
            machine has units for.
        """
        self._requested_precision = precision
        self._networks = {}

    @property
    def precision(self) -> str:
        """The precision of the convolutions, "float32" or "bfloat16"."""
        from training import devices

        return devices.choose_precision(self._requested_precision)[0]

    def of_kind(self, model_class, settings: ModelSettings):
        """Returns the `network.Network` of a model class.

        Args:
          model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
          settings: those that define the network count.
        """
        from learned_jpeg.codec.network import Network

        kind = (model_class, settings.vgg, settings.freeze_vgg, settings.subsampling)
        if kind not in self._networks:
            self._networks[kind] = Network(model_class, settings, self.precision)
        return self._networks[kind]


class TrainedModel:
    """A model, as codecs for any options; use it as a context, or close it.

    Networks stay in memory until then, or as long as a codec of them. Several threads
    may use one object.
    """

    def __init__(
        self,
        settings: ModelSettings,
        prefix: str | None = None,
        model_class=None,
        networks: Networks | None = None,
        label: str = "",
    ):
        """Stores a model; restores nothing yet.

        Args:
          settings: of the training, or the defaults of a script.
          prefix: path prefix of the checkpoint; None for the IJG tables of a quality in
            place of learned ones.
          model_class: the class of the model, if it is not the one of its script.
          networks: those that this model shares with others.
          label: what the user is told of the model.
        """
        self.settings = settings
        self.label = label
        self._prefix = prefix
        self._model_class = model_class
        self._networks = networks or Networks()
        self._open = contextlib.ExitStack()
        self._codecs = {}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        folder: str,
        script: str | None = None,
        networks: Networks | None = None,
    ) -> TrainedModel:
        """Finds the newest checkpoint of a folder.

        Args:
          folder: of the checkpoint, or the one that holds it as `train`.
          script: the script that the model has to be of; None for any.
          networks: as for the constructor.

        Raises:
          UserError: there is no checkpoint, or one of another model.
        """
        prefix = folders.find_checkpoint(folder)
        settings = folders.load_settings(os.path.dirname(prefix), script)
        label = os.path.basename(os.path.abspath(folder))
        return cls(settings, prefix, networks=networks, label=label)

    @property
    def takes_quality(self) -> bool:
        """Whether the tables are those of a quality, not learned ones."""
        if self._prefix is None:
            return True
        return not self._is_tables and self._own_class().TRAITS.takes_quality

    @property
    def default_quality(self) -> int:
        """The quality of the tables where none is asked for."""
        own = None if self._is_tables else self._own_class().TRAITS.default_quality
        return own or DEFAULT_QUALITY

    @property
    def _is_tables(self) -> bool:
        return MODELS[self.settings.script].tables_only

    def _own_class(self):
        if self._model_class is None:
            self._model_class = load_model_class(self.settings.script)
        return self._model_class

    def __enter__(self) -> TrainedModel:
        """Returns itself."""
        return self

    def __exit__(self, *exception) -> None:
        """Closes the sessions of its networks."""
        self.close()

    def close(self) -> None:
        """Closes the sessions of its networks."""
        self._codecs.clear()
        self._open.close()

    def codec(self, options: EncodeOptions) -> Codec:
        """Returns the codec for some options.

        Raises:
          UserError: the checkpoint is damaged, or of another model; the model cannot
            be refined, or lacks the lambda that a search needs.
        """
        key = dataclasses.replace(options, quality=None, lmbda=None, target=None)
        with self._lock:
            if key not in self._codecs:
                self._codecs[key] = self._new_codec(options)
            return self._codecs[key]

    def qtables(self, quality: int = 0) -> np.ndarray:
        """Returns the model's tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`.

        Args:
          quality: 1..100, of the IJG tables of a model that has no others.
        """
        return self._tables()(quality)

    def _new_codec(self, options):
        sampling = self._sampling(options)
        quantizer = self._quantizer(options, sampling)
        model = self._model(options, sampling)
        return Codec(model, quantizer)

    def _sampling(self, options):
        if options.subsampling:
            return options.subsampling
        if options.quantization == "search":
            return self.settings.searched_subsampling or AUTO
        return self.settings.file_subsampling(is_searched=False)

    def _quantizer(self, options, sampling):
        if options.quantization == "mozjpeg":
            return MozjpegTrellis()
        if options.quantization == "search":
            search = Search(
                self.settings,
                options.tune,
                sampling,
                options.entropy_coding,
                options.effort,
            )
            if search.needs_lambda:
                self._check_lambda_of_search()
            return search
        refine = self._refinement(options, sampling) if options.refine_steps else None
        return Rounding(options.entropy_coding, refine)

    def _refinement(self, options, sampling):
        rate_model = self.settings.rate_model
        if rate_model != "entropy":
            raise UserError(
                f"--refine_steps: a model of --rate_model {rate_model} has no entropy "
                "model; train with --rate_model entropy, or leave it out"
            )
        if sampling != "4:4:4":
            raise UserError(
                f"--refine_steps: works at full chroma only, not {sampling}; pass "
                "--subsampling 4:4:4, or leave it out"
            )
        lmbda = self._checked_lambda()
        assert self._prefix is not None, "only checkpoints have an entropy model"
        with needs_tensorflow("--refine_steps"):
            from learned_jpeg.codec.distortion_gradient import DistortionGradient
            from training.rate_models import bits_of_checkpoint
        from learned_jpeg.codec.refinement import Refinement

        precision = self._networks.precision
        gradient = DistortionGradient(self.settings.weights, precision)
        bits = bits_of_checkpoint(self._prefix, _BITS_LIMIT)
        return Refinement(options.refine_steps, lmbda, gradient, bits)

    def _checked_lambda(self) -> float:
        if self.settings.lmbda is None:
            raise UserError(
                f"{os.path.dirname(self._prefix or '')}: its settings.json has no "
                "lambda, which this encoding needs to weigh bits; restore the file, or "
                "round"
            )
        return self.settings.lmbda

    def _check_lambda_of_search(self) -> None:
        lmbda, (low, high) = self._checked_lambda(), LAMBDAS
        if not low <= lmbda <= high:
            raise UserError(
                f"{os.path.dirname(self._prefix or '')}: its settings.json has lambda "
                f"{lmbda:g}, which weighs no bits in a search; restore the file, or "
                "round"
            )

    def _model(self, options, sampling):
        if self._is_tables and not options.refine_steps:
            # A search that chooses the sampling asks for no coefficients.
            own = FULL_CHROMA if sampling == AUTO else sampling
            return TablesModel(self._tables(), own)
        settings = self.settings
        # A search takes the edited image, and subsamples that itself.
        if options.quantization != "search":
            settings = dataclasses.replace(settings, subsampling=sampling)
        network = self._networks.of_kind(self._own_class(), settings)
        model = network.restored(self._prefix)
        self._open.callback(model.close)
        return model

    def _tables(self) -> Callable[[int], np.ndarray]:
        """Returns the function from a quality to the tables of the model."""
        if self._prefix is None:
            return lambda quality: ijg_qtables(quality).astype(np.uint8)
        qtables = folders.load_qtables(self._prefix, self.settings.script)
        if qtables is None:
            with needs_tensorflow(self._prefix):  # reads the checkpoint itself
                from training.variables import saved_qtables

            qtables = saved_qtables(self._prefix, self.settings.script)
        return lambda quality: qtables


def standard_tables() -> TrainedModel:
    """Returns the model of plain JPEG, the IJG tables of a quality."""
    return TrainedModel(ModelSettings("ljpeg_PIL"))
