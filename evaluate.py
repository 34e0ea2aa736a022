"""Rate-distortion curves of trained models, of JPEG and of the Google baseline.

Every number is of a .jpg file on the disk: its bytes, and its pixels as Pillow decodes
them. A second call only plots. Related commands: `python3 -m report.compare`,
`report.crops`, `evaluation.loss_curves`, `evaluation.rate_check` and
`evaluation.import_pickles`.
"""

import functools
import logging
import os

import arg_parser
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError, is_out_of_memory
from learned_jpeg.common.process import run_main
from learned_jpeg.common.terminal import log_to_stderr
from training import devices

logger = logging.getLogger("evaluate")


def main():
    """Evaluates what the command line names; returns the exit status."""
    log_to_stderr()
    args = arg_parser.parse_evaluate()
    # Imported here, so that --help and wrong flags need not wait.
    from evaluation.evaluator import Evaluator, TestImages, find_test_images
    from evaluation.operating_points import plan_operating_points
    from evaluation.parts import call_of, gathered
    from learned_jpeg.commands.shards import ShardFolder

    _check_batch_dir(args.batch_dir)
    devices.select_device(args.device)
    args.workers = args.workers or machine.usable_cores()
    args.precision, reason = devices.choose_precision(args.precision)
    logger.info("%s convolutions: %s", args.precision, reason)
    points, failed = plan_operating_points(args)
    found = find_test_images(args.test_image_glob)
    if args.shard:
        return _status(failed + _measure_shard(points, found, args))
    images = TestImages(found)
    evaluator = Evaluator(images, args)
    folder = ShardFolder(args.output_dir)
    measure = evaluator.evaluate
    if folder.is_begun():
        folder.check(call_of(args))
        measure = functools.partial(gathered, evaluator, folder, found)
    _tell_new(points)
    measured, broken = _each(points, measure)
    published, missing = _read_published(args.published)
    written = _write_tables(measured, published, args)
    if args.report:
        written += _write_report(measured, published, missing, images, args)
    print("Written:", *written, sep="\n  ")
    if folder.is_begun() and not broken:
        folder.remove()
    return _status(failed + broken + len(missing) + len(images.unreadable))


def _tell_new(points):
    """Says in one line how many operating points have no record yet."""
    stems = [os.path.join(point.folder, point.name) for point in points]
    new = sum(not os.path.exists(f"{stem}.json") for stem in stems)
    if new:
        logger.info("%d of %d operating points: not measured before", new, len(points))


def _measure_shard(points, found, args):
    """Measures what one shard has to do; returns the number of failures."""
    from evaluation.evaluator import Evaluator, TestImages
    from evaluation.parts import PartFile, call_of, units_of
    from learned_jpeg.commands.shards import Shard, ShardFolder

    shard, folder = Shard(*args.shard), ShardFolder(args.output_dir)
    with folder.entered(shard, call_of(args)):
        units = units_of(shard, points, found)
        counts = len(units), len(points)
        logger.info("shard %s: %d of %d operating points", shard, *counts)
        if not units:
            return 0
        wanted = set().union(*(unit.paths or found for unit in units))
        images = TestImages(found, sorted(wanted))
        evaluator = Evaluator(images, args)

        def measure(unit):
            if unit.paths is None:
                evaluator.evaluate(unit.point)
            else:
                part = PartFile(folder, unit.point, shard.index)
                evaluator.evaluate_part(unit.point, unit.paths, part)

        broken = _each(units, measure)[1]
    logger.info("a call without --shard gathers what the shards have measured")
    return broken + len(images.unreadable)


def _each(points, measure):
    """Returns ([(operating point, result of `measure`)], number of failures)."""
    measured, failed = [], 0
    for point in points:
        try:
            measured.append((point, measure(point)))
        except UserError as error:
            logger.error("error: %s", error)
            failed += 1
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.error("error: %s: not enough memory; lower --workers", point.name)
            failed += 1
    return measured, failed


def _status(failed):
    if failed:
        logger.error("%d checkpoints or images failed, see above", failed)
    return 1 if failed else 0


