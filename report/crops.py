"""Crops of pictures side by side at equal size of their files: what the numbers mean.

`python3 -m report.crops photo.png:180,60,128 --target_bpp 0.5 --rdoq runs/tables`
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
from evaluation.dots import MODELS, find_lambda_dirs
from evaluation.plots import new_figure, save_figure
from learned_jpeg.codec.codec import Quantization
from learned_jpeg.codec.codecs import Codecs
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.models import folders
from learned_jpeg.pictures.image_files import read_image
from learned_jpeg.search import calibration
from learned_jpeg.search.targets import Target, closest_lambda
from training import devices

# Those that have a lambda for each rate; others take a quality.
_WITH_TABLES = {
    name: model for name, model in MODELS.items() if not model.TRAITS.takes_quality
}
REFINE_STEPS = 30
CODING = "optimized"
_INCHES = 2.2  # side of a crop


class Crop(NamedTuple):
    """A square of a picture: file, left upper corner and side in px."""

    path: str
    x: int
    y: int
    side: int

    @classmethod
    def parse(cls, text):
        """From `FILE:X,Y,SIDE`.

        Raises:
          UserError: the text is another one.
        """
        match = re.fullmatch(r"(.+):(\d+),(\d+),(\d+)", text)
        if not match or not int(match[4]):
            raise UserError(
                f"{text}: not of the form FILE:X,Y,SIDE, such as a.png:0,0,9"
            )
        return cls(match[1], *map(int, match.groups()[1:]))

    def of(self, picture):
        """The square of `picture`.

        Raises:
          UserError: it is not inside.
        """
        height, width = picture.shape[:2]
        if self.x + self.side > width or self.y + self.side > height:
            raise UserError(
                f"{self.path}: {width}x{height} px, the crop {self.x},{self.y},"
                f"{self.side} is not inside"
            )
        return picture[self.y : self.y + self.side, self.x : self.x + self.side]


def main():
    """Draws what the command line names; returns the exit status."""
    args = arg_parser.parse_crops()
    devices.select_device(args.device)
    precision, _ = devices.choose_precision(args.precision)
    crops = [Crop.parse(text) for text in args.crops]
    _check_output(args.output, crops)
    pictures = [read_image(crop.path) for crop in crops]
    for crop, picture in zip(crops, pictures, strict=True):
        crop.of(picture)
    columns = []  # title, and a file for each crop
    for runs, quantization, how in (
        (args.rdoq, Quantization("rdoq", CODING, sampling="4:2:0"), "rdoq"),
        (args.refined, Quantization("round", CODING, REFINE_STEPS), "refined"),
    ):
        codecs = Codecs(precision, quantization)
        for run in runs:
            try:
                files = closest_files(codecs, run, pictures, args.target_bpp)
            except UserError as error:
                raise UserError(f"--{how} {run}: {error}") from error
            name = os.path.basename(os.path.abspath(run))
            columns.append((f"{name}, {how}", files))
    for tune in args.search:
        files = searched_files(tune, crops, pictures, args.target_bpp)
        columns.append((f"search, {tune}", files))
    ours = [files for _, files in columns]
    largest = [max(map(len, files)) for files in zip(*ours, strict=True)]
    for title, encode in (
        ("JPEG 4:2:0", _encode_jpeg),
        ("mozjpeg", jpeg_file.encode_mozjpeg_quality),
    ):
        files = [
            smallest_from(picture, encode, size)
            for picture, size in zip(pictures, largest, strict=True)
        ]
        columns.append((title, files))
    save_figure(crops_figure(crops, pictures, columns), args.output)
    print(f"Written: {args.output}")
    return 0


def _check_output(output, crops):
    if not output.endswith(".png") or os.path.isdir(output):
        raise UserError(f"-o {output}: name a file that ends with .png")
    for crop in crops:
        if os.path.realpath(crop.path) == os.path.realpath(output):
            raise UserError(f"-o {output}: is one of the pictures; name another file")


def closest_files(codecs, run, pictures, target_bpp):
    """Files of that lambda of a run, for each picture, that come closest to a rate.

    Args:
      codecs: `codecs.Codecs`.
      run: folder with `lambda_*` folders.
      pictures: list of uint8 `[h, w, 3]`.
      target_bpp: bits per pixel.

    Raises:
      UserError: the folder is no run of a model with tables of its own.
    """
    best = [None] * len(pictures)
    found = find_lambda_dirs(run)
    if not found or len({name for name, _ in found}) > 1:
        raise UserError("name the folder of one run, with lambda_* folders")
    for _, folder in tqdm.tqdm(found, unit="model", disable=None):
        prefix = folders.find_checkpoint(folder)
        with codecs.restore(prefix, _WITH_TABLES) as codec:
            for index, picture in enumerate(pictures):
                data = jpeg_file.encode(codec.quantize(picture), CODING)
                height, width = picture.shape[:2]
                bpp = bits_per_pixel(len(data), height, width)
                candidate = abs(np.log(bpp / target_bpp)), data
                best[index] = min(best[index] or candidate, candidate)
    return [data for _, data in best]


def searched_files(tune, crops, pictures, target_bpp):
    """Files of the search without a model, for each picture, just below a rate.

    Args:
      tune: one of `search.tunes.TUNES`.
      crops: list of `Crop`.
      pictures: list of uint8 `[h, w, 3]`, those of the crops.
      target_bpp: bits per pixel.

    Raises:
      UserError: the rate cannot be reached.
    """
    quantization = Quantization("rdoq", CODING, sampling="4:2:0", tune=tune)
    target, files = Target("bpp", target_bpp), []
    with Codecs(None, quantization).make(MODELS["ljpeg"]) as codec:
        for crop, picture in zip(crops, pictures, strict=True):

            def encode(lmbda, picture=picture):
                return jpeg_file.encode(codec.searched(picture, 50, lmbda), CODING)

            goal = target.goal(picture, crop.path)
            start, slope = calibration.start(tune, goal, picture.shape[:2])
            found = closest_lambda(encode, goal, start, slope)
            files.append(found.data)
    return files


def _encode_jpeg(picture, quality):
    return jpeg_file.encode_rgb(picture, quality, CODING, sampling="4:2:0")


def smallest_from(picture, encode, size):
    """The file of lowest quality that has at least `size` bytes; the last, if none.

    Args:
      picture: uint8 `[h, w, 3]`.
      encode: function from the picture and a quality, 1..100, to bytes.
      size: bytes.
    """
    for quality in range(1, 101):
        data = encode(picture, quality)
        if len(data) >= size:
            break
    return data


def crops_figure(crops, pictures, columns):
    """A row for each crop: of the original, then of the files of every column.

    Args:
      crops: list of `Crop`.
      pictures: the originals, uint8 `[h, w, 3]`.
      columns: list of (title, files, one for each picture).

    Returns:
      `matplotlib.figure.Figure`.
    """
    size = (_INCHES * (1 + len(columns)), (_INCHES + 0.35) * len(crops) + 0.3)
    figure = new_figure(size)
    panels = figure.subplots(len(crops), 1 + len(columns), squeeze=False)
    for row, crop, picture, *files in zip(
        panels, crops, pictures, *(files for _, files in columns), strict=True
    ):
        metrics = ImageMetrics(picture, registry.captions())
        height, width = picture.shape[:2]
        _show(row[0], crop.of(picture), os.path.basename(crop.path))
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
