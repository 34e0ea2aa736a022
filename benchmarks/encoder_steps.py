"""Measures the time of each step of the encoder, and the bits that it saves."""

import functools
from unittest import mock

from benchmarks.measuring import interleave, sample_image
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import progressive
from learned_jpeg.jpeg.bands import choose_bands
from learned_jpeg.metrics.basic import bits_per_pixel, mean_squared_error, psnr
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.distortion import DEFAULT_EFFORT
from learned_jpeg.search.passes import search
from learned_jpeg.search.squared_error import SquaredError
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion

_SAMPLING = "4:2:0"
# Bits per pixel: at quality 50 an MSE of 1 and a point of SSIMULACRA2 are worth about
# as much.
_LAMBDA = 0.01
_HIGH_LAMBDA = 0.3  # files of 2 to 3 bits per pixel


def encoder_steps(options):
    """Steps of the encoder, an image of 768x512 at 4:2:0."""
    image = sample_image(options)
    classes = {"MSE": SquaredError, "seen": Ssimulacra2Distortion}
    searches = {
        f"{name}, {passes or 'no'} pass{'es' * (passes != 1)}": functools.partial(
            _searched, image, _stopped(distortion_class, passes)
        )
        for name, distortion_class in classes.items()
        for passes in range(_passes(distortion_class) + 1)
    }
    quantized = {name: make() for name, make in searches.items()}
    coded = quantized[f"seen, {_passes(Ssimulacra2Distortion)} passes"]
    fine = _searched(image, Ssimulacra2Distortion, _HIGH_LAMBDA)
    writing = {
        "scans": lambda: progressive.encode_progressive(coded),
        "scans, high rate": lambda: progressive.encode_progressive(fine),
        "scans, high rate, all bits at once": lambda: _all_bits_at_once(fine),
    }
    functions = {
        "chroma fitted to the decoder's filter": lambda: CodedImage(image, _SAMPLING),
        **searches,
        **writing,
    }
    timings = interleave(functions, options, "steps")
    scales = ssimulacra2.reference_scales(image)

    def facts(name):
        if name in writing:
            return {"bpp": bits_per_pixel(len(writing[name]()), *image.shape[:2])}
        if name not in quantized:
            return {}
        data = jpeg_file.encode(quantized[name], "optimized")
        decoded = jpeg_file.decode(data)
        return {
            "bpp": bits_per_pixel(len(data), *image.shape[:2]),
            "PSNR": psnr(mean_squared_error(image, decoded)),
            "SSIMULACRA2": ssimulacra2.score(scales, decoded),
        }

    rows = [
        {"case": name, "ms": timing.ms, **timing.checks, **facts(name)}
        for name, timing in timings.items()
    ]
    return rows, []


def _passes(distortion_class):
    return len(distortion_class.schedules[DEFAULT_EFFORT].damping)


def _stopped(distortion_class, passes):
    """A distortion whose search ends after so many passes."""
    schedule = distortion_class.schedules[DEFAULT_EFFORT]
    stopped = schedule._replace(damping=schedule.damping[:passes])
    schedules = {"schedules": {DEFAULT_EFFORT: stopped}}
    return type(distortion_class.__name__, (distortion_class,), schedules)


def _all_bits_at_once(quantized):
    """Bytes of a file whose scans leave no bits to later ones."""
    with mock.patch.object(progressive, "choose_scans", choose_bands):
        return progressive.encode_progressive(quantized)


def _searched(image, distortion_class, lmbda=_LAMBDA):
    """`QuantizedImage` of the search from the formula's tables."""
    arguments = () if issubclass(distortion_class, SquaredError) else (image,)
    distortion = distortion_class(*arguments, lmbda)
    planes, qtables = search(
        image, distortion, sampling=_SAMPLING, entropy_coding="optimized"
    )
    return jpeg_file.QuantizedImage(planes, _SAMPLING, qtables, *image.shape[:2])
