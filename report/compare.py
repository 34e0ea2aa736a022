"""Compares evaluations of different encodings, and published curves, in one table.

`evaluate.py` measures with one encoding at a time and compares like with like. Here the
results of several calls stand in one table, against JPEG of the first folder:
`python3 -m report.compare results/standard results/search --figure_dir figures`.
"""

import logging

import arg_parser
from evaluation import judges, results, tables
from evaluation.bd_rate import bd_rate, range_text
from evaluation.curves import (
    notes_on_small,
    of_common_images,
    read_curves,
    read_published,
    with_own_labels,
)
from evaluation.gains import gains_of_images
from evaluation.image_names import find_originals, short_name
from evaluation.plots import Curve, plot_overview, plot_rate_distortion
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.pictures.image_files import find_images

logger = logging.getLogger("compare")


def main():
    """Compares what the command line names; returns the exit status."""
    args = arg_parser.parse_compare()
    whole_anchor, whole_curves, missing = _read_all(args)
    anchor, *curves = of_common_images([whole_anchor, *whole_curves])
    text = _tables(anchor, curves, args.bpp_range)
    if notes := notes_on_small([whole_anchor, *whole_curves]):
        text += "\n\n" + "\n".join(notes)
    print(text)
    written = []
    if args.output:
        write_atomically(args.output, f"{text}\n".encode(errors="surrogateescape"))
        written.append(args.output)
    if args.figure_dir:
        shown = [Curve(c.label, c.means, c.kind) for c in (anchor, *curves)]
        written += plot_rate_distortion(shown, args.figure_dir)
        written.append(plot_overview(shown, args.figure_dir, args.bpp_range))
    if args.report:
        written.append(_report(whole_anchor, whole_curves, missing, args))
    if written:
        print("Written:", *written, sep="\n  ")
    return 1 if missing else 0


def _read_all(args):
    """Returns (anchor, other curves, sentences on what could not be read).

    Raises:
      UserError: there is no anchor; without `--report` also for anything else.
    """
    by_folder = [read_curves(args.folders[0])]
    anchor = next((c for c in by_folder[0] if c.kind == "jpeg"), None)
    if anchor is None:
        raise UserError(f"{args.folders[0]}: no _output_PIL of evaluate.py there")
    missing = []
    readers = [(read_curves, folder) for folder in args.folders[1:]]
    readers += [(read_published, path) for path in args.published]
    for read, path in readers:
        try:
            by_folder.append(read(path))
        except UserError as error:
            _tell_missing(error, args, missing)
    curves = []
    for curve in _without_repeated_jpeg(anchor, by_folder):
        if any(point.images != anchor.results[0].images for point in curve.results):
            error = UserError(
                f"{curve.label}: of other test images than {anchor.label}"
            )
            _tell_missing(error, args, missing)
        else:
            curves.append(curve)
    if args.only:
        curves = _chosen(curves, args.only)
    anchor, *curves = with_own_labels([anchor, *curves])
    return anchor, curves, missing


def _tell_missing(error, args, missing):
    """Reports what is missing: a page is written without it, a table is not."""
    if not args.report:
        raise error
    logger.error("error: %s", error)
    missing.append(str(error))


def _without_repeated_jpeg(anchor, by_folder):
    """Returns all curves but the anchor, and JPEG of each encoding only once."""
    curves, labels = [], {anchor.label}
    for curve in (curve for found in by_folder for curve in found):
        if curve.kind != "jpeg" or not curve.results or curve.label not in labels:
            curves.append(curve)
            labels.add(curve.label)
    return curves


def _report(anchor, curves, missing, args):
    """Writes the page and prints its first answer; returns its path."""
    # Imported here: tables alone need no pictures.
    from report import report

    paths = []
    if args.test_image_glob:
        try:
            paths = find_images(args.test_image_glob)
        except UserError as error:
            _tell_missing(error, args, missing)
    content = report.Content(
        anchor=anchor,
        curves=curves,
        bpp_range=args.bpp_range,
        originals=find_originals(anchor.records[0]["key"]["images"], paths),
        command=report.command_line("-m report.compare"),
        missing=missing,
    )
    written = report.write_report(args.report, content, args.self_contained)
    missing[:] = written.missing
    print(f"\n{written.headline}\n")
    return written.path


def _tables(anchor, curves, bpp_range):
    """Returns the text of all tables."""
    metrics = tables.shown_metrics([m for c in (anchor, *curves) for m in c.means])
    header = ["curve", *(judges.marked(metric, metric.title) for metric in metrics)]
    rows = [[c.label, *_cells(anchor, c, metrics, bpp_range)] for c in curves]
    text = (
        f"BD-rate against {anchor.label}, {range_text(bpp_range)}, "
        f"{len(anchor.results[0].images)} images (negative: fewer bits), and the image "
        "with the worst BD-rate for PSNR:\n\n"
        + tables.markdown_table([*header, "worst image"], rows)
    )
    if note := judges.note_on_judges(metrics, {c.label: c.minimised for c in curves}):
        text += f"\n\n{note}"
    learned = [curve for curve in curves if curve.kind != "jpeg"]
    if learned:
        text += "\n\nMeans of every operating point:\n\n"
        shown = tables.shown_metrics([m for c in learned for m in c.means])
        header = ["curve", "setting", "bpp", *(m.value_heading for m in shown)]
        text += tables.markdown_table(header, _mean_rows(learned, shown))
    if note := results.note_on_missing(_points_by_name([anchor, *curves])):
        text += f"\n\n{note}"
    return text


def _chosen(curves, names):
    """Returns the curves of some names or labels, in the order of these."""
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


def _cells(anchor, curve, metrics, bpp_range):
    """Returns BD-rates of the means, and the image with the worst one for PSNR."""
    cells = []
    for metric in metrics:
        pair = (anchor.points(metric.key), curve.points(metric.key))
        rate = bd_rate(*pair, metric.key, bpp_range)
        cells.append(rate.reason if rate.percent is None else f"{rate.percent:+.1f} %")
    if not curve.results:
        return [*cells, "not known"]
    by_image = gains_of_images(anchor, curve, "psnr", bpp_range)
    if not by_image:
        return [*cells, "no overlap"]
    image = max(by_image, key=lambda name: (by_image[name], name))
    name = short_name(image, anchor.results[0].images)
    return [*cells, f"{name} {by_image[image]:+.1f} %"]


def _points_by_name(curves):
    """Returns a dict from label and setting to the results of an operating point."""
    return {
        f"{curve.label}, {setting}": point
        for curve in curves
        if curve.results
        for setting, point in zip(curve.settings, curve.results, strict=True)
    }


def _mean_rows(curves, metrics):
    return [
        [
            curve.label,
            setting,
            f"{mean['bpp']:.3f}",
            *(tables.value_cell(metric, mean[metric.key]) for metric in metrics),
        ]
        for curve in curves
        for setting, mean in zip(curve.settings, curve.means, strict=True)
    ]


if __name__ == "__main__":
    run_main(main)
