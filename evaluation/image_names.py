"""Names of the test images: no two of a set are equal, and each leads to its files."""

import collections
import os
from collections.abc import Sequence

from evaluation import results
from learned_jpeg.commands.outputs import plan_outputs

_FOLDER = "folder of an operating point"  # stands for any


def names_of(paths: Sequence[str]) -> list[str]:
    """Returns a name for each path, in their order.

    A name is that of the file. Where several files share it, the folders below the one
    that holds all images come before it: `a/x.png`, `b/x.png`.
    """
    whole = {path: os.path.abspath(path) for path in paths}
    counts = collections.Counter(map(os.path.basename, set(whole.values())))
    folders = [os.path.dirname(path) for path in whole.values()]
    root = os.path.commonpath(folders) if folders else ""
    names = []
    for path in paths:
        name = os.path.basename(whole[path])
        if counts[name] > 1:
            name = os.path.relpath(whole[path], root).replace(os.sep, "/")
        names.append(name)
    return names


def short_name(name: str, names: Sequence[str]) -> str:
    """Returns a name without its suffix, unless others of `names` differ by it only."""
    stem = os.path.splitext(name)[0]
    is_free = sum(os.path.splitext(other)[0] == stem for other in names) == 1
    return stem if is_free else name


def plan_files(names: Sequence[str]) -> list[str]:
    """Returns the .jpg file of each image, relative to its operating point's folder.

    The folders of the names are kept: `a/x.jpg`. Equal stems keep their suffixes.
    """
    outputs = plan_outputs(names, _FOLDER, roots=[os.curdir])
    return [os.path.relpath(path, _FOLDER) for path in outputs]


def files_of(record: dict) -> dict[str, str]:
    """Returns the .jpg file of each image of a record, see `plan_files`.

    Records of older programs do not name them.
    """
    names = [image["name"] for image in record["key"]["images"]]
    return dict(zip(names, record.get("files") or plan_files(names), strict=True))


def find_originals(images: Sequence[dict], paths: Sequence[str]) -> dict[str, str]:
    """Finds the files of the test images among some paths.

    Args:
      images: records of the test images, see `results.load`.
      paths: of files, the test images in any folders among them.

    Returns:
      dict from names of images to paths. Of several files of one name the one with the
      bytes that were measured counts.
    """
    by_name = collections.defaultdict(list)
    for path in paths:
        by_name[os.path.basename(path)].append(path)
    originals = {}
    for image in images:
        found = by_name[os.path.basename(image["name"])]
        if len(found) > 1:
            wanted = image.get("sha256")
            found = [p for p in found if results.file_sha256(p) == wanted] or found
        if found:
            originals[image["name"]] = found[0]
    return originals
