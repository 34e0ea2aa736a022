"""Measures what the lambdas of the search give on average: encoding/calibration.json.

    python3 -m evaluation.calibrate "photographs/*.png" --tunes mixed

goes through a grid of lambdas and of Pillow's qualities, and writes the means over the
photographs, beside those of other tunes that were measured before.
"""

import concurrent.futures
import json
import logging
import os
import platform

import numpy as np
import PIL
import tqdm

import arg_parser
import hardware
from atomic_files import write_atomically
from encoding.codec import Quantization
from encoding.codecs import Codecs
from errors import run_main
from jpeg import file as jpeg_file
from jpeg.image_files import find_images, read_image
from ljpeg_PIL import StandardJPEG
from metrics import ms_ssim, ssimulacra2
from metrics.basic import bits_per_pixel, mean_squared_error, psnr

SAMPLING = "4:2:0"
QUALITIES = (1, 3, 5, 8, 12, 18, 25, 35, 45, 55, 65, 75, 83, 89, 93, 96, 98, 100)
# Bits per pixel that a distortion of 1 is worth, which cover those qualities.
LAMBDAS = {
    "psnr": (2e-4, 8.0),
    "mixed": (2e-5, 4.0),
    "ms-ssim": (2e-5, 4.0),
}
_STEPS = 15

logger = logging.getLogger("calibrate")


def main():
    """Measures what the command line names; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arg_parser.parse_calibrate()
    paths = find_images(args.photographs)[:: args.every]
    table = _table_of(args.output)
    with concurrent.futures.ThreadPoolExecutor(hardware.usable_cores()) as executor:
        means = Means(paths, executor)
        if args.pillow:
            table["pillow"] = means.of_pillow()
        for tune in args.tunes:
            table["tunes"][tune] = means.of_tune(tune)
    table["about"] = (
        f"means over {len(paths)} photographs, {SAMPLING}, optimized; "
        f"Pillow {PIL.__version__}, Python {platform.python_version()}"
    )
    write_atomically(args.output, json.dumps(table, indent=1).encode() + b"\n")
    logger.info("written: %s", args.output)
    return 0


def _table_of(path):
    if not os.path.exists(path):
        return {"about": "", "pillow": {}, "tunes": {}}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Means:
    """Means over photographs of what encoders make of them."""

    def __init__(self, paths, executor):
        """Takes the photographs' paths and what runs the work."""
        self._paths = paths
        self._executor = executor

    def of_pillow(self):
        """Of Pillow's JPEG by quality: dict of lists."""

        def encode(picture, quality):
            return jpeg_file.encode_rgb(picture, quality, "optimized", None, SAMPLING)

        return {"quality": QUALITIES, **self._of(encode, QUALITIES, "Pillow")}

    def of_tune(self, tune):
        """Of the search without a model, by lambda: dict of lists."""
        lambdas = np.geomspace(*LAMBDAS[tune], _STEPS).tolist()
        how = Quantization("rdoq", "optimized", 0, SAMPLING, tune)
        with Codecs(quantization=how).make(StandardJPEG) as codec:

            def encode(picture, lmbda):
                quantized = codec.quantize(picture, 75, lmbda=lmbda)
                return jpeg_file.encode(quantized, "optimized")

            return {"lambda": lambdas, **self._of(encode, lambdas, tune)}

    def _of(self, encode, settings, name):
        """Means by setting of every metric, a dict of lists."""

        def measured(path):
            picture = read_image(path)
            compare = comparison(picture)
            return [compare(encode(picture, setting)) for setting in settings]

        rows = self._executor.map(measured, self._paths)
        rows = list(tqdm.tqdm(rows, desc=name, total=len(self._paths), disable=None))
        return {
            metric: [
                float(np.mean([row[place][metric] for row in rows]))
                for place in range(len(settings))
            ]
            for metric in rows[0][0]
        }


def comparison(picture):
    """Function from the bytes of a file to its rate and metrics, a dict."""
    scales = ms_ssim.reference_scales(picture)
    xyb_scales = ssimulacra2.reference_scales(picture)

    def compare(data):
        decoded = jpeg_file.decode(data)
        return {
            "bpp": bits_per_pixel(len(data), *picture.shape[:2]),
            "psnr": psnr(mean_squared_error(picture, decoded)),
            "ms_ssim": ms_ssim.ms_ssim(scales, decoded),
            "ssimulacra2": ssimulacra2.score(xyb_scales, decoded),
        }

    return compare


if __name__ == "__main__":
    run_main(main)
