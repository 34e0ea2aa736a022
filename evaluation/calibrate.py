"""Measures what each lambda of the search gives, as `calibration.json`.

    python3 -m evaluation.calibrate "photographs/*.png" --tunes mixed

goes through a grid of lambdas, and writes the means over the photographs in addition to
those of other tunes that were measured before. It also fits how the final file of a
photograph follows from its first quantization, by which a search corrects its lambda.
"""

import concurrent.futures
import json
import logging
import os

import numpy as np
import tqdm

import arg_parser
from learned_jpeg.codec.options import DEFAULT_QUALITY, EncodeOptions
from learned_jpeg.codec.quantizers import SearchSetting
from learned_jpeg.codec.trained import standard_tables
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.process import run_main
from learned_jpeg.common.threads import Cores, limit
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import find_images, read_image
from learned_jpeg.search.calibration import features, key_of
from learned_jpeg.search.targets import KINDS
from learned_jpeg.search.tunes import TUNES

SAMPLING = "4:2:0"
COUNT = 10  # lambdas of each tune

logger = logging.getLogger("calibrate")


def main():
    """Measures what the command line names; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arg_parser.parse_calibrate()
    paths = find_images(args.photographs)[:: args.every]
    table = _table_of(args.output)
    with concurrent.futures.ThreadPoolExecutor(machine.usable_cores()) as executor:
        curves = Curves(paths, args.crop, executor)
        for tune in args.tunes:
            for effort in args.efforts:
                about = (
                    f"{len(paths)} photographs, every {args.every} of those named, "
                    f"{args.crop} px of each, {SAMPLING}, optimized"
                )
                curve = {"about": about, **curves.of_tune(tune, effort)}
                table[key_of(tune, effort)] = curve
    write_atomically(args.output, json.dumps(table, indent=1).encode() + b"\n")
    logger.info("written: %s", args.output)
    return 0


def _table_of(path):
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Curves:
    """Rates and metrics of photographs' files by lambda."""

    def __init__(self, paths, side, executor):
        """Stores the photographs' paths, px of their sides, and what runs the work."""
        self._paths = paths
        self._side = side
        self._executor = executor
        self._cores = Cores(machine.usable_cores())

    def of_tune(self, tune, effort):
        """Returns the means of the search without a model, by lambda, and the changes.

        Returns:
          dict: "lambda", and the mean of each quantity in lists; "changes", the weights
          of `calibration.features` for each quantity.
        """
        lambdas = np.geomspace(*TUNES[tune].lambdas, COUNT).tolist()
        options = EncodeOptions(subsampling=SAMPLING, tune=tune, effort=effort)
        with standard_tables() as model:
            codec = model.codec(options)

            def encode(image, lmbda):
                """Returns the files of the first quantization and of the search."""
                first = []
                setting = SearchSetting(lmbda, steer=first.append)
                last = codec.for_image(image, DEFAULT_QUALITY)(setting)
                return *first, last

            firsts, lasts = self._measured(encode, lambdas, f"{tune}, effort {effort}")
        means = {name: values.mean(0).tolist() for name, values in lasts.items()}
        changes = {
            name: _fitted(KINDS[name].scale, firsts[name], lasts[name], lambdas)
            for name in lasts
        }
        return {"lambda": lambdas, **means, "changes": changes}

    def _measured(self, encode, lambdas, name):
        """Returns the quantities of first and of last files, as dicts of arrays.

        They are `[photographs, lambdas]`.
        """

        def measured(path):
            with limit(self._cores):
                image = middle_of(read_image(path), self._side)
                compare = comparison(image)
                return [[compare(f) for f in encode(image, x)] for x in lambdas]

        rows = self._executor.map(measured, self._paths)
        rows = list(tqdm.tqdm(rows, desc=name, total=len(self._paths), disable=None))
        return tuple(
            {
                quantity: np.array([[own[i][quantity] for own in row] for row in rows])
                for quantity in rows[0][0][i]
            }
            for i in range(2)
        )


def _fitted(scale, first, last, lambdas):
    """Returns the weights of `features` whose sum is last minus first, a list."""
    first, last = np.vectorize(scale)(first), np.vectorize(scale)(last)
    found = features(first, np.broadcast_to(np.log(lambdas), first.shape))
    is_finite = np.isfinite(first) & np.isfinite(last)
    change = (last - first)[is_finite]
    weights = np.linalg.lstsq(found[is_finite], change, rcond=None)[0]
    return weights.tolist()


def middle_of(image, side):
    """Returns the square in the middle of an image, or all of it if it is smaller."""
    top, left = (max(0, n - side) // 2 for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def comparison(image):
    """Returns a function from the bytes of a file to its rate and metrics, a dict."""
    metrics = ImageMetrics(image, registry.targets())

    def compare(data):
        values = metrics.compare(jpeg_file.decode(data))
        return {
            "bpp": bits_per_pixel(len(data), *image.shape[:2]),
            **{metric.word: values[metric.key] for metric in registry.targets()},
        }

    return compare


if __name__ == "__main__":
    run_main(main)
