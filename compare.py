"""Compares evaluations of different encodings against one anchor.

`evaluate.py` measures with one encoding at a time and compares like with like. Here the
results of several calls stand in one table, against JPEG of the first folder:
`python3 compare.py results/default results/optimized_rdoq --figure_dir figures`.
"""

import tensorflow_log

import glob
import json
import os
import re
from typing import NamedTuple

import arg_parser
import results
from errors import UserError, run_main
from image_files import write_atomically
from plots import Curve, plot_rate_distortion

METRICS = ("psnr", "ms-ssim", "lpips")


class Evaluated(NamedTuple):
    """One codec with one encoding: its dots, `results.DotResults`."""

    name: str
    encoding: str
    kind: str  # of `plots.Curve`
    dots: list

    @property
    def label(self):
        """Name and encoding, for tables and legends."""
        return f"{self.name}, {self.encoding}"

    def points(self, metric, image=None):
        """(bpp, metric) of each dot: means, or of one image (its index)."""
        if image is None:
            means = [dot.means() for dot in self.dots]
            return [(mean["bpp"], mean[metric]) for mean in means]
        return [(d.values["bpp"][image], d.values[metric][image]) for d in self.dots]


def main():
    """Compares what the command line names; returns the exit status."""
    args = arg_parser.parse_compare()
    curves = [curve for folder in args.folders for curve in read_curves(folder)]
    anchor = next((c for c in curves if c.kind == "jpeg"), None)
    if anchor is None:
        raise UserError(f"{args.folders[0]}: no _output_PIL of evaluate.py there")
    images = anchor.dots[0].images
    for curve in curves:
        if any(dot.images != images for dot in curve.dots):
            raise UserError(f"{curve.label}: of other test images than {anchor.label}")
    if args.runs:
        curves = [c for c in curves if c.kind == "jpeg" or c.name in args.runs]
    rows = [
        [curve.label, *_cells(anchor, curve, args.bpp_range)]
        for curve in curves
        if curve is not anchor
    ]
    low, high = args.bpp_range
    text = (
        f"BD-rate against {anchor.label}, {low:g} to {high:g} bpp, {len(images)} images"
        " (negative: fewer bits), and the image with the worst BD-rate for PSNR:\n\n"
        + results.markdown_table(
            ["curve", "PSNR", "MS-SSIM", "LPIPS", "worst image"], rows
        )
    )
    print(text)
    if args.output:
        write_atomically(args.output, f"{text}\n".encode())
        print(f"Written: {args.output}")
    if args.figure_dir:
        figures = plot_rate_distortion(
            [Curve(c.label, [d.means() for d in c.dots], c.kind) for c in curves],
            args.figure_dir,
        )
        print("Written:", *figures, sep="\n  ")
    return 0


def read_curves(folder):
    """The `Evaluated` curves in an `--output_dir` of evaluate.py, JPEG first."""
    found = {}
    for part in ("_output_PIL", "_output"):
        pattern = os.path.join(glob.escape(folder), part, "*.json")
        for path in sorted(glob.glob(pattern)):
            name, kind = _name_and_kind(os.path.basename(path), part)
            try:
                with open(path, encoding="utf-8") as file:
                    encoding = _encoding(json.load(file)["settings"])
                dot = results.read_csv(path.removesuffix(".json") + ".csv")
            except (KeyError, ValueError, FileNotFoundError) as error:
                raise UserError(
                    f"{path}: no whole record of evaluate.py; evaluate again"
                ) from error
            found.setdefault((name, encoding, kind), []).append(dot)
    if not found:
        raise UserError(f"{folder}: no results of evaluate.py there")
    return [
        Evaluated(*key, sorted(dots, key=lambda dot: dot.means()["bpp"]))
        for key, dots in found.items()
    ]


def _name_and_kind(file_name, part):
    if part == "_output_PIL":
        return "JPEG", "jpeg"
    if file_name.startswith("google_Q"):
        return "Google baseline", "google"
    return re.sub(r"-lambda_[^-]*\.json$", "", file_name), "run"


def _encoding(settings):
    words = [settings["entropy_coding"]]
    if settings.get("quantization", "round") != "round":
        words.append(settings["quantization"])
    if settings.get("refine_steps"):
        words.append(f"{settings['refine_steps']} refinement steps")
    return ", ".join(words)


def _cells(anchor, curve, bpp_range):
    """BD-rates of the means, and the image with the worst one for PSNR."""
    cells = []
    for metric in METRICS:
        rate = results.bd_rate(
            anchor.points(metric), curve.points(metric), metric, bpp_range
        )
        cells.append(rate.reason if rate.percent is None else f"{rate.percent:+.1f} %")
    worst = []
    for index, image in enumerate(anchor.dots[0].images):
        pair = (c.points("psnr", index) for c in (anchor, curve))
        rate = results.bd_rate(*pair, "psnr")
        if rate.percent is not None:
            worst.append((rate.percent, image))
    if not worst:
        return [*cells, "no overlap"]
    percent, image = max(worst)
    return [*cells, f"{os.path.splitext(image)[0]} {percent:+.1f} %"]


if __name__ == "__main__":
    run_main(main)
