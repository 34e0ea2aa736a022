"""Names the files that a call writes: no two equal, none an input."""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures.image_files import SUFFIXES


def plan_outputs(
    inputs: Sequence[str], output: str | None, roots: Sequence[str] = ()
) -> list[str]:
    """Returns a .jpg path for each input, no two equal, and none itself an input.

    Args:
      inputs: paths of images.
      output: None for files beside the inputs; a folder; or for one input a path that
        ends with .jpg or .jpeg.
      roots: folders whose tree is kept in the folder `output`.

    Returns:
      The paths. Where `<stem>.jpg` is not free, a result keeps the suffix of its input,
      `<name>.jpg`, and gets a number if that is not free either.

    Raises:
      UserError: one .jpg file for many inputs.
    """
    if output is not None and not os.path.isdir(output):
        if output.lower().endswith((".jpg", ".jpeg")):
            if len(inputs) > 1:
                raise UserError(
                    f"--output {output}: one file for {len(inputs)} inputs; name a "
                    "folder"
                )
            _refuse_input(output, inputs)
            return [output]
        if os.path.exists(output) or output.lower().endswith(SUFFIXES):
            raise UserError(f"--output {output}: name a folder, or a .jpg file")

    def target(path, name):
        return os.path.join(folder_of_result(path, output, roots), name)

    def plain(path):
        return target(path, os.path.splitext(os.path.basename(path))[0] + ".jpg")

    counts = collections.Counter(os.path.realpath(plain(path)) for path in inputs)
    taken = {os.path.realpath(path) for path in inputs}
    outputs = []
    for path in inputs:
        candidate, number = plain(path), 1
        if counts[os.path.realpath(candidate)] > 1:
            candidate = target(path, os.path.basename(path) + ".jpg")
        while os.path.realpath(candidate) in taken:
            name = os.path.basename(path) + (f"-{number}" if number > 1 else "")
            candidate, number = target(path, name + ".jpg"), number + 1
        taken.add(os.path.realpath(candidate))
        outputs.append(candidate)
    return outputs


def folder_of_result(path: str, output: str | None, roots: Sequence[str] = ()) -> str:
    """Returns the folder of an input's result; arguments as for `plan_outputs`."""
    folder = os.path.dirname(path)
    return folder if output is None else os.path.join(output, _below(folder, roots))


def _below(folder, roots):
    """Returns a folder's path relative to its root in `roots`; "" if it has none."""
    for root in roots:
        inside = os.path.relpath(folder or os.curdir, root)
        if inside.split(os.sep)[0] != os.pardir:
            return "" if inside == os.curdir else inside
    return ""


def without_earlier_outputs(
    inputs: Sequence[str], output: str | None, roots: Sequence[str]
) -> Sequence[str]:
    """Leaves out inputs in the folder `output`, where that lies below a root.

    They are results of an earlier call, or would be overwritten by this one.
    """
    if output is None:
        return inputs
    folder = os.path.realpath(output)
    if folder in map(os.path.realpath, roots):
        return inputs
    is_outside = {}
    for place in {os.path.dirname(path) for path in inputs}:
        real = os.path.realpath(place)
        is_outside[place] = os.path.commonpath([real, folder]) != folder
    return [path for path in inputs if is_outside[os.path.dirname(path)]]


def _refuse_input(output, inputs):
    if os.path.realpath(output) in {os.path.realpath(path) for path in inputs}:
        raise UserError(f"--output {output}: is the input itself; name another file")


class OutputGuard:
    """Keeps a call from replacing its inputs and its own results.

    Names are not enough, as they may differ in case or lead through links: files are
    compared by device and inode, at the moment at which one is replaced.
    """

    def __init__(self, inputs: Iterable[str]):
        """Stores the paths of the inputs; missing files are ignored."""
        self._lock = threading.Lock()
        self._inputs = _by_identity(inputs)
        self._written = {}

    @contextlib.contextmanager
    def claim(self, output: str) -> Iterator[None]:
        """Lets one thread at a time put `output` in place within the context.

        Raises:
          UserError: as `check`.
        """
        with self._lock:
            self.check(output)
            yield
            self._written |= _by_identity([output])

    def check(self, output: str) -> None:
        """Checks that a path is no file of this call.

        Raises:
          UserError: it is the same file as an input, or as another output.
        """
        for identity in _by_identity([output]):
            if path := _still(identity, self._inputs):
                raise UserError(
                    f"{output}: is the same file as the input {path}; name another "
                    "--output"
                )
            if path := _still(identity, self._written):
                raise UserError(
                    f"{output}: is the same file as {path}, which this call has "
                    "written; rename one of the inputs"
                )


def _still(identity, known):
    """Returns the path that a file is known by, if that is still the same file.

    File systems use the inode numbers of replaced files again, and another call may
    have replaced it.
    """
    path = known.get(identity)
    return path if path and identity in _by_identity([path]) else None


def _by_identity(paths):
    """Returns {(device, inode): path} of the files that exist."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(path)
            found[status.st_dev, status.st_ino] = path
    return found
