"""Writes files so that none is ever half-written, or written by two processes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.leftovers import remove_leftovers
from learned_jpeg.common.paths import PathLike

_OWN_NAME = re.compile(r"\.tmp-[0-9a-f]{16}(\.[^.]*)?")
_READ_AND_WRITE = 0o666
# Extended attributes that belong to a file as its mode does: access lists, and what
# users have attached.
_CARRIED = re.compile(r"user\..*|system\.posix_acl_access")

_unfinished: set[str] = set()  # temporary files of this process


class Attributes(NamedTuple):
    """The attributes that a file takes over from the one it is made of.

    Attributes:
      mode: permissions.
      owner: number of the user; None to leave it.
      group: number of the group; None to leave it.
      times: of the last access and the last change, in ns; None for the present.
      extended: extended attributes by their names.
    """

    mode: int
    owner: int | None = None
    group: int | None = None
    times: tuple[int, int] | None = None
    extended: Mapping[str, bytes] = MappingProxyType({})

    @classmethod
    def of(
        cls, path: PathLike, *, has_times: bool = False, has_extended: bool = False
    ) -> Attributes:
        """Reads those of a file.

        Args:
          path: of the file.
          has_times: whether its times are among them.
          has_extended: whether its extended attributes are among them.

        Raises:
          OSError: there is no such file.
        """
        status = os.stat(path)
        times = (status.st_atime_ns, status.st_mtime_ns) if has_times else None
        extended = _extended_of(path) if has_extended else {}
        mode = stat.S_IMODE(status.st_mode) & 0o777
        return cls(mode, status.st_uid, status.st_gid, times, extended)


def write_atomically(
    path: PathLike,
    data: bytes,
    replace: bool = True,
    guard: AbstractContextManager | None = None,
    attributes: Attributes | None = None,
) -> None:
    """Writes a file completely or not at all; see `atomic_path` for the arguments.

    Raises:
      OSError: with `path` as its filename; an older file there is untouched.
    """
    with (
        atomic_path(path, replace, guard, attributes) as temporary,
        open(temporary, "wb") as file,
    ):
        file.write(data)


@contextlib.contextmanager
def atomic_path(
    path: PathLike,
    replace: bool = True,
    guard: AbstractContextManager | None = None,
    attributes: Attributes | None = None,
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
      attributes: those of the file that this one is made of, which it takes over as far
        as the user may: a file that is private is so while it is being written. It
        cannot be executed, and an older file that is replaced grants no more than it
        did. None for those of open().

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
        _unfinished.add(temporary)
        # By os.open, since tempfile would set permissions of its own.
        mode = 0o600 if attributes else _READ_AND_WRITE
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield temporary
        _set_attributes(temporary, target if replace else None, attributes)
        _sync(temporary)
        with guard or contextlib.nullcontext():
            _put_in_place(temporary, target, replace)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if not isinstance(error, OSError) or not error.errno:
            raise
        if error.filename not in (None, temporary):
            raise
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        _unfinished.discard(temporary)


def remove_unfinished() -> None:
    """Removes the temporary files of this process, which is about to be ended."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            os.remove(path)


def _sync(path: str) -> None:
    """Waits until the bytes of a file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_attributes(
    temporary: str, target: str | None, attributes: Attributes | None
) -> None:
    """Gives a temporary file its attributes, as far as user and file system let it.

    Args:
      temporary: path of the file.
      target: path of the file that it replaces, if that exists; None if it replaces
        nothing.
      attributes: those of the file that it is made of, or None.
    """
    older = None
    if target and os.path.exists(target):
        older = stat.S_IMODE(os.stat(target).st_mode)
    if not attributes:
        if older is not None:
            with contextlib.suppress(PermissionError):
                os.chmod(temporary, older)
        return
    with _opened_itself(temporary) as file:
        status = os.stat(file)
        mode = attributes.mode
        if attributes.group not in (None, status.st_gid):
            mode = _mode_for_group(file, attributes.group, mode)
        mode = mode & _READ_AND_WRITE if older is None else older & (mode | ~0o777)
        for name, value in attributes.extended.items():
            with contextlib.suppress(OSError):
                os.setxattr(file, name, value)
        with contextlib.suppress(OSError):
            os.chmod(file, mode)
        if attributes.times:
            with contextlib.suppress(OSError):
                os.utime(file, ns=attributes.times)
        if attributes.owner not in (None, status.st_uid):
            with contextlib.suppress(OSError):  # only root may
                os.chown(file, attributes.owner, -1)


@contextlib.contextmanager
def _opened_itself(path: str) -> Iterator[int | str]:
    """Yields the descriptor of a file, where the system takes one in place of a path.

    Others may write to the folder: a link that they put there is not followed, so that
    root gives no other file away.
    """
    if os.chmod not in os.supports_fd:  # on Windows
        yield path
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mode_for_group(file: int | str, group: int, mode: int) -> int:
    """Gives a file to a group; returns the mode that then grants no more than `mode`.

    A group that is not the one wanted may do what both the group and everybody may, as
    with xz.
    """
    try:
        os.chown(file, -1, group)
    except OSError:
        both = (mode >> 3) & mode & 0o7
        mode = mode & 0o700 | both << 3 | both
    return mode


def _extended_of(path: PathLike) -> dict[str, bytes]:
    """Returns the extended attributes of a file that are carried over."""
    found = {}
    if hasattr(os, "listxattr"):  # Linux
        with contextlib.suppress(OSError):
            for name in filter(_CARRIED.fullmatch, os.listxattr(path)):
                found[name] = os.getxattr(path, name)
    return found


def _put_in_place(temporary, target, replace):
    if replace:
        os.replace(temporary, target)
    else:
        _move_to_free_name(temporary, target)


@contextlib.contextmanager
def backed_up(path: PathLike, backup: PathLike) -> Iterator[None]:
    """Keeps a file under a second name while it is replaced inside of the context.

    At any moment there is a whole file under the first name.

    Raises:
      FileExistsError: the second name is that of another file already.
      OSError: it cannot be made.
    """
    path = os.path.realpath(path)
    try:
        os.link(path, backup)
    except FileExistsError:
        # A call that was killed has made the name, and has replaced nothing.
        if not (os.path.exists(backup) and os.path.samefile(path, backup)):
            raise
    except OSError:  # a file system without hard links
        attributes = Attributes.of(path, has_times=True, has_extended=True)
        with open(path, "rb") as file:
            write_atomically(backup, file.read(), False, attributes=attributes)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(backup)
        raise


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
