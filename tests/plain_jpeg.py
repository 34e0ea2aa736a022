"""Plain JPEG of Pillow's, and the score of a file, for tests of qualities."""

import io

from PIL import Image

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score


def pillow_jpeg(image, quality, sampling="4:2:0", **options):
    """Returns the bytes of Pillow's JPEG of uint8 RGB `[h, w, 3]`."""
    buffer = io.BytesIO()
    options = {"quality": quality, "subsampling": sampling, **options}
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def score_of(original, data):
    """Returns SSIMULACRA2 of a .jpg file."""
    scales = score.reference_scales(original)
    return score.score(scales, jpeg_file.decode(data))
