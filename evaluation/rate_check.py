"""How well the estimates of entropy models match the bytes of real files.

Encodes test images with every model of `--rate_model entropy` in a batch, rounded, and
compares the bits that the entropy model estimates for the integers with those of the
files:
`python3 -m evaluation.rate_check --batch_dir DIR --test_image_glob "KODAK/*.png"`.
"""

import logging
import os

import numpy as np
import tqdm

import arg_parser
from evaluation import tables
from evaluation.operating_points import find_lambda_dirs
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.quantizers import Rounding
from learned_jpeg.codec.trained import Networks, TrainedModel
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.common.terminal import log_to_stderr
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.models import folders
from learned_jpeg.pictures.image_files import find_images, read_image
from training import devices
from training.rate_models import bits_of_checkpoint

logger = logging.getLogger("rate_check")

CODINGS = ("standard", "optimized")
_LIMIT = 1024  # of integers


def main():
    """Checks what the command line names; returns the exit status."""
    log_to_stderr()
    args = arg_parser.parse_rate_check()
    devices.select_device(args.device)
    precision, _ = devices.choose_precision(args.precision)
    images = [read_image(path) for path in find_images(args.test_image_glob)]
    networks = Networks(precision)
    rows = []
    for run, folder in tqdm.tqdm(_models(args.batch_dir), unit="model", disable=None):
        prefix = folders.find_checkpoint(folder)
        rates = np.array(list(_rates(networks, prefix, images)))
        rows.append([f"{run}-{os.path.basename(folder)}", *_columns(rates)])
    header = ["model", "estimate [bpp]"]
    for coding in CODINGS:
        header += [f"{coding} [bpp]", "ratio", "correlation"]
    text = tables.markdown_table(header, rows)
    print(text)
    if args.output:
        write_atomically(args.output, f"{text}\n".encode(errors="surrogateescape"))
        print(f"Written: {args.output}")
    return 0


def _models(batch_dir):
    """Returns (run, folder) of the models of a batch that have an entropy model."""
    found = []
    for run, folder in find_lambda_dirs(batch_dir):
        prefix = folders.find_checkpoint(folder)
        record = folders.load_record(os.path.dirname(prefix))
        if record.get("rate_model") == "entropy":
            found.append((run, folder))
    if not found:
        raise UserError(
            f"--batch_dir {batch_dir}: no run of --rate_model entropy there"
        )
    return found


def _rates(networks, prefix, images):
    """Yields for each image the estimated bpp, and that of the files of `CODINGS`."""
    settings = folders.load_settings(os.path.dirname(prefix))
    subsampling = settings.file_subsampling(is_searched=False)
    bits = bits_of_checkpoint(prefix, _LIMIT, subsampling).reshape(64, 3, -1)
    coefficients = np.arange(64).reshape(8, 8)
    options = EncodeOptions(quantization="round", tune=OWN_LOSS)
    rounding = Rounding(options.entropy_coding)
    with TrainedModel(settings, prefix, networks=networks) as model:
        coded_by = model.codec(options).model
        for image in images:
            quantized = rounding.quantize(coded_by, image)
            height, width = image.shape[:2]
            estimate = sum(
                bits[coefficients, component, plane + _LIMIT].sum()
                for component, plane in enumerate(quantized.planes)
            )
            files = [jpeg_file.encode(quantized, coding) for coding in CODINGS]
            yield (
                estimate / (height * width),
                *(bits_per_pixel(len(data), height, width) for data in files),
            )


def _columns(rates):
    """Returns the cells of one model."""
    estimate, *real = rates.T
    cells = [f"{estimate.mean():.4f}"]
    for rate in real:
        cells += [
            f"{rate.mean():.4f}",
            f"{estimate.mean() / rate.mean():.3f}",
            f"{np.corrcoef(estimate, rate)[0, 1]:.4f}",
        ]
    return cells


if __name__ == "__main__":
    run_main(main)
