"""The report: one page with curves, gains and a viewer of the images.

`--report` of `evaluate.py` and of `report.compare` writes it. Its numbers are those
of the tables (`bd_rate`, `gains`); they choose the images in its viewer. It needs no
network: the script of plotly.js (MIT licence) is part of it.
"""

import concurrent.futures
import hashlib
import json
import logging
import os
import shlex
import sys
import urllib.parse
from typing import NamedTuple

import tqdm

from evaluation import judges, palette, results
from evaluation.bd_rate import range_text
from evaluation.curves import notes_on_small, of_common_images, with_own_labels
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.metrics import registry
from report import ballots, codec_compare, viewer
from report.findings import (
    MAX_IMAGES,
    Findings,
    image_records,
    interval_text,
    signed_percent,
)

logger = logging.getLogger(__name__)

_PAGE = os.path.join(os.path.dirname(__file__), "page")
_SCRIPTS = ("elements.js", "stage.js", "report.js", "preference.js", "blind.js")

# Plotly's names of matplotlib's markers.
_SYMBOLS = {
    ".": "circle",
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
}


class Report(NamedTuple):
    """A page that was written.

    Attributes:
      path: of the page.
      headline: the gain for the first metric, one sentence.
      missing: sentences on what the page lacks.
    """

    path: str
    headline: str
    missing: list


class Content(NamedTuple):
    """The content of a report.

    Attributes:
      anchor: `curves.Compared` that all are compared with.
      curves: list of `Compared` of the same test images, and published ones.
      bpp_range: (low, high) of the BD-rates.
      originals: dict from the names of images to their paths, as far as known.
      command: of the call that writes the report.
      missing: sentences on what could not be read.
    """

    anchor: object
    curves: list
    bpp_range: tuple
    originals: dict
    command: str
    missing: list


def write_report(path, content, self_contained=False):
    """Writes the page, its pictures and the files for Codec-Compare.

    Args:
      path: of the page; pictures go into `<stem>_pictures` beside it.
      content: `Content`.
      self_contained: whether pictures are part of the page instead.

    Returns:
      `Report`.

    Raises:
      OSError: it cannot be written.
    """
    stem = os.path.splitext(path)[0]
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    pictures = viewer.Pictures(None if self_contained else f"{stem}_pictures")
    whole = with_own_labels([content.anchor, *content.curves])
    labels = [curve.label for curve in whole]
    looks = palette.looks(labels, [curve.kind == "jpeg" for curve in whole])
    named = zip(whole, palette.short_names(labels), strict=True)
    whole = [curve._replace(label=name) for curve, name in named]
    anchor, *curves = of_common_images(whole)
    found = Findings(anchor, curves, content.bpp_range)
    page = _Page(content, found, pictures, notes_on_small(whole), looks)
    data = page.data()
    measured = [curve for curve in (anchor, *curves) if curve.results]
    batches = codec_compare.write_batches(f"{stem}_codec_compare", measured)
    text = _render(
        style=_read("report.css"),
        scripts=[_read(name) for name in _SCRIPTS],
        plotly=_plotly(),
        # A "<" might end the element that holds it.
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        page=page,
        found=found,
        batches=batches,
        batches_name=os.path.relpath(batches, folder),
        folder=folder,
    )
    write_atomically(path, text.encode(errors="replace"))
    if not self_contained:
        pictures.remove_others()
    headline = found.answers[0].sentence if found.answers else ""
    return Report(path, headline, page.missing)


def command_line(program):
    """Returns the command line of this process, to be repeated."""
    return shlex.join(["python3", *program.split(), *sys.argv[1:]])


def _read(name):
    with open(os.path.join(_PAGE, name), encoding="utf-8") as file:
        return file.read()


def _plotly():
    # Imported here, as plotly takes half a second.
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _render(**values):
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = signed_percent
    environment.filters["interval"] = interval_text
    environment.filters["sense"] = _sense
    environment.filters["address"] = address
    return environment.get_template("report.html").render(**values)


def _sense(percent):
    """Returns the class of a BD-rate, which gives gains and losses their colours."""
    return "gain" if percent < 0 else "loss"


def address(path, folder):
    """Returns the address of a file, relative to the page."""
    relative = os.path.relpath(path, folder).replace(os.sep, "/")
    return urllib.parse.quote(os.fsencode(relative))


