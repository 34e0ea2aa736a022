"""Measures encoders side by side: megapixels a second, and memory."""

import functools
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile

import numpy as np
from PIL import Image

import learned_jpeg as lj
from benchmarks.measuring import (
    in_own_process,
    interleave,
    peak_megabytes,
    photograph_like,
    sample_image,
    time_once,
)
from learned_jpeg.common import first_call, threads
from learned_jpeg.common.machine import usable_cores
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.search.distortion import EFFORTS

# (height, width) by the number of megapixels that a case is called by.
SIZES = {0.4: (512, 768), 3: (1424, 2144), 24: (4000, 6000), 50: (5792, 8640)}
_QUALITY = 75
_LAMBDA = 0.02  # gives about the score of JPEG at this quality
_LARGEST_ALONE = 3  # megapixels, up to which one thread is measured as well
_SLOW_SECONDS = 5.0  # from which the first call is the only one
_PROGRAMS = ("cjpegli", "cjxl")
_TILE = 1024  # px; synthetic images are slow to make, so that large ones repeat one


def encoder_speed(options):
    """Encoders: megapixels a second and peak memory of one image."""
    sizes = list(SIZES)[: 1 if options.quick else None]
    missing = {name: reason for name in _OTHERS if (reason := _why_missing(name))}
    rows = []
    for size, name, cores in _cases(sizes):
        if name in missing:
            continue
        timed = in_own_process(_time_encoder, options, name, size, cores)
        (timing, bytes_written, start), peak = timed
        megapixels = np.prod(SIZES[size]) / 1e6
        cpu = timing.median * timing.checks["cores"]
        row = {
            "case": f"{name}, {size} MP, {cores} thread{'s' * (cores > 1)}",
            "MP/s": megapixels / timing.median,
            "MP/s a core": megapixels / cpu,
            **timing.checks,
            "bpp": 8 * bytes_written / megapixels / 1e6,
        }
        if not _is_program(name):
            row |= {"peak MB": peak, "MB above start": peak - start}
        rows.append(row)
    notes = [f"{name} left out: {reason}" for name, reason in missing.items()]
    return rows, notes


def _cases(sizes):
    """Yields (megapixels, encoder, threads).

    Large images run on all threads only, from which the time of a core follows.
    """
    most = min(2, usable_cores())
    for size, name in itertools.product(sizes, _OTHERS | _OURS):
        several = {most} if size > _LARGEST_ALONE else {1, most}
        for cores in sorted(several) if name in _OURS else [1]:
            yield size, name, cores


def scoring(options):
    """One SSIMULACRA2 score, an image of 768x512 whose original is prepared."""
    image = sample_image(options)
    decoded = jpeg_file.decode(jpeg_file.encode_rgb(image, _QUALITY))
    prepared = ssimulacra2.reference_scales(image)
    functions = {
        "original prepared": lambda: ssimulacra2.reference_scales(image),
        "score": lambda: ssimulacra2.score(prepared, decoded),
    }
    with threads.limit(1):
        timings = interleave(functions, options, "scoring")
    return [{"case": n, "ms": t.ms, **t.checks} for n, t in timings.items()], []


def _time_encoder(options, name, size, cores):
    """Returns (`Timing`, bytes of the file, MB before the first call)."""
    image = _image(options, *SIZES[size])
    encode = (_OTHERS | _OURS)[name]
    sizes = []

    def measured():
        sizes.append(len(encode(image)))

    # No helper that compiles, whose time would count as that of a program.
    os.environ[first_call.QUIET] = "1"
    with threads.limit(cores):
        encode(image[:256, :256])  # compiles
        start = peak_megabytes()
        timing = time_once(measured)
        if timing.median < _SLOW_SECONDS:
            timing = interleave({name: measured}, options, name)[name]
    return timing, sizes[0], start


def _image(options, height, width):
    """Returns a test image, made larger where there is none of the size.

    The synthetic images repeat a tile, which costs an encoder what other pixels would.
    """
    if max(height, width) <= _TILE:
        return sample_image(options, height, width)
    tile = photograph_like(0, _TILE, _TILE)
    repeats = -(-height // _TILE), -(-width // _TILE), 1
    return np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])


def _pyjpegli(image):
    import pyjpegli

    height, width = image.shape[:2]
    return pyjpegli.encode(np.ascontiguousarray(image).tobytes(), width, height, 75)


def _by_program(image, command, ending):
    """Runs a tool of libjxl, its start and a PPM on the disk included."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = (os.path.join(folder, n) for n in ("a.ppm", f"a.{ending}"))
        Image.fromarray(image).save(source)
        command = [*command, source, target, "-q", str(_QUALITY)]
        subprocess.run(command, check=True, capture_output=True)
        with open(target, "rb") as file:
            return file.read()


def _ours(image, **options):
    return lj.encode(image, **options)


_OTHERS = {
    "Pillow, quality 75": functools.partial(
        jpeg_file.encode_rgb, quality=_QUALITY, sampling="4:2:0"
    ),
    "mozjpeg (jpeglib), quality 75": functools.partial(
        jpeg_file.encode_mozjpeg_quality, quality=_QUALITY
    ),
    "jpegli (pyjpegli), quality 75": _pyjpegli,
    "jpegli (cjpegli), quality 75": functools.partial(
        _by_program, command=["cjpegli"], ending="jpg"
    ),
    "JPEG XL (cjxl), quality 75, effort 7": functools.partial(
        _by_program, command=["cjxl", "-e", "7", "--num_threads=0"], ending="jxl"
    ),
}
_OURS = {
    **{
        f"ours, effort {effort}": functools.partial(
            _ours, lmbda=_LAMBDA, subsampling="4:2:0", effort=effort
        )
        for effort in EFFORTS
    },
    "ours, --tune psnr": functools.partial(
        _ours, lmbda=_LAMBDA, subsampling="4:2:0", tune="psnr"
    ),
    "ours, --quality 75": functools.partial(_ours, quality=_QUALITY),
}


def _why_missing(name):
    """Returns why an encoder cannot be measured here, None where it can."""
    if "pyjpegli" in name and importlib.util.find_spec("pyjpegli") is None:
        return "pip install pyjpegli"
    for program in _PROGRAMS:
        if f"({program})" in name and shutil.which(program) is None:
            return f"no program {program}, which Debian has in libjxl-tools"
    return None


def _is_program(name):
    """Returns whether an encoder is a program, whose memory is not measured."""
    return any(f"({program})" in name for program in _PROGRAMS)
