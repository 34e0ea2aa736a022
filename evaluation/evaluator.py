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

from evaluation import curves, fingerprint, results
from evaluation.dots import MODELS, encode_plain, quantization_of
from learned_jpeg.codec import file_coding
from learned_jpeg.codec.codecs import Codecs
from learned_jpeg.commands.outputs import plan_outputs
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.models import folders
from learned_jpeg.pictures.image_files import find_images, read_image
from ljpeg_PIL import StandardJPEG

logger = logging.getLogger(__name__)

# Features of the originals that are kept for the next dot, in bytes; Kodak's 24 take
# 1.04 GB.
REFERENCE_BYTES = 1 << 30

# What the record of a dot names, beside the versions that it depends on.
_PACKAGES = ("tensorflow", "tensorflow-compression", "numpy", "numba")
_PACKAGES += fingerprint.PACKAGES


def find_test_images(patterns):
    """Paths of the test images, sorted.

    Raises:
      UserError: there is none.
    """
    try:
        return find_images(patterns)
    except UserError as error:
        raise UserError(f"--test_image_glob: {error}") from error


class TestImages:
    """The test images, in the order of their paths; unreadable ones are reported."""

    def __init__(self, found, wanted=None):
        """Reads each image once.

        Args:
          found: what `find_test_images` has found.
          wanted: those of them to read; all if it is None.

        Raises:
          UserError: none is readable.
        """
        self.found = found
        self.paths, self.unreadable, self.records = [], [], []
        for path in found if wanted is None else wanted:
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
        for metric in registry.available():
            small = sum(
                min(record["height"], record["width"]) < metric.min_side
                for record in self.records
            )
            if small:
                logger.info(
                    "%s is not defined below %d px: nan for %d images, left out of the "
                    "means",
                    metric.name,
                    metric.min_side,
                    small,
                )
        if not self.paths:
            raise UserError(
                f"--test_image_glob: {found[0]} and whatever else it stands for cannot "
                "be read"
            )


