"""The findings of a report: which codec gains most, over which others, by how much."""

import math
from typing import NamedTuple

import tqdm

from evaluation import judges
from evaluation.bd_rate import rate_at
from evaluation.gains import gain
from evaluation.tables import shown_metrics
from learned_jpeg.metrics import registry

MAX_VIEWED = 6  # codecs in the viewer: more would only be scrolled through
MAX_IMAGES = 100  # in the viewer: each takes seconds and megabytes

# Classical encoders that ours is first seen beside; published curves of these have a
# sentence of their own.
_RIVALS = ("mozjpeg", "jpegli")


class Row(NamedTuple):
    """A row of the table.

    Attributes:
      label: of the curve.
      gains: its `Gain` for each metric.
      minimised: for each metric, whether the curve minimises it.
      worst: (image, percent), None if it is not known.
    """

    label: str
    gains: list
    minimised: list
    worst: tuple | None


class Answer(NamedTuple):
    """How much smaller the files of the best codec are, for one metric.

    Attributes:
      metric: its name.
      gains: list of (label of another codec, `Gain` over it).
      parts: what is said of each of these.
      is_outside: whether no default was chosen by the metric, and ours does not
        minimise it.
      sentence: all of it.
    """

    metric: str
    gains: list
    parts: list
    is_outside: bool
    sentence: str


class Findings:
    """The numbers of a report.

    Attributes:
      anchor, curves, bpp_range: as given.
      metrics: keys of those that were measured, the most telling one first.
      gains: {(label of a curve, metric): `Gain` over the anchor}.
      ours: the learned or searched curve that gains most, or the anchor.
      answers: list of `Answer`.
      rows: list of `Row`.
    """

    def __init__(self, anchor, curves, bpp_range):
        """Stores `curves.Compared` and (low, high) bits per pixel."""
        self.anchor, self.curves, self.bpp_range = anchor, curves, bpp_range
        means = [mean for curve in (anchor, *curves) for mean in curve.means]
        self.metrics = [
            metric.key
            for metric in sorted(shown_metrics(means), key=lambda m: m.rank)
            if any(math.isfinite(mean[metric.key]) for mean in means)
        ]
        self.gains = self._all_gains()
        self.ours = self._best()
        answers = map(self._answer, self.metrics)
        self.answers = [answer for answer in answers if answer]
        self.rows = [self._row(curve) for curve in curves]

    @property
    def first_metric(self):
        """The metric that chooses the images and the best curve."""
        return self.metrics[0] if self.metrics else "psnr"

    def drawn(self, curve):
        """Returns a curve as the script of the page draws it, JSON-able."""
        values = {
            metric: [shown(metric, mean[metric]) for mean in curve.means]
            for metric in self.metrics
        }
        return {
            "label": curve.label,
            "kind": curve.kind,
            "settings": list(curve.settings),
            "rates": {
                metric: [bpp for bpp, _ in curve.points(metric)]
                for metric in self.metrics
            },
            "values": values,
        }

    def scatter(self, metric):
        """Returns bytes of every image at one quality, for curves that have images."""
        rate = self.gains.get((self.ours.label, metric))
        if rate is None or rate.rate.overlap is None:
            return None
        level = sum(rate.rate.overlap) / 2
        images = self.anchor.results[0].images
        sizes = _pixels(self.anchor)
        kilobytes = {}
        for curve in (self.anchor, *self.curves):
            if curve.results:
                rates = [
                    rate_at(curve.points_of_image(metric, index), metric, level)
                    for index in range(len(images))
                ]
                kilobytes[curve.label] = [
                    bpp and round(bpp * size / 8000, 3)
                    for bpp, size in zip(rates, sizes, strict=True)
                ]
        return {
            "level": level,
            "images": images,
            "kilobytes": kilobytes,
        }

    def viewed_curves(self):
        """Returns up to `MAX_VIEWED` for the viewer, ours first, then the anchor.

        Other classical codecs come next, then those that gain most.
        """
        measured = [c for c in self.curves if c.results and c is not self.ours]

        def order(curve):
            percent = self.gains[curve.label, self.first_metric].rate.percent
            return curve.kind != "jpeg", math.inf if percent is None else percent

        others = [self.anchor, *sorted(measured, key=order)]
        if self.ours is self.anchor:
            others = others[1:]
        return [self.ours, *others][:MAX_VIEWED]

    def rival(self):
        """Returns the curve that ours is first seen beside, None if it is alone."""
        _, *others = self.viewed_curves()
        known = (c for name in _RIVALS for c in others if name in c.label)
        return next(known, others[0] if others else None)

    def viewed_images(self):
        """Returns a dict from the viewer's images to what is special about each.

        The median one comes first, and those of which nothing is special last.
        """
        gains = self.gains.get((self.ours.label, self.first_metric))
        ranks = ranked(gains.by_image) if gains else {}
        viewed = {name: f"{rank} for {self.ours.label}" for name, rank in ranks.items()}
        for row in self.rows:
            if row.worst:
                viewed.setdefault(row.worst[0], f"worst for {row.label}")
        viewed = {**viewed, **dict.fromkeys(self.anchor.results[0].images, "")} | viewed
        return dict(list(viewed.items())[:MAX_IMAGES])

    def _all_gains(self):
        """Returns {(label of a curve, metric): `gains.Gain` over the anchor}."""
        pairs = [(curve, metric) for curve in self.curves for metric in self.metrics]
        return {
            (curve.label, metric): gain(self.anchor, curve, metric, self.bpp_range)
            for curve, metric in tqdm.tqdm(pairs, "gains", leave=False, disable=None)
        }

    def _best(self):
        """Returns the learned or searched curve that gains most, or the anchor."""
        own = [curve for curve in self.curves if curve.kind != "jpeg" and curve.results]

        def percent(curve):
            rate = self.gains[curve.label, self.first_metric].rate
            return math.inf if rate.percent is None else rate.percent

        return min(own, key=percent, default=self.anchor)

    def _answer(self, metric):
        """Returns the sentence of one metric with its parts; None without a number."""
        if self.ours is self.anchor:
            return None
        gains = [
            (rival.label, self._gain_over(rival, metric)) for rival in self._rivals()
        ]
        gains = [(label, g) for label, g in gains if g.rate.percent is not None]
        if not gains:
            return None
        parts = [_part(label, g) for label, g in gains]
        name = registry.get(metric).title
        sentence = f"At equal {name} the files of {self.ours.label} are "
        sentence += "; ".join(parts) + "."
        is_outside = judges.is_outside(registry.get(metric))
        is_outside &= metric not in self.ours.minimised
        return Answer(name, gains, parts, is_outside, sentence)

    def _rivals(self):
        """Returns the anchor, other classical encoders, and known published ones."""
        return [self.anchor] + [
            curve
            for curve in self.curves
            if curve.kind == "jpeg"
            and curve.name != self.anchor.name
            and (curve.results or any(name in curve.label for name in _RIVALS))
        ]

    def _gain_over(self, rival, metric):
        if rival is self.anchor:
            return self.gains[self.ours.label, metric]
        return gain(rival, self.ours, metric, self.bpp_range)

    def _row(self, curve):
        """Returns a row of the table."""
        gains = [self.gains[curve.label, metric] for metric in self.metrics]
        minimised = [metric in curve.minimised for metric in self.metrics]
        worst = gains[0].worst if gains else None
        return Row(curve.label, gains, minimised, worst)


