"""Checkpoint folders: the newest checkpoint, its settings and its tables.

A folder holds TensorFlow's checkpoint files, `settings.json`, the flags that the model
was trained with, and `qtables.json`, the tables of a model that has learned ones.
Nothing here needs TensorFlow.
"""

from __future__ import annotations

import ast
import glob
import hashlib
import json
import os
import re
from typing import Any

import numpy as np

from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.models.settings import ModelSettings, check_record

SETTINGS_FILE = "settings.json"
QTABLES_FILE = "qtables.json"
SUFFIXES = (".index", ".data-00000-of-00001")  # of the files of a checkpoint

# In the file `checkpoint`, a text protocol buffer (tensorflow.CheckpointState).
_NEWEST = re.compile(r'^model_checkpoint_path: "((?:[^"\\]|\\.)+)"', re.MULTILINE)


def load_record(folder: str) -> dict[str, Any]:
    """Reads all flags that settings.json records; empty without such a file.

    Raises:
      UserError: the file is damaged or incomplete.
    """
    path = os.path.join(folder, SETTINGS_FILE)
    try:
        record = read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); restore or delete it") from error
    check_record(record, path)
    return record


def load_settings(folder: str, script: str | None = None) -> ModelSettings:
    """Reads the settings of the model in a checkpoint folder.

    Args:
      folder: checkpoint folder.
      script: name of the model that is expected there, for example "ljpeg". A folder
        without a settings.json is taken for a model of that script with the default
        settings. None takes any model that the file names.

    Raises:
      UserError: settings.json is damaged or incomplete, names another script, or is
        missing and no script is given.
    """
    record = load_record(folder)
    found = record.get("script", script)
    if found is None:
        raise UserError(
            f"{folder}: no {SETTINGS_FILE} there to tell the model; copy the file that "
            "lies beside the original checkpoint"
        )
    if script not in (None, found):
        raise UserError(
            f"{folder}: holds a model of {found}.py, not of {script}.py; use "
            f"{found}.py or another folder"
        )
    return ModelSettings.of_record(record) if record else ModelSettings(found)


def find_checkpoint(folder: str) -> str:
    """Returns the path prefix of the newest checkpoint in a folder.

    Args:
      folder: folder of the checkpoint, or one whose subfolder `train` has it.

    Raises:
      UserError: there is none, or it is incomplete.
    """
    prefix = latest_checkpoint(folder)
    if prefix:
        return prefix
    inner = os.path.join(folder, "train")
    if os.path.isdir(inner):
        return find_checkpoint(inner)
    if glob.glob(os.path.join(glob.escape(folder), "lambda_*")):
        raise UserError(
            f"{folder}: holds lambda_* folders; name one of them (or pass --target_bpp "
            "to compress, which chooses among them)"
        )
    raise UserError(
        f"{folder}: no checkpoint there; train a model first, or name its folder"
    )


def latest_checkpoint(folder: str) -> str | None:
    """Returns the path prefix of the newest checkpoint in this very folder, or None.

    Raises:
      UserError: the newest checkpoint lacks one of its files.
    """
    state_file = os.path.join(folder, "checkpoint")
    if not os.path.exists(state_file):
        return None
    with open(state_file, encoding="utf-8", errors="surrogateescape") as file:
        found = _NEWEST.search(file.read())
    if not found:
        raise UserError(f"{state_file}: damaged; restore it or delete it")
    prefix = os.path.join(folder, _unescaped(found[1]))
    for suffix in SUFFIXES:
        if not os.path.isfile(prefix + suffix):
            raise UserError(
                f"{prefix + suffix}: missing, the checkpoint is incomplete; copy the "
                "folder again or train anew in another one"
            )
    return prefix


def _unescaped(text: str) -> str:
    """Decodes a string of a text protocol buffer, whose escapes are those of C."""

    # Some versions escape what is not ASCII, some do not, and bytes cannot hold it.
    def escaped(match: re.Match[str]) -> str:
        return "".join(f"\\{byte:03o}" for byte in os.fsencode(match[0]))

    text = re.sub(r"[^\0-\x7f]", escaped, text)
    return os.fsdecode(ast.literal_eval(f'b"{text}"'))


def checkpoint_step(prefix: str) -> int:
    """Returns the step in the name of a checkpoint, `.../model.ckpt-500` -> 500.

    Raises:
      UserError: the name does not end with a step.
    """
    step = prefix.rpartition("-")[2]
    if not step.isdecimal():
        raise UserError(
            f"{prefix}: no step at the end of the checkpoint's name; rename its files "
            "to model.ckpt-STEP"
        )
    return int(step)


def checkpoint_hash(prefix: str) -> str:
    """Returns the SHA-256 over both files of a checkpoint, hexadecimal.

    Raises:
      UserError: a running training has replaced the checkpoint.
    """
    digest = hashlib.sha256()
    for suffix in SUFFIXES:
        try:
            with open(prefix + suffix, "rb") as file:
                digest.update(file.read())
        except FileNotFoundError as error:
            raise UserError(
                f"{prefix + suffix}: gone, a running training has replaced it; try "
                "again"
            ) from error
    return digest.hexdigest()


def save_qtables(prefix: str, script: str, qtables: np.ndarray) -> None:
    """Writes the tables of a checkpoint beside it, for coding without TensorFlow.

    Args:
      prefix: path prefix of the checkpoint, complete on the disk.
      script: name of the model, for example "ljpeg".
      qtables: whole numbers `[2 (luma, chroma), 8 (v), 8 (u)]`, 1..255.
    """
    luma, chroma = np.asarray(qtables, int).tolist()
    record = {"script": script, "checkpoint_sha256": checkpoint_hash(prefix)}
    record |= {"luma": luma, "chroma": chroma}
    path = os.path.join(os.path.dirname(prefix), QTABLES_FILE)
    write_atomically(path, f"{json.dumps(record)}\n".encode())


def load_qtables(prefix: str, script: str) -> np.ndarray | None:
    """Reads the tables that `save_qtables` wrote for a checkpoint of a model.

    Returns:
      uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`, or None: there is no such file, or it is
      not of this model and checkpoint (replaced by hand, or older than that file).
    """
    path = os.path.join(os.path.dirname(prefix), QTABLES_FILE)
    try:
        record = read_json(path)
        tables = np.stack([record["luma"], record["chroma"]])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if record.get("script") != script:
        return None
    if record.get("checkpoint_sha256") != checkpoint_hash(prefix):
        return None
    if tables.shape != (2, 8, 8) or tables.dtype.kind != "i":
        return None
    return tables.astype(np.uint8) if 1 <= tables.min() <= tables.max() <= 255 else None
