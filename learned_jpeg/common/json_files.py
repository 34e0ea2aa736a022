"""Reads JSON that a stranger may have written."""

import json
import math

_MAX_DIGITS = 40  # of an integer; nothing of ours has as many


def read_json(path):
    """The content of a JSON file.

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


def _integer(text):
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that is out of range")
    return value
