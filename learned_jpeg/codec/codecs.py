"""The codec of a checkpoint: in numpy where tables are all of it, else of a graph."""

import contextlib
import dataclasses
import os

from learned_jpeg.codec.codec import Codec, Quantization, TablesModel
from learned_jpeg.codec.tables import learned_qtables
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.models import folders
from learned_jpeg.models.contract import MODELS
from learned_jpeg.models.settings import FULL_CHROMA, ModelSettings
from training import devices

PLAIN = Quantization()


class Codecs:
    """Makes codecs; one graph serves all checkpoints of a kind."""

    def __init__(self, precision=None, quantization=PLAIN):
        """Takes what is the same for all; builds nothing yet.

        Args:
          precision: "float32" or "bfloat16", of the convolutions; None for what the
            machine has units for.
          quantization: `Quantization` of the pictures.
        """
        self._precision = precision
        self._quantization = quantization
        self._graphs = {}

    @contextlib.contextmanager
    def restore(self, prefix, models, script=None):
        """Yields the `Codec` of a checkpoint, by the settings beside it.

        Args:
          prefix: path prefix of the checkpoint.
          models: dict from names to model classes.
          script: name of the model; None for the one in the settings.

        Raises:
          UserError: it is of no such model, or damaged; the model cannot be refined.
        """
        folder = os.path.dirname(prefix)
        settings = folders.load_settings(folder, script)
        if settings.script not in models:
            raise UserError(
                f"{folder}: no settings.json there of a model of "
                + ", ".join(f"{name}.py" for name in models)
            )
        with self.make(models[settings.script], settings, prefix) as codec:
            yield codec

    @contextlib.contextmanager
    def make(self, model_class, settings=None, prefix=None):
        """Yields the `Codec` of a model class.

        Args:
          model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
          settings: `ModelSettings`; None for a model without any.
          prefix: path prefix of the checkpoint; None for a model without variables,
            or for the standard's tables in place of the model's.

        Raises:
          UserError: the checkpoint is damaged, or of another model; the model cannot be
            refined.
        """
        settings = settings or ModelSettings(model_class.NAME)
        quantization = self._quantization.of_model(settings)
        lmbda = settings.lmbda
        searcher = None
        if not quantization.is_plain:
            # Compiles, which takes most of a second.
            from learned_jpeg.codec.search import Searcher

            searcher = Searcher(settings, quantization)
        if searcher and searcher.needs_lambda and lmbda is None:
            raise UserError(
                f"{os.path.dirname(prefix or '')}: its settings.json tells no lambda, "
                "by which this encoding weighs bits; restore the file, or round"
            )
        needs_graph = searcher and searcher.needs_gradient
        if MODELS[model_class.NAME].tables_only and not needs_graph:
            qtables = _tables_of(model_class, prefix)
            model = TablesModel(qtables, quantization.sampling)
            restored = searcher and searcher.restored(prefix, lmbda)
            yield Codec(model, quantization, restored)
            return
        # A search takes the edited picture, and subsamples that itself.
        if quantization.method == "round":
            subsampling = quantization.sampling
        else:
            subsampling = settings.subsampling or FULL_CHROMA
        settings = dataclasses.replace(settings, subsampling=subsampling)
        graph, searcher = self._graph(model_class, settings, searcher)
        with graph.restore(prefix) as model:
            restored = searcher and searcher.restored(prefix, lmbda, model.session)
            yield Codec(model, quantization, restored)

    def _graph(self, model_class, settings, searcher):
        """(graph, the searcher that is part of it) for a kind of checkpoints."""
        # Imports TensorFlow.
        from learned_jpeg.codec.graph import CodecGraph

        names = ["vgg", "freeze_vgg", "subsampling"]
        if searcher:
            names += ["rate_model", "weights"]
        kind = (model_class, *(getattr(settings, name) for name in names))
        if kind not in self._graphs:
            precision, _ = devices.choose_precision(self._precision)
            graph = CodecGraph(model_class, settings, precision, searcher)
            self._graphs[kind] = graph, searcher
        return self._graphs[kind]


def _tables_of(model_class, prefix):
    """Function from a quality to the tables of a model that is nothing else."""
    if prefix is None:
        return lambda quality: ijg_qtables(quality).astype("uint8")
    qtables = learned_qtables(prefix, model_class.NAME)
    return lambda quality: qtables
