"""Networks at encoding: one TensorFlow graph for all checkpoints of a kind."""

from __future__ import annotations

import dataclasses

import numpy as np

import tensorflow_v1 as tf
from training import devices, variables


class Network:
    """The graph of one kind of model."""

    def __init__(self, model_class, settings, precision: str):
        """Builds the graph.

        Args:
          model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
          settings: `ModelSettings`; `subsampling` is that of the coefficients.
          precision: "float32" or "bfloat16", of the convolutions.
        """
        # Where other tables start from is of no interest once they are restored.
        settings = dataclasses.replace(settings, tables_from=None)
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
            self._quality = tf.placeholder(tf.int32, [])
            self._model = model_class(settings, tf.as_dtype(precision))
            x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
            coded = self._model.code(x, self._quality)
            self._outputs = {
                "dct": [own[0] for own in coded.dct],
                "qtables": tf.cast(coded.qtables, tf.uint8),
                "edited": tf.cast(tf.round(coded.edited[0] * 255.0), tf.uint8),
            }
            self._variables = variables.saved_variables(self._model)
        self.sampling = settings.subsampling

    def restored(self, prefix: str | None = None) -> NetworkModel:
        """Returns a `NetworkModel` with the weights of a checkpoint.

        Args:
          prefix: path prefix of the checkpoint; None for a model without variables.

        Raises:
          UserError: the checkpoint is damaged, or of another model.
        """
        session = tf.Session(graph=self._graph, config=devices.session_config())
        try:
            with self._graph.as_default():
                # Together these set every variable, so that none is initialised before.
                variables.load_pretrained(session, self._model, frozen_only=True)
                variables.restore(session, self._variables, prefix)
        except BaseException:
            session.close()
            raise
        return NetworkModel(self, session)

    def run(self, session, names, image, quality):
        """Computes outputs of the graph, a dict from names to arrays."""
        feeds = {self._pixels: image, self._quality: quality}
        return session.run({name: self._outputs[name] for name in names}, feeds)


class NetworkModel:
    """A restored network, see `models.CodecModel`; close it when it is done."""

    is_identity = False

    def __init__(self, network: Network, session):
        """Stores a network and a session that holds the weights of a checkpoint."""
        self._network = network
        self._session = session
        self.sampling = network.sampling

    def close(self) -> None:
        """Closes the session."""
        self._session.close()

    def code(self, image, quality, edited):
        """Computes the coefficients, see `CodecModel.code`."""
        names = ["dct", "edited"] if edited else ["dct"]
        values = self._network.run(self._session, names, image, quality)
        return values["dct"], values.get("edited")

    def qtables(self, quality):
        """Returns the tables, see `CodecModel.qtables`."""
        block = np.zeros([8, 8, 3], np.uint8)
        values = self._network.run(self._session, ["qtables"], block, quality)
        return np.moveaxis(values["qtables"], -1, 0)
