"""Reads JSON files that may come from anywhere."""

from __future__ import annotations

import json
import math
from typing import Any

from learned_jpeg.common.paths import PathLike

_MAX_DIGITS = 40  # of an integer; no number of ours has as many


def read_json(path: PathLike) -> Any:
    """Returns the content of a JSON file.

    Raises:
      ValueError: it is not JSON, nested too deeply, or holds a number that is out of
        range; its text is one line.
      OSError: it cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file, parse_int=_integer, parse_float=_real)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that is out of range")
    return value
