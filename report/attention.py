"""The effect of attention on an image: its map, and the changes in the file.

`python3 -m report.attention runs/my_run/lambda_001 photo.png -o attention.png` draws
the image, the part of the detail that the network keeps of each block, and how many
integers of luma in each block of the file differ from those of rounding with the same
tables. Where the map is dark and nothing changes, what was removed was 0 anyway.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

import arg_parser
from evaluation.plots import new_figure, save_figure
from learned_jpeg.codec.codec import Codec
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import transform
from learned_jpeg.models import contract
from learned_jpeg.pictures.image_files import read_image
from training import devices

CHANGES_SHOWN = 16  # integers of a block: the end of the scale


class Effect(NamedTuple):
    """The effect of attention on an image.

    Attributes:
      kept: float `[rows, cols]`, part of the detail of each block that is kept.
      changed: int `[rows, cols]`, integers of luma in the file that differ from those
        without attention.
      sizes: bytes of the file (without attention, with it).
    """

    kept: np.ndarray
    changed: np.ndarray
    sizes: tuple[int, int]


def main():
    """Draws what the command line names; returns the exit status."""
    args = arg_parser.parse_attention()
    devices.select_device(args.device)
    precision, _ = devices.choose_precision(args.precision)
    image = read_image(args.image)
    with TrainedModel.load(args.checkpoint_dir, networks=Networks(precision)) as model:
        script = model.settings.script
        if not contract.load_model_class(script).TRAITS.has_maps:
            raise UserError(
                f"{args.checkpoint_dir}: {script}.py has no attention; name a folder "
                "of ljpeg_attention.py"
            )
        options = EncodeOptions(
            quantization="round", subsampling="4:4:4", entropy_coding="optimized"
        )
        effect = effect_of(model.codec(options), image)
    save_figure(attention_figure(image, effect), args.output)
    without, with_it = effect.sizes
    print(
        f"{np.mean(effect.changed > 0):.0%} of the blocks change; {without} bytes "
        f"without attention, {with_it} with it\nWritten: {args.output}"
    )
    return 0


def effect_of(codec: Codec, image: np.ndarray) -> Effect:
    """Compares the file of a model with rounding by the same tables.

    Args:
      codec: that rounds, 4:4:4, of a model that edits coefficients.
      image: uint8 RGB `[h, w, 3]`.
    """
    data = codec.encode(image)
    coded = jpeg_file.read_coefficients(data).with_chroma()
    tables = coded.qtables[[0, 1, 1]].astype(np.float32)
    dct = transform.image_to_dct(image)[0]
    planes = tuple(
        np.rint(dct[..., number] / table).astype(np.int16)
        for number, table in enumerate(tables)
    )
    plain = jpeg_file.encode(dataclasses.replace(coded, planes=planes), "optimized")
    changed = np.sum(planes[0] != coded.planes[0], (2, 3))
    return Effect(codec.kept_detail(image), changed, (len(plain), len(data)))


def attention_figure(image: np.ndarray, effect: Effect):
    """Draws the image, the map with its scale, and what changes in the file.

    Args:
      image: uint8 RGB `[h, w, 3]`.
      effect: `Effect`.

    Returns:
      `matplotlib.figure.Figure`.
    """
    height, width = image.shape[:2]
    figure = new_figure((9, 3 * max(0.7, height / width) + 0.9))
    panels = figure.subplots(1, 3)
    panels[0].imshow(image)
    without, with_it = effect.sizes
    panels[0].set_title(f"{without} bytes; with attention {with_it}", fontsize=10)
    extent = (0, width, height, 0)
    for axes, values, highest, colours, title in (
        (panels[1], effect.kept, 1, "viridis", "detail that attention keeps"),
        (
            panels[2],
            effect.changed,
            CHANGES_SHOWN,
            "magma",
            "luma integers changed",
        ),
    ):
        drawn = axes.imshow(values, vmin=0, vmax=highest, cmap=colours, extent=extent)
        extend = "max" if np.max(values) > highest else "neither"
        figure.colorbar(drawn, ax=axes, shrink=0.8, extend=extend)
        axes.set_title(title, fontsize=10)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    run_main(main)
