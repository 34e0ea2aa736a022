"""Loss curves of trained runs: have they flattened, and how long did they take?

`python3 -m evaluation.loss_curves runs example_experiments` reads TensorBoard's events
of `runs/<run>/lambda_*/train`, keeps their numbers in
`example_experiments/<run>/loss.csv` (events are large and stay with the training), and
draws every such file there is into `example_experiments/loss_curves.png`.
"""

import csv
import glob
import io
import logging
import math
import os

import tqdm

import arg_parser
import tensorflow_v1 as tf
from evaluation import palette, tables
from evaluation.operating_points import find_lambda_dirs
from evaluation.plots import new_figure, save_figure, style_axes
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.models import folders

logger = logging.getLogger("loss_curves")

COLUMNS = ("lambda", "step", "mean_loss", "seconds")
CSV_NAME = "loss.csv"
FIGURE_NAME = "loss_curves.png"
# Of the steps: the mean of the last ones is compared with that of as many before.
TAIL = 0.25


def main():
    """Reads, writes and draws what the command line names; returns the exit status."""
    args = arg_parser.parse_loss_curves()
    lambda_dirs = find_lambda_dirs(args.batch_dir)
    read = False
    for run, folder in tqdm.tqdm(lambda_dirs, unit="model", disable=None):
        train = os.path.join(folder, "train")
        if points := read_events(train):
            read = True
            lmbda = folders.load_record(train).get("lmbda")
            if lmbda is None:
                raise UserError(f"{train}: events without settings.json; restore it")
            path = os.path.join(args.output_dir, run, CSV_NAME)
            known = read_csv(path) if os.path.exists(path) else {}
            write_csv(path, known | {lmbda: points})
    if not read:
        raise UserError(
            f"{args.batch_dir}: no events with a mean loss there; train first"
        )
    pattern = os.path.join(glob.escape(args.output_dir), "*", CSV_NAME)
    curves = {
        os.path.basename(os.path.dirname(path)): read_csv(path)
        for path in sorted(glob.glob(pattern))
    }
    print(flatness_table(curves))
    path = os.path.join(args.output_dir, FIGURE_NAME)
    save_figure(loss_figure(curves), path)
    print(f"Written: {path}")
    return 0


def read_events(folder):
    """[(step, mean loss, seconds since the start)] of a checkpoint folder.

    The loss is the mean since the entry before; at step 0 it is that of one batch.
    After an interruption the entries of the training that went on replace those that
    it repeats; the time in between does not count.
    """
    found, seconds = {}, 0.0
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "events.*"))):
        last = None
        try:
            for event in tf.train.summary_iterator(path):
                last = last or event.wall_time  # the file's head
                for value in event.summary.value:
                    if value.tag == "loss" and event.step == 0:
                        found[0] = value.simple_value, 0.0
                    if value.tag == "mean_loss":
                        seconds += event.wall_time - last
                        found[event.step] = value.simple_value, seconds
                if event.summary.value:
                    last = event.wall_time
        except tf.errors.DataLossError:
            logger.warning("%s: cut off; what is before is used", path)
    return [(step, *found[step]) for step in sorted(found)]


def write_csv(path, curves):
    """Writes {lambda: as from `read_events`}."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for lmbda, points in sorted(curves.items()):
        for step, loss, seconds in points:
            writer.writerow([lmbda, step, f"{loss:.6g}", f"{seconds:.0f}"])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomically(path, text.getvalue().encode())


def read_csv(path):
    """{lambda: as from `read_events`} of a file that `write_csv` wrote.

    Raises:
      UserError: it is no such file.
    """
    curves = {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        if tuple(header) != COLUMNS:
            raise ValueError(f"columns {header}")
        for lmbda, *numbers in rows:
            step, loss, seconds = map(float, numbers)
            points = curves.setdefault(float(lmbda), [])
            points.append((int(step), loss, seconds))
        if not curves:
            raise ValueError("no rows")
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: not written by loss_curves.py; delete it and call again"
        ) from error
    return curves


def last_change(points):
    """Relative change of the mean loss between the last quarter and that before it.

    Args:
      points: [(step, mean loss, seconds)].

    Returns:
      nan where a quarter holds no point.
    """
    first = _losses_within(points, 1 - 2 * TAIL, 1 - TAIL)
    second = _losses_within(points, 1 - TAIL, 1)
    if not first:
        return float("nan")
    return (sum(second) / len(second)) / (sum(first) / len(first)) - 1


def _losses_within(points, low, high):
    """Returns the points of a part of the steps, such as (0.75, 1)."""
    end = points[-1][0]
    return [loss for step, loss, _ in points if low * end < step <= high * end]


def flatness_table(curves):
    """Markdown: steps, minutes and the last change of the loss of every run.

    Args:
      curves: {run: as from `read_csv`}.
    """
    rows = []
    for run, by_lambda in curves.items():
        changes = [last_change(points) for points in by_lambda.values()]
        steps = max(points[-1][0] for points in by_lambda.values())
        minutes = [points[-1][2] / 60 for points in by_lambda.values()]
        rows.append(
            [
                run,
                str(len(by_lambda)),
                f"{steps:.0f}",
                f"{sum(minutes) / len(minutes):.1f}",
                _span(changes),
            ]
        )
    header = ["run", "lambdas", "steps", "minutes a lambda", "loss, last quarter"]
    return tables.markdown_table(header, rows)


def _span(changes):
    known = [100 * change for change in changes if not math.isnan(change)]
    return f"{min(known):+.1f} to {max(known):+.1f} %" if known else "too short"


def loss_figure(curves):
    """A panel for each run, a line for each lambda: loss relative to its end.

    All panels have one logarithmic scale, which holds every step.

    Args:
      curves: {run: as from `read_csv`}.

    Returns:
      `matplotlib.figure.Figure`.
    """
    columns = min(2, len(curves))
    lines = -(-len(curves) // columns)
    figure = new_figure((4.2 * columns, 2.7 * lines))
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, (run, by_lambda) in zip(panels, curves.items(), strict=False):
        for index, (lmbda, points) in enumerate(sorted(by_lambda.items())):
            steps, losses, _ = zip(*points, strict=True)
            tail = _losses_within(points, 1 - TAIL, 1)
            relative = [loss * len(tail) / sum(tail) for loss in losses]
            colour = palette.shade(index / max(1, len(by_lambda) - 1))
            axes.plot(steps, relative, color=colour, label=f"{lmbda:g}", linewidth=1.2)
        axes.set_title(run, fontsize=10, parse_math=False)
        axes.set_yscale("log")
        style_axes(axes)
        axes.tick_params(labelsize=9)
        axes.legend(
            title="lambda", fontsize=8, title_fontsize=8, frameon=False, ncols=2
        )
    _name_levels(panels[0])
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("loss, its mean over the last quarter is 1", fontsize=10)
    figure.tight_layout()
    return figure


def _name_levels(axes):
    """Labels the logarithmic axis by plain numbers, few enough to be read."""
    low, high = axes.get_ylim()
    levels = (0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100)
    shown = [level for level in levels if low <= level <= high]
    if len(shown) > 8:
        shown = [level for level in shown if level in (0.1, 0.5, 1, 2, 5, 10, 50, 100)]
    axes.set_yticks(shown, [f"{level:g}" for level in shown])
    axes.yaxis.set_minor_formatter("")


if __name__ == "__main__":
    run_main(main)
