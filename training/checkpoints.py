"""Checkpoint folders, without TensorFlow: settings, newest checkpoint, tables, lock.

A folder holds TensorFlow's checkpoint files, `settings.json`, the flags that the model
was trained with, and `qtables.json`, the tables of a model that has learned ones.
"""

import ast
import contextlib
import glob
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import types

import numpy as np

from arg_parser import RATE_MODELS
from learned_jpeg.common.atomic_files import exclusive, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.jpeg import SUBSAMPLINGS
from weights import VGG_BLOCKS

SETTINGS_FILE = "settings.json"
QTABLES_FILE = "qtables.json"
CHECKPOINT_NAME = "model.ckpt"
LOCK_FILE = ".lock"
SUFFIXES = (".index", ".data-00000-of-00001")  # of the files of a checkpoint

# Flags of what is weighed beside the MSE.
DISTORTION_WEIGHTS = ("lpips_weight", "msssim_weight", "ssimulacra2_weight")
# Flags that a run cannot change half-way: the model, or what it is trained for.
DEFINING = (
    "script",
    "vgg",
    "freeze_vgg",
    "lmbda",
    *DISTORTION_WEIGHTS,
    "total_weight_regularizer",
    "rate_model",
    "rounding",
    "subsampling",
)
_PATTERN = re.compile(r"[][*?\\]")
# In the file `checkpoint`, a text protocol buffer (tensorflow.CheckpointState).
_NEWEST = re.compile(r'^model_checkpoint_path: "((?:[^"\\]|\\.)+)"', re.MULTILINE)
# Of flags that a settings.json may lack, of an older version or a script without them.
_DEFAULTS = {
    "vgg": "vgg16",
    "freeze_vgg": False,
    "table_init": None,
    "tables_from": None,
    "rate_model": "proxy",
    "subsampling": "4:4:4",
    **dict.fromkeys(DISTORTION_WEIGHTS, 0.0),
}
_MAX_WEIGHT = 1e12  # of a term of a loss; more would be a slip of the hand


