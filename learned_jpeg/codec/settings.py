"""Which setting codes a picture: the one that was asked for, or one for a target."""

import glob
import logging
import math
import os
from typing import NamedTuple

import numpy as np

from learned_jpeg.codec.codec import Codec, Quantization
from learned_jpeg.codec.codecs import Codecs
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2.score import MIN_SIDE as SSIMULACRA2_MIN_SIDE
from learned_jpeg.search import calibration
from learned_jpeg.search.targets import (
    Likeness,
    closest_lambda,
    closest_setting,
    target_of,
)

_SAMPLE_SIDE = 384  # px, a quarter of a sample

logger = logging.getLogger(__name__)


class Setting(NamedTuple):
    """One way to code a picture.

    Attributes:
      label: what the user is told.
      codec: `codec.Codec`.
      quality: for models that take one, else 0.
      is_likeness: whether a file has to look like JPEG of `quality`, else that is the
        quality of its tables.
    """

    label: str
    codec: Codec
    quality: int = 0
    is_likeness: bool = False


class Encoder:
    """Codes pictures as the command line says; may be called from several threads."""

    def __init__(self, settings, args):
        """Takes a list of `Setting`, and the flags of `compress`."""
        self._settings = settings
        self._target = target_of(args)
        self._coding = args.entropy_coding

    def encode(self, path, picture, metadata):
        """Codes a picture.

        Args:
          path: of the picture, for what is said of it.
          picture: uint8 RGB `[h, w, 3]`.
          metadata: `jpeg.metadata.Metadata` to be stored.

        Returns:
          (words that say how it was coded, bytes).

        Raises:
          UserError: the target cannot be reached, or the picture is too small.
        """
        if self._target is None:
            (setting,) = self._settings
            return setting.label, self._encoded(setting, picture, metadata)
        goal = self._target.goal(picture, path)
        if not _are_continuous(self._settings):
            tried = closest_setting(
                self._settings, lambda s: self._encoded(s, picture, metadata), goal
            )
            return tried.setting.label, tried.data
        tried = self._closest_lambda(picture, metadata, goal)
        if note := goal.miss(tried):
            logger.warning(note)
        setting = _nearest(self._settings, tried.setting)
        label = f"{setting.label}, " if len(self._settings) > 1 else ""
        return f"{label}lambda {tried.setting:.4g}", tried.data

    def _encoded(self, setting, picture, metadata):
        lmbda = None
        if setting.is_likeness and min(picture.shape[:2]) >= SSIMULACRA2_MIN_SIDE:
            sample = sample_of(picture)
            goal = Likeness(sample, setting.quality)
            tried = self._closest_lambda(sample, metadata, goal)
            if sample is picture:
                return tried.data
            lmbda = tried.setting
        quantized = setting.codec.quantize(
            picture, setting.quality, self._coding == "trellis", lmbda
        )
        return jpeg_file.encode(quantized, self._coding, metadata)

    def _closest_lambda(self, picture, metadata, goal):
        shown = {}  # what each model makes of the picture, which takes a network

        def encode(lmbda):
            setting = _nearest(self._settings, lmbda)
            if setting not in shown:
                shown[setting] = setting.codec.edit(picture, setting.quality)
            quantized = setting.codec.searched(shown[setting], setting.quality, lmbda)
            return jpeg_file.encode(quantized, self._coding, metadata)

        middle = self._settings[len(self._settings) // 2]
        tune = middle.codec.search.tune_for(picture)
        start, slope = calibration.start(tune, goal, picture.shape[:2])
        return closest_lambda(encode, goal, start or _lambda(middle), slope)


def sample_of(picture):
    """Four squares of a large picture as one, by which a lambda can be found for it.

    A picture of less than four times as many pixels stands for itself.
    """
    (height, width), side = picture.shape[:2], _SAMPLE_SIDE
    if height * width < 4 * (2 * side) ** 2 or min(height, width) < 2 * side:
        return picture
    rows, cols = ([n // 4 - side // 2, 3 * n // 4 - side // 2] for n in (height, width))
    squares = [[picture[y : y + side, x : x + side] for x in cols] for y in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in squares])


def _lambda(setting):
    """What a setting's model weighs the distortion by."""
    qtables = setting.codec.qtables(setting.quality)
    return setting.codec.search.usual_lambda(qtables)


def _are_continuous(settings):
    """Whether the settings differ in nothing but a lambda of the search."""
    if any(setting.codec.search is None for setting in settings):
        return False
    by_steps = any(setting.codec.search.weighs_by_steps for setting in settings)
    return len(settings) == 1 or not by_steps


def _nearest(settings, lmbda):
    """The setting that was made for a lambda as near as possible."""
    if len(settings) == 1:
        return settings[0]
    return min(settings, key=lambda s: abs(math.log(_lambda(s) / lmbda)))


def open_settings(model_class, args, stack):
    """The settings that a command line asks for.

    Args:
      model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
      args: flags of the `compress` command.
      stack: `contextlib.ExitStack` that keeps the codecs open.

    Returns:
      List of `Setting`; more than one only if there is a target.

    Raises:
      UserError: no checkpoint, or none that is fit for the flags.
    """
    quantization = Quantization(
        args.quantization,
        args.entropy_coding,
        # Only models with learned tables can be refined.
        getattr(args, "refine_steps", 0),
        args.subsampling,
        args.tune,
    )
    # Scripts without convolutions have no --precision.
    codecs = Codecs(getattr(args, "precision", None), quantization)

    def codec_of(folder):
        if folder is None:
            return stack.enter_context(codecs.make(model_class))
        prefix = folders.find_checkpoint(folder)
        models = {model_class.NAME: model_class}
        return stack.enter_context(codecs.restore(prefix, models, model_class.NAME))

    quality, target = getattr(args, "quality", None), target_of(args)
    if quality is None:
        folders = _folders(args, target)
        names = [os.path.basename(os.path.abspath(folder)) for folder in folders]
        return [Setting(n, codec_of(f)) for n, f in zip(names, folders, strict=True)]
    codec = codec_of(args.checkpoint_dir)
    is_likeness = not model_class.TRAITS.takes_quality
    qualities = [quality]
    if target and codec.search is None:
        qualities = range(1, 101)
    return [Setting(f"quality {q}", codec, q, is_likeness) for q in qualities]


def _folders(args, target):
    """Folders of the checkpoints: that of the flag; for a target, those of its run."""
    folder = args.checkpoint_dir
    if target is None:
        return [folder]
    runs = sorted(glob.glob(os.path.join(glob.escape(folder), "lambda_*")))
    if runs:
        return runs
    if args.quantization == "rdoq":
        return [folder]
    raise UserError(
        f"--target_{target.name}: no lambda_* folders in {folder} to choose from; "
        "pass the folder of a run as --checkpoint_dir, or --quantization rdoq"
    )
