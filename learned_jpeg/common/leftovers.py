"""Removes what killed runs have left, and makes temporary folders that it knows."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator

_OLD_SECONDS = 24 * 3600
_FOLDER_PREFIX = "learned-jpeg-tmp-"
_FOLDER_NAME = re.compile(rf"{_FOLDER_PREFIX}\w{{8}}")  # as tempfile names them
_tidied: set[tuple[str, re.Pattern[str]]] = set()  # by this process
_temporary: set[str] = set()  # folders of this process


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Yields a new folder in `TMPDIR`, which is removed at the end.

    A killed run leaves its folder. The next one removes it when it is a day old.

    Raises:
      OSError: it cannot be made.
    """
    remove_leftovers(tempfile.gettempdir(), _FOLDER_NAME, are_folders=True)
    # An ending process may remove the folder first.
    made = tempfile.TemporaryDirectory(
        prefix=_FOLDER_PREFIX, ignore_cleanup_errors=True
    )
    with made as folder:
        _temporary.add(folder)
        try:
            yield folder
        finally:
            _temporary.discard(folder)


def remove_temporary_folders() -> None:
    """Removes the temporary folders of this process, which is about to be ended."""
    for folder in list(_temporary):
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(
    folder: str, own_name: re.Pattern[str], are_folders: bool = False
) -> None:
    """Removes what killed runs have left, once for each folder and process.

    Args:
      folder: where to look.
      own_name: names that only this program gives.
      are_folders: whether folders of this user are removed with what they hold,
        instead of files.
    """
    key = (folder, own_name)
    if key in _tidied:
        return
    _tidied.add(key)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if own_name.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_if_old(entry, are_folders)


def _remove_if_old(entry: os.DirEntry[str], is_folder: bool) -> None:
    status = entry.stat(follow_symlinks=False)
    if time.time() - status.st_mtime <= _OLD_SECONDS:
        return
    if not is_folder and stat.S_ISREG(status.st_mode):
        os.remove(entry.path)
    if is_folder and stat.S_ISDIR(status.st_mode) and _is_own(status):
        shutil.rmtree(entry.path, ignore_errors=True)


def _is_own(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()
