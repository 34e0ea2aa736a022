"""Names of the files that a call writes: no two equal, none an input."""

import collections
import contextlib
import os
import threading

from learned_jpeg.common.errors import UserError
from learned_jpeg.pictures.image_files import SUFFIXES


def plan_outputs(inputs, output, roots=()):
    """A .jpg path for each input, no two equal, and none that is itself an input.

    Args:
      inputs: paths of images.
      output: None for files beside the inputs; a folder; or for one input a path that
        ends with .jpg or .jpeg.
      roots: folders whose tree is kept in the folder `output`.

    Returns:
      A list of paths. An input whose `<stem>.jpg` is not free for it keeps its suffix,
      `<name>.jpg`, and after that gets a number.

    Raises:
      UserError: a .jpg for many inputs.
    """
    is_folder = output is None or os.path.isdir(output)
    if not is_folder and output.lower().endswith((".jpg", ".jpeg")):
        if len(inputs) > 1:
            raise UserError(
                f"--output {output}: one file for {len(inputs)} inputs; name a folder"
            )
        _refuse_input(output, inputs)
        return [output]

    if not is_folder and (os.path.exists(output) or output.lower().endswith(SUFFIXES)):
        raise UserError(f"--output {output}: name a folder, or a .jpg file")

    def target(path, name):
        folder = os.path.dirname(path)
        if output is not None:
            folder = os.path.join(output, _below(folder, roots))
        return os.path.join(folder, name)

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


def _below(folder, roots):
    """The path of a folder from the one of `roots` that it lies in, "" if in none."""
    for root in roots:
        inside = os.path.relpath(folder or os.curdir, root)
        if inside.split(os.sep)[0] != os.pardir:
            return "" if inside == os.curdir else inside
    return ""


def without_earlier_outputs(inputs, output, roots):
    """The inputs but for those in the folder `output` that lies below a root.

    They are results of an earlier call, or will be.
    """
    if output is None:
        return inputs
    folder = os.path.realpath(output)
    if folder in map(os.path.realpath, roots):
        return inputs
    places = {os.path.dirname(path): None for path in inputs}
    for place in places:
        real = os.path.realpath(place)
        places[place] = os.path.commonpath([real, folder]) != folder
    return [path for path in inputs if places[os.path.dirname(path)]]


def _refuse_input(output, inputs):
    if os.path.realpath(output) in {os.path.realpath(path) for path in inputs}:
        raise UserError(f"--output {output}: is the input itself; name another file")


class OutputGuard:
    """Keeps a call from replacing one of its inputs, or what it has just written.

    Names tell too little where they differ by case only, or through links: files are
    compared by device and inode, at the moment at which one is to be replaced.
    """

    def __init__(self, inputs):
        """Takes the paths of the inputs; those that are not there are no matter."""
        self._lock = threading.Lock()
        self._inputs = _by_identity(inputs)
        self._written = {}

    @contextlib.contextmanager
    def claim(self, output):
        """Context in which `output` may be put in place, one at a time.

        Raises:
          UserError: as `check`.
        """
        with self._lock:
            self.check(output)
            yield
            self._written |= _by_identity([output])

    def check(self, output):
        """Refuses a file of this call.

        Raises:
          UserError: it is the same file as an input, or as another output.
        """
        for identity in _by_identity([output]):
            if identity in self._inputs:
                raise UserError(
                    f"{output}: is the same file as the input "
                    f"{self._inputs[identity]}; name another --output"
                )
            if identity in self._written:
                raise UserError(
                    f"{output}: is the same file as {self._written[identity]}, which "
                    "this call has written; rename one of the inputs"
                )


def _by_identity(paths):
    """dict from (device, inode) to the path of each file that is there."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(path)
            found[status.st_dev, status.st_ino] = path
    return found
