"""Measures operating points on test images, or finds them measured already.

Every number is of a .jpg file on the disk: its bytes, and its pixels as Pillow decodes
them. Results are kept beside the files, see results.py.
"""

import concurrent.futures
import contextlib
import functools
import io
import logging
import math
import os
import platform
import threading

import numpy as np
import tqdm
from PIL import Image

from evaluation import curves, fingerprint, other_encoders, results
from evaluation.image_names import names_of, plan_files
from evaluation.operating_points import (
    OperatingPoint,
    describe_encoding,
    encode_plain,
    options_of,
)
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import ImageTooSmallError, UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.models import folders
from learned_jpeg.pictures.image_files import find_images, read_image

logger = logging.getLogger(__name__)

# Size of the originals' features that are kept for the next operating point; those of
# Kodak's 24 images take 1.04 GB.
REFERENCE_BYTES = 1 << 30

# Packages whose versions a record names, beside those that its numbers depend on.
_PACKAGES = ("tensorflow", "tensorflow-compression", "numpy", "numba")
_PACKAGES += fingerprint.PACKAGES


def find_test_images(patterns):
    """Returns the paths of the test images, sorted.

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
          wanted: which of them to read; all if it is None.

        Raises:
          UserError: none is readable.
        """
        self.found = found
        self.names = dict(zip(found, names_of(found), strict=True))
        self.folders = {os.path.dirname(os.path.realpath(path)): path for path in found}
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
                    "name": self.names[path],
                    "height": height,
                    "width": width,
                    "sha256": results.file_sha256(path),
                }
            )
        self._tell_small()
        if not self.paths:
            raise UserError(
                f"--test_image_glob: {found[0]} and whatever else it stands for cannot "
                "be read"
            )

    def _tell_small(self):
        """Says which images are too small for which metrics."""
        by_side = {}
        for metric in registry.available():
            by_side.setdefault(metric.min_side, []).append(metric.name)
        for side, metrics in by_side.items():
            small = [
                record["name"]
                for record in self.records
                if min(record["height"], record["width"]) < side
            ]
            if small:
                logger.info(
                    "%s: smaller than %d px, left out of the means of %s",
                    results.listed(small),
                    side,
                    ", ".join(metrics),
                )

    @property
    def originals(self):
        """A dict from the names of the images to their paths."""
        names = [record["name"] for record in self.records]
        return dict(zip(names, self.paths, strict=True))


