"""Measures dots on test images, or finds them measured already.

Every number is of a .jpg file on the disk: its bytes, and its picture as Pillow decodes
it. Results are kept beside the files, see results.py.
"""

import concurrent.futures
import contextlib
import glob
import io
import logging
import os
import platform
import threading

import numpy as np
import tqdm
from PIL import Image

from atomic_files import write_atomically
from encoding.codecs import Codecs
from encoding.outputs import plan_outputs
from errors import UserError
from evaluation import curves, fingerprint, results
from evaluation.dots import MODELS, quantization_of
from jpeg import file as jpeg_file
from jpeg.image_files import find_images, read_image
from ljpeg_PIL import StandardJPEG
from lpips_tensorflow import MIN_SIDE as LPIPS_MIN_SIDE
from metrics import butteraugli
from metrics.basic import bits_per_pixel
from metrics.ms_ssim import MIN_SIDE as MS_SSIM_MIN_SIDE
from metrics.pictures import PictureMetrics
from metrics.ssimulacra2 import MIN_SIDE as SSIMULACRA2_MIN_SIDE
from training import checkpoints

logger = logging.getLogger(__name__)

# Features of the originals that are kept for the next dot, in bytes; Kodak's 24 take
# 1.04 GB.
REFERENCE_BYTES = 1 << 30

_MIN_SIDES = {
    "MS-SSIM": MS_SSIM_MIN_SIDE,
    "LPIPS": LPIPS_MIN_SIDE,
    "SSIMULACRA2": SSIMULACRA2_MIN_SIDE,
}

# What the record of a dot names, beside the versions that it depends on.
_PACKAGES = ("tensorflow", "tensorflow-compression", "numpy", "numba")
_PACKAGES += fingerprint.PACKAGES


class TestImages:
    """The test images, in the order of their paths; unreadable ones are reported."""

    def __init__(self, patterns):
        """Finds the images and reads each once.

        Raises:
          UserError: no image, or no readable one.
        """
        self.paths, self.unreadable, self.records = [], [], []
        try:
            found = find_images(patterns)
        except UserError as error:
            raise UserError(f"--test_image_glob: {error}") from error
        for path in found:
            try:
                height, width = read_image(path).shape[:2]
                jpeg_file.check_size(height, width, path)
            except UserError as error:
                logger.error("error: test image left out: %s", error)
                self.unreadable.append(path)
                continue
            self.paths.append(path)
            self.records.append(
                {
                    "name": os.path.basename(path),
                    "height": height,
                    "width": width,
                    "sha256": results.file_sha256(path),
                }
            )
        for name, side in _MIN_SIDES.items():
            small = sum(min(r["height"], r["width"]) < side for r in self.records)
            if small:
                logger.info(
                    "%s is not defined below %d px: nan for %d images, left out of the "
                    "means",
                    name,
                    side,
                    small,
                )
        if not self.paths:
            raise UserError(
                f"--test_image_glob {' '.join(patterns)}: no readable image there"
            )