class _Page:
    """The content of the template and the script in addition to the findings."""

    def __init__(self, content, found, pictures, notes, looks):
        self.content, self.found, self.notes = content, found, list(notes)
        count = len(found.anchor.results[0].images)
        if count > MAX_IMAGES:
            self.notes.append(
                f"The viewer has {MAX_IMAGES} of {count} images: those of which "
                "something is special first."
            )
        self.metrics = [registry.get(key) for key in found.metrics]
        outside = [metric for metric in self.metrics if judges.is_outside(metric)]
        self.outside = [metric.key for metric in outside]
        self.range_text = range_text(found.bpp_range)
        self.missing = list(content.missing)
        self.viewed_names = set()
        self._pictures = pictures
        self._looks = looks

    def data(self):
        """Returns the data of the page's script, JSON-able."""
        found = self.found
        images = self._viewed_images()
        self.viewed_names = {image["name"] for image in images}
        rival = found.rival()
        return {
            "metrics": [
                {
                    "key": metric.key,
                    "label": metric.heading,
                    "axis": metric.axis_label,
                    "smaller": not metric.higher_is_better,
                }
                for metric in self.metrics
            ],
            "captions": [
                {
                    "key": metric.key,
                    "name": metric.name,
                    "unit": metric.unit,
                    "decimals": metric.caption_decimals,
                }
                for metric in registry.captions()
            ],
            "bppRange": list(found.bpp_range),
            "curves": [
                {**found.drawn(curve), "look": _look(look)}
                for curve, look in zip(
                    (found.anchor, *found.curves), self._looks, strict=True
                )
            ],
            "ours": found.ours.label,
            "scatter": {metric: found.scatter(metric) for metric in found.metrics},
            "images": images,
            "viewed": [curve.label for curve in found.viewed_curves()],
            "rival": rival.label if rival else "original",
            "blind": _blind_test(images),
            "files": self._pictures.sources,
        }

    def _viewed_images(self):
        """Returns the images of the viewer; missing ones are reported."""
        names = [name for name in self._known_images() if self._is_there(name)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
            found = executor.map(self._viewed_image, names)
            found = tqdm.tqdm(
                found, "viewer", len(names), leave=False, unit="image", disable=None
            )
            return [image for image in found if image]

    def _known_images(self):
        """Returns the images to view whose files were named; others are reported."""
        originals = self.content.originals
        images = list(self.found.viewed_images())
        unknown = [name for name in images if name not in originals]
        if unknown:
            reason = "name its file by --test_image_glob"
            self._tell_missing(results.listed(unknown), reason)
        return [name for name in images if name in originals]

    def _viewed_image(self, name):
        """Returns one image of the viewer, None if a file of it is missing."""
        ours, *others = self.found.viewed_curves()
        looked = viewer.Viewer(
            *(self._pictures, ours, others, self.found.bpp_range),
            self.found.first_metric,
        )
        try:
            image = looked.image(name, self.content.originals[name])
            attention = looked.attention(name, [self.found.anchor, *self.found.curves])
        except (OSError, UserError, ValueError) as error:
            self._tell_missing(name, error)
            return None
        rank = self.found.viewed_images()[name]
        return {**image, "rank": rank, "attention": attention}

    def _is_there(self, name):
        """Returns whether the original of an image is the one that was measured."""
        path = self.content.originals[name]
        wanted = image_records(self.found.anchor).get(name, {}).get("sha256")
        if not os.path.exists(path):
            reason = f"{path} is gone"
        elif wanted and results.file_sha256(path) != wanted:
            reason = f"{path} is another image than was measured"
        else:
            return True
        self._tell_missing(name, reason)
        return False

    def _tell_missing(self, name, reason):
        self.missing.append(f"{name} is not in the viewer: {reason}")
        logger.error("error: %s", self.missing[-1])

    @property
    def details(self):
        """The settings, versions and files of every curve."""
        return [
            {
                "label": curve.label,
                "settings": _common_settings(curve),
                "versions": curve.records[0].get("versions", {}),
                "points": list(
                    zip(curve.settings, curve.stems, curve.records, strict=True)
                ),
            }
            for curve in (self.found.anchor, *self.found.curves)
            if curve.records
        ]

    @property
    def test_images(self):
        """Records of the test images: name, width, height, sha256."""
        return list(image_records(self.found.anchor).values())


def _look(look):
    """Returns a `palette.Look` as Plotly has it, dashes in units of a line's width."""
    dashes = [] if isinstance(look.dash, str) else list(look.dash[1])
    return {"colour": look.colour, "dashes": dashes, "symbol": _SYMBOLS[look.marker]}


def _blind_test(images):
    """Returns what the page needs to know of its blind test besides its images."""
    content = json.dumps(images, sort_keys=True).encode()
    return {
        "format": ballots.FORMAT,
        "version": ballots.VERSION,
        "test": hashlib.sha256(content).hexdigest()[:16],
        "minControls": ballots.MIN_CONTROLS,
        "minRecognised": ballots.MIN_RECOGNISED,
        "minCalledEqual": ballots.MIN_CALLED_EQUAL,
    }


def _common_settings(curve):
    """Returns the settings that all operating points of a curve share."""
    first, *others = [record.get("settings", {}) for record in curve.records]
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }
