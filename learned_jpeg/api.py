"""The functions of the package: encode, save, decode, score and load a model."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import IO, TypeAlias

import numpy as np
from PIL import Image

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.commands.files import encode_file
from learned_jpeg.commands.keeping import Keeping
from learned_jpeg.common.atomic_files import Attributes, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.file import check_size
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.metrics.metric import Metric
from learned_jpeg.pictures import pillow_images
from learned_jpeg.pictures.image_files import decode_jpeg, read_image
from learned_jpeg.pictures.metadata import Metadata, embed
from learned_jpeg.pictures.read_options import DEFAULT, KEEP, ReadOptions
from learned_jpeg.search.distortion import DEFAULT_EFFORT
from learned_jpeg.search.targets import Target

# A path, an opened Pillow image, or uint8 [h, w, 3] (RGB), [h, w] (gray).
ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"

_NAME = "the image"  # in messages, where it has no path


class Bytes(Target):
    """A size in bytes that files come close to from below, metadata included."""

    def __init__(self, value: float):
        """Stores the number of bytes."""
        super().__init__("bytes", value)


class BitsPerPixel(Target):
    """A rate in bits per pixel that files come close to from below."""

    def __init__(self, value: float):
        """Stores the bits per pixel."""
        super().__init__("bpp", value)


class MetricTarget(Target):
    """A value of a metric that files come close to from above."""

    def __init__(self, metric: str, value: float):
        """Stores the name of a metric, such as "ssimulacra2", and the value."""
        known = {m.key: m.word for m in registry.targets()}
        super().__init__(known[_known_key(metric, known)], value)


def encode(
    image: ImageLike,
    *,
    quality: int | None = None,
    target: Target | None = None,
    lmbda: float | None = None,
    tune: str | None = None,
    subsampling: str | None = None,
    quantization: str | None = None,
    entropy_coding: str = "optimized",
    refine_steps: int = 0,
    effort: int = DEFAULT_EFFORT,
    model: TrainedModel | None = None,
    metadata: bool | str = True,
    gain_map: str = "keep",
    video: str = "keep",
    colour: str = KEEP,
    raw: bool = False,
) -> bytes:
    """Encodes an image as a small .jpg file, with the bytes that the command writes.

    At most one of `quality`, `target` and `lmbda` is given.

    Args:
      image: path, Pillow image, or uint8 array `[h, w, 3]` (RGB) or `[h, w]` (gray). A
        JPEG file is returned without loss, in fewer bytes, where the result would be
        larger or gain too little.
      quality: 1..100; the file looks like JPEG of this quality. The default is 75.
      target: `Bytes`, `BitsPerPixel` or `MetricTarget` that the file comes close to.
      lmbda: bits per pixel that a distortion of 1 is worth in the search.
      tune: metric that the search minimises: "visual" (the default), "ssimulacra2",
        "psnr", "ms-ssim" or "mixed"; with a model also "model", the loss of its
        training.
      subsampling: of chroma, "4:4:4", "4:2:2" or "4:2:0"; "auto" for what the image
        needs, the default of a search; None for what suits the model and the
        quantization.
      quantization: "search", "round" or "mozjpeg"; None for "search" without a model
        and "round" with one.
      entropy_coding: "optimized", or "standard" for a sequential file with the Huffman
        tables of the standard.
      refine_steps: number of gradient steps on the coefficients, for models with an
        entropy model.
      effort: of the search: 1 is fast, 2 the default, 3 makes the smallest files.
      model: as from `load_model`, whose tables and network are used.
      metadata: whether profile, EXIF, XMP, IPTC, comments, density, gain map and video
        are kept; "look" keeps what changes the look: the profile and the gain map.
      gain_map: of an HDR image in a file: "keep" to recompress it, "copy" to leave its
        bytes as they are, "drop" to leave it out. Pillow images have none.
      video: of a motion photo in a file: "keep" to copy it, "drop" to leave it out.
      colour: "keep" keeps the values of RGB pixels with their ICC profile, "srgb"
        converts them to sRGB.
      raw: whether a raw file of a camera is developed; else it is refused.

    Returns:
      The bytes of a .jpg file.

    Raises:
      UserError: the image cannot be read, an option does not fit, or the target cannot
        be reached.
    """
    if not isinstance(model, TrainedModel | None):
        raise UserError(f"model {model!r}: load it first, by load_model")
    if quantization is None:
        quantization = "round" if model else "search"
    if tune is None and model:
        tune = OWN_LOSS
    if target and model and quantization != "search" and not model.takes_quality:
        raise UserError(
            f"target {target.name}: without a search this model makes one file only; "
            "pass quantization search"
        )
    options = EncodeOptions(
        quality=quality,
        lmbda=lmbda,
        target=target,
        quantization=quantization,
        tune=tune,
        subsampling=subsampling,
        entropy_coding=entropy_coding,
        refine_steps=refine_steps,
        effort=effort,
    )
    keeping = Keeping(metadata, gain_map, video)
    reading = ReadOptions(colour=colour, raw=raw)
    encoder = Encoder(options, [model or standard_tables()])
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        return encode_file(encoder, path, keeping=keeping, reading=reading).data
    pixels, found = _pixels_and_metadata(image, reading)
    height, width = pixels.shape[:2]
    check_size(height, width, _NAME)
    found = keeping.of(found)
    return encoder.encode(pixels, functools.partial(embed, metadata=found)).data


def save(image: ImageLike, file: str | os.PathLike[str] | IO[bytes], **options) -> None:
    """Encodes an image and writes the file, like Pillow's `Image.save`.

    Args:
      image: as for `encode`.
      file: path, whose older file is replaced once the new one is complete, or an open
        binary file. The file of a path gets the permissions of an image file.
      **options: keyword arguments of `encode`.

    Raises:
      UserError: as `encode`.
      OSError: the file cannot be written.
    """
    data = encode(image, **options)
    if isinstance(file, str | os.PathLike):
        is_path = isinstance(image, str | os.PathLike)
        attributes = Attributes.of(image) if is_path else None
        write_atomically(os.fspath(file), data, attributes=attributes)
    else:
        file.write(data)


def decode(file: bytes | bytearray | str | os.PathLike[str]) -> np.ndarray:
    """Decodes an image file to uint8 RGB `[h, w, 3]`, turned upright.

    Args:
      file: bytes of a .jpg file, or the path of an image.

    Raises:
      UserError: the file cannot be read.
    """
    if isinstance(file, str | os.PathLike):
        return read_image(os.fspath(file))
    if not isinstance(file, bytes | bytearray):
        raise UserError(
            f"a file of type {type(file).__name__}: pass the bytes of a .jpg file, or "
            "a path"
        )
    return decode_jpeg(file, "the bytes to decode")


def score(
    original: ImageLike,
    decoded: ImageLike | bytes | bytearray,
    metric: str = "ssimulacra2",
) -> float:
    """Measures how close a decoded image is to its original.

    Args:
      original: as for `encode`.
      decoded: bytes of a .jpg file, or as for `encode`; of the same size.
      metric: name of a metric, such as "psnr", "ms-ssim", "ssimulacra2".

    Returns:
      The value; nan where the image is too small for the metric.

    Raises:
      UserError: no such metric, the metric's tool is missing, or sizes differ.
    """
    key = _known_key(metric, registry.METRICS)
    found = registry.get(key)
    if not found.is_available():
        raise UserError(f"metric {metric!r}: what measures it is not installed")
    return _measured(original, decoded, [found])[key]


def scores(
    original: ImageLike, decoded: ImageLike | bytes | bytearray
) -> dict[str, float]:
    """Measures a decoded image by every metric that is available here.

    Args:
      original, decoded: as for `score`.

    Returns:
      dict from the name of each metric to its value.

    Raises:
      UserError: the sizes differ.
    """
    return _measured(original, decoded, registry.available())


def load_model(
    folder: str | os.PathLike[str], precision: str | None = None
) -> TrainedModel:
    """Loads a trained model for `encode`.

    Learned tables need nothing else; a model with a network needs TensorFlow and a
    clone of the repository.

    Args:
      folder: checkpoint folder, such as "runs/mine/lambda_001".
      precision: of convolutions, "float32" or "bfloat16"; None for what suits the
        machine.

    Raises:
      UserError: there is no checkpoint.
    """
    return TrainedModel.load(os.fspath(folder), networks=Networks(precision))


def _known_key(metric: str, known: Iterable[str]) -> str:
    """Returns the key of a metric, whether it is written "ms-ssim" or "ms_ssim"."""
    key = str(metric).replace("_", "-")
    if key not in known:
        raise UserError(f"metric {metric!r}: unknown; choose one of {', '.join(known)}")
    return key


def _measured(
    original: ImageLike, decoded: ImageLike | bytes | bytearray, metrics: list[Metric]
) -> dict[str, float]:
    reference, image = _pixels(original), _pixels(decoded)
    if reference.shape != image.shape:
        sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (reference, image))
        raise UserError(f"images of {sizes} px: only images of one size are compared")
    return ImageMetrics(reference, metrics).compare(image)


def _pixels(image: ImageLike | bytes | bytearray) -> np.ndarray:
    if isinstance(image, bytes | bytearray | str | os.PathLike):
        return decode(image)
    return _pixels_and_metadata(image)[0]


def _pixels_and_metadata(
    image: ImageLike, reading: ReadOptions = DEFAULT
) -> tuple[np.ndarray, Metadata]:
    """Returns uint8 RGB `[h, w, 3]` and the `Metadata` of an image in memory."""
    if isinstance(image, Image.Image):
        return _of_pillow_image(image, reading)
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"an image of type {type(image).__name__}: pass a path, a Pillow image or "
            "a uint8 array"
        )
    shape = list(image.shape)
    is_gray = image.ndim == 2
    if image.dtype != np.uint8 or not (is_gray or (image.ndim == 3 and shape[2] == 3)):
        raise UserError(
            f"an array of {image.dtype} {shape}: pass uint8 [h, w, 3] (RGB) or [h, w]"
        )
    if not image.size:
        raise UserError(f"an array of {shape} holds no pixels")
    if is_gray:
        image = np.repeat(image[..., np.newaxis], 3, axis=2)
    return np.ascontiguousarray(image), Metadata()


def _of_pillow_image(
    image: Image.Image, reading: ReadOptions
) -> tuple[np.ndarray, Metadata]:
    if 0 in image.size:
        raise UserError(f"an image of {image.width}x{image.height} px holds no pixels")
    try:
        return pillow_images.pixels_and_metadata(image, reading)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Pillow may raise nearly anything on damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{_NAME}: damaged, incomplete or closed ({reason})") from error
