"""The flags of a call of `compress` that decide what its files are."""

from __future__ import annotations

import argparse
import functools

from learned_jpeg.codec.options import DEFAULT_QUALITY
from learned_jpeg.commands.arguments import parse_compress

# Flags that do not change the files, or say which ones are meant.
_INCIDENTAL = frozenset(
    [
        *("command", "inputs", "files_from", "files_from0", "recursive", "output"),
        *("shard", "missing", "in_place", "backup", "dry_run", "keep_time"),
        *("force", "skip_existing", "json", "verbose", "device", "workers"),
        *("max_megapixels", "lenient"),
    ]
)


def encoding_flags(args: argparse.Namespace) -> dict[str, object]:
    """Returns the flags of `compress` on which the bytes of its files depend."""
    return {k: v for k, v in vars(args).items() if k not in _INCIDENTAL}


def setting_of(args: argparse.Namespace) -> dict[str, object]:
    """Returns the setting of a call: the flags that are not as compress.py has them.

    Flags that a later version adds are then no difference to an earlier result.
    """
    flags = encoding_flags(args)
    targets = [name for name in flags if name.startswith("target_")]
    has_rate = any(flags[name] is not None for name in (*targets, "lmbda", "quality"))
    if not has_rate and flags["checkpoint_dir"] is None:
        flags["quality"] = DEFAULT_QUALITY
    usual = _usual_flags()
    return {k: v for k, v in flags.items() if v != usual.get(k)}


@functools.cache
def _usual_flags():
    """Returns the flags of compress.py by default."""
    return vars(parse_compress(["an input", "-o", "a folder"]))
