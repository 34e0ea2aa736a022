"""Measures what each lambda of the search gives on average, as `calibration.json`.

    python3 -m evaluation.calibrate "photographs/*.png" --tunes mixed

goes through a grid of lambdas, and writes the means over the photographs in addition to
those of other tunes that were measured before.
"""

import concurrent.futures
import json
import logging
import os

import numpy as np
import tqdm

import arg_parser
from learned_jpeg.codec.options import DEFAULT_QUALITY, EncodeOptions
from learned_jpeg.codec.trained import standard_tables
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.process import run_main
from learned_jpeg.common.terminal import log_to_stderr
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import find_images, read_image
from learned_jpeg.search.tunes import TUNES

SAMPLING = "4:2:0"
COUNT = 10  # lambdas of each tune

logger = logging.getLogger("calibrate")


def main():
    """Measures what the command line names; returns the exit status."""
    log_to_stderr()
    args = arg_parser.parse_calibrate()
    paths = find_images(args.photographs)[:: args.every]
    table = _table_of(args.output)
    with concurrent.futures.ThreadPoolExecutor(machine.usable_cores()) as executor:
        means = Means(paths, args.crop, executor)
        for tune in args.tunes:
            about = (
                f"means over {len(paths)} photographs, every {args.every} of those "
                f"named, {args.crop} px of each, {SAMPLING}, optimized"
            )
            table[tune] = {"about": about, **means.of_tune(tune)}
    write_atomically(args.output, json.dumps(table, indent=1).encode() + b"\n")
    logger.info("written: %s", args.output)
    return 0


def _table_of(path):
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Means:
    """Means over photographs of rates and metrics of their files."""

    def __init__(self, paths, side, executor):
        """Stores the photographs' paths, px of their sides, and what runs the work."""
        self._paths = paths
        self._side = side
        self._executor = executor

    def of_tune(self, tune):
        """Returns the means of the search without a model, by lambda: dict of lists."""
        lambdas = np.geomspace(*TUNES[tune].lambdas, COUNT).tolist()
        options = EncodeOptions(subsampling=SAMPLING, tune=tune)
        with standard_tables() as model:
            codec = model.codec(options)

            def encode(image, lmbda):
                return codec.encode(image, DEFAULT_QUALITY, lmbda)

            return {"lambda": lambdas, **self._of(encode, lambdas, tune)}

    def _of(self, encode, settings, name):
        """Returns the means of every metric by setting, a dict of lists."""

        def measured(path):
            image = middle_of(read_image(path), self._side)
            compare = comparison(image)
            return [compare(encode(image, setting)) for setting in settings]

        rows = self._executor.map(measured, self._paths)
        rows = list(tqdm.tqdm(rows, desc=name, total=len(self._paths), disable=None))
        return {
            metric: [
                float(np.mean([row[place][metric] for row in rows]))
                for place in range(len(settings))
            ]
            for metric in rows[0][0]
        }


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
