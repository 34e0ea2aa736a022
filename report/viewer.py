"""Images for the report's viewer: files of several codecs at equal bytes or quality.

Only the numbers decide which images and which crops are shown.
"""

import base64
import functools
import hashlib
import io
import os
import re
import urllib.parse
from typing import NamedTuple

import numpy as np
from PIL import Image

from evaluation.curves import maps_folder
from evaluation.image_names import files_of
from evaluation.operating_points import encode_plain
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import read_image

CROP_SIDE = 160  # px
RATES = 3  # of the codec that the others are compared with
_RANKS = ("worst", "median", "best")
# A file of this quality is plainly worse, unless its PSNR (dB) is high nevertheless.
_WORSE_QUALITY, _WORSE_PSNR = 4, 32.0
_MAX_STEM = 100  # characters of a picture's name in that of its file


class Pictures:
    """The store of the page's images: a folder beside it, or the page itself."""

    def __init__(self, folder=None):
        """Stores the folder; None to have all in the page."""
        self.sources = {}  # id -> address, for the page
        self._folder = folder

    def add(self, name, data, suffix):
        """Stores an image; returns its id.

        Args:
          name: of the picture, in words.
          data: bytes of its file.
          suffix: ".jpg" or ".png".
        """
        digest = hashlib.sha256(data).hexdigest()[:10]
        stem = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        key = f"{stem[:_MAX_STEM]}-{digest}{suffix}"
        if key not in self.sources:
            self.sources[key] = self._store(key, data, suffix)
        return key

    def remove_others(self):
        """Removes images of an earlier page from the folder."""
        if not os.path.isdir(self._folder):
            return
        for name in os.listdir(self._folder):
            is_ours = re.fullmatch(r"\w+-[0-9a-f]{10}\.(jpg|png)", name)
            if is_ours and name not in self.sources:
                os.remove(os.path.join(self._folder, name))

    def _store(self, key, data, suffix):
        if self._folder is None:
            kind = {".jpg": "jpeg", ".png": "png"}[suffix]
            return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        os.makedirs(self._folder, exist_ok=True)
        write_atomically(os.path.join(self._folder, key), data)
        folder = os.path.basename(self._folder)
        return f"{urllib.parse.quote(os.fsencode(folder))}/{key}"


class File(NamedTuple):
    """A .jpg file of the viewer: its setting in words, its bytes."""

    setting: str
    data: bytes


