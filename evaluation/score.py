"""Scores files of any codec against their originals, by all metrics.

`python3 -m evaluation.score files "KODAK/*.png" -o scores.csv` compares every file with
the original of the same stem: `files/q50/kodim01.avif` with `KODAK/kodim01.png`. The
files of a folder are one operating point. With a name that ends with `.json` the means
are written as CompressAI does, a curve that `--published` reads.
"""

from __future__ import annotations

import collections
import concurrent.futures
import csv
import io
import json
import os

import arg_parser
from evaluation import other_encoders, results, tables
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import find_images, read_image


def main():
    """Scores what the command line names; returns the exit status."""
    args = arg_parser.parse_score()
    originals = {_stem(path): path for path in find_images(args.originals)}
    files = find_files(args.files)
    pairs = matched(files, originals)
    workers = args.workers or machine.usable_cores()
    by_original = collections.defaultdict(list)
    for file, original in pairs:
        by_original[original].append(file)
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        scored = executor.map(lambda item: _score(*item), by_original.items())
        rows = {path: row for found in scored for path, row in found.items()}
    points = collections.defaultdict(list)
    for file, _ in pairs:
        points[os.path.dirname(file)].append(file)
    measured = {
        folder: results.PointResults.from_rows(
            [os.path.basename(file) for file in own], [rows[file] for file in own]
        )
        for folder, own in points.items()
    }
    means = {folder or ".": point.means() for folder, point in measured.items()}
    print(tables.summary_table(means))
    if args.output:
        _write(args.output, rows, means, args.name)
        print(f"Written: {args.output}")
    return 0


def find_files(path: str) -> list[str]:
    """Returns the coded files at a path: a file, or all in a folder and below it.

    Raises:
      UserError: there is none.
    """
    if os.path.isfile(path):
        return [path]
    found = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if os.path.splitext(name)[1].lower() in _SUFFIXES and not name.startswith(".")
    ]
    if not found:
        raise UserError(
            f"{path}: no file of {', '.join(_SUFFIXES)} there"
            if os.path.isdir(path)
            else f"{path}: no such file or folder"
        )
    return sorted(found)


_SUFFIXES = (".jpg", ".jpeg", ".webp", ".avif", ".png")


def matched(files: list[str], originals: dict[str, str]) -> list[tuple[str, str]]:
    """Returns (file, original) of each file, by their stems.

    Raises:
      UserError: a file has no original.
    """
    for file in files:
        if _stem(file) not in originals:
            raise UserError(
                f"{file}: no original of the name {_stem(file)}; name the originals of "
                "all files"
            )
    return [(file, originals[_stem(file)]) for file in files]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _score(original: str, files: list[str]) -> dict[str, dict[str, float]]:
    """Returns {file: {"bpp" and each metric}} of the files of one original."""
    metrics = ImageMetrics(read_image(original))
    height, width = metrics.original.shape[:2]
    rows = {}
    for path in files:
        with open(path, "rb") as file:
            data = file.read()
        try:
            decoded = other_encoders.decode(data)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        if decoded.shape != metrics.original.shape:
            own = "x".join(map(str, decoded.shape[1::-1]))
            raise UserError(f"{path}: {own} px; {original} has {width}x{height} px")
        bpp = bits_per_pixel(len(data), height, width)
        rows[path] = {"bpp": bpp, **metrics.compare(decoded)}
    return rows


def _write(output, rows, means, name):
    """Writes every file's numbers, or the means of each folder as a curve."""
    if output.endswith(".json"):
        ordered = sorted(means.values(), key=lambda mean: mean["bpp"])
        count = len(rows) // len(means)
        text = f"{count} images decoded by Pillow, means of per-image values"
        curve = other_encoders.compressai_json(name, text, ordered)
        write_atomically(output, (json.dumps(curve, indent=1) + "\n").encode())
        return
    keys = list(next(iter(rows.values())))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", *keys])
    for path, row in rows.items():
        writer.writerow([path, *(row[key] for key in keys)])
    write_atomically(output, table.getvalue().encode(errors="surrogateescape"))


if __name__ == "__main__":
    run_main(main)
