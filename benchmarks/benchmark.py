"""Speed and memory of training, evaluation, compression and start-up.

    python3 benchmarks/benchmark.py [--only NAME ...] [--json FILE]

Prints Markdown tables; README.md in this folder defines their columns.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import (
    coding_speed,
    encoder_speed,
    encoder_steps,
    measuring,
    start_up,
    training_speed,
)
from learned_jpeg.commands.arguments import PRECISIONS
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.process import run_main
from training import devices

logger = logging.getLogger("benchmark")

# Functions of `measuring.Options` that return (rows, notes): a row is a dict from
# columns to values, a note is a sentence. The docstring is the title.
MEASUREMENTS = {
    "step": training_speed.step,
    "frozen_trunk": training_speed.frozen_trunk,
    "input": training_speed.input_pipeline,
    "precision": training_speed.precision,
    "batch_size": training_speed.batch_size,
    "evaluation": coding_speed.evaluation,
    "encoding": coding_speed.encoding,
    "encoder_speed": encoder_speed.encoder_speed,
    "scoring": encoder_speed.scoring,
    "encoder_steps": encoder_steps.encoder_steps,
    "compress": coding_speed.compress,
    "picture_size": coding_speed.picture_size,
    "start_up": start_up.start_up,
}

# Synthetic images, where no real ones are named: count, height, width in px.
_TRAIN_IMAGES = (32, 512, 512)
_TEST_IMAGES = (4, 512, 768)


def main():
    """Runs the measurements of the command line; returns the exit status."""
    args = parse_args()
    machine = measuring.machine()
    print(_machine_text(machine, args), flush=True)
    report = {"machine": machine, "settings": vars(args), "results": {}, "errors": {}}
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        options = _options(args, folder)
        for name in args.only:
            _measure(name, options, report)
            if args.json:  # Each time: what is measured stays, whatever happens.
                text = json.dumps(report, indent=2) + "\n"
                write_atomically(args.json, text.encode())
    for name, error in report["errors"].items():
        logger.error("%s failed: %s", name, error)
    return 1 if report["errors"] else 0


def parse_args(argv=None):
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description="Measures speed and memory; needs no data from elsewhere."
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=MEASUREMENTS,
        default=list(MEASUREMENTS),
        metavar="NAME",
        help=f"measurements to make (default: all): {', '.join(MEASUREMENTS)}",
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="repeats of each timing (default: 5)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="make one short repeat, to see that everything runs",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=devices.choose_precision()[0],
        help="of the convolutions (default: bfloat16 if the machine has units for it)",
    )
    parser.add_argument(
        "--train_glob",
        metavar="GLOB",
        help="training images that replace the synthetic ones",
    )
    parser.add_argument(
        "--kodak_glob",
        metavar="GLOB",
        help="test images that replace the synthetic ones",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="file that the numbers are written to"
    )
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error("--repeats: at least 1")
    if args.quick:
        args.repeats = 1
    return args


def _options(args, folder):
    def images(pattern, name, shape):
        target = os.path.join(folder, name)
        return pattern or measuring.write_images(target, *shape)

    return measuring.Options(
        repeats=args.repeats,
        quick=args.quick,
        precision=args.precision,
        folder=folder,
        train_images=images(args.train_glob, "train_images", _TRAIN_IMAGES),
        test_images=images(args.kodak_glob, "test_images", _TEST_IMAGES),
    )


def _measure(name, options, report):
    """Makes one measurement, prints its table and adds it to the report."""
    function = MEASUREMENTS[name]
    start = time.monotonic()
    try:
        rows, notes = function(options)
    except Exception as error:  # The other measurements go on.
        logger.exception("%s failed", name)
        report["errors"][name] = (str(error) or repr(error)).splitlines()[0]
        return
    seconds = time.monotonic() - start
    report["results"][name] = {"rows": rows, "notes": notes, "seconds": seconds}
    title = f"## {function.__doc__.rstrip('.')} (`{name}`)"
    print(f"\n{title}\n\n{markdown_table(rows)}", flush=True)
    for note in notes:
        print(f"\n{note}.", flush=True)


def markdown_table(rows):
    """Dicts as a Markdown table; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1)]
    lines += [[_cell(key, row.get(key)) for key in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(column, value):
    if value is None or isinstance(value, str):
        return value or ""
    if column.endswith("share"):
        return f"{value:.1%}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _machine_text(machine, args):
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['bfloat16']}; {args.precision} convolutions; "
        f"load {machine['load_average_before']} before the start; {versions}; "
        f"median of {args.repeats} repeats."
    )


if __name__ == "__main__":
    run_main(main)