def _is_weight(value):
    """Whether a value is a finite number that a loss can be weighted with."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= _MAX_WEIGHT


def _is_table_entry(value):
    return value is None or (_is_weight(value) and 1 <= value <= 255)


_ACCEPTED = {
    "script": lambda value: isinstance(value, str),
    "vgg": lambda value: isinstance(value, str) and value in VGG_BLOCKS,
    "freeze_vgg": lambda value: isinstance(value, bool),
    "rate_model": lambda value: value in (*RATE_MODELS, "rdoq"),
    "subsampling": lambda value: value in SUBSAMPLINGS,
    "table_init": _is_table_entry,
    **dict.fromkeys(
        ("lmbda", *DISTORTION_WEIGHTS, "total_weight_regularizer"),
        _is_weight,
    ),
}
# Flags that have no effect on the trained model.
_INCIDENTAL = ("checkpoint_dir", "command", "device", "preprocess_threads")


def settings_of(args, script):
    """The flags that are saved beside a checkpoint, as a dict."""
    flags = {k: v for k, v in vars(args).items() if k not in _INCIDENTAL}
    return {"script": script, **flags}


def save_settings(folder, settings):
    """Writes `settings` (a JSON-able dict) beside the checkpoint."""
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    write_atomically(os.path.join(folder, SETTINGS_FILE), text.encode())


def load_settings(folder):
    """The settings saved in `folder` as a dict; empty where there are none.

    Raises:
      UserError: the file is damaged, or a value that defines a model is none.
    """
    path = os.path.join(folder, SETTINGS_FILE)
    try:
        settings = read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); restore or delete it") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not a JSON object; restore or delete it")
    for key, accepts in _ACCEPTED.items():
        if key in settings and not accepts(settings[key]):
            raise UserError(
                f"{path}: {_flag(key)} {_short(settings[key])} is no value of this "
                "program; restore the file"
            )
    return settings


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def model_settings(folder, script):
    """The settings of the model in a checkpoint folder, as attributes.

    `subsampling` is None where an older version, which had 4:4:4 alone, tells none.

    Args:
      folder: checkpoint folder.
      script: name of the model that is expected there, for example "ljpeg".

    Raises:
      UserError: the folder holds a model of another script.
    """
    settings = load_settings(folder)
    found = settings.get("script", script)
    if found != script:
        raise UserError(
            f"{folder}: holds a model of {found}.py, not of {script}.py; use "
            f"{found}.py or another folder"
        )
    return types.SimpleNamespace(**{**_DEFAULTS, "subsampling": None, **settings})


def check_resume(folder, settings):
    """Compares the flags of a resumed training with those saved beside its checkpoint.

    Returns:
      Lines about flags that changed and may (learning rate, data, last step, ...).

    Raises:
      UserError: a flag that defines the model or its loss contradicts the saved one.
    """
    saved = load_settings(folder)
    if saved:
        saved = {**_DEFAULTS, **saved}
        # Before there was a choice, the published loss had the published gradient.
        is_published = saved["rate_model"] == "proxy"
        saved.setdefault("rounding", "polynomial" if is_published else None)
    changed = {
        key: (saved[key], value)
        for key, value in settings.items()
        if key in saved and saved[key] != value
    }
    for key in DEFINING:
        if key in changed:
            raise UserError(_contradiction(folder, key, *changed[key]))
    return [
        f"{_flag(key)} was {old} until now, goes on with {new}"
        for key, (old, new) in sorted(changed.items())
    ]


def _flag(key):
    return "--lambda" if key == "lmbda" else f"--{key}"


def _contradiction(folder, key, old, new):
    if key == "script":
        return (
            f"{folder}: holds a model of {old}.py, not of {new}.py; train it with "
            f"{old}.py, or use another --checkpoint_dir"
        )
    if isinstance(old, bool):
        was, remedy = ("with", "pass it") if old else ("without", "leave it out")
        return (
            f"{folder}: was trained {was} {_flag(key)}; {remedy}, or use another "
            "--checkpoint_dir"
        )
    return (
        f"{folder}: was trained with {_flag(key)} {old}, not {new}; pass {_flag(key)} "
        f"{old}, or use another --checkpoint_dir"
    )


@contextlib.contextmanager
def locked(folder):
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


def find_checkpoint(folder):
    """Path prefix of the newest checkpoint in `folder` or in its subfolder `train`.

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


def latest_checkpoint(folder):
    """Path prefix of the newest checkpoint in `folder`, None where there is none.

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


def _unescaped(text):
    """A string of a text protocol buffer, whose escapes are those of C, as a path."""

    # Some versions escape what is not ASCII, some do not, and bytes cannot hold it.
    def escaped(match):
        return "".join(f"\\{byte:03o}" for byte in os.fsencode(match[0]))

    text = re.sub(r"[^\0-\x7f]", escaped, text)
    return os.fsdecode(ast.literal_eval(f'b"{text}"'))


def checkpoint_step(prefix):
    """The step in the name of a checkpoint, `.../model.ckpt-500` -> 500.

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


def checkpoint_hash(prefix):
    """SHA-256 over both files of a checkpoint, hexadecimal."""
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


def remove(prefix):
    """Removes the files of a checkpoint; those that are gone are no matter."""
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.remove(prefix + suffix)


@contextlib.contextmanager
def literal_prefix(prefix):
    """Yields a path prefix of the same checkpoint that TensorFlow takes literally.

    TensorFlow looks for a checkpoint by a glob pattern: one in a folder with `[`, `]`,
    `*` or `?` in its name would not be found. Such a one is linked to from a
    temporary folder.
    """
    if not _PATTERN.search(prefix):
        yield prefix
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
        link = os.path.join(folder, CHECKPOINT_NAME)
        for suffix in SUFFIXES:
            try:
                os.symlink(os.path.abspath(prefix + suffix), link + suffix)
            except OSError:  # not allowed on this system
                shutil.copyfile(prefix + suffix, link + suffix)
        yield link


def save_qtables(prefix, script, qtables):
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


def load_qtables(prefix, script):
    """The tables that `save_qtables` wrote for a checkpoint of a model.

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
