"""Where results are put: in files of their own, or in the place of their inputs."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple, Protocol

from learned_jpeg.commands import marks
from learned_jpeg.commands.arguments import read_options_of
from learned_jpeg.commands.batch_jobs import is_batch_job
from learned_jpeg.commands.call import setting_of
from learned_jpeg.commands.earlier_results import is_ours, is_same_image
from learned_jpeg.commands.files import EncodedFile
from learned_jpeg.commands.inputs import JPEG_SUFFIXES
from learned_jpeg.commands.records import ORIGINAL
from learned_jpeg.common.atomic_files import (
    Attributes,
    backed_up,
    is_free,
    write_atomically,
)
from learned_jpeg.common.errors import UserError


class Existing(NamedTuple):
    """A result that is there and is not made again.

    Attributes:
      note: in words why it is not the one asked for; None if it is, as far as is known.
    """

    note: str | None = None


class Placing(Protocol):
    """Puts results where they belong; may be called from several threads."""

    def existing(self, path: str, output: str) -> Existing | None:
        """Returns what is said of a result that is there, or None to make it.

        Raises:
          UserError: the result may not be put there.
        """
        ...

    def chosen(self, path: str, result: EncodedFile) -> EncodedFile:
        """Returns what is put in place of a result, perhaps the input as it is."""
        ...

    def put(self, path: str, output: str, result: EncodedFile) -> bool:
        """Writes a result; returns False if it is there by now and is to be skipped.

        Raises:
          UserError: something else is there by now.
          OSError: it cannot be written.
        """
        ...


class NewFiles:
    """Results in files of their own; an input is never touched."""

    def __init__(self, args, guard, earlier=frozenset()):
        """Stores what all results share.

        Args:
          args: flags of the command.
          guard: `OutputGuard` or `NoOverwriteGuard`.
          earlier: as in `Plan`.
        """
        self._args = args
        self._setting = setting_of(args)
        self._guard = guard
        self._earlier = earlier

    def existing(self, path: str, output: str) -> Existing | None:
        """Looks for a result; see `Placing`."""
        args = self._args
        self._guard.check(output)
        if args.force or is_free(output):
            return None
        mark = marks.read_mark(output)
        note = mark and mark.difference(path, self._setting)
        if args.skip_existing or (mark and not note):
            return Existing(note)
        if is_batch_job(args):  # made by a call that did not come to record it?
            return None
        if not mark and is_ours(output, path, read_options_of(args)):
            return Existing()
        raise _exists(output, note)

    def chosen(self, path: str, result: EncodedFile) -> EncodedFile:
        """Returns the result."""
        del path
        return result

    def put(self, path: str, output: str, result: EncodedFile) -> bool:
        """Writes a result; see `Placing`."""
        if os.path.realpath(output) in self._earlier:
            self._check_earlier(path, output, result)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        attributes = Attributes.of(path, has_times=self._args.keep_time)
        attributes = attributes._replace(
            extended=marks.new_mark(path, self._setting, result.data)
        )
        guard = self._guard.claim(output)
        try:
            write_atomically(output, result.data, self._args.force, guard, attributes)
        except FileExistsError:  # made by another call meanwhile
            if self.existing(path, output):
                return False
            if not (is_batch_job(self._args) and _holds(output, result.data)):
                raise _exists(output) from None
        return True

    def _check_earlier(self, path, output, result):
        """Looks again at a file that was left out as a result, before it is replaced.

        Raises:
          UserError: it shows another image, which would be lost.
        """
        if not self._args.force or is_free(output):
            return
        if not is_same_image(output, path, result.image, read_options_of(self._args)):
            raise UserError(
                f"{output}: is not replaced, as it may be an image of its own; name a "
                "folder for the results by -o, or remove it"
            )


class InPlace:
    """Results that replace their inputs where they are smaller, each in one step."""

    def __init__(self, args):
        """Stores the flags of the command."""
        self._args = args
        self._setting = setting_of(args)
        self._begun: dict[str, tuple[int, int]] = {}

    def existing(self, path: str, output: str) -> Existing | None:
        """Returns whether the input is a result of the same setting itself.

        Raises:
          UserError: it is no JPEG file by its name, or its backup has no place.
        """
        del output
        if not path.lower().endswith(JPEG_SUFFIXES):
            raise UserError(
                f"{path}: is no .jpg file, and --in_place replaces no others; leave "
                "that out to write a .jpg file beside it"
            )
        mark = marks.read_mark(path)
        if mark and mark.other_setting(self._setting) is None:
            return Existing()
        backup = self._backup_of(path)
        if backup and os.path.lexists(backup) and not _is_same(path, backup):
            raise _has_backup(path, backup)
        self._begun[path] = _state(path)
        return None

    def chosen(self, path: str, result: EncodedFile) -> EncodedFile:
        """Returns the result, or the input where that is not larger."""
        with open(path, "rb") as file:
            data = file.read()
        if len(result.data) < len(data):
            return result
        setting = result.setting
        if result.status != ORIGINAL:
            setting = f"kept the original ({len(data)} bytes; ours are not fewer)"
        return result._replace(data=data, status=ORIGINAL, setting=setting)

    def put(self, path: str, output: str, result: EncodedFile) -> bool:
        """Replaces an input, unless it is the result; see `Placing`."""
        del output
        if _holds(path, result.data):
            return True
        time = self._args.keep_time
        attributes = Attributes.of(path, has_times=time, has_extended=True)
        mark = marks.new_mark(None, self._setting, result.data)
        attributes = attributes._replace(extended={**attributes.extended, **mark})
        write_atomically(
            path, result.data, guard=self._guard(path), attributes=attributes
        )
        return True

    @contextlib.contextmanager
    def _guard(self, path):
        if _state(path) != self._begun[path]:
            raise UserError(f"{path}: has been changed meanwhile; call again")
        backup = self._backup_of(path)
        with contextlib.ExitStack() as stack:
            if backup:
                try:
                    stack.enter_context(backed_up(path, backup))
                except FileExistsError:
                    raise _has_backup(path, backup) from None
            yield

    def _backup_of(self, path):
        """Returns the path of the backup of an input, None without backups."""
        suffix = self._args.backup
        return suffix and os.path.realpath(path) + suffix


def _exists(output: str, note: str | None = None) -> UserError:
    made = f", {note}" if note else ""
    return UserError(f"{output}: exists already{made}; pass --force to overwrite it")


def _has_backup(path: str, backup: str) -> UserError:
    return UserError(
        f"{path}: its backup {backup} exists already; move that away, or pass another "
        "--backup"
    )


def _holds(path, data):
    with open(path, "rb") as file:
        return file.read(len(data) + 1) == data


def _is_same(path, other):
    return os.path.exists(other) and os.path.samefile(path, other)


def _state(path):
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns
