"""Checkpoint folders as a training uses them: settings, resuming, the lock."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from learned_jpeg.common.atomic_files import exclusive, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.leftovers import temporary_folder
from learned_jpeg.models import folders
from learned_jpeg.models.settings import DEFINING, flag_of

CHECKPOINT_NAME = "model.ckpt"
LOCK_FILE = ".lock"

_PATTERN = re.compile(r"[][*?\\]")


def save_record(folder: str, record: Mapping[str, Any]) -> None:
    """Writes settings.json, the recorded flags of a training, into a folder."""
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    write_atomically(os.path.join(folder, folders.SETTINGS_FILE), text.encode())


def check_resume(folder: str, record: Mapping[str, Any]) -> list[str]:
    """Compares the flags of a resumed training with those beside its checkpoint.

    Args:
      folder: of the checkpoint.
      record: flags of the training, as `TrainOptions.record`.

    Returns:
      Lines about flags that changed and may (learning rate, data, last step, ...).

    Raises:
      UserError: a flag that defines the model or its loss contradicts the saved one.
    """
    saved = folders.load_record(folder)
    changed = {
        key: (saved[key], value)
        for key, value in record.items()
        if key in saved and saved[key] != value
    }
    for key in DEFINING:
        if key in changed:
            raise UserError(_contradiction(folder, key, *changed[key]))
    return [
        f"{flag_of(key)} was {old} until now, goes on with {new}"
        for key, (old, new) in sorted(changed.items())
    ]


def _contradiction(folder: str, key: str, old: Any, new: Any) -> str:
    if key == "script":
        return (
            f"{folder}: holds a model of {old}.py, not of {new}.py; train it with "
            f"{old}.py, or use another --checkpoint_dir"
        )
    flag = flag_of(key)
    if isinstance(old, bool):
        was, remedy = ("with", "pass it") if old else ("without", "leave it out")
        return (
            f"{folder}: was trained {was} {flag}; {remedy}, or use another "
            "--checkpoint_dir"
        )
    return (
        f"{folder}: was trained with {flag} {old}, not {new}; pass {flag} {old}, or "
        "use another --checkpoint_dir"
    )


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Makes `folder` and keeps other trainings out of it.

    Raises:
      UserError: another training is in it.
    """
    os.makedirs(folder, exist_ok=True)
    complaint = (
        f"{folder}: another training is running there; wait for it or use another "
        "--checkpoint_dir"
    )
    with exclusive(os.path.join(folder, LOCK_FILE), complaint):
        yield


def remove(prefix: str) -> None:
    """Removes the files of a checkpoint; files that are gone already are ignored."""
    for suffix in folders.SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.remove(prefix + suffix)


@contextlib.contextmanager
def literal_prefix(prefix: str) -> Iterator[str]:
    """Yields a path prefix of the same checkpoint that TensorFlow takes literally.

    TensorFlow looks for a checkpoint by a glob pattern: it would not find one in a
    folder with `[`, `]`, `*` or `?` in its name. Such a checkpoint is linked to from a
    temporary folder.
    """
    if not _PATTERN.search(prefix):
        yield prefix
        return
    with temporary_folder() as folder:
        link = os.path.join(folder, CHECKPOINT_NAME)
        for suffix in folders.SUFFIXES:
            try:
                os.symlink(os.path.abspath(prefix + suffix), link + suffix)
            except OSError:  # not allowed on this system
                shutil.copyfile(prefix + suffix, link + suffix)
        yield link
