"""Crops of images side by side at equal size of their files, to see what numbers mean.

`python3 -m report.crops photo.png:180,60,128 --target_bpp 0.5 --searched runs/tables`
shows the square of 128 px whose left upper corner is at x = 180, y = 60: of the
original, of the run's model whose file is closest to 0.5 bits per pixel (`--search`: of
the search without a model, just below that), of plain JPEG, and of mozjpeg as its
`cjpeg` works. The latter two get the lowest quality whose file is no smaller than ours.
"""

import os
import re
from typing import NamedTuple

import numpy as np
import tqdm

import arg_parser
from evaluation.image_names import names_of
from evaluation.operating_points import find_lambda_dirs
from evaluation.plots import new_figure, save_figure
from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import read_image
from learned_jpeg.search.targets import Target
from training import devices

CODING = "optimized"
SUBSAMPLING = "4:2:0"
_SEARCHED = EncodeOptions(tune=OWN_LOSS, subsampling=SUBSAMPLING, entropy_coding=CODING)
_REFINED = EncodeOptions(
    quantization="round", tune=OWN_LOSS, refine_steps=30, entropy_coding=CODING
)
_INCHES = 2.2  # side of a crop


class Crop(NamedTuple):
    """A square of an image: file, left upper corner and side in px."""

    path: str
    x: int
    y: int
    side: int

    @classmethod
    def parse(cls, text):
        """Reads `FILE:X,Y,SIDE`.

        Raises:
          UserError: the text is another one.
        """
        match = re.fullmatch(r"(.+):(\d+),(\d+),(\d+)", text)
        if not match or not int(match[4]):
            raise UserError(
                f"{text}: not of the form FILE:X,Y,SIDE, such as a.png:0,0,9"
            )
        return cls(match[1], *map(int, match.groups()[1:]))

    def of(self, image):
        """Returns the square of an image.

        Raises:
          UserError: it is not inside.
        """
        height, width = image.shape[:2]
        if self.x + self.side > width or self.y + self.side > height:
            raise UserError(
                f"{self.path}: {width}x{height} px, the crop {self.x},{self.y},"
                f"{self.side} is not inside"
            )
        return image[self.y : self.y + self.side, self.x : self.x + self.side]


def main():
    """Draws what the command line names; returns the exit status."""
    args = arg_parser.parse_crops()
    devices.select_device(args.device)
    precision, _ = devices.choose_precision(args.precision)
    crops = [Crop.parse(text) for text in args.crops]
    _check_output(args.output, crops)
    images = [read_image(crop.path) for crop in crops]
    for crop, image in zip(crops, images, strict=True):
        crop.of(image)
    columns = []  # title, and a file for each crop
    networks = Networks(precision)
    for runs, options, how in (
        (args.searched, _SEARCHED, "searched"),
        (args.refined, _REFINED, "refined"),
    ):
        for run in runs:
            try:
                files = closest_files(run, options, networks, images, args.target_bpp)
            except UserError as error:
                raise UserError(f"--{how} {run}: {error}") from error
            name = os.path.basename(os.path.abspath(run))
            columns.append((f"{name}, {how}", files))
    for tune in args.search:
        files = searched_files(tune, crops, images, args.target_bpp)
        columns.append((f"search, {tune}", files))
    ours = [files for _, files in columns]
    largest = [max(map(len, files)) for files in zip(*ours, strict=True)]
    for title, encode in (
        ("JPEG 4:2:0", _encode_jpeg),
        ("mozjpeg", jpeg_file.encode_mozjpeg_quality),
    ):
        files = [
            smallest_from(image, encode, size)
            for image, size in zip(images, largest, strict=True)
        ]
        columns.append((title, files))
    save_figure(crops_figure(crops, images, columns), args.output)
    print(f"Written: {args.output}")
    return 0


def _check_output(output, crops):
    if not output.endswith(".png") or os.path.isdir(output):
        raise UserError(f"-o {output}: name a file that ends with .png")
    for crop in crops:
        if os.path.realpath(crop.path) == os.path.realpath(output):
            raise UserError(f"-o {output}: is one of the images; name another file")


