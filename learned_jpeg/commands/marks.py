"""Marks on results: the input and the setting that each was made of.

A mark is an extended attribute of the file, which leaves its bytes as they are and is
not published with them. File systems that have none, and copies, have no marks: what
depends on them is then decided by what the file shows.

A mark is short, so that it finds room in the inode: size, time and checksum of the
input and checksum of the result as hexadecimal numbers, and the setting as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

NAME = "user.learned_jpeg"


class Source(NamedTuple):
    """The identity of an input, which tells it from others.

    Attributes:
      size: in bytes.
      time: of the last change, in ns.
      checksum: CRC-32 of its bytes.
    """

    size: int
    time: int
    checksum: int


class Mark(NamedTuple):
    """The origin of a result.

    Attributes:
      source: the input; None where the result has taken its place.
      setting: see `call.setting_of`.
    """

    source: Source | None
    setting: Mapping[str, Any]

    def difference(self, source: str, setting: Mapping[str, Any]) -> str | None:
        """Returns in words what a result would be made of instead, or None.

        Args:
          source: path of an input.
          setting: that of a call.
        """
        if not self.is_of(source):
            return "made of another image, or of an older version of it"
        return self.other_setting(setting)

    def is_of(self, source: str) -> bool:
        """Returns whether a file is the input, whatever its name is now."""
        if self.source is None:
            return False
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(source)
            if status.st_size != self.source.size:
                return False
            if status.st_mtime_ns == self.source.time:
                return True
            return _checksum_of(source) == self.source.checksum
        return False

    def other_setting(self, setting: Mapping[str, Any]) -> str | None:
        """Returns in words in what a setting differs, or None where it does not."""
        wanted = json.loads(json.dumps(setting))
        names = sorted(self.setting.keys() | wanted.keys())
        changes = [
            f"{name.replace('lmbda', 'lambda')} {_text(self.setting.get(name))}, not "
            f"{_text(wanted.get(name))}"
            for name in names
            if self.setting.get(name) != wanted.get(name)
        ]
        return f"made with another setting ({'; '.join(changes)})" if changes else None


def _text(value):
    if isinstance(value, list):  # a colour
        return "#" + bytes(value).hex()
    return "unset" if value is None else value


def new_mark(
    source: str | None, setting: Mapping[str, Any], data: bytes
) -> dict[str, bytes]:
    """Returns the extended attributes that mark a result.

    Args:
      source: path of its input; None where the result takes its place.
      setting: see `call.setting_of`.
      data: bytes of the result.

    Raises:
      OSError: there is no such input.
    """
    numbers = [0, 0, 0]
    if source is not None:
        status = os.stat(source)
        numbers = [status.st_size, status.st_mtime_ns, _checksum_of(source)]
    numbers.append(zlib.crc32(data))
    words = [f"{number:x}" for number in numbers]
    words.append(json.dumps(setting, separators=(",", ":")))
    return {NAME: " ".join(words).encode()}


def read_mark(path: str) -> Mark | None:
    """Returns the `Mark` of a file; None if it has none, or was changed since."""
    if not hasattr(os, "getxattr"):  # Linux has it
        return None
    with contextlib.suppress(OSError, ValueError):
        *words, setting = os.getxattr(path, NAME).decode().split(" ", 4)
        size, time, of_source, of_result = (int(word, 16) for word in words)
        if _checksum_of(path) == of_result:
            source = Source(size, time, of_source) if size else None
            return Mark(source, dict(json.loads(setting)))
    return None


def _checksum_of(path: str) -> int:
    with open(path, "rb") as file:
        return zlib.crc32(file.read())
