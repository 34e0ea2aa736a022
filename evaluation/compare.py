"""Compares evaluations of different encodings, and published curves, in one table.

`evaluate.py` measures with one encoding at a time and compares like with like. Here the
results of several calls stand in one table, against JPEG of the first folder:
`python3 -m evaluation.compare results/default results/rdoq --figure_dir figures`.
"""

import glob
import math
import os
from typing import NamedTuple

import arg_parser
from atomic_files import write_atomically
from errors import UserError, run_main
from evaluation import results, tables
from evaluation.bd_rate import bd_rate
from evaluation.plots import Curve, plot_overview, plot_rate_distortion
from training.json_files import read_json

# What content of another form than expected raises.
_ODD_CONTENT = (AttributeError, KeyError, TypeError, ValueError)


class Compared(NamedTuple):
    """One codec with one encoding.

    Attributes:
      name: of the run or codec.
      label: name and encoding, for tables and legends.
      kind: of `plots.Curve`.
      settings: of each dot, a word: lambda or quality.
      means: of each dot, a dict with the keys `results.MEASURED`, in the order of bpp.
      dots: `results.DotResults` of each dot; empty for published curves, of which the
        means alone are known.
    """

    name: str
    label: str
    kind: str
    settings: list
    means: list
    dots: list

    def points(self, metric):
        """(bpp, metric) of each dot, means."""
        return [(mean["bpp"], mean[metric]) for mean in self.means]

    def points_of_image(self, metric, index):
        """(bpp, metric) of each dot, of one image."""
        return [(d.values["bpp"][index], d.values[metric][index]) for d in self.dots]


def main():
    """Compares what the command line names; returns the exit status."""
    args = arg_parser.parse_compare()
    by_folder = [read_curves(folder) for folder in args.folders]
    anchor = next((c for c in by_folder[0] if c.kind == "jpeg"), None)
    if anchor is None:
        raise UserError(f"{args.folders[0]}: no _output_PIL of evaluate.py there")
    # Evaluations of one coding have the same JPEG: it stands there once.
    curves, labels = [], {anchor.label}
    for curve in (curve for found in by_folder for curve in found):
        if curve.kind != "jpeg" or curve.label not in labels:
            curves.append(curve)
            labels.add(curve.label)
    images = anchor.dots[0].images
    for curve in curves:
        if any(dot.images != images for dot in curve.dots):
            raise UserError(f"{curve.label}: of other test images than {anchor.label}")
    curves += [curve for path in args.published for curve in read_published(path)]
    if args.only:
        curves = _chosen(curves, args.only)
    low, high = args.bpp_range
    metrics = tables.shown_metrics([m for c in (anchor, *curves) for m in c.means])
    rows = [[c.label, *_cells(anchor, c, metrics, args.bpp_range)] for c in curves]
    header = ["curve", *(tables.HEADINGS[m].removesuffix(" [dB]") for m in metrics)]
    text = (
        f"BD-rate against {anchor.label}, {low:g} to {high:g} bpp, {len(images)} images"
        " (negative: fewer bits), and the image with the worst BD-rate for PSNR:\n\n"
        + tables.markdown_table([*header, "worst image"], rows)
    )
    learned = [curve for curve in curves if curve.kind != "jpeg"]
    if learned:
        text += "\n\nMeans, by lambda "
        text += "(Google baseline and search without a model: quality):\n\n"
        scores = tables.scores_shown([m for c in learned for m in c.means])
        header = ["curve", "lambda", "bpp", "PSNR [dB]", "MS-SSIM", "LPIPS"]
        header += [tables.HEADINGS[score] for score in scores]
        text += tables.markdown_table(header, _mean_rows(learned, scores))
    if note := results.note_on_missing(_dots_by_name([anchor, *curves])):
        text += f"\n\n{note}"
    print(text)
    if args.output:
        write_atomically(args.output, f"{text}\n".encode(errors="surrogateescape"))
        print(f"Written: {args.output}")
    if args.figure_dir:
        shown = [Curve(c.label, c.means, c.kind) for c in (anchor, *curves)]
        figures = plot_rate_distortion(shown, args.figure_dir)
        figures.append(plot_overview(shown, args.figure_dir, args.bpp_range))
        print("Written:", *figures, sep="\n  ")
    return 0


def _chosen(curves, names):
    """The curves of some names or labels, in the order of these."""
    chosen = []
    for name in names:
        found = [curve for curve in curves if name in (curve.name, curve.label)]
        if not found:
            raise UserError(
                f"--only {name}: no such run or curve; there are: "
                + "; ".join(curve.label for curve in curves)
            )
        chosen += [curve for curve in found if curve not in chosen]
    return chosen


