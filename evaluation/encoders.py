"""Other encoders on the test images: WebP, AVIF, jpegli, our own by `--quality`.

`python3 -m evaluation.encoders DIR "KODAK/*.png"` measures each encoder at a number of
qualities, with the metrics of `evaluate.py`, and keeps a record, a table and the files
of each operating point in `DIR/_points`. What is measured already is kept.
`DIR/curves.json` holds the means as CompressAI writes them, for `--published`.
"""

import logging

import arg_parser
from evaluation import other_encoders
from evaluation.evaluator import Evaluator, TestImages, find_test_images
from learned_jpeg.common import machine
from learned_jpeg.common.process import run_main

logger = logging.getLogger("encoders")


def main():
    """Measures what the command line names; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arg_parser.parse_encoders()
    args.workers = args.workers or machine.usable_cores()
    args.precision = "float32"
    images = TestImages(find_test_images(args.test_images))
    evaluator = Evaluator(images, args)
    failed = len(images.unreadable)
    for name in args.encoders or other_encoders.ENCODERS:
        if missing := other_encoders.ENCODERS[name].missing():
            logger.error("error: %s: not measured; it needs %s", name, missing)
            failed += 1
            continue
        for point in other_encoders.operating_points(
            name, args.folder, tuple(args.qualities)
        ):
            values = evaluator.evaluate(point).means()
            logger.info(
                "%s: %.3f bpp, SSIMULACRA2 %.2f",
                point.name,
                values["bpp"],
                values["ssimulacra2"],
            )
    print("Written:", other_encoders.write_curves(args.folder), sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    run_main(main)
