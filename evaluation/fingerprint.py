"""What the numbers of a dot depend on, beside its checkpoint, settings and images.

Each module that makes numbers declares `NUMBERS_VERSION`, a whole number that goes up
whenever they change. So another layout of the files, a comment or another Python leave
cached results as they are. A test holds golden numbers of every module against its
version (tests/evaluation/test_fingerprint.py).
"""

import conv_blocks
from evaluation import results
from learned_jpeg.codec import distortion_gradient, refinement
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import progressive, sampling, transform
from learned_jpeg.metrics import image_metrics
from learned_jpeg.models.contract import load_model_class
from learned_jpeg.pictures import image_files
from learned_jpeg.search import ms_ssim_distortion as distortions
from learned_jpeg.search import passes as jpeg_search
from learned_jpeg.search import planes, tunes
from learned_jpeg.search import ssimulacra2_distortion as perceptual

# Libraries that make the bytes of a file, or decode it.
PACKAGES = ("pillow", "jpeglib", "mozjpeg-lossless-optimization")


def of(settings):
    """The versions that a dot depends on.

    Args:
      settings: dict of what defines the dot: `script` (of a model), `entropy_coding`,
        `quantization`, `tune`, `refine_steps`, `subsampling`.

    Returns:
      `{"code": {part: version}, "libraries": {package: version}}`.
    """
    modules = {"reading": image_files, "file": jpeg_file, "metrics": image_metrics}
    script = settings.get("script")
    if script:
        modules["transform"] = transform
    if script and load_model_class(script).TRAITS.has_network:
        modules["network"] = conv_blocks
    if settings.get("refine_steps"):
        modules |= {"refinement": refinement, "gradient": distortion_gradient}
    is_searched = settings.get("quantization", "round") != "round"
    if is_searched:
        modules |= {"integers": jpeg_search, "search": tunes, "forms": distortions}
        if settings.get("tune") == "ssimulacra2":
            modules["perceptual"] = perceptual
    if is_searched or "subsampling" in settings:
        modules["planes"] = planes
    if script and not is_searched and "subsampling" in settings:
        modules["sampling"] = sampling
    if settings.get("entropy_coding") == "optimized":
        modules["progressive"] = progressive
    versions = {part: module.NUMBERS_VERSION for part, module in modules.items()}
    return {"code": versions, "libraries": results.library_versions(PACKAGES)}
