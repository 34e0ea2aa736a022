"""Files of a quality: the search that keeps the promise, or plain JPEG itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from learned_jpeg.codec.codec import Codec
from learned_jpeg.codec.quantizers import SearchSetting
from learned_jpeg.common.errors import UserError
from learned_jpeg.models.settings import FULL_CHROMA
from learned_jpeg.pictures.tiles import sample_of
from learned_jpeg.search.calibration import Calibration, closest_file
from learned_jpeg.search.promise import (
    WHOLE_TOLERANCE,
    PlainJpeg,
    Promise,
    reference_sampling,
)
from learned_jpeg.search.scores import MIN_SIDE, Scores
from learned_jpeg.search.subsampling import choose_subsampling
from learned_jpeg.search.targets import (
    Goal,
    MatchScore,
    Target,
    Tried,
)

_CORRECTIONS = 4  # of a file, at most
_STEP = 1.5  # of a correction, in log(lambda), at most
_PROGRESS = 0.2  # points by which gains have to raise the worst tile
_BYTES_RESERVE = 0.99  # of plain JPEG's bytes, where these limit a file
_SLOPE = 8.0  # points by log(lambda), where nothing better is known


class FileOfQuality(NamedTuple):
    """A file that keeps the promise of a quality.

    Attributes:
      data: bytes of the .jpg file.
      score: its SSIMULACRA2; None where it was not measured.
    """

    data: bytes
    score: float | None


class _Aim(NamedTuple):
    """The setting of a search for a score, and the file that it makes.

    Attributes:
      lmbda, sampling: see `SearchSetting`.
      slope: points of the score by log(lambda).
      data: the file of the sample.
      is_matched: whether the score is that of the plain JPEG, not a better one.
    """

    lmbda: float
    sampling: str
    slope: float
    data: bytes
    is_matched: bool


def encode_like_jpeg(codec: Codec, image: np.ndarray, quality: int) -> FileOfQuality:
    """Encodes an image as small as the promise of a quality allows, see promise.py.

    Args:
      codec: `Codec` with a search.
      image: uint8 RGB `[h, w, 3]`.
      quality: 1..100.

    Returns:
      A file without metadata: plain JPEG after the lossless pass where the search finds
      nothing smaller that looks as good.
    """
    sampling = codec.needed_search.fixed_sampling or reference_sampling(quality)
    plain = PlainJpeg(image, quality, sampling)
    encode = codec.for_image(image, quality)
    if min(image.shape[:2]) < MIN_SIDE:
        data = encode(SearchSetting())
        is_kept = plain.is_smaller_than(data)
        return FileOfQuality(plain.smallest if is_kept else data, score=None)
    sample = sample_of(image)
    of_sample = Scores(sample)
    if sample is image:
        scores = of_sample
        aim = _aim(codec, image, quality, plain, encode, scores)
        data = aim.data
    else:
        # A search of a large image needs the memory.
        scores = Scores(image, keeps_prepared=False)
        plain_sample = PlainJpeg(sample, quality, sampling)
        encode_sample = codec.for_image(sample, quality)
        aim = _aim(codec, image, quality, plain_sample, encode_sample, of_sample)
        data = encode(SearchSetting(aim.lmbda, aim.sampling))
    data = _kept(encode, aim, data, Promise(scores, quality, plain))
    # The lossless pass leaves the score of plain JPEG as it is.
    is_plain = data == plain.smallest
    return FileOfQuality(data, scores.known(plain.data if is_plain else data))


def _aim(
    codec: Codec,
    image: np.ndarray,
    quality: int,
    plain: PlainJpeg,
    encode: Callable[[SearchSetting], bytes],
    scores: Scores,
) -> _Aim:
    """Returns the setting that gives an image about the score of plain JPEG.

    An image that needs finer chroma than plain JPEG has is given the score of a plain
    JPEG with that chroma, as far as the bytes of the one it is compared with go.

    Args:
      codec, quality: as for `encode_like_jpeg`.
      image: all of it.
      plain: JPEG of its sample.
      encode: function from a setting to the bytes of the sample's file.
      scores: of the sample.
    """
    search = codec.needed_search
    wanted = scores.of_file(plain.data)
    sampling = search.fixed_sampling or choose_subsampling(image, wanted, scores)
    is_finer = sampling != plain.sampling and plain.sampling != FULL_CHROMA
    if is_finer:
        finer = PlainJpeg(scores.image, quality, sampling)
        wanted = max(scores.of_file(finer.data), wanted)
    height, width = scores.image.shape[:2]
    tune = search.tune_for(image)
    usual_lambda = search.usual_lambda(codec.qtables(quality))

    def closest(goal: Goal) -> Tried:
        return closest_file(
            lambda lmbda, steer: encode(SearchSetting(lmbda, sampling, steer=steer)),
            goal,
            Calibration(tune, search.effort, goal, (height, width)),
            usual_lambda,
        )

    goal = MatchScore(wanted, scores.of_file)
    tried = closest(goal)
    known = Calibration(tune, search.effort, goal, (height, width))
    slope = known.slope(tried.setting) if known.is_known else _SLOPE
    if is_finer and plain.is_smaller_than(tried.data):
        limit = int(_BYTES_RESERVE * len(plain.smallest))
        with contextlib.suppress(UserError):  # no lambda is so small: it stays larger
            tried = closest(Target("bytes", limit).goal(scores.image, ""))
    return _Aim(tried.setting, sampling, slope, tried.data, is_matched=not is_finer)


def _kept(
    encode: Callable[[SearchSetting], bytes], aim: _Aim, data: bytes, promise: Promise
) -> bytes:
    """Returns a file that keeps the promise: the given one, or a corrected one."""
    lmbda, gains, worst = aim.lmbda, None, -math.inf
    kept = []  # files that keep the promise: a correction may make them worse
    for number in range(_CORRECTIONS + 1):
        if promise.plain.is_smaller_than(data):
            break
        measured = promise.measured(data)
        if promise.is_kept(measured):
            kept.append(data)
        off = measured.whole
        # Better than promised is no fault: it is worth one more encoding, not two.
        is_better = aim.is_matched and number == 0 and off > WHOLE_TOLERANCE
        is_near = off >= -WHOLE_TOLERANCE and not is_better
        # Gains may not help, for example against steps of DC.
        helps = gains is None or measured.worst_tile >= worst + _PROGRESS
        more = promise.gains(measured, aim.slope) if helps else None
        worst = measured.worst_tile
        if is_near and more is None and promise.is_kept(measured):
            return data
        if number == _CORRECTIONS:
            break
        rise = -off if not is_near else 0.0
        if more is None:
            rise = max(rise, promise.shortfall(measured))
        else:
            gains = more if gains is None else gains * more
        lmbda *= math.exp(min(max(rise / aim.slope, -_STEP), _STEP))
        data = encode(SearchSetting(lmbda, aim.sampling, gains))
    return min([*kept, promise.plain.smallest], key=len)
