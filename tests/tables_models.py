"""Checkpoint folders of learned tables, written without TensorFlow."""

import json

import numpy as np

from learned_jpeg.models import folders

STEP = 7
SETTINGS = {
    "script": "ljpeg",
    "lmbda": 0.01,
    "subsampling": "4:4:4",
    "rate_model": "proxy",
    "lpips_weight": 0.0,
    "msssim_weight": 0.0,
    "ssimulacra2_weight": 0.0,
    "total_weight_regularizer": 0.0,
    "rounding": "straight_through",
    "table_init": None,
    "tables_from": None,
}


def asymmetric_tables(scale):
    """uint8 `[2, 8 (v), 8 (u)]`, no entry equal to that of the transposed table."""
    v, u = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    luma = scale + 2 * v + 5 * u
    return np.stack([luma, luma + 3 + v]).astype(np.uint8)


def write_tables_model(folder, tables, lmbda=0.01, **settings):
    """Writes a model of ljpeg.py with the given tables; returns its folder.

    It can be used only where the tables are read from qtables.json: the files of the
    checkpoint itself hold nothing.

    Args:
      folder: Path.
      tables: uint8 `[2, 8 (v), 8 (u)]`.
      lmbda: of the training.
      **settings: in place of those in `SETTINGS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in folders.SUFFIXES:
        (folder / f"model.ckpt-{STEP}{suffix}").write_bytes(str(tables).encode())
    state = f'model_checkpoint_path: "model.ckpt-{STEP}"\n'
    (folder / "checkpoint").write_text(state)
    folders.save_qtables(str(folder / f"model.ckpt-{STEP}"), "ljpeg", tables)
    if settings.get("rate_model", "proxy") != "proxy":
        settings = {"rounding": None, **settings}
    record = {**SETTINGS, "lmbda": lmbda, **settings}
    (folder / "settings.json").write_text(json.dumps(record))
    return folder
