"""Checks a folder against the lists of the test sets of the field.

`python3 -m evaluation.dataset kodak ../KODAK` says which images are missing, changed or
of another size, and where their owners publish them. `datasets.json` holds what is
known of each set: number, names and sizes of the images, and Kodak's SHA-256.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

import arg_parser
from evaluation import results
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main

_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "datasets.json")
_SHOWN = 20  # of what is wrong


@functools.cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """Returns what is known of each test set, by its name on the command line."""
    with open(_PATH, encoding="utf-8") as file:
        return json.load(file)


def main():
    """Checks the folder of the command line; returns the exit status."""
    args = arg_parser.parse_dataset()
    dataset = known()[args.name]
    images = _images(args.folder)
    faults = check(dataset, images, args.folder)
    for fault in faults[:_SHOWN]:
        print(fault)
    if faults[_SHOWN:]:
        print(f"... and {len(faults) - _SHOWN} more")
    if note := dataset.get("note"):
        print(note)
    if faults:
        print(f"{dataset['title']} is published at {dataset['published']}")
        return 1
    checked = "hashes and sizes" if "files" in dataset else "number, names and sizes"
    print(f"{args.folder}: {dataset['title']}, {len(images)} images, {checked} agree")
    return 0


def _images(folder: str) -> list[str]:
    """Returns the names of the images in a folder, sorted.

    Raises:
      UserError: there is no such folder.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; name a folder") from error
    return [name for name in names if name.lower().endswith(".png")]


def check(dataset: Mapping[str, Any], images: Sequence[str], folder: str) -> list[str]:
    """Returns a line for everything that is not as it should be.

    Args:
      dataset: a value of `known()`.
      images: names of the images in the folder.
      folder: that holds them.
    """
    faults = []
    listed = {file["name"]: file for file in dataset.get("files", ())}
    wanted = list(listed) or dataset.get("names", [])
    faults += [f"{name}: missing" for name in wanted if name not in images]
    if wanted:
        strangers = [name for name in images if name not in wanted]
    else:
        strangers = [n for n in images if not re.fullmatch(dataset["pattern"], n)]
        count = len(images) - len(strangers)
        if count != dataset["count"]:
            faults.append(f"{count} images; the set has {dataset['count']}")
    faults += [f"{name}: not of this set" for name in strangers]
    for name in images:
        if name not in strangers:
            faults += _check_image(dataset, listed.get(name, {}), name, folder)
    return faults


def _check_image(dataset, file, name, folder):
    """Returns lines on the size and the hash of an image."""
    path = os.path.join(folder, name)
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError:
        return [f"{name}: cannot be read"]
    named = re.fullmatch(dataset.get("pattern", ""), name)
    sizes = {**dataset, **(named.groupdict() if named else {}), **file}
    wanted = [int(sizes.get(side) or 0) for side in ("width", "height")]
    faults = []
    if any(wanted) and [width, height] != wanted:
        faults.append(f"{name}: {width}x{height} px instead of {wanted[0]}x{wanted[1]}")
    longest = dataset.get("longest")
    if longest and max(width, height) != longest:
        faults.append(f"{name}: {width}x{height} px; the longer side has {longest}")
    if file and not faults and results.file_sha256(path) != file["sha256"]:
        faults.append(f"{name}: other bytes than those of the set (SHA-256)")
    return faults


def title_of(images: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns the title of the test set that some images are; None for another one.

    Args:
      images: records of test images, see `results.load`.
    """
    return next((d["title"] for d in known().values() if _is_of(d, images)), None)


def _is_of(dataset, images):
    """Returns whether images are all of a set, whose hashes or names tell it."""
    names = {os.path.basename(image["name"]) for image in images}
    if "files" in dataset:
        hashes = {image.get("sha256") for image in images}
        return hashes == {file["sha256"] for file in dataset["files"]}
    if "names" in dataset:
        return names == set(dataset["names"])
    pattern = dataset["pattern"]
    is_telling = "width" in pattern and len(names) == dataset["count"]
    return is_telling and all(re.fullmatch(pattern, name) for name in names)


if __name__ == "__main__":
    run_main(main)
