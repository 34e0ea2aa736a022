"""Default settings of `train`, which suit each other.

With an estimated or searched rate a training takes minutes, and `--quantization search`
of its tables beats JPEG and mozjpeg by SSIMULACRA2. `--rate_model proxy` has the
settings of the publication (Strümpler, Yang and Timofte, 2020), which take hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of every training.
_ALWAYS = {
    "train_glob": "images/*.png",
    "seed": 0,
    "batchsize": 8,
    "lr_decay": 1.0,
    "vgg": "vgg16",
    "lpips_weight": 0.0,
    "msssim_weight": 0.0,
    "ssimulacra2_weight": 0.0,
    "total_weight_regularizer": 0.0,
}
_MINUTES = {
    "lmbda": 0.002,
    "subsampling": "4:2:0",
    "patchsize": 128,
    "last_step": 400,
    "lr": 1e-4,
    "lr_schedule": "cosine",
    "ssimulacra2_weight": 30.0,
    "table_init": 50.0,
    "table_lr": 1e-5,
    "freeze_vgg": True,
}
# By rate model; None is that of a model that has a loss of its own.
RECIPES: Mapping[str | None, Mapping[str, Any]] = {
    "entropy": _ALWAYS | _MINUTES | {"rate_lr": 0.1},
    # The search leaves some entries unused: the regularizer takes those up.
    "search": _ALWAYS
    | _MINUTES
    | {
        "last_step": 60,
        "table_init": 30.0,
        "table_lr": 3e-5,
        "total_weight_regularizer": 1e-4,
    },
    "proxy": _ALWAYS
    | {
        "lmbda": 0.01,
        "subsampling": "4:4:4",
        "patchsize": 256,
        "last_step": 20000,
        "lr": 1e-6,
        "lr_schedule": "steps",
        "total_weight_regularizer": 10.0,
        "freeze_vgg": False,
    },
    None: _ALWAYS
    | {
        "lmbda": 0.005,
        "subsampling": "4:4:4",
        "batchsize": 4,
        "patchsize": 96,
        "last_step": 600,
        "lr": 1e-5,
        "lr_schedule": "cosine",
        "rate_lr": 0.1,
    },
}

_MS_SSIM_PATCHSIZE = 176  # MS-SSIM is not defined below 161 px
_FINE_TABLE_LR = 2e-6  # of tables that were trained before


def defaults(rate_model: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults of the flags of `train`, by name.

    Args:
      rate_model: one of `RATE_MODELS`; None for a model with a loss of its own.
      given: the flags of the command line, None for those that are not given.
    """
    found = dict(RECIPES[rate_model])
    if given.get("lpips_weight") or given.get("msssim_weight"):
        found["ssimulacra2_weight"] = 0.0
    if given.get("msssim_weight"):
        found["patchsize"] = max(found["patchsize"], _MS_SSIM_PATCHSIZE)
    if given.get("lr_decay") not in (None, 1.0):
        found["lr_schedule"] = "steps"
    if given.get("tables_from") is not None:
        found.pop("table_init", None)
        if "table_lr" in found:
            found["table_lr"] = _FINE_TABLE_LR
    return found