class Evaluator:
    """Measures dots on the test images, or finds them measured already."""

    def __init__(self, images, args):
        """Takes `TestImages` and the flags; loads nothing yet."""
        self._images = images
        self._args = args
        self._references = ReferenceCache(images)
        self._codecs = Codecs(args.precision, quantization_of(vars(args)))
        self._versions = {
            "python": platform.python_version(),
            **results.library_versions(_PACKAGES),
        }
        for metric in registry.available():
            self._versions |= metric.versions()

    def evaluate(self, dot):
        """The `results.DotResults` of one dot.

        Raises:
          UserError: the checkpoint is damaged or of another model; a cached pickle is
            not one of ours.
          OSError: the results cannot be written.
        """
        key = {**_key(dot), "images": self._images.records}
        found = results.load(dot.folder, dot.name, key)
        if found is not None:
            return found
        # From here on the .jpg files are other ones than the old results are of.
        results.discard(dot.folder, dot.name)
        with contextlib.closing(self._measured(dot, key, self._images.paths)) as rows:
            return self._saved(dot, key, list(rows))

    def evaluate_part(self, dot, paths, part):
        """Measures a dot on some of the images, but for those that have been.

        Args:
          dot: `Dot`.
          paths: those of the images that are wanted; unreadable ones are left out.
          part: `parts.PartFile` that gets their rows.

        Raises:
          UserError, OSError: as `evaluate`.
        """
        key = _key(dot)
        known = results.load_rows(dot.folder, dot.name, key)
        if not known:
            results.discard(dot.folder, dot.name)
        images = dict(zip(self._images.paths, self._images.records, strict=True))
        with part.opened(key) as (rows, add):
            known |= rows
            left = [
                path
                for path in paths
                if path in images and results.identity(images[path]) not in known
            ]
            with contextlib.closing(self._measured(dot, key, left)) as measured:
                for path, row in zip(left, measured, strict=True):
                    add(images[path], row)

    def gather(self, dot, read_parts):
        """The `results.DotResults` of a dot that others have measured in parts.

        Args:
          dot: `Dot`.
          read_parts: function from a key to their rows, see `parts.parts_of`.

        Returns:
          (results, 0), or (None, number of images that are missing).
        """
        key = _key(dot)
        whole_key = {**key, "images": self._images.records}
        found = results.load(dot.folder, dot.name, whole_key)
        if found is not None:
            return found, 0
        rows = results.load_rows(dot.folder, dot.name, key) | read_parts(key)
        wanted = [results.identity(record) for record in self._images.records]
        if missing := sum(image not in rows for image in wanted):
            return None, missing
        return self._saved(dot, whole_key, [rows[image] for image in wanted]), 0

    def _saved(self, dot, key, rows):
        """Saves the rows of all images as the results of a dot; returns them."""
        self._remove_strangers(dot)
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
    def _encoder(self, dot, paths):
        """Yields a function from a picture of `paths` to the bytes of its .jpg."""
        coding = file_coding(dot.settings["entropy_coding"])
        if dot.settings.get("script") == StandardJPEG.NAME:
            codecs = Codecs(quantization=quantization_of(dot.settings))
            with codecs.make(StandardJPEG) as codec:
                yield lambda picture: jpeg_file.encode(
                    codec.quantize(picture, dot.quality), coding
                )
            return
        if dot.prefix is None:
            yield lambda picture: encode_plain(picture, dot.quality, dot.settings)
            return
        script = dot.settings["script"]
        with self._codecs.restore(dot.prefix, MODELS, script) as codec:
            if dot.has_maps:
                self._write_maps(dot, codec, paths)
            if coding == "trellis":
                yield lambda picture: codec.encode_mozjpeg(picture, dot.quality)
                return
            yield lambda picture: jpeg_file.encode(
                codec.quantize(picture, dot.quality), coding
            )

    def _write_maps(self, dot, codec, paths):
        """Writes what attention keeps of each block, a pixel each, white for all."""
        folder = curves.maps_folder(os.path.join(dot.folder, dot.name))
        os.makedirs(folder, exist_ok=True)
        for path in paths:
            kept = np.clip(255 * codec.kept(read_image(path)), 0, 255)
            png = io.BytesIO()
            Image.fromarray(kept.round().astype(np.uint8)).save(png, "PNG")
            name = f"{os.path.basename(path)}.png"
            write_atomically(os.path.join(folder, name), png.getvalue())

    def _measured(self, dot, key, paths):
        """Yields a dict of `results.MEASURED` for each image."""
        if not paths:
            return
        os.makedirs(os.path.join(dot.folder, dot.name), exist_ok=True)
        outputs = self._outputs(dot)
        with (
            self._encoder(dot, paths) as encode,
            concurrent.futures.ThreadPoolExecutor(self._args.workers) as executor,
        ):
            if dot.prefix:
                found = folders.checkpoint_hash(dot.prefix)
                if found != key["checkpoint"]:
                    raise UserError(f"{dot.prefix}: has changed just now; try again")
            rows = executor.map(
                lambda path: self._measure(encode, path, outputs[path]), paths
            )
            yield from tqdm.tqdm(
                rows, dot.name, len(paths), leave=False, unit="image", disable=None
            )

    def _outputs(self, dot):
        """dict from the path of each image to that of the dot's .jpg file."""
        folder = os.path.join(dot.folder, dot.name)
        found = self._images.found
        return dict(zip(found, plan_outputs(found, folder), strict=True))

    def _remove_strangers(self, dot):
        """Removes the .jpg files of another set of test images.

        Hidden files may be those that another evaluation is writing at this moment.
        """
        outputs = self._outputs(dot)
        kept = {outputs[path] for path in self._images.paths}
        folder = glob.escape(os.path.join(dot.folder, dot.name))
        for path in glob.glob(os.path.join(folder, "*")):
            if path not in kept:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)

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
        values = reference.compare(jpeg_file.decode(data))
        height, width = reference.original.shape[:2]
        return {"bpp": bits_per_pixel(len(data), height, width), **values}


class ReferenceCache:
    """Originals with their features: the first ones, up to `REFERENCE_BYTES`.

    Every dot goes through the images in the same order, so that keeping the last ones
    would never hit.
    """

    def __init__(self, images):
        self._hashes = {
            path: record["sha256"]
            for path, record in zip(images.paths, images.records, strict=True)
        }
        self._references = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, path):
        """Returns the `ImageMetrics` of an image file.

        Raises:
          UserError: the file is no longer the one that was listed.
        """
        with self._lock:
            if path in self._references:
                return self._references[path]
        reference = ImageMetrics(read_image(path))
        if results.file_sha256(path) != self._hashes[path]:
            raise UserError(f"{path}: has changed during the evaluation; start again")
        with self._lock:
            if self._size + reference.nbytes <= REFERENCE_BYTES:
                self._references[path] = reference
                self._size += reference.nbytes
        return reference


def _key(dot):
    """All that the numbers of a dot depend on, but for the images."""
    return {
        "checkpoint": dot.prefix and folders.checkpoint_hash(dot.prefix),
        "settings": dot.settings,
        **fingerprint.of(dot.settings),
    }


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
