"""Pretrained weights that the project ships; see README.md for their origin."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from learned_jpeg.common.errors import UserError

# Of the files that make_weights.py writes. That of "dists" is too large to be shipped.
SHA256 = {
    "alexnet_lpips": "658e557604e284e6c404d2e8035e9ec1edb109f7c7ad397e13f43ee15dd29657",
    "dists": "bd13b239daebc1d9a0804e47b7a3ebdfb192163a1c36648ecf58c453b97ff01d",
    "vgg16": "1d21dd9af75632ae76a892503e47a65f45a86f60479b02e85fdeb2709b0b5a8c",
}
SHIPPED = ("alexnet_lpips", "vgg16")

# Convolutions in each block of a VGG; a 2x2 max-pool ends a block, so that three of
# them give one feature vector for each 8x8 block of the picture.
VGG_BLOCKS = {"vgg16": (2, 2, 3), "vgg19": (2, 2, 4)}


def path_of(name: str) -> Path:
    """Returns the path of the file that holds `name`, a key of `SHA256`."""
    return Path(__file__).resolve().parent / f"{name}.npz"


def load(name: str) -> dict[str, np.ndarray]:
    """Reads one set of weights.

    Args:
      name: "alexnet_lpips": `conv0` to `conv4` of AlexNet with `/kernel`
        [height, width, in, out] and `/bias` [out], and `lin0` to `lin4`
        [channels], the linear layers of LPIPS v0.1; "vgg16": `conv0` to
        `conv6`, the convolutions of VGG-16 before its third max-pool; or "dists":
        `conv0` to `conv12`, all convolutions of VGG-16, and `alpha` and `beta`
        [1475], the weights of DISTS for the channels of the image and of the five
        stages.

    Returns:
      dict from the name of an array to the array, float32.

    Raises:
      UserError: the file is missing or its SHA-256 is not the expected one.
      KeyError: there are no weights of that name.
    """
    expected = SHA256[name]
    path = path_of(name)
    remedy = f"run python3 weights/make_weights.py {name}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: {remedy}") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise UserError(f"{path}: damaged (its SHA-256 is not as expected): {remedy}")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {key: arrays[key].astype(np.float32) for key in arrays.files}
