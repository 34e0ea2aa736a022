"""A parser of command lines whose errors take two lines, and know usual spellings."""

from __future__ import annotations

import argparse
import difflib
import functools
from collections.abc import Iterable, Sequence
from typing import NoReturn

from learned_jpeg.common.terminal import one_line

# What other programs call the same flag. Short flags keep their case.
_USUAL = {
    "q": "quality",
    "Q": "quality",
    "d": "output",
    "dest": "output",
    "dir": "output",
    "outfile": "output",
    "R": "recursive",
    "y": "force",
    "overwrite": "force",
    "j": "workers",
    "t": "workers",
    "jobs": "workers",
    "threads": "workers",
    "n": "dry_run",
    "simulate": "dry_run",
    "noaction": "dry_run",
    "i": "in_place",
    "inplace": "in_place",
    "suffix": "backup",
    "p": "keep_time",
    "preserve": "keep_time",
    "preserve_timestamps": "keep_time",
    "bg": "background",
    "color": "colour",
    "strip": "strip_metadata",
    "S": "target_bytes",
    "size": "target_bytes",
    "max_size": "target_bytes",
    "ssimulacra2": "target_ssimulacra2",
    "psnr": "target_psnr",
    "sampling": "subsampling",
    "sampling_factor": "subsampling",
    "chroma": "subsampling",
    "null": "files_from0",
    "0": "files_from0",
    "from0": "files_from0",
    "log": "json",
    "V": "version",
}
_LIKENESS = 0.75  # of difflib, from 0 to 1
_MOST = 3  # flags that are suggested


class Parser(argparse.ArgumentParser):
    """A parser whose help shows the defaults.

    Flags are not abbreviated, and no value is empty: `-o ""` is a slip of a script.
    """

    def __init__(self, outer: Parser | None = None, **options):
        """Makes the parser.

        Args:
          outer: parser of the flags that stand before the command; None where the
            parser is not that of a command.
          **options: those of `argparse.ArgumentParser`.
        """
        options.setdefault("formatter_class", _HelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self._outer = outer
        self.register("type", None, not_empty)

    def add_subparsers(self, **options):
        """Adds the commands, which check the values of their flags themselves."""
        options.setdefault("parser_class", functools.partial(type(self), self))
        commands = super().add_subparsers(**options)
        commands.type = str
        return commands

    def parse_known_args(self, args=None, namespace=None):  # pyright: ignore
        """Parses a command line; refuses what it does not know, with suggestions."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            # Other words are values of the unknown flags.
            flags = [word for word in unknown if word.startswith("-")]
            words = ", ".join(self._complaint(word) for word in flags or unknown)
            self.error(f"unrecognized arguments: {words}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Ends the process with two lines: how to get help, and what is wrong."""
        words = [self.prog]
        words += ["[FLAGS]"] if self._option_string_actions else []
        words += [
            f"{action.metavar or action.dest}{' ...' if action.nargs else ''}"
            for action in self._get_positional_actions()
        ]
        usage = f"usage: {' '.join(words)}   (all flags: {self.prog} --help)"
        self.exit(2, f"{usage}\n{self.prog}: error: {one_line(message)}\n")

    def _complaint(self, word: str) -> str:
        """Returns an unknown word, with what may be meant by it."""
        flag = word.partition("=")[0]
        if self._outer and flag in self._outer._option_string_actions:
            return f"{word} (it stands before the command)"
        meant = similar_flags(flag, self._option_string_actions)
        return f"{word} (did you mean {' or '.join(meant)}?)" if meant else word


class _HelpFormatter(argparse.HelpFormatter):
    """Adds the default to the help of each flag that has one."""

    def _get_help_string(self, action):
        # By identity: 0 is a default to show, and equal to False.
        without = (None, False, argparse.SUPPRESS)
        is_empty = action.default == []
        if not action.help or is_empty or any(action.default is v for v in without):
            return action.help
        return action.help + " (default: %(default)s)"


def similar_flags(flag: str, flags: Iterable[str]) -> Sequence[str]:
    """Returns the flags that an unknown one may stand for, the likeliest first.

    Args:
      flag: the unknown flag, such as `--out`.
      flags: those that exist.
    """
    names = {f.lstrip("-"): f for f in flags if f.startswith("--")}
    word = flag.lstrip("-").replace("-", "_")
    for name in (word, word.lower(), _USUAL.get(word), _USUAL.get(word.lower())):
        if name in names:
            return [names[name]]
    if len(word) == 1:
        return []
    found = [name for name in names if name.startswith(word.lower())]
    found = found or difflib.get_close_matches(word.lower(), names, _MOST, _LIKENESS)
    return [names[name] for name in found[:_MOST]]


def not_empty(text: str) -> str:
    """Parses a value of any flag that has no type of its own."""
    if not text:
        raise argparse.ArgumentTypeError(
            "'' is empty: name something, or leave the flag out"
        )
    return text
