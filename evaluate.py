"""Rate-distortion curves of trained models, of JPEG and of the Google baseline.

Every number is of a .jpg file on the disk: its bytes, and its picture as Pillow decodes
it. A second call only plots. Beside it there are `python3 -m report.compare`,
`.crops`, `.loss_curves` and `.rate_check`.
"""

import functools
import logging
import os

import arg_parser
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError, is_out_of_memory
from learned_jpeg.common.process import run_main
from training import devices

logger = logging.getLogger("evaluate")


def main():
    """Evaluates what the command line names; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arg_parser.parse_evaluate()
    # Imported here, so that --help and wrong flags need not wait.
    from evaluation.dots import plan_dots
    from evaluation.evaluator import Evaluator, TestImages, find_test_images
    from evaluation.parts import call_of, gathered
    from learned_jpeg.commands.shards import ShardFolder

    _check_batch_dir(args.batch_dir)
    devices.select_device(args.device)
    args.workers = args.workers or machine.usable_cores()
    args.precision, reason = devices.choose_precision(args.precision)
    logger.info("%s convolutions: %s", args.precision, reason)
    dots, failed = plan_dots(args)
    found = find_test_images(args.test_image_glob)
    if args.shard:
        return _status(failed + _measure_shard(dots, found, args))
    images = TestImages(found)
    evaluator = Evaluator(images, args)
    folder = ShardFolder(args.output_dir)
    measure = evaluator.evaluate
    if folder.is_begun():
        folder.check(call_of(args))
        measure = functools.partial(gathered, evaluator, folder, found)
    measured, broken = _each(dots, measure)
    published, missing = _read_published(args.published)
    written = _write_tables(measured, published, args)
    if args.report:
        written += _write_report(measured, published, missing, images, args)
    print("Written:", *written, sep="\n  ")
    if folder.is_begun() and not broken:
        folder.remove()
    return _status(failed + broken + len(missing) + len(images.unreadable))


def _measure_shard(dots, found, args):
    """Measures the share of one process; returns the number of failures."""
    from evaluation.evaluator import Evaluator, TestImages
    from evaluation.parts import PartFile, call_of, units_of
    from learned_jpeg.commands.shards import Shard, ShardFolder

    shard, folder = Shard(*args.shard), ShardFolder(args.output_dir)
    with folder.entered(shard, call_of(args)):
        units = units_of(shard, dots, found)
        logger.info("shard %s: %d of %d dots", shard, len(units), len(dots))
        if not units:
            return 0
        wanted = set().union(*(unit.paths or found for unit in units))
        images = TestImages(found, sorted(wanted))
        evaluator = Evaluator(images, args)

        def measure(unit):
            if unit.paths is None:
                evaluator.evaluate(unit.dot)
            else:
                part = PartFile(folder, unit.dot, shard.index)
                evaluator.evaluate_part(unit.dot, unit.paths, part)

        broken = _each(units, measure)[1]
    logger.info("a call without --shard gathers what the shards have measured")
    return broken + len(images.unreadable)


def _each(dots, measure):
    """([(dot, what `measure` gives of it)], number of those that failed)."""
    measured, failed = [], 0
    for dot in dots:
        try:
            measured.append((dot, measure(dot)))
        except UserError as error:
            logger.error("error: %s", error)
            failed += 1
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.error("error: %s: not enough memory; lower --workers", dot.name)
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
    """(curves, what could not be read)."""
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
    from evaluation.plots import Curve, plot_rate_distortion

    curves = {}
    for dot, values in measured:
        points = curves.setdefault((dot.kind, dot.curve), [])
        points.append(values.means())
    drawn = [Curve(label, points, kind) for (kind, label), points in curves.items()]
    drawn += [Curve(curve.label, curve.means, curve.kind) for curve in published]
    text = _tables(measured, drawn, args)
    print(text)
    path = os.path.join(args.output_dir, "results.md")
    os.makedirs(args.output_dir, exist_ok=True)
    write_atomically(path, text.encode(errors="surrogateescape"))
    encoding = _encoding(measured, args)
    return [*plot_rate_distortion(drawn, args.output_dir, title=encoding), path]


def _encoding(measured, args):
    """How the models were coded, in words."""
    from evaluation.evaluator import describe_encoding, describe_samplings

    sampling = describe_samplings([dot for dot, _ in measured])
    return describe_encoding({**vars(args), "subsampling": sampling})


def _tables(measured, curves, args):
    """The text of results.md."""
    from evaluation import results, tables
    from learned_jpeg.metrics.basic import INFINITE_PSNR

    by_label = {curve.label: curve.points for curve in curves}
    anchor = by_label.pop("JPEG", [])
    summary = {dot.name: values.means() for dot, values in measured}
    bd_rates = tables.bd_rate_table(
        "JPEG of the same coding", anchor, by_label, args.bpp_range
    )
    infinite = max((values.infinite("psnr") for _, values in measured), default=0)
    note = f"\n\n{INFINITE_PSNR} (up to {infinite} images)." if infinite else ""
    text = (
        f"Models: {_encoding(measured, args)}. JPEG: {args.entropy_coding} entropy "
        "coding, rounded, 4:4:4 unless it is named otherwise.\n\n"
        f"{tables.summary_table(summary)}{note}\n\n{bd_rates}\n"
    )
    if note := results.note_on_missing({dot.name: values for dot, values in measured}):
        text += f"\n{note}\n"
    return text


def _write_report(measured, published, missing, images, args):
    """Writes the page and prints its first answer; returns the paths."""
    from evaluation import curves
    from report import report

    stems = [os.path.join(dot.folder, dot.name) for dot, _ in measured]
    recorded = [stem for stem in stems if os.path.exists(f"{stem}.json")]
    missing += [f"{s}: has no record" for s in stems if s not in recorded]
    found = curves.join_dots(recorded)
    if not found or found[0].kind != "jpeg":
        missing.append("--report: no dot of JPEG was measured")
        logger.error("error: %s", missing[-1])
        return []
    anchor, *others = found
    originals = {os.path.basename(path): path for path in images.paths}
    content = report.Content(
        *(anchor, others + published, args.bpp_range, originals),
        *(report.command_line("evaluate.py"), missing),
    )
    path = os.path.join(args.output_dir, args.report)
    written = report.write_report(path, content, args.self_contained)
    missing[:] = written.missing
    print(f"{written.headline}\n")
    return [written.path]


if __name__ == "__main__":
    run_main(main)
