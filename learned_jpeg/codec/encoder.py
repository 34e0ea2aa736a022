"""Images to .jpg files by options: at a quality, at a lambda, or close to a target."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from learned_jpeg.codec.codec import Codec
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.quality import encode_like_jpeg
from learned_jpeg.codec.quantizers import SearchSetting
from learned_jpeg.codec.trained import TrainedModel
from learned_jpeg.common.errors import UserError
from learned_jpeg.models.settings import FULL_CHROMA
from learned_jpeg.search.calibration import Calibration, closest_file
from learned_jpeg.search.distortion import DEFAULT_EFFORT
from learned_jpeg.search.targets import closest_setting

logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """An encoded image.

    Attributes:
      data: bytes of the .jpg file.
      setting: in words how they were made.
      score: SSIMULACRA2 of the file; None where the search did not measure it.
    """

    data: bytes
    setting: str
    score: float | None = None


class Candidate(NamedTuple):
    """One setting that a file may be made with.

    Attributes:
      label: what the user is told of it.
      codec: `Codec`.
      quality: of the tables of a model that takes one, else 0.
    """

    label: str
    codec: Codec
    quality: int = 0

    @property
    def lmbda(self) -> float:
        """The lambda that the search takes unless it is told another one."""
        return self.codec.needed_search.usual_lambda(self.codec.qtables(self.quality))


class Encoder:
    """Encodes images by options; may be called from several threads.

    Attributes:
      options: `EncodeOptions`.
    """

    def __init__(self, options: EncodeOptions, models: Sequence[TrainedModel]):
        """Stores the options and one model, or for a target several.

        Raises:
          UserError: as `TrainedModel.codec`; a quality for a model that has none.
        """
        self.options = options
        self._candidates = _candidates(options, models)

    @property
    def quality(self) -> int:
        """The quality of JPEG that files look like; 0 where there is none."""
        if self.options.target is not None or self.options.lmbda is not None:
            return 0
        return self._candidates[0].quality

    def encode(
        self,
        image: np.ndarray,
        embed: Callable[[bytes], bytes] = lambda data: data,
        name: str = "the image",
    ) -> Encoded:
        """Encodes an image.

        Args:
          image: uint8 RGB `[h, w, 3]`.
          embed: function that puts metadata into a file; they count in a target of
            bytes.
          name: of the image, for messages.

        Raises:
          UserError: the target cannot be reached, or the image is too small or large.
        """
        encoded = self._encode(image, embed, name)
        if self.options.effort == DEFAULT_EFFORT:
            return encoded
        setting = f"{encoded.setting}, effort {self.options.effort}"
        return encoded._replace(setting=setting)

    def _encode(self, image, embed, name):
        if self.options.target is not None:
            goal = self.options.target.goal(image, name)
            return self._close_to(goal, image, embed)
        (candidate,) = self._candidates
        if self._is_promise(candidate):
            found = encode_like_jpeg(candidate.codec, image, candidate.quality)
            return Encoded(embed(found.data), candidate.label, found.score)
        data = candidate.codec.encode(image, candidate.quality, self.options.lmbda)
        return Encoded(embed(data), candidate.label)

    def _is_promise(self, candidate):
        """Whether the file has to look like JPEG of the candidate's quality."""
        search = candidate.codec.search
        is_asked = candidate.quality and self.options.lmbda is None
        return is_asked and search is not None and not search.weighs_by_steps

    def _close_to(self, goal, image, embed):
        if not self._is_continuous():
            tried = closest_setting(
                self._candidates,
                lambda c: embed(c.codec.encode(image, c.quality)),
                goal,
            )
            return Encoded(tried.data, tried.setting.label)
        tried = self._closest(goal, image, embed)
        if note := goal.miss(tried):
            logger.warning(note)
        label = f"lambda {tried.setting:.4g}"
        if len(self._candidates) > 1:
            label = f"{self._nearest(tried.setting).label}, {label}"
        return Encoded(tried.data, label)

    def _is_continuous(self):
        """Whether the candidates differ only in the lambda of a search."""
        if any(candidate.codec.search is None for candidate in self._candidates):
            return False
        by_steps = any(c.codec.needed_search.weighs_by_steps for c in self._candidates)
        return len(self._candidates) == 1 or not by_steps

    def _closest(self, goal, image, embed):
        """Returns the `Tried` of the lambda that comes closest to a goal."""
        encoders = {}  # of each candidate, so that a network runs once an image

        def encode(lmbda, sampling, steer):
            candidate = self._nearest(lmbda)
            if candidate not in encoders:
                codec = candidate.codec
                encoders[candidate] = codec.for_image(image, candidate.quality)
            setting = SearchSetting(lmbda, sampling, steer=steer)
            return embed(encoders[candidate](setting))

        def closest(sampling):
            return closest_file(
                lambda lmbda, steer: encode(lmbda, sampling, steer),
                goal,
                known,
                middle.lmbda,
            )

        middle = self._candidates[len(self._candidates) // 2]
        search = middle.codec.needed_search
        tune = search.tune_for(image)
        known = Calibration(tune, search.effort, goal, image.shape[:2])
        start = known.start() if known.is_known else middle.lmbda
        sampling = search.sampling_for(image, start)
        try:
            return closest(sampling)
        except UserError:
            if search.fixed_sampling or sampling == FULL_CHROMA:
                raise
        return closest(FULL_CHROMA)

    def _nearest(self, lmbda):
        """Returns the candidate that is made for a lambda as near as possible."""
        if len(self._candidates) == 1:
            return self._candidates[0]
        return min(self._candidates, key=lambda c: abs(math.log(c.lmbda / lmbda)))


def _candidates(options, models):
    """Returns the candidates, more than one only if there is a target."""
    if not models[0].takes_quality:
        if options.quality is not None:
            raise UserError(
                "quality: the model has tables of its own; leave the quality or the "
                "model out, or name a target and a search"
            )
        return [Candidate(_label(m.label, options), m.codec(options)) for m in models]
    codec = models[0].codec(options)
    qualities: Sequence[int] = [options.quality or models[0].default_quality]
    if options.target and codec.search is None:
        qualities = range(1, 101)
    return [Candidate(_label(f"quality {q}", options), codec, q) for q in qualities]


def _label(label, options):
    return label if options.lmbda is None else f"lambda {options.lmbda:.4g}"