def _check_batch_dir(folder):
    if not os.path.isdir(folder):
        raise UserError(f"--batch_dir {folder}: no such folder")
    if any(
        os.path.exists(os.path.join(folder, inner, "checkpoint"))
        for inner in ("", "train")
    ):
        raise UserError(
            f"--batch_dir {folder}: holds a single checkpoint; name the folder of a "
            "run, or the one that holds the runs"
        )


def _read_published(paths):
    """Returns (curves, sentences on what could not be read)."""
    from evaluation.curves import read_published

    curves, missing = [], []
    for path in paths:
        try:
            curves += read_published(path)
        except UserError as error:
            logger.error("error: %s", error)
            missing.append(str(error))
    return curves, missing


def _write_tables(measured, published, args):
    """Prints and writes the tables, and draws the figures; returns the paths."""
    from evaluation import results
    from evaluation.plots import Curve, plot_rate_distortion

    notes = results.notes_on_small([(p.curve, values) for p, values in measured])
    common = results.of_common_images([values for _, values in measured])
    measured = [(p, values) for (p, _), values in zip(measured, common, strict=True)]
    curves = {}
    for point, values in measured:
        points = curves.setdefault((point.kind, point.curve), [])
        points.append(values.means())
    drawn = [Curve(label, points, kind) for (kind, label), points in curves.items()]
    drawn += [Curve(curve.label, curve.means, curve.kind) for curve in published]
    text = "\n".join([_tables(measured, drawn, args), *notes])
    print(text)
    path = os.path.join(args.output_dir, "results.md")
    os.makedirs(args.output_dir, exist_ok=True)
    write_atomically(path, text.encode(errors="surrogateescape"))
    encoding = _encoding(measured, args)
    return [*plot_rate_distortion(drawn, args.output_dir, title=encoding), path]


def _encoding(measured, args):
    """Says how the models were encoded."""
    from evaluation.operating_points import describe_encoding, describe_samplings

    sampling = describe_samplings([point for point, _ in measured])
    return describe_encoding({**vars(args), "subsampling": sampling})


def _jpeg_encoding(args):
    """Says how plain JPEG was encoded."""
    if args.quantization == "mozjpeg":
        return "quantization mozjpeg"
    return f"{args.entropy_coding} entropy coding, rounded"


def _tables(measured, curves, args):
    """Returns the text of results.md."""
    from evaluation import judges, results, tables
    from learned_jpeg.metrics.basic import INFINITE_PSNR

    jpeg = next((c for c in curves if (c.kind, c.label) == ("jpeg", "JPEG")), None)
    anchor = jpeg.points if jpeg else []
    others = [(curve.label, curve.points) for curve in curves if curve is not jpeg]
    summary = {point.name: values.means() for point, values in measured}
    minimised = {p.curve: judges.minimised_by(p.settings) for p, _ in measured}
    bd_rates = tables.bd_rate_table(
        "JPEG of the same coding", anchor, others, args.bpp_range, minimised
    )
    infinite = max((values.infinite("psnr") for _, values in measured), default=0)
    note = f"\n\n{INFINITE_PSNR} (up to {infinite} images)." if infinite else ""
    text = (
        f"Models: {_encoding(measured, args)}. JPEG: {_jpeg_encoding(args)}, 4:4:4 "
        "unless it is named otherwise.\n\n"
        f"{tables.summary_table(summary)}{note}\n\n{bd_rates}\n"
    )
    by_name = {point.name: values for point, values in measured}
    if note := results.note_on_missing(by_name):
        text += f"\n{note}\n"
    return text


def _write_report(measured, published, missing, images, args):
    """Writes the page and prints its first answer; returns the paths."""
    from evaluation import curves
    from report import report

    stems = [os.path.join(point.folder, point.name) for point, _ in measured]
    found = curves.join_points(stems)
    if not found or found[0].kind != "jpeg":
        missing.append("--report: no operating point of JPEG was measured")
        logger.error("error: %s", missing[-1])
        return []
    anchor, *others = found
    content = report.Content(
        anchor=anchor,
        curves=others + published,
        bpp_range=args.bpp_range,
        originals=images.originals,
        command=report.command_line("evaluate.py"),
        missing=missing,
    )
    written = report.write_report(args.report, content, args.self_contained)
    missing[:] = written.missing
    print(f"{written.headline}\n")
    return [written.path]


if __name__ == "__main__":
    run_main(main)
