"""Writes files so that none is ever half-written, or written by two processes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.leftovers import remove_leftovers
from learned_jpeg.common.paths import PathLike

ALL_PERMISSIONS = 0o777

_OWN_NAME = re.compile(r"\.tmp-[0-9a-f]{16}(\.[^.]*)?")


def write_atomically(
    path: PathLike,
    data: bytes,
    replace: bool = True,
    guard: AbstractContextManager | None = None,
    permissions: int = ALL_PERMISSIONS,
) -> None:
    """Writes a file completely or not at all; see `atomic_path` for the arguments.

    Raises:
      OSError: with `path` as its filename; an older file there is untouched.
    """
    with (
        atomic_path(path, replace, guard, permissions) as temporary,
        open(temporary, "wb") as file,
    ):
        file.write(data)


@contextlib.contextmanager
def atomic_path(
    path: PathLike,
    replace: bool = True,
    guard: AbstractContextManager | None = None,
    permissions: int = ALL_PERMISSIONS,
) -> Iterator[str]:
    """Yields a temporary path to write to; the file is renamed to `path` at the end.

    The temporary file is hidden, lies in the same folder and has the same suffix,
    because some libraries choose a format by it. It is removed if anything fails. Files
    that killed runs have left there are removed when they are a day old. The file gets
    the permissions that open() would give it, a link is followed as open() would, and a
    device such as /dev/null is written directly.

    Args:
      path: path of the file.
      replace: whether an older file may be replaced. If not, checking that `path` is
        free and creating it are one step, so that two processes cannot both create it;
        see `is_free`.
      guard: a context around the renaming; it may raise to prevent that.
      permissions: the most that the file gets, such as those of the image that it is
        made of, so that what is private stays so.

    Raises:
      FileExistsError: `path` exists, and `replace` is false.
      OSError: with `path` as its filename; an older file there is untouched.
    """
    path = os.fspath(path)
    if not replace and not is_free(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        yield path
        return
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    remove_leftovers(folder, _OWN_NAME)
    temporary = os.path.join(
        folder, f".tmp-{secrets.token_hex(8)}{os.path.splitext(target)[1]}"
    )
    try:
        # By os.open, since tempfile would set permissions of its own.
        mode = 0o666 & permissions | 0o600
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        _sync(temporary)
        with guard or contextlib.nullcontext():
            _put_in_place(temporary, target, replace, permissions)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if not isinstance(error, OSError) or not error.errno:
            raise
        if error.filename not in (None, temporary):
            raise
        raise OSError(error.errno, error.strerror, path) from error


def _sync(path: str) -> None:
    """Waits until the bytes of a file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(temporary, target, replace, permissions):
    # An older file keeps its permissions.
    like = target if replace and os.path.exists(target) else temporary
    mode = stat.S_IMODE(os.stat(like).st_mode) & ~(ALL_PERMISSIONS & ~permissions)
    if mode != stat.S_IMODE(os.stat(temporary).st_mode):
        with contextlib.suppress(PermissionError):  # a file system that has none
            os.chmod(temporary, mode)
    if replace:
        os.replace(temporary, target)
    else:
        _move_to_free_name(temporary, target)


def permissions_of(path: PathLike) -> int:
    """Returns the permissions of a file, without the bits beyond `ALL_PERMISSIONS`."""
    return os.stat(path).st_mode & ALL_PERMISSIONS


def is_free(path: PathLike) -> bool:
    """Returns whether nothing is at a path, or only an empty file.

    On a file system without hard links a run that was killed may leave an empty file,
    by which it had taken the name.
    """
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(status.st_mode) and not status.st_size


def _move_to_free_name(temporary: str, target: str) -> None:
    """Renames a file; raises FileExistsError if the name is taken."""
    try:
        os.link(temporary, target)
    except OSError:  # an empty file is there, or the file system has no hard links
        with _locked_folder(os.path.dirname(target)):
            _take_name(target)
            os.replace(temporary, target)
    else:
        os.remove(temporary)


def _take_name(target: str) -> None:
    """Makes an empty file, unless there is one; within `_locked_folder`."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        if not is_free(target):
            raise


@contextlib.contextmanager
def _locked_folder(folder: str) -> Iterator[None]:
    """Lets one process at a time be inside of the context, where locks work.

    So an empty file is none that another process has just made to take a name.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # Windows has none

            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def exclusive(path: PathLike, complaint: str) -> Iterator[None]:
    """Holds a lock file, so that one process at a time is inside the context.

    Args:
      path: path of the lock file.
      complaint: text of the error if another process holds it.

    Raises:
      UserError: another process holds the lock.
    """
    import filelock  # few commands need it

    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise UserError(complaint) from None
    try:
        yield
    finally:
        lock.release()
