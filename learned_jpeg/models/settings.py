"""The settings of a trained model, as `settings.json` beside a checkpoint has them.

That file holds every flag of the training that may matter later. `ModelSettings` are
those among them that define the model or its loss.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import SUBSAMPLINGS

FULL_CHROMA = "4:4:4"
SEARCH_SUBSAMPLING = "4:2:0"  # of a search, where nothing else is known
RATE_MODELS = ("proxy", "entropy", "search")
ROUNDINGS = ("straight_through", "polynomial")  # gradients of the proxy's loss
TRUNKS = ("vgg16", "vgg19")

MAX_WEIGHT = 1e12  # of a term of a loss; more would be a slip of the hand


@dataclass(frozen=True)
class LossWeights:
    """Weights of the distortions that a loss adds to the MSE; 0 leaves one out.

    Attributes:
      lpips: of LPIPS.
      ms_ssim: of 1 - MS-SSIM.
      ssimulacra2: of the points that SSIMULACRA2 is below 100.
    """

    lpips: float = 0.0
    ms_ssim: float = 0.0
    ssimulacra2: float = 0.0

    @staticmethod
    def of_record(record: Mapping[str, Any]) -> LossWeights:
        """Reads the weights from a record that has all of `WEIGHT_KEYS`."""
        return LossWeights(**{name: record[key] for name, key in WEIGHT_KEYS.items()})

    def is_mse(self) -> bool:
        """Returns whether the MSE is the only distortion."""
        return not any(vars(self).values())


# The key in settings.json, which is the flag's name, of each attribute of LossWeights.
WEIGHT_KEYS = {f.name: f"{f.name.replace('_', '')}_weight" for f in fields(LossWeights)}


@dataclass(frozen=True)
class ModelSettings:
    """The settings that define a model and its loss.

    The defaults are those of a model that has no such setting, and of a checkpoint
    without a settings.json.

    Attributes:
      script: name of the model script, for example "ljpeg".
      lmbda: weight of the distortion against the rate; None where it is unknown.
      subsampling: of chroma, in the files that the model is trained for. None for
        tables whose training did not depend on it.
      rate_model: one of `RATE_MODELS`.
      weights: of the distortions in addition to the MSE.
      total_weight_regularizer: weight of sum(1/q) over the entries of the tables.
      rounding: gradient through rounding, one of `ROUNDINGS`; None for other rate
        models than "proxy".
      table_init: entry that the tables start from; None for random ones.
      tables_from: checkpoint folder whose tables these start from, or None.
      vgg: trunk of the network, one of `TRUNKS`.
      freeze_vgg: whether the trunk keeps its weights.
    """

    script: str
    lmbda: float | None = None
    subsampling: str | None = FULL_CHROMA
    rate_model: str = "proxy"
    weights: LossWeights = field(default_factory=LossWeights)
    total_weight_regularizer: float = 0.0
    rounding: str | None = None
    table_init: float | None = None
    tables_from: str | None = None
    vgg: str = "vgg16"
    freeze_vgg: bool = False

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> ModelSettings:
        """Reads the settings from a record that `check_record` accepts."""
        own = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        if "rate_model" in record:
            own["weights"] = LossWeights.of_record(record)
        return cls(**own)

    @property
    def weighs_bits(self) -> bool:
        """True if lambda weighs the distortion against bits per pixel."""
        return self.rate_model != "proxy"

    @property
    def searched_subsampling(self) -> str | None:
        """The subsampling of a search that was part of the training, else None."""
        return self.subsampling if self.rate_model == "search" else None

    def file_subsampling(self, is_searched: bool) -> str:
        """Returns the subsampling of measured files for which none is asked for.

        Args:
          is_searched: whether the encoder searches, in place of rounding.
        """
        if not is_searched:
            return self.subsampling or FULL_CHROMA
        return self.searched_subsampling or SEARCH_SUBSAMPLING


def _is_weight(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= MAX_WEIGHT


def _is_table_entry(value: Any) -> bool:
    return value is None or (_is_weight(value) and 1 <= value <= 255)


def _is_path(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _one_of(*accepted: Any) -> Callable[[Any], bool]:
    # Compared by type as well: 0 is not False.
    return lambda value: any(type(value) is type(a) and value == a for a in accepted)


# The values that each key of settings.json may have. A script has all keys of a group,
# or none of them.
_ALWAYS = {
    "script": lambda value: isinstance(value, str),
    "lmbda": _is_weight,
    "subsampling": _one_of(*SUBSAMPLINGS, None),
}
_LOSS = {
    "rate_model": _one_of(*RATE_MODELS),
    **dict.fromkeys(WEIGHT_KEYS.values(), _is_weight),
    "total_weight_regularizer": _is_weight,
    "rounding": _one_of(*ROUNDINGS, None),
    "table_init": _is_table_entry,
    "tables_from": _is_path,
}
_TRUNK = {"vgg": _one_of(*TRUNKS), "freeze_vgg": _one_of(True, False)}

# Keys that a training cannot change half-way. Where tables start has no effect then.
DEFINING = tuple(
    key for key in (*_ALWAYS, *_LOSS, *_TRUNK) if not key.startswith("table")
)


def check_record(record: Any, path: str) -> None:
    """Refuses a record of settings that this program did not write.

    Args:
      record: content of a settings.json.
      path: of that file, for the message.

    Raises:
      UserError: it is not a JSON object, lacks a key, or has an invalid value.
    """
    if not isinstance(record, dict):
        raise UserError(f"{path}: not a JSON object; restore or delete it")
    for group in (_ALWAYS, _LOSS, _TRUNK):
        if group is not _ALWAYS and not group.keys() & record.keys():
            continue
        for key, accepts in group.items():
            if key not in record:
                raise UserError(f"{path}: lacks {flag_of(key)}; restore the file")
            if not accepts(record[key]):
                raise UserError(
                    f"{path}: {flag_of(key)} {_short(record[key])} is no value of this "
                    "program; restore the file"
                )


def flag_of(key: str) -> str:
    """Returns the flag of a key of settings.json."""
    return "--lambda" if key == "lmbda" else f"--{key}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
