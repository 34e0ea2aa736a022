"""Imports pickles of an older program, which have no record of what they are of.

    python3 -m evaluation.import_pickles results/_output_PIL "KODAK/*.png"

writes the record and the table of every pickle in a folder that has no record, so that
`evaluate.py` can use its numbers. Nothing shows which checkpoint and settings they were
measured with: the records say that they are imported.
"""

import glob
import io
import os
import pickle

import arg_parser
from evaluation import results
from evaluation.evaluator import TestImages, find_test_images
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main


class _ListsOnly(pickle.Unpickler):
    """Reads tuples, lists and numbers; nothing that needs code."""

    def find_class(self, module, name):
        raise ValueError(f"it asks for {module}.{name}")


def read_pickle(path):
    """Reads the lists of a pickle, a dict from `results.PICKLED` to lists of floats.

    Raises:
      UserError: it holds anything but five lists of numbers.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        lists = [
            [float(results.check_number(name, value)) for value in values]
            for name, values in zip(
                results.PICKLED, _ListsOnly(io.BytesIO(data)).load(), strict=True
            )
        ]
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"{path}: not five lists of numbers ({error})") from error
    return dict(zip(results.PICKLED, lists, strict=True))


def main():
    """Imports what the command line names; returns the exit status."""
    args = arg_parser.parse_import_pickles()
    images = TestImages(find_test_images(args.test_images))
    names = [record["name"] for record in images.records]
    key = {"imported": True, "images": images.records}
    for path in sorted(glob.glob(os.path.join(glob.escape(args.folder), "*.pickle"))):
        stem = path.removesuffix(".pickle")
        if os.path.exists(f"{stem}.json"):
            continue
        values = read_pickle(path)
        try:
            measured = results.PointResults(names, values)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        about = f"imported from {os.path.basename(path)}, {len(names)} images"
        folder, name = os.path.split(stem)
        results.save(folder, name, measured, key, description=about)
        print(f"{stem}.json")
    return 0


if __name__ == "__main__":
    run_main(main)
