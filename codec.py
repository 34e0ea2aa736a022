"""A trained model as a function of pictures: uint8 RGB in, integers and tables out."""

import contextlib
import os
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

import checkpoints
import hardware
from errors import UserError
from jpeg_file import QuantizedImage

# A picture is coded in strips of whole block rows, so that a network's activations fit
# into memory at any size. Each strip sees HALO px of its neighbours, more than half the
# receptive field of either network (VGG through pool3: 22 px; ResConvLayer: 13 px).
STRIP_PIXELS = 1 << 20
HALO = 32


class Quantization(NamedTuple):
    """How coefficients become integers at encoding."""

    method: str = "round"  # one of jpeg_file.QUANTIZATIONS
    entropy_coding: str = "optimized"  # whose bits `rdoq` counts
    refine_steps: int = 0  # gradient steps on the picture's coefficients before

    @property
    def is_plain(self):
        """Whether the integers are those of the model's graph."""
        return self.method == "round" and not self.refine_steps


PLAIN = Quantization()


class CodecGraphs:
    """Graphs of models, one for all checkpoints of a kind."""

    def __init__(self, precision, quantization=PLAIN):
        """Takes what is the same for all, see `CodecGraph`; builds nothing yet."""
        self._precision = precision
        self._quantization = quantization
        self._graphs = {}

    def get(self, model_class, settings):
        """The `CodecGraph` of a model class and its settings (attributes).

        Raises:
          UserError: the model cannot be refined.
        """
        names = ["vgg", "freeze_vgg"]
        if not self._quantization.is_plain:
            names += ["rate_model", "lpips_weight", "msssim_weight"]
        kind = (model_class, *(getattr(settings, name, None) for name in names))
        if kind not in self._graphs:
            self._graphs[kind] = CodecGraph(
                model_class, settings, self._precision, self._quantization
            )
        return self._graphs[kind]

    @contextlib.contextmanager
    def restore(self, prefix, models, script=None):
        """Yields the `Codec` of a checkpoint, by the settings beside it.

        Args:
          prefix: path prefix of the checkpoint.
          models: dict from names to model classes.
          script: name of the model; None for the one in the settings.

        Raises:
          UserError: it is of no such model, or damaged.
        """
        folder = os.path.dirname(prefix)
        script = script or checkpoints.load_settings(folder).get("script")
        if script not in models:
            raise UserError(
                f"{folder}: no settings.json there of a model of "
                + ", ".join(f"{name}.py" for name in models)
            )
        settings = checkpoints.model_settings(folder, script)
        with self.get(models[script], settings).restore(prefix) as codec:
            yield codec


class CodecGraph:
    """The graph of one model type, for any number of checkpoints."""

    def __init__(self, model_class, settings, precision="float32", quantization=PLAIN):
        """Builds the graph.

        Args:
          model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
          settings: the settings that define the model, as attributes.
          precision: "float32" or "bfloat16", of the convolutions.
          quantization: `Quantization` of the pictures.

        Raises:
          UserError: the model cannot be refined.
        """
        self._graph = tf.Graph()
        self._quantization = quantization
        with self._graph.as_default():
            dtype = tf.as_dtype(precision)
            self._pixels = tf.placeholder(tf.uint8, [None, None, 3])
            self._quality = tf.placeholder(tf.int32, [])
            model = model_class(settings, dtype)
            x = tf.cast(self._pixels, tf.float32)[tf.newaxis] / 255.0
            coded = model.code(x, self._quality)
            self._outputs = {
                "integers": tf.cast(coded.integers[0], tf.int16),
                "dct": coded.dct[0],
                "qtables": tf.transpose(tf.cast(coded.qtables, tf.uint8), [2, 0, 1]),
                "edited": tf.cast(tf.round(coded.edited[0] * 255.0), tf.uint8),
            }
            self._searcher = None
            if not quantization.is_plain:
                # Imports compilers and entropy models, which takes seconds.
                from encoder_search import Searcher

                self._searcher = Searcher(settings, quantization, dtype)
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
            search = None
            if self._searcher:
                settings = {}
                if prefix:
                    settings = checkpoints.load_settings(os.path.dirname(prefix))
                search = self._searcher.restored(session, prefix, settings.get("lmbda"))
            yield Codec(session, self._pixels, self._quality, self._outputs, search)


class Codec:
    """A restored model; may be called from several threads."""

    def __init__(self, session, pixels, quality, outputs, search=None):
        """Takes the session and the tensors of a `CodecGraph`.

        Args:
          session: with the restored weights.
          pixels, quality: placeholders.
          outputs: dict of tensors.
          search: `encoder_search.Search`, or None for the integers of the graph.
        """
        self._session = session
        self._pixels = pixels
        self._quality = quality
        self._outputs = outputs
        self._search = search

    def quantize(self, picture, quality=0, edited=False):
        """Codes one picture.

        Args:
          picture: uint8 RGB `[h, w, 3]`.
          quality: 1..100 for models that take one.
          edited: whether the edited picture is wanted as well, which only trellis
            quantization needs.

        Returns:
          `jpeg_file.QuantizedImage`.

        Raises:
          UserError: the picture is too small for the distortion of the model.
        """
        height, width = picture.shape[:2]
        names = ["dct" if self._search else "integers", "qtables"]
        names += ["edited"] * edited
        strips = [
            self._quantize_strip(picture, top, bottom, quality, names)
            for top, bottom in strip_bounds(height, width)
        ]
        qtables = strips[0].pop("qtables")
        joined = {
            name: np.concatenate([strip[name] for strip in strips])
            for name in strips[0]
        }
        if self._search:
            joined["integers"], tables = self._search.integers(
                joined["z"], joined["weights"], np.moveaxis(qtables, 0, -1)
            )
            qtables = np.moveaxis(tables, -1, 0)
        return QuantizedImage(
            integers=joined["integers"],
            qtables=qtables,
            height=height,
            width=width,
            edited=joined.get("edited"),
        )

    def _quantize_strip(self, picture, top, bottom, quality, names):
        start = max(top - HALO, 0)
        strip = picture[start : bottom + HALO]
        feeds = {self._pixels: strip, self._quality: quality}
        outputs = {name: self._outputs[name] for name in names}
        values = self._session.run(outputs, feeds)
        if self._search:
            dct = values.pop("dct")
            tables = np.moveaxis(values["qtables"], 0, -1)
            values["z"], values["weights"] = self._search.prepare(strip, dct, tables)
        first, rows = (top - start) // 8, -(-(bottom - top) // 8)
        for name in ("integers", "z", "weights"):
            if name in values:
                values[name] = values[name][first : first + rows]
        if "edited" in values:
            values["edited"] = values["edited"][top - start : bottom - start]
        return values

    def qtables(self, quality=0):
        """The integer tables, uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`."""
        feeds = {self._pixels: np.zeros([8, 8, 3], np.uint8), self._quality: quality}
        return self._session.run(self._outputs["qtables"], feeds)


def strip_bounds(height, width):
    """(top, bottom) of the strips of a picture, tops at multiples of 8.

    The strips are about equally high: a low last one might be too small for a metric.
    """
    step = max(STRIP_PIXELS // width // 8 * 8, 64)
    count = -(-height // step)
    step = -(-height // count // 8) * 8
    return [(top, min(top + step, height)) for top in range(0, height, step)]
