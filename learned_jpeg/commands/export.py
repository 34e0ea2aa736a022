"""The command `export` of the model scripts: quantization tables as text."""

import json
import os
import sys

from learned_jpeg.codec.tables import learned_qtables
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.models import folders


def export(model_class, args):
    """Writes the quantization tables of a model as text.

    Args:
      model_class: a class of the model scripts with tables of its own.
      args: flags of the `export` command.

    Returns:
      Exit status 0.

    Raises:
      UserError: no checkpoint, or the output exists already.
    """
    about = {"script": model_class.NAME}
    prefix = None
    if args.checkpoint_dir is not None:
        prefix = folders.find_checkpoint(args.checkpoint_dir)
        settings = folders.load_settings(os.path.dirname(prefix), model_class.NAME)
        if settings.lmbda:
            about["lambda"] = settings.lmbda
        about["step"] = folders.checkpoint_step(prefix)
    quality = getattr(args, "quality", 0)
    if quality:
        about["quality"] = quality
    if quality:
        qtables = ijg_qtables(quality)
    else:
        qtables = learned_qtables(prefix, model_class.NAME)
    write = {"cjpeg": cjpeg_text, "json": json_text}[args.format]
    text = write(qtables, about)
    if args.output is None:
        sys.stdout.write(text)
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


def cjpeg_text(qtables, about):
    """Tables as `cjpeg -qtables FILE -sample 1x1` reads them.

    Args:
      qtables: `[2 (luma, chroma), 8 (v), 8 (u)]`.
      about: dict of what the comment says.

    Returns:
      64 values a table, natural order, with `#` comments.
    """
    comment = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [f"# {comment}"]
    for name, table in zip(("luma", "chroma"), qtables, strict=True):
        lines.append(f"# {name}")
        lines += [" ".join(f"{value:3d}" for value in row) for row in table]
    return "\n".join(lines) + "\n"


def json_text(qtables, about):
    """Tables `[2, 8 (v), 8 (u)]` as a JSON object beside what `about` says."""
    luma, chroma = qtables.tolist()
    return json.dumps({**about, "luma": luma, "chroma": chroma}, indent=2) + "\n"
