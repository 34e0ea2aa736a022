"""The graph of a network at encoding, restored from any number of checkpoints."""

import contextlib

import numpy as np

import tensorflow_v1 as tf
from training import devices, variables


class CodecGraph:
    """The graph of one model type, with that of its search."""

    def __init__(self, model_class, settings, precision, searcher=None):
        """Builds the graph.

        Args:
          model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
          settings: `ModelSettings`; the subsampling is that of the coefficients.
          precision: "float32" or "bfloat16", of the convolutions.
          searcher: `search.Searcher`, or None for rounding.
        """
        self._graph = tf.Graph()
        with self._graph.as_default():
            dtype = tf.as_dtype(precision)
            self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
            self._quality = tf.placeholder(tf.int32, [])
            self._model = model_class(settings, dtype)
            x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
            coded = self._model.code(x, self._quality)
            self._outputs = {
                "dct": [own[0] for own in coded.dct],
                "qtables": tf.cast(coded.qtables, tf.uint8),
                "edited": tf.cast(tf.round(coded.edited[0] * 255.0), tf.uint8),
            }
            if searcher:
                searcher.build(dtype)
            self._variables = variables.saved_variables(self._model)
        self._sampling = settings.subsampling

    @contextlib.contextmanager
    def restore(self, prefix=None):
        """Yields a `RestoredGraph` with the weights of the checkpoint `prefix`.

        Args:
          prefix: as from `checkpoints.find_checkpoint`; None for a model without
            variables.

        Raises:
          UserError: the checkpoint is damaged, or of another model.
        """
        with (
            self._graph.as_default(),
            tf.Session(graph=self._graph, config=devices.session_config()) as session,
        ):
            # Together these set every variable, so that none is initialised before.
            variables.load_pretrained(session, self._model, frozen_only=True)
            variables.restore(session, self._variables, prefix)
            inputs = self._pixels, self._quality
            yield RestoredGraph(session, *inputs, self._outputs, self._sampling)


class RestoredGraph:
    """What `codec.TablesModel` is for tables alone, of a network."""

    IS_IDENTITY = False

    def __init__(self, session, pixels, quality, outputs, sampling):
        """Takes the session, the tensors and the subsampling of a `CodecGraph`."""
        self.session = session
        self.sampling = sampling
        self._pixels = pixels
        self._quality = quality
        self._outputs = outputs

    def code(self, picture, quality, edited):
        """As `codec.TablesModel.code`."""
        feeds = {self._pixels: picture, self._quality: quality}
        names = ["dct", "edited"] if edited else ["dct"]
        values = self.session.run({n: self._outputs[n] for n in names}, feeds)
        return values["dct"], values.get("edited")

    def qtables(self, quality):
        """The integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        feeds = {self._pixels: np.zeros([8, 8, 3], np.uint8), self._quality: quality}
        return np.moveaxis(self.session.run(self._outputs["qtables"], feeds), -1, 0)