def closest_files(run, options, networks, images, target_bpp):
    """Finds the lambda of a run whose file comes closest to a rate, for each image.

    Args:
      run: folder with `lambda_*` folders.
      options: `EncodeOptions`.
      networks: `Networks` for all models.
      images: list of uint8 `[h, w, 3]`.
      target_bpp: bits per pixel.

    Returns:
      A list of files, bytes.

    Raises:
      UserError: the folder is no run of a model with tables of its own.
    """
    best = [None] * len(images)
    found = find_lambda_dirs(run)
    if not found or len({name for name, _ in found}) > 1:
        raise UserError("name the folder of one run, with lambda_* folders")
    for _, folder in tqdm.tqdm(found, unit="model", disable=None):
        with TrainedModel.load(folder, networks=networks) as model:
            if model.takes_quality:
                raise UserError(f"{folder}: its model takes a quality, not a lambda")
            codec = model.codec(options)
            for index, image in enumerate(images):
                data = codec.encode(image)
                bpp = bits_per_pixel(len(data), *image.shape[:2])
                candidate = abs(np.log(bpp / target_bpp)), data
                best[index] = min(best[index] or candidate, candidate)
    return [data for _, data in best]


def searched_files(tune, crops, images, target_bpp):
    """Encodes images by the search without a model, just below a rate.

    Args:
      tune: one of `search.tunes.TUNES`.
      crops: list of `Crop`.
      images: list of uint8 `[h, w, 3]`, those of the crops.
      target_bpp: bits per pixel.

    Returns:
      A list of files, bytes.

    Raises:
      UserError: the rate cannot be reached.
    """
    options = EncodeOptions(
        target=Target("bpp", target_bpp),
        tune=tune,
        subsampling=SUBSAMPLING,
        entropy_coding=CODING,
    )
    with standard_tables() as model:
        encoder = Encoder(options, [model])
        return [
            encoder.encode(image, name=crop.path).data
            for crop, image in zip(crops, images, strict=True)
        ]


def _encode_jpeg(image, quality):
    return jpeg_file.encode_rgb(image, quality, CODING, sampling=SUBSAMPLING)


def smallest_from(image, encode, size):
    """Returns the file of lowest quality that has at least `size` bytes, or the last.

    Args:
      image: uint8 `[h, w, 3]`.
      encode: function from the image and a quality, 1..100, to bytes.
      size: bytes.
    """
    for quality in range(1, 101):
        data = encode(image, quality)
        if len(data) >= size:
            break
    return data


def crops_figure(crops, images, columns):
    """Draws a row for each crop: of the original, then of the files of every column.

    Args:
      crops: list of `Crop`.
      images: the originals, uint8 `[h, w, 3]`.
      columns: list of (title, files, one for each image).

    Returns:
      `matplotlib.figure.Figure`.
    """
    size = (_INCHES * (1 + len(columns)), (_INCHES + 0.35) * len(crops) + 0.3)
    figure = new_figure(size)
    panels = figure.subplots(len(crops), 1 + len(columns), squeeze=False)
    names = names_of([crop.path for crop in crops])
    for row, crop, name, image, *files in zip(
        panels, crops, names, images, *(files for _, files in columns), strict=True
    ):
        metrics = ImageMetrics(image, registry.captions())
        height, width = image.shape[:2]
        _show(row[0], crop.of(image), name)
        for axes, data in zip(row[1:], files, strict=True):
            decoded = jpeg_file.decode(data)
            values = metrics.compare(decoded)
            bpp = bits_per_pixel(len(data), height, width)
            words = [m.caption(values[m.key], decimals=1) for m in registry.captions()]
            _show(axes, crop.of(decoded), ", ".join([f"{bpp:.3f} bpp", *words]))
    titles = ["original", *(title for title, _ in columns)]
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize=9, parse_math=False)
    figure.subplots_adjust(0, 0.04, 1, 0.95, wspace=0.02, hspace=0.14)
    return figure


def _show(axes, pixels, text):
    axes.imshow(pixels, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(text, fontsize=7, labelpad=2, parse_math=False)


if __name__ == "__main__":
    run_main(main)
