"""The versions of code and libraries that the numbers of an operating point depend on.

Each module that makes numbers declares `NUMBERS_VERSION`, a whole number that goes up
whenever they change. So another layout of the files, a comment or another Python leave
cached results as they are. A test holds golden numbers of every module against its
version (tests/evaluation/test_fingerprint.py).
"""

import conv_blocks
from evaluation import other_encoders, results
from learned_jpeg.codec import distortion_gradient, quantizers, refinement
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import progressive, sampling, transform
from learned_jpeg.metrics import image_metrics
from learned_jpeg.models.contract import load_model_class
from learned_jpeg.models.settings import FULL_CHROMA
from learned_jpeg.pictures import image_files
from learned_jpeg.search import (
    ms_ssim_distortion,
    passes,
    planes,
    tunes,
)

# Libraries that make the bytes of a file, or decode it.
PACKAGES = ("pillow", "jpeglib", "mozjpeg-lossless-optimization")


def of(settings: dict) -> dict:
    """Returns the versions that an operating point depends on.

    Args:
      settings: of an `OperatingPoint`.

    Returns:
      `{"code": {part: version}, "libraries": {package: version}}`.
    """
    if "encoder" in settings:
        return _of_encoder(settings["encoder"])
    modules = {"reading": image_files, "file": jpeg_file, "metrics": image_metrics}
    script = settings.get("script")
    quantization = settings["quantization"]
    is_subsampled = settings["subsampling"] != FULL_CHROMA
    is_searched = quantization == "search"
    if script:
        modules["transform"] = transform
    if script and load_model_class(script).TRAITS.has_network:
        modules["network"] = conv_blocks
    if settings["refine_steps"]:
        modules |= {"refinement": refinement, "gradient": distortion_gradient}
    if is_searched:
        modules |= {"integers": passes, "search": quantizers, "tunes": tunes}
        modules["forms"] = ms_ssim_distortion
    if is_searched or is_subsampled:
        modules["planes"] = planes
    if script and not is_searched and is_subsampled:
        modules["sampling"] = sampling
    if settings["entropy_coding"] == "optimized" and quantization != "mozjpeg":
        modules["progressive"] = progressive
    versions = {part: module.NUMBERS_VERSION for part, module in modules.items()}
    if is_searched and settings["tune"] in tunes.TUNES:
        versions |= tunes.TUNES[settings["tune"]].versions
    return {"code": versions, "libraries": results.library_versions(PACKAGES)}


def _of_encoder(name: str) -> dict:
    """Returns what the numbers of one of `other_encoders.ENCODERS` depend on."""
    encoder = other_encoders.ENCODERS[name]
    if encoder.coding:
        return of(encoder.coding)
    modules = {"reading": image_files, "metrics": image_metrics}
    versions = {part: module.NUMBERS_VERSION for part, module in modules.items()}
    return {"code": versions, "libraries": encoder.versions()}
