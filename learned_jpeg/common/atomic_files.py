"""Writes files so that none is ever half-written, or by two at once."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time

from learned_jpeg.common.errors import UserError

_OWN_NAME = re.compile(r"\.tmp-[0-9a-f]{16}(\.[^.]*)?")
_STALE_SECONDS = 24 * 3600
_tidied = set()  # folders that this process has looked through


def write_atomically(path, data: bytes, replace=True, guard=None):
    """Writes a file that is there in whole or not at all; see `atomic_path`.

    Raises:
      OSError: with `path` as its filename; an older file there is untouched.
    """
    with (
        atomic_path(path, replace, guard) as temporary,
        open(temporary, "wb") as file,
    ):
        file.write(data)


@contextlib.contextmanager
def atomic_path(path, replace=True, guard=None):
    """Yields a temporary path to write to, which then takes the place of `path`.

    The temporary file lies in the same folder, is hidden, and has the same suffix,
    for libraries that go by it. It is removed if anything fails; what killed runs
    have left there is removed once it is a day old. The file has the permissions
    that open() would give it, a link is followed as open() would, and a device such
    as /dev/null is written directly.

    Args:
      path: of the file.
      replace: whether an older file may be replaced; if not, `path` is made in one
        step with finding that it is free, so that two processes cannot both make it.
      guard: a context that is entered for the moment at which the file takes its
        place, and may raise to keep it from that.

    Raises:
      FileExistsError: something is at `path`, and `replace` is false.
      OSError: with `path` as its filename; an older file there is untouched.
    """
    path = os.fspath(path)
    if not replace and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        yield path
        return
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    _remove_stale_files(folder)
    temporary = os.path.join(
        folder, f".tmp-{secrets.token_hex(8)}{os.path.splitext(target)[1]}"
    )
    try:
        # By os.open, since tempfile would set permissions of its own.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        _sync(temporary)
        with guard or contextlib.nullcontext():
            _put_in_place(temporary, target, replace)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if getattr(error, "errno", None) and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, path) from error
        raise


def _sync(path):
    """Returns once the bytes of a file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(temporary, target, replace):
    if not replace:
        _move_to_free_name(temporary, target)
        return
    if os.path.exists(target):
        shutil.copymode(target, temporary)
    os.replace(temporary, target)


def _move_to_free_name(temporary, target):
    """Renames a file; raises FileExistsError if anything has the name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is taken first
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            os.replace(temporary, target)
        except BaseException:
            os.remove(target)
            raise
    else:
        os.remove(temporary)


def _remove_stale_files(folder):
    """Removes what killed runs left behind, once for each folder of a process."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _OWN_NAME.fullmatch(entry.name) and _is_stale(entry):
                with contextlib.suppress(OSError):
                    os.remove(entry.path)


def _is_stale(entry):
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    is_old = time.time() - status.st_mtime > _STALE_SECONDS
    return is_old and stat.S_ISREG(status.st_mode)


@contextlib.contextmanager
def exclusive(path, complaint):
    """Context that one process at a time is in, for each lock file `path`.

    Raises:
      UserError: another one is; its text is `complaint`.
    """
    import filelock  # which few commands need

    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise UserError(complaint) from None
    try:
        yield
    finally:
        lock.release()
