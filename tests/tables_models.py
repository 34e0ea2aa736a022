"""Checkpoint folders of learned tables, written without TensorFlow."""

import json

import numpy as np

from learned_jpeg.models import folders
from tests.records import record_of

STEP = 7


def asymmetric_tables(scale):
    """uint8 `[2, 8 (v), 8 (u)]`, no entry equal to that of the transposed table."""
    v, u = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    luma = scale + 2 * v + 5 * u
    return np.stack([luma, luma + 3 + v]).astype(np.uint8)


def write_tables_model(folder, tables, **changes):
    """Writes a model of ljpeg.py with the given tables; returns its folder.

    It works where the tables are read from qtables.json: the files of the checkpoint
    itself hold no variables.

    Args:
      folder: Path.
      tables: uint8 `[2, 8 (v), 8 (u)]`.
      **changes: of the record in settings.json, see `record_of`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = folder / f"model.ckpt-{STEP}"
    for suffix in folders.SUFFIXES:
        (folder / f"{prefix.name}{suffix}").write_bytes(tables.tobytes())
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{prefix.name}"\n')
    folders.save_qtables(str(prefix), "ljpeg", tables)
    if changes.get("rate_model", "proxy") != "proxy":
        changes = {"rounding": None, **changes}
    record = record_of("ljpeg", **changes)
    (folder / folders.SETTINGS_FILE).write_text(json.dumps(record))
    return folder
