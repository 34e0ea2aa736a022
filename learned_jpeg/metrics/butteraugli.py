"""Butteraugli, a distance of two images as people see it: 0 if they are equal.

J. Alakuijala et al., "Guetzli: Perceptually guided JPEG encoder", 2017
(https://arxiv.org/abs/1703.04421), as the tool `butteraugli_main` of libjxl measures it
(https://github.com/libjxl/libjxl; Debian's package libjxl-devtools). Where the tool is
not on the PATH the metric is left out.
"""

import hashlib
import math
import os
import re
import shutil
import subprocess

import numpy as np

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.leftovers import temporary_folder
from learned_jpeg.metrics.metric import Metric

TOOL = "butteraugli_main"
MIN_SIDE = 8  # px; the tool gives 0 for every smaller image


def find_tool() -> str | None:
    """Returns the path of the tool, None if there is none on the PATH."""
    return shutil.which(TOOL)


def three_norm(original: np.ndarray, decoded: np.ndarray) -> float:
    """Returns the 3-norm of the map of distances, at the tool's 80 nits.

    Args:
      original: uint8 [h, w, 3], sRGB.
      decoded: the same, of the size of the original.

    Returns:
      float, about 1 where a difference can just be seen; nan if a side is below
      `MIN_SIDE`.

    Raises:
      UserError: there is no such tool, or it fails.
    """
    if min(original.shape[:2]) < MIN_SIDE:
        return math.nan
    with temporary_folder() as folder:
        paths = [os.path.join(folder, f"{name}.ppm") for name in ("original", "other")]
        for path, image in zip(paths, (original, decoded), strict=True):
            _write_ppm(path, image)
        return _measure(paths)


def _write_ppm(path, image):
    """Writes an image in a format that takes no time to write or to read."""
    height, width, _ = image.shape
    with open(path, "wb") as file:
        file.write(b"P6 %d %d 255\n" % (width, height))
        file.write(np.ascontiguousarray(image).tobytes())


def _measure(paths):
    command = [find_tool() or TOOL, *paths, "--pnorm", "3"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise UserError(f"{TOOL}: {error.strerror}; install libjxl-devtools") from error
    found = re.search(r"^3-norm: (\S+)$", done.stdout, re.M)
    if done.returncode or not found:
        said = (done.stderr.strip().splitlines() or ["no 3-norm in its output"])[-1]
        raise UserError(
            f"{command[0]}: exit status {done.returncode}, {said}; take it off the PATH"
            " to go on without Butteraugli"
        )
    return float(found[1])


def _is_available() -> bool:
    return find_tool() is not None


def _versions() -> dict[str, str]:
    """Returns the hash of the tool, which has no other version to be told by."""
    path = find_tool()
    if path is None:
        return {}
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {TOOL: f"file of SHA-256 {digest[:12]}"}


METRIC = Metric(
    key="butteraugli",
    name="Butteraugli",
    title="Butteraugli 3-norm",
    compare=three_norm,
    min_side=MIN_SIDE,
    is_available=_is_available,
    versions=_versions,
    higher_is_better=False,
    order=60,
    rank=20,
    bd_range=(3.0, 1.0),  # a norm of 5 is no image that anybody would keep
    json_name="butteraugli-3norm",
    codec_compare=("p3-norm", "Butteraugli, its 3-norm"),
)