def ranked_crops(original, ours, theirs, side=CROP_SIDE):
    """Finds the squares in which an image gains least, a median amount, and most.

    Args:
      original, ours, theirs: uint8 `[h, w, 3]`.
      side: of the squares, in px; smaller where the picture is.

    Returns:
      dict from "worst", "median", "best" to (x, y, side): by the squared error of
      ours less that of theirs.
    """
    height, width = original.shape[:2]
    side = min(side, height, width)
    squares = [
        (x, y, side) for y in _starts(height, side) for x in _starts(width, side)
    ]
    excess = _squared(original, ours) - _squared(original, theirs)
    sums = [excess[y : y + side, x : x + side].sum() for x, y, _ in squares]
    order = np.argsort(sums)[::-1]
    places = (0, len(order) // 2, -1)
    return dict(zip(_RANKS, (squares[order[p]] for p in places), strict=True))


def _starts(length, side):
    """Returns starts of squares that overlap by half, the last one at the end."""
    return [*range(0, length - side, max(side // 2, 1)), length - side]


def _squared(original, decoded):
    difference = np.subtract(original, decoded, dtype=np.int32)
    return np.square(difference).sum(-1)


def file_of_point(curve, place, image):
    """Reads the .jpg file of an operating point.

    Raises:
      UserError: it is gone.
    """
    folder, file_name = curve.stems[place], files_of(curve.records[place])[image]
    try:
        with open(os.path.join(folder, file_name), "rb") as file:
            return File(curve.settings[place], file.read())
    except FileNotFoundError:
        raise UserError(
            f"{folder}: the file of {image} is gone; evaluate again"
        ) from None


def rates_of(curve, index, bpp_range):
    """Finds the operating points that are nearest to a low, middle and high rate.

    Args:
      curve: `curves.Compared` with results.
      index: of the image.
      bpp_range: (low, high).

    Returns:
      Sorted list of up to `RATES` places in `curve.results`.
    """
    rates = np.log([point.values["bpp"][index] for point in curve.results])
    low, high = np.log(bpp_range)
    wanted = low + (high - low) * np.linspace(0.15, 0.85, RATES)
    return sorted({int(np.abs(rates - w).argmin()) for w in wanted})


class Matcher:
    """Finds the file of a curve that has the bytes, or the quality, of another file."""

    def __init__(self, original, curve, index, scores):
        """Stores the picture.

        Args:
          original: uint8 `[h, w, 3]`.
          curve: `curves.Compared` with results.
          index: of the image in its results.
          scores: `Scores` of the original.
        """
        self._pixels = original.shape[0] * original.shape[1]
        self._curve = curve
        self._index = index
        self._scores = scores
        encode = _encoder(curve, original)
        self._encode = encode and functools.cache(encode)

    def at_bytes(self, size):
        """Returns the smallest file of at least `size` bytes, or the nearest one."""
        if self._encode:
            return self._searched(lambda data: len(data) >= size)
        return self._nearest("bpp", 8 * size / self._pixels)

    def at_quality(self, metric, other):
        """Returns the smallest file as good as another, or the nearest one.

        Args:
          metric: key of one of the captions' metrics.
          other: bytes of the other file.
        """
        wanted = self._scores.of(other)[metric]
        if self._encode:
            return self._searched(lambda data: self._scores.of(data)[metric] >= wanted)
        return self._nearest(metric, wanted)

    def _nearest(self, name, wanted):
        values = [point.values[name][self._index] for point in self._curve.results]
        # Infinite PSNRs are equal.
        apart = [0.0 if value == wanted else abs(value - wanted) for value in values]
        place = int(np.argmin(apart))
        image = self._curve.results[0].images[self._index]
        return file_of_point(self._curve, place, image)

    def _searched(self, is_enough):
        """Bisects the qualities; returns the best file if none is enough."""
        low, high = 1, 100
        while low < high:
            middle = (low + high) // 2
            if is_enough(self._encode(middle)):
                high = middle
            else:
                low = middle + 1
        return File(f"quality {low}", self._encode(low))


def _encoder(curve, original):
    """Returns a function from a quality to a file; None for models."""
    settings = curve.records[0]["settings"]
    if settings.get("script"):
        return None
    return lambda q: encode_plain(original, q, settings)


class Scores:
    """Measures the metrics of the captions, for one original."""

    def __init__(self, original):
        """Stores uint8 `[h, w, 3]`."""
        self._metrics = ImageMetrics(original, registry.captions())
        self._known = {}

    def of(self, data):
        """Returns the metrics of a .jpg file, a dict."""
        if data not in self._known:
            self._known[data] = self._metrics.compare(jpeg_file.decode(data))
        return self._known[data]


def qtables_of(data):
    """Returns the tables of a .jpg file, lists `[2 (luma, chroma)][64]` by rows."""
    with jpeg_file.open_jpeg(data) as image:
        tables = [list(table) for _, table in sorted(image.quantization.items())]
    return [tables[0], tables[-1]]


def png(pixels):
    """Returns the bytes of a PNG file of uint8 `[h, w]` or `[h, w, 3]`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Viewer:
    """Collects the images of a report and their captions."""

    def __init__(self, pictures, ours, others, bpp_range, metric):
        """Stores the curves to compare.

        Args:
          pictures: `Pictures`.
          ours: `curves.Compared`, whose files the others are matched with.
          others: list of `Compared` of the same test images, the anchor first.
          bpp_range: (low, high), bits per pixel.
          metric: key of the metric at which quality is equal, where the captions have
            it and the image is large enough.
        """
        self._pictures = pictures
        self._ours, self._others = ours, others
        self._bpp_range = bpp_range
        self._metric = metric

    def image(self, name, path):
        """Returns all data of one image.

        Args:
          name: of the image in the results.
          path: of the original.

        Returns:
          JSON-able dict.

        Raises:
          OSError, UserError: a file is gone, or damaged.
        """
        index = self._ours.results[0].images.index(name)
        original = read_image(path)
        height, width = original.shape[:2]
        metric = self._metric_of((height, width))
        scores = Scores(original)
        matchers = {c.label: Matcher(original, c, index, scores) for c in self._others}
        rates = [
            self._matched(file_of_point(self._ours, place, name), matchers, metric)
            for place in rates_of(self._ours, index, self._bpp_range)
        ]
        return {
            "name": name,
            "metric": metric,
            "original": self._pictures.add(name, png(original), ".png"),
            "width": width,
            "height": height,
            "rates": [
                {
                    how: {c: self._entry(name, f, scores) for c, f in files.items()}
                    for how, files in rate.items()
                }
                for rate in rates
            ],
            "crops": self._crops(original, rates[len(rates) // 2]["bytes"]),
            "worse": self._worse(name, original, scores),
        }

    def _worse(self, name, original, scores):
        """Returns a file that looks plainly worse than its original, None if none does.

        It is a hidden control of the blind test.
        """
        data = jpeg_file.encode_rgb(original, _WORSE_QUALITY)
        if scores.of(data)["psnr"] > _WORSE_PSNR:
            return None  # of a blank image
        return self._pictures.add(name, data, ".jpg")

    def attention(self, name, curves):
        """Returns {label: map} of what the attention of some curves keeps."""
        pictures = {}
        for curve in curves:
            for stem in curve.stems:
                path = os.path.join(maps_folder(stem), f"{name}.png")
                if os.path.exists(path):
                    with open(path, "rb") as file:
                        picture = self._pictures.add(name, file.read(), ".png")
                    pictures[curve.label] = picture
        return pictures

    def _metric_of(self, size):
        """Returns the metric at which quality is equal; the last one fits all sizes."""
        *others, last = registry.captions()
        fits = [m.key for m in others if m.min_side <= min(size)]
        return self._metric if self._metric in fits else last.key

    def _matched(self, own, matchers, metric):
        """Returns the files that match one of ours, {how: {label: `File`}}."""
        sets = {"bytes": {self._ours.label: own}, "quality": {self._ours.label: own}}
        for label, matcher in matchers.items():
            sets["bytes"][label] = matcher.at_bytes(len(own.data))
            sets["quality"][label] = matcher.at_quality(metric, own.data)
        return sets

    def _entry(self, name, file, scores):
        """Returns the entry of a file in the page."""
        values = scores.of(file.data)
        finite = {n: round(v, 3) for n, v in values.items() if np.isfinite(v)}
        return {
            "file": self._pictures.add(name, file.data, ".jpg"),
            "setting": file.setting,
            "bytes": len(file.data),
            "qtables": qtables_of(file.data),
            **finite,
        }

    def _crops(self, original, files):
        """Returns `ranked_crops` of our file against the first of the others."""
        decoded = [jpeg_file.decode(file.data) for file in files.values()]
        return ranked_crops(original, decoded[0], decoded[min(1, len(decoded) - 1)])