class Evaluator:
    """Measures operating points on the test images, or finds them measured already."""

    def __init__(self, images, args):
        """Stores `TestImages` and the flags; loads nothing yet."""
        self._images = images
        self._args = args
        self._references = ReferenceCache(images)
        self._networks = Networks(args.precision)
        self._versions = {
            "python": platform.python_version(),
            **results.library_versions(_PACKAGES),
        }
        for metric in registry.available():
            self._versions |= metric.versions()

    def evaluate(self, point: OperatingPoint) -> results.PointResults:
        """Measures an operating point, or finds its results.

        Raises:
          UserError: the checkpoint is damaged or of another model; there is a pickle
            without a record; a test image is in the operating point's folder, or all
            are too small for it.
          OSError: the results cannot be written.
        """
        key = {**_key(point), "images": self._images.records}
        found = results.load(point.folder, point.name, key)
        if found is not None:
            return found
        self._check_folder(point)
        # From here on the .jpg files are other ones than the old results are of.
        results.discard(point.folder, point.name)
        with contextlib.closing(self._measured(point, key, self._images.paths)) as rows:
            return self._saved(point, key, list(rows))

    def evaluate_part(self, point, paths, part):
        """Measures an operating point on those of some images that are not measured.

        Args:
          point: `OperatingPoint`.
          paths: of the images that are wanted; unreadable ones are left out.
          part: `parts.PartFile` that gets their rows.

        Raises:
          UserError, OSError: as `evaluate`.
        """
        key = _key(point)
        known = results.load_rows(point.folder, point.name, key)
        self._check_folder(point)
        if not known:
            results.discard(point.folder, point.name)
        images = dict(zip(self._images.paths, self._images.records, strict=True))
        with part.opened(key) as (rows, add):
            known |= rows
            left = [
                path
                for path in paths
                if path in images and results.identity(images[path]) not in known
            ]
            with contextlib.closing(self._measured(point, key, left)) as measured:
                for path, row in zip(left, measured, strict=True):
                    add(images[path], row)

    def gather(self, point, read_parts):
        """Returns the results of an operating point that shards have measured.

        Args:
          point: `OperatingPoint`.
          read_parts: function from a key to their rows, see `parts.parts_of`.

        Returns:
          (`results.PointResults`, 0), or (None, number of images that are missing).
        """
        key = _key(point)
        whole_key = {**key, "images": self._images.records}
        found = results.load(point.folder, point.name, whole_key)
        if found is not None:
            return found, 0
        rows = results.load_rows(point.folder, point.name, key) | read_parts(key)
        wanted = [results.identity(record) for record in self._images.records]
        if missing := sum(image not in rows for image in wanted):
            return None, missing
        return self._saved(point, whole_key, [rows[image] for image in wanted]), 0

    def _saved(self, point, key, rows):
        """Saves the rows of all images; returns them as `results.PointResults`."""
        names = [record["name"] for record in self._images.records]
        measured = results.PointResults.from_rows(names, rows)
        if len(measured.without_file()) == len(names):
            raise UserError(f"{point.name}: all test images are too small for it")
        self._remove_strangers(point)
        files = self._files(point)
        results.save(
            point.folder,
            point.name,
            measured,
            key,
            description=_describe(point, len(names)),
            settings=point.settings,
            versions=self._versions,
            files=[files[path] for path in self._images.paths],
        )
        return measured

    @contextlib.contextmanager
    def _encoder(self, point, paths):
        """Yields a function from an image of `paths` to the bytes of its .jpg file."""
        if "encoder" in point.settings:
            encoder = other_encoders.ENCODERS[point.settings["encoder"]]
            yield functools.partial(encoder.encode, quality=point.quality)
            return
        if "script" not in point.settings:
            yield functools.partial(
                encode_plain, quality=point.quality, settings=point.settings
            )
            return
        with self._model(point) as model:
            codec = model.codec(options_of(point.settings))
            if point.has_maps:
                self._write_maps(point, codec, paths)
            yield functools.partial(codec.encode, quality=point.quality)

    def _model(self, point):
        """Returns the `TrainedModel` of an operating point."""
        if point.prefix is None:
            return standard_tables()
        script = point.settings["script"]
        settings = folders.load_settings(os.path.dirname(point.prefix), script)
        return TrainedModel(settings, point.prefix, networks=self._networks)

    def _write_maps(self, point, codec, paths):
        """Writes how much detail of each block is kept, a pixel each, white for all."""
        folder = curves.maps_folder(os.path.join(point.folder, point.name))
        for path in paths:
            kept = np.clip(255 * codec.kept_detail(read_image(path)), 0, 255)
            png = io.BytesIO()
            Image.fromarray(kept.round().astype(np.uint8)).save(png, "PNG")
            target = os.path.join(folder, f"{self._images.names[path]}.png")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write_atomically(target, png.getvalue())

    def _measured(self, point, key, paths):
        """Yields a dict of `results.MEASURED` for each image."""
        if not paths:
            return
        outputs = self._outputs(point)
        with (
            self._encoder(point, paths) as encode,
            concurrent.futures.ThreadPoolExecutor(self._args.workers) as executor,
        ):
            if point.prefix:
                found = folders.checkpoint_hash(point.prefix)
                if found != key["checkpoint"]:
                    raise UserError(f"{point.prefix}: has changed just now; try again")
            rows = executor.map(
                lambda path: self._measure(encode, path, outputs[path]), paths
            )
            yield from tqdm.tqdm(
                rows, point.name, len(paths), leave=False, unit="image", disable=None
            )

    def _files(self, point):
        """Returns {path: coded file} of each image, see `image_names.plan_files`."""
        names = self._images.names
        files = plan_files(list(names.values()))
        if "encoder" in point.settings:
            suffix = other_encoders.ENCODERS[point.settings["encoder"]].suffix
            files = [os.path.splitext(file)[0] + suffix for file in files]
        return dict(zip(names, files, strict=True))

    def _outputs(self, point):
        """Returns a dict from the path of each image to that of its coded file."""
        folder = os.path.join(point.folder, point.name)
        return {
            path: os.path.join(folder, file)
            for path, file in self._files(point).items()
        }

    def _check_folder(self, point):
        """Refuses test images in the folder whose other files are removed.

        Raises:
          UserError: there is one.
        """
        own = os.path.realpath(os.path.join(point.folder, point.name))
        for folder, path in self._images.folders.items():
            if os.path.commonpath([folder, own]) == own:
                raise UserError(
                    f"{path}: this test image is among the files of {point.name}, "
                    "which are replaced; name another --output_dir"
                )

    def _remove_strangers(self, point):
        """Removes the .jpg files of another set of test images.

        Hidden files may be those that another evaluation is writing at this moment.
        """
        outputs = self._outputs(point)
        kept = {outputs[path] for path in self._images.paths}
        top = os.path.join(point.folder, point.name)
        for folder, _, files in os.walk(top, topdown=False):
            for path in (os.path.join(folder, name) for name in files):
                if path not in kept and not os.path.basename(path).startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(path)
            if folder != top:
                with contextlib.suppress(OSError):  # not empty
                    os.rmdir(folder)

    def _measure(self, encode, path, output):
        """Returns a dict of `results.MEASURED`, all nan of an image that is too small.

        That is one whose shorter side the search of the codec is not defined for.
        """
        reference = self._references.get(path)
        try:
            encoded = encode(reference.original)
        except ImageTooSmallError:
            return dict.fromkeys(results.MEASURED, math.nan)
        os.makedirs(os.path.dirname(output), exist_ok=True)
        write_atomically(output, encoded)
        with open(output, "rb") as file:
            data = file.read()
        if data != encoded:
            raise UserError(
                f"{output}: changed while it was measured; another evaluation with "
                "other settings writes there, give one of them another --output_dir"
            )
        values = reference.compare(other_encoders.decode(data))
        height, width = reference.original.shape[:2]
        return {"bpp": bits_per_pixel(len(data), height, width), **values}


class ReferenceCache:
    """Originals with their features: the first ones, up to `REFERENCE_BYTES`.

    Every operating point goes through the images in the same order, so that keeping the
    last ones would never hit.
    """

    def __init__(self, images):
        """Stores the `TestImages`; reads none yet."""
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


def _key(point):
    """Returns all that the numbers of an operating point depend on, but the images."""
    return {
        "checkpoint": point.prefix and folders.checkpoint_hash(point.prefix),
        "settings": point.settings,
        **fingerprint.of(point.settings),
    }


def _describe(point, count):
    what = point.curve
    if point.prefix is not None:
        what = f"{point.settings['script']}, {point.name}"
    quality = f", quality {point.quality}" if point.quality else ""
    is_known = "quantization" in point.settings
    how = f", {describe_encoding(point.settings)}" if is_known else ""
    return (
        f"{what}{quality}{how}, {count} images decoded by Pillow, means of per-image "
        "values"
    )