class Evaluator:
    """Measures dots on the test images, or finds them measured already."""

    def __init__(self, images, args):
        """Takes `TestImages` and the flags; loads nothing yet."""
        self._images = images
        self._args = args
        self._references = ReferenceCache(PictureMetrics(), images)
        self._codecs = Codecs(args.precision, quantization_of(vars(args)))
        self._versions = {
            "python": platform.python_version(),
            **results.library_versions(_PACKAGES),
        }
        if tool := butteraugli.find_tool():
            digest = results.file_sha256(tool)
            self._versions[butteraugli.TOOL] = f"file of SHA-256 {digest[:12]}"

    def evaluate(self, dot):
        """The `results.DotResults` of one dot.

        Raises:
          UserError: the checkpoint is damaged or of another model; a cached pickle is
            not one of ours.
          OSError: the results cannot be written.
        """
        key = {
            "checkpoint": dot.prefix and checkpoints.checkpoint_hash(dot.prefix),
            "images": self._images.records,
            "settings": dot.settings,
            **fingerprint.of(dot.settings),
        }
        found = results.load(dot.folder, dot.name, key)
        if found is not None:
            return found
        # From here on the .jpg files are other ones than the old results are of.
        results.discard(dot.folder, dot.name)
        with self._encoder(dot) as encode:
            if (
                dot.prefix
                and checkpoints.checkpoint_hash(dot.prefix) != key["checkpoint"]
            ):
                raise UserError(f"{dot.prefix}: has changed just now; try again")
            rows = self._measure_all(dot, encode)
        names = [record["name"] for record in self._images.records]
        measured = results.DotResults.from_rows(names, rows)
        results.save(
            dot.folder,
            dot.name,
            measured,
            key,
            description=_describe(dot, len(names)),
            settings=dot.settings,
            versions=self._versions,
        )
        return measured

    @contextlib.contextmanager
    def _encoder(self, dot):
        """Yields a function from a picture to the bytes of its .jpg file."""
        coding = dot.settings["entropy_coding"]
        if dot.settings.get("script") == StandardJPEG.NAME:
            codecs = Codecs(quantization=quantization_of(dot.settings))
            with codecs.make(StandardJPEG) as codec:
                yield lambda picture: jpeg_file.encode(
                    codec.quantize(picture, dot.quality), coding
                )
            return
        if dot.prefix is None:
            sampling = dot.settings.get("subsampling", "4:4:4")
            if dot.settings.get("tables") == "mozjpeg":
                yield lambda picture: jpeg_file.encode_mozjpeg(
                    picture, dot.quality, sampling
                )
                return
            yield lambda picture: jpeg_file.encode_rgb(
                picture, dot.quality, coding, sampling=sampling
            )
            return
        script = dot.settings["script"]
        with self._codecs.restore(dot.prefix, MODELS, script) as codec:
            if dot.has_maps:
                self._write_maps(dot, codec)
            yield lambda picture: jpeg_file.encode(
                codec.quantize(picture, dot.quality, coding == "trellis"), coding
            )

    def _write_maps(self, dot, codec):
        """Writes what attention keeps of each block, a pixel each, white for all."""
        folder = curves.maps_folder(os.path.join(dot.folder, dot.name))
        os.makedirs(folder, exist_ok=True)
        for path in self._images.paths:
            kept = np.clip(255 * codec.kept(read_image(path)), 0, 255)
            png = io.BytesIO()
            Image.fromarray(kept.round().astype(np.uint8)).save(png, "PNG")
            name = f"{os.path.basename(path)}.png"
            write_atomically(os.path.join(folder, name), png.getvalue())

    def _measure_all(self, dot, encode):
        """One dict of `results.MEASURED` for each image."""
        folder = os.path.join(dot.folder, dot.name)
        os.makedirs(folder, exist_ok=True)
        paths = self._images.paths
        outputs = plan_outputs(paths, folder)
        with concurrent.futures.ThreadPoolExecutor(self._args.workers) as executor:
            rows = executor.map(
                lambda path, output: self._measure(encode, path, output),
                paths,
                outputs,
            )
            rows = list(
                tqdm.tqdm(
                    rows, dot.name, len(paths), leave=False, unit="image", disable=None
                )
            )
        # What is left is of another set of test images; hidden files may be those that
        # another evaluation is writing at this moment.
        for path in glob.glob(os.path.join(glob.escape(folder), "*")):
            if path not in outputs:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)
        return rows

    def _measure(self, encode, path, output):
        reference = self._references.get(path)
        encoded = encode(reference.original)
        write_atomically(output, encoded)
        with open(output, "rb") as file:
            data = file.read()
        if data != encoded:
            raise UserError(
                f"{output}: changed while it was measured; another evaluation with "
                "other settings writes there, give one of them another --output_dir"
            )
        values = self._references.metrics.compare(reference, jpeg_file.decode(data))
        height, width = reference.original.shape[:2]
        return {"bpp": bits_per_pixel(len(data), height, width), **values}


class ReferenceCache:
    """Originals with their features: the first ones, up to `REFERENCE_BYTES`.

    Every dot goes through the images in the same order, so that keeping the last ones
    would never hit.
    """

    def __init__(self, metrics, images):
        self.metrics = metrics
        self._hashes = {
            path: record["sha256"]
            for path, record in zip(images.paths, images.records, strict=True)
        }
        self._references = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, path):
        """The `metrics.Reference` of an image file.

        Raises:
          UserError: the file is no longer the one that was listed.
        """
        with self._lock:
            if path in self._references:
                return self._references[path]
        reference = self.metrics.reference(read_image(path))
        if results.file_sha256(path) != self._hashes[path]:
            raise UserError(f"{path}: has changed during the evaluation; start again")
        with self._lock:
            if self._size + reference.nbytes <= REFERENCE_BYTES:
                self._references[path] = reference
                self._size += reference.nbytes
        return reference


def _describe(dot, count):
    what = dot.curve if dot.prefix is None else f"{dot.settings['script']}, {dot.name}"
    quality = f", quality {dot.quality}" if dot.quality else ""
    return (
        f"{what}{quality}, {describe_encoding(dot.settings)}, {count} images "
        "decoded by Pillow, means of per-image values"
    )


def describe_samplings(dots):
    """The subsamplings of the models among dots, in words; names of curves if many."""
    curves = {}
    for dot in dots:
        if dot.kind != "jpeg":
            own = curves.setdefault(dot.settings.get("subsampling", "4:4:4"), {})
            own[dot.curve] = None
    if len(curves) < 2:
        return "".join(curves) or "4:4:4"
    return "; ".join(f"{name}: {', '.join(own)}" for name, own in curves.items())


def describe_encoding(settings):
    """How integers were chosen and coded, in words."""
    coding = settings["entropy_coding"]
    words = [settings.get("subsampling", "4:4:4"), f"{coding} entropy coding"]
    # mozjpeg's trellis is the quantization of its coding.
    if coding != "trellis":
        words.append(f"quantization {settings.get('quantization', 'round')}")
    if settings.get("tune", "model") != "model":
        words.append(f"tuned for {settings['tune']}")
    if settings.get("refine_steps"):
        words.append(f"{settings['refine_steps']} refinement steps a picture")
    return ", ".join(words)
