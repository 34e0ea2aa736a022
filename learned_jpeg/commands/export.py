"""The command `export` of the model scripts: quantization tables as text."""

from __future__ import annotations

import json
import os

import numpy as np

from learned_jpeg.codec.trained import TrainedModel
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.terminal import write_to_stdout
from learned_jpeg.models import folders
from learned_jpeg.models.settings import ModelSettings


def export(args, script: str) -> int:
    """Writes the quantization tables of a model as text.

    Args:
      args: flags of the `export` command.
      script: name of the model script.

    Returns:
      Exit status 0.

    Raises:
      UserError: there is no checkpoint, or the output exists already.
    """
    about: dict[str, object] = {"script": script}
    if args.checkpoint_dir is None:
        model = TrainedModel(ModelSettings(script))
    else:
        model = TrainedModel.load(args.checkpoint_dir, script)
        if model.settings.lmbda:
            about["lambda"] = model.settings.lmbda
        prefix = folders.find_checkpoint(args.checkpoint_dir)
        about["step"] = folders.checkpoint_step(prefix)
    if args.quality:
        about["quality"] = args.quality
    qtables = model.qtables(args.quality or 0)
    write = {"cjpeg": cjpeg_text, "json": json_text}[args.format]
    text = write(qtables, about)
    if args.output in (None, "-"):
        write_to_stdout(text.encode())
        return 0
    if os.path.isdir(args.output):
        raise UserError(f"--output {args.output}: is a folder; name a file")
    try:
        write_atomically(args.output, text.encode(), replace=args.force)
    except FileExistsError:
        raise UserError(
            f"{args.output}: exists already; pass --force to overwrite it"
        ) from None
    return 0


def cjpeg_text(qtables: np.ndarray, about: dict[str, object]) -> str:
    """Formats tables as `cjpeg -qtables FILE -sample 1x1` reads them.

    Args:
      qtables: `[2 (luma, chroma), 8 (v), 8 (u)]`.
      about: what the comment says.

    Returns:
      64 values a table, natural order, with `#` comments.
    """
    comment = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [f"# {comment}"]
    for name, table in zip(("luma", "chroma"), qtables, strict=True):
        lines.append(f"# {name}")
        lines += [" ".join(f"{value:3d}" for value in row) for row in table]
    return "\n".join(lines) + "\n"


def json_text(qtables: np.ndarray, about: dict[str, object]) -> str:
    """Formats tables `[2, 8 (v), 8 (u)]` and `about` as a JSON object."""
    luma, chroma = qtables.tolist()
    return json.dumps({**about, "luma": luma, "chroma": chroma}, indent=2) + "\n"
