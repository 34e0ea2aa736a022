"""A trained model as a function of pictures: uint8 RGB in, integers and tables out."""

import contextlib

import numpy as np
import tensorflow.compat.v1 as tf

import checkpoints
import hardware
from jpeg_file import QuantizedImage

# A picture is coded in strips of whole block rows, so that a network's activations fit
# into memory at any size. Each strip sees HALO px of its neighbours, more than half the
# receptive field of either network (VGG through pool3: 22 px; ResConvLayer: 13 px).
STRIP_PIXELS = 1 << 20
HALO = 32


class CodecGraph:
    """The graph of one model type, for any number of checkpoints."""

    def __init__(self, model_class, settings, precision="float32"):
        """Builds the graph.

        Args:
          model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
          settings: the settings that define the model, as attributes.
          precision: "float32" or "bfloat16", of the convolutions.
        """
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
            self._quality = tf.placeholder(tf.int32, [])
            model = model_class(settings, tf.as_dtype(precision))
            x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
            coded = model.code(x, self._quality)
            self._outputs = {
                "integers": tf.cast(coded.integers[0], tf.int16),
                "qtables": tf.transpose(tf.cast(coded.qtables, tf.uint8), [2, 0, 1]),
                "edited": tf.cast(tf.round(coded.edited[0] * 255.0), tf.uint8),
            }
            self._initializer = tf.global_variables_initializer()
            self._variables = checkpoints.saved_variables(model)
            self._model = model

    @contextlib.contextmanager
    def restore(self, prefix=None):
        """Yields a `Codec` with the weights of the checkpoint `prefix`.

        Args:
          prefix: as from `checkpoints.find_checkpoint`; None for a model without
            variables.

        Raises:
          UserError: the checkpoint is damaged, or of another model.
        """
        with (
            self._graph.as_default(),
            tf.Session(graph=self._graph, config=hardware.session_config()) as session,
        ):
            session.run(self._initializer)
            checkpoints.load_pretrained(session, self._model, frozen_only=True)
            checkpoints.restore(session, self._variables, prefix)
            yield Codec(session, self._pixels, self._quality, self._outputs)


class Codec:
    """A restored model; may be called from several threads."""

    def __init__(self, session, pixels, quality, outputs):
        """Takes the session and the tensors of a `CodecGraph`."""
        self._session = session
        self._pixels = pixels
        self._quality = quality
        self._outputs = outputs

    def quantize(self, picture, quality=0, edited=False):
        """Codes one picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          quality: 1..100 for models that take one.
          edited: whether the edited picture is wanted as well, which only trellis
            quantization needs.

        Returns:
          `jpeg_file.QuantizedImage`.
        """
        height, width = picture.shape[:2]
        names = ["integers", "qtables"] + ["edited"] * edited
        strips = [
            self._quantize_strip(picture, top, bottom, quality, names)
            for top, bottom in strip_bounds(height, width)
        ]
        return QuantizedImage(
            integers=np.concatenate([s["integers"] for s in strips]),
            qtables=strips[0]["qtables"],
            height=height,
            width=width,
            edited=np.concatenate([s["edited"] for s in strips]) if edited else None,
        )

    def _quantize_strip(self, picture, top, bottom, quality, names):
        start = max(top - HALO, 0)
        feeds = {self._pixels: picture[start : bottom + HALO], self._quality: quality}
        outputs = {name: self._outputs[name] for name in names}
        values = self._session.run(outputs, feeds)
        first, rows = (top - start) // 8, -(-(bottom - top) // 8)
        values["integers"] = values["integers"][first : first + rows]
        if "edited" in values:
            values["edited"] = values["edited"][top - start : bottom - start]
        return values

    def qtables(self, quality=0):
        """The integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        feeds = {self._pixels: np.zeros([8, 8, 3], np.uint8), self._quality: quality}
        return self._session.run(self._outputs["qtables"], feeds)


def strip_bounds(height, width):
    """(top, bottom) of the strips of a picture, tops at multiples of 8."""
    step = max(STRIP_PIXELS // width // 8 * 8, 64)
    return [(top, min(top + step, height)) for top in range(0, height, step)]