def read_curves(folder):
    """The `Compared` curves in an `--output_dir` of evaluate.py, JPEG first.

    Raises:
      UserError: there are none, or one is damaged.
    """
    found = {}
    for part in ("_output_PIL", "_output"):
        pattern = os.path.join(glob.escape(folder), part, "*.json")
        for path in sorted(glob.glob(pattern)):
            stem = path.removesuffix(".json")
            if not os.path.exists(f"{stem}.pickle"):
                continue  # evaluate.py has begun to measure it anew
            name, kind = _name_and_kind(os.path.basename(path), part)
            try:
                settings = read_json(path)["settings"]
                label = f"{name}, {_encoding(settings)}"
                dot = results.read_csv(f"{stem}.csv")
                setting = _word(settings.get("quality", settings.get("lmbda")))
            except (*_ODD_CONTENT, FileNotFoundError) as error:
                raise UserError(
                    f"{path}: no whole record of evaluate.py; evaluate again"
                ) from error
            found.setdefault((name, label, kind), []).append((setting, dot))
    if not found:
        raise UserError(f"{folder}: no results of evaluate.py there")
    curves = []
    for key, pairs in found.items():
        pairs.sort(key=lambda pair: pair[1].means()["bpp"])
        settings, dots = map(list, zip(*pairs, strict=True))
        curves.append(Compared(*key, settings, [dot.means() for dot in dots], dots))
    return curves


def read_published(path):
    """The `Compared` curves in a JSON file of the form that CompressAI writes.

    One object, or a list of them, with `name` and `results`: lists `bpp` and
    `psnr-rgb`, and `ms-ssim-rgb`, `lpips-alex`, `mse`, `ssimulacra2` and
    `butteraugli-3norm` as far as they are known.

    Raises:
      UserError: the file cannot be read, or is not of that form.
    """
    try:
        content = read_json(path)
        entries = content if isinstance(content, list) else [content]
        return [_published(entry) for entry in entries]
    except (OSError, *_ODD_CONTENT) as error:
        raise UserError(
            f"--published {path}: no curves in the form of CompressAI ({error!r})"
        ) from error


def _published(entry):
    numbers = entry["results"]
    bpp = numbers["bpp"]
    missing = [math.nan] * len(bpp)
    columns = {
        name: numbers[key] if key == "psnr-rgb" else numbers.get(key, missing)
        for name, key in results.JSON_NAMES.items()
    }
    rows = zip(*columns.values(), strict=True)
    means = [
        {name: _number(name, value) for name, value in zip(columns, row, strict=True)}
        for row in rows
    ]
    means.sort(key=lambda mean: mean["bpp"])
    name = str(entry["name"])
    return Compared(name, name, "jpeg", [], means, [])


def _number(name, value):
    value = math.nan if value is None else float(value)
    return results.check_number(name, value)


def _word(setting):
    """A setting for the table; a model without settings.json has none."""
    return "?" if setting is None else f"{setting:g}"


def _name_and_kind(file_name, part):
    if part == "_output_PIL":
        return "JPEG", "jpeg"
    if file_name.startswith("google_Q"):
        return "Google baseline", "google"
    if file_name.startswith("search_Q"):
        return "search, no model", "run"
    # The name of a run and that of its folder, as `dots.plan_dots` joins them.
    run, joint, _ = file_name.rpartition("-lambda_")
    return run if joint else file_name, "run"


def _encoding(settings):
    words = [settings["entropy_coding"]]
    if "subsampling" in settings:
        words.append(settings["subsampling"])
    if settings.get("quantization", "round") != "round":
        words.append(settings["quantization"])
    if settings.get("tune", "model") != "model":
        words.append(f"tuned for {settings['tune']}")
    if settings.get("refine_steps"):
        words.append(f"{settings['refine_steps']} refinement steps")
    return ", ".join(words)


def _cells(anchor, curve, metrics, bpp_range):
    """BD-rates of the means, and the image with the worst one for PSNR."""
    cells = []
    for metric in metrics:
        rate = bd_rate(anchor.points(metric), curve.points(metric), metric, bpp_range)
        cells.append(rate.reason if rate.percent is None else f"{rate.percent:+.1f} %")
    if not curve.dots:
        return [*cells, "not known"]
    worst = []
    for index, image in enumerate(anchor.dots[0].images):
        pair = (c.points_of_image("psnr", index) for c in (anchor, curve))
        rate = bd_rate(*pair, "psnr", bpp_range)
        if rate.percent is not None:
            worst.append((rate.percent, image))
    if not worst:
        return [*cells, "no overlap"]
    percent, image = max(worst)
    return [*cells, f"{os.path.splitext(image)[0]} {percent:+.1f} %"]


def _dots_by_name(curves):
    """dict from label and setting to the dot; published curves have none."""
    return {
        f"{curve.label}, {setting}": dot
        for curve in curves
        for setting, dot in zip(curve.settings, curve.dots, strict=True)
    }


def _mean_rows(curves, scores):
    return [
        [
            curve.label,
            setting,
            f"{mean['bpp']:.3f}",
            f"{mean['psnr']:.2f}",
            f"{mean['ms-ssim']:.4f}",
            f"{mean['lpips']:.4f}",
            *(tables.score_cell(mean[score]) for score in scores),
        ]
        for curve in curves
        for setting, mean in zip(curve.settings, curve.means, strict=True)
    ]


if __name__ == "__main__":
    run_main(main)
