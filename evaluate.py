"""Rate-distortion curves of trained models, of JPEG and of the Google baseline.

Every number is of a .jpg file on the disk: its bytes, and its picture as Pillow decodes
it. A second call only plots. Beside it there are `python3 -m evaluation.compare`,
`.crops`, `.loss_curves` and `.rate_check`.
"""

import logging
import os

import arg_parser
import hardware
from atomic_files import write_atomically
from errors import UserError, is_out_of_memory, run_main

logger = logging.getLogger("evaluate")


def main():
    """Evaluates what the command line names; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arg_parser.parse_evaluate()
    # Imported here, so that --help and wrong flags need not wait.
    from evaluation.dots import plan_dots
    from evaluation.evaluator import Evaluator, TestImages

    _check_batch_dir(args.batch_dir)
    hardware.select_device(args.device)
    args.workers = args.workers or hardware.usable_cores()
    args.precision, reason = hardware.choose_precision(args.precision)
    logger.info("%s convolutions: %s", args.precision, reason)
    images = TestImages(args.test_image_glob)
    dots, failed = plan_dots(args)
    evaluator = Evaluator(images, args)
    measured = []
    for dot in dots:
        try:
            measured.append((dot, evaluator.evaluate(dot)))
        except UserError as error:
            logger.error("error: %s", error)
            failed += 1
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.error("error: %s: not enough memory; lower --workers", dot.name)
            failed += 1
    _report(measured, args)
    failed += len(images.unreadable)
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


def _report(measured, args):
    """Prints and writes the tables, and draws the figures."""
    from evaluation import results, tables
    from evaluation.evaluator import describe_encoding
    from evaluation.plots import Curve, plot_rate_distortion
    from metrics.basic import INFINITE_PSNR

    curves = {}
    for dot, values in measured:
        points = curves.setdefault((dot.kind, dot.curve), [])
        points.append(values.means())
    summary = {dot.name: values.means() for dot, values in measured}
    others = {label: points for (_, label), points in curves.items() if label != "JPEG"}
    bd_rates = tables.bd_rate_table(
        "JPEG of the same coding",
        curves.get(("jpeg", "JPEG"), []),
        others,
        args.bpp_range,
    )
    encoding = describe_encoding(vars(args))
    infinite = max((values.infinite("psnr") for _, values in measured), default=0)
    note = f"\n\n{INFINITE_PSNR} (up to {infinite} images)." if infinite else ""
    text = (
        f"Models: {encoding}. JPEG: {args.entropy_coding} entropy coding, rounded, "
        "4:4:4 unless it is named otherwise.\n\n"
        f"{tables.summary_table(summary)}{note}\n\n{bd_rates}\n"
    )
    if note := results.note_on_missing({dot.name: values for dot, values in measured}):
        text += f"\n{note}\n"
    print(text)
    table_path = os.path.join(args.output_dir, "results.md")
    os.makedirs(args.output_dir, exist_ok=True)
    write_atomically(table_path, text.encode(errors="surrogateescape"))
    figures = plot_rate_distortion(
        [Curve(label, points, kind) for (kind, label), points in curves.items()],
        args.output_dir,
        title=encoding,
    )
    print("Written:", *figures, table_path, sep="\n  ")


if __name__ == "__main__":
    run_main(main)