def signed_percent(percent):
    """Returns a BD-rate in words, with a true minus sign."""
    return f"{percent:+.1f} %".replace("-", "\N{MINUS SIGN}")


def interval_text(interval):
    """Returns (low, high) percent in words."""
    low, high = map(signed_percent, interval)
    return f"{low.removesuffix(' %')} to {high}"


def _part(label, found):
    """Returns the part of a sentence about a gain."""
    percent = found.rate.percent
    size = "smaller" if percent < 0 else "larger"
    text = f"{abs(percent):.1f} % {size} than those of {label}"
    known = []
    if found.interval:
        known.append(interval_text(found.interval))
    if found.by_image:
        known.append(f"smaller for {found.wins} of {len(found.by_image)} images")
    return f"{text} ({', '.join(known)})" if known else text


def ranked(by_image):
    """Returns a dict from three images to their ranks: "median", "worst", "best".

    Args:
      by_image: dict from images to percents, as of `gains.Gain`.
    """
    order = sorted(by_image, key=lambda image: (-by_image[image], image))
    places = {"median": len(order) // 2, "worst": 0, "best": -1} if order else {}
    chosen = {}
    for rank, place in places.items():
        chosen.setdefault(order[place], rank)
    return chosen


def shown(metric, value):
    """Returns a value on the metric's scale, None where JSON has no such number."""
    value = registry.get(metric).to_scale(value)
    return float(value) if math.isfinite(value) else None


def image_records(curve):
    """Returns {name: record} of the test images."""
    images = curve.records[0].get("key", {}).get("images", [])
    return {image["name"]: image for image in images}


def _pixels(curve):
    """Returns the pixels of each image of a curve; 8000 (1 kB a bpp) if unknown."""
    records = image_records(curve)
    sizes = []
    for name in curve.results[0].images:
        record = records.get(name, {})
        sizes.append(record.get("width", 100) * record.get("height", 80))
    return sizes
