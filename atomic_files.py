"""Writes files so that none is ever half-written."""

import contextlib
import errno
import os
import secrets
import shutil


def write_atomically(path, data: bytes):
    """Writes a file that is there in whole or not at all; see `atomic_path`.

    Raises:
      OSError: with `path` as its filename; an older file there is untouched.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path to write to, which then takes the place of `path`.

    The temporary file lies in the same folder, is hidden, and has the same suffix,
    for libraries that go by it. It is removed if anything fails. The file has the
    permissions that open() would give it, a link is followed as open() would, and a
    device such as /dev/null is written directly.

    Raises:
      OSError: with `path` as its filename; an older file there is untouched.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        yield path
        return
    target = os.path.realpath(path)
    temporary = os.path.join(
        os.path.dirname(target),
        f".tmp-{secrets.token_hex(8)}{os.path.splitext(target)[1]}",
    )
    try:
        # By os.open, since tempfile would set permissions of its own.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        _replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        if getattr(error, "errno", None) and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, path) from error
        raise


def _replace(temporary, target):
    """Puts a finished file in place once its bytes are on the disk."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if os.path.exists(target):
        shutil.copymode(target, temporary)
    os.replace(temporary, target)
