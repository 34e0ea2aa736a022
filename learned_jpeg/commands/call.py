"""The flags of a call of `compress` that decide what its files are."""

from __future__ import annotations

import argparse

from learned_jpeg.codec.options import DEFAULT_QUALITY
from learned_jpeg.pictures import WHITE

# Flags that do not change the files, or say which ones are meant.
_INCIDENTAL = frozenset(
    [
        *("command", "inputs", "files_from", "files_from0", "recursive", "output"),
        *("shard", "missing", "in_place", "backup", "dry_run", "keep_time"),
        *("force", "skip_existing", "json", "verbose", "device", "workers"),
        *("max_megapixels", "lenient"),
    ]
)
# Values of flags that are not off by default.
_USUAL = {"entropy_coding": "optimized", "keep_smaller": True, "quantization": "search"}
_OFF = (None, False, 0)


def encoding_flags(args: argparse.Namespace) -> dict[str, object]:
    """Returns the flags of `compress` on which the bytes of its files depend."""
    flags = {k: v for k, v in vars(args).items() if k not in _INCIDENTAL}
    if flags["background"] == WHITE:  # A call of an older version had no other one.
        del flags["background"]
    return flags


def setting_of(args: argparse.Namespace) -> dict[str, object]:
    """Returns the setting of a call: the flags that have no usual value.

    Flags that a later version adds are then no difference to an earlier result.
    """
    flags = encoding_flags(args)
    targets = [name for name in flags if name.startswith("target_")]
    has_rate = any(flags[name] is not None for name in (*targets, "lmbda", "quality"))
    if not has_rate and flags["checkpoint_dir"] is None:
        flags["quality"] = DEFAULT_QUALITY
    return {name: value for name, value in flags.items() if not _is_usual(name, value)}


def _is_usual(name, value):
    return value == _USUAL[name] if name in _USUAL else value in _OFF
