"""Writes the numbers of the pages from the committed results.

`python3 -m report.numbers` fills what stands in README.md, docs/ and
example_experiments/README.md between `<!-- numbers: NAME -->` and `<!-- /numbers -->`:
a table, or some words within a sentence. `--check` changes nothing and fails where a
page differs. A name whose results are not measured yet stays as it is, and is named.
"""

from __future__ import annotations

import functools
import os
import re
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

import arg_parser
from evaluation import judges, other_encoders, results, tables
from evaluation.bd_rate import bd_rate, rate_at
from evaluation.curves import Compared, read_curves
from evaluation.gains import gains_of_images
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json
from learned_jpeg.common.process import run_main
from learned_jpeg.metrics import registry
from learned_jpeg.search.tunes import DEFAULT_TUNE

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = (
    "README.md",
    "docs/LOG.md",
    "docs/evaluate.md",
    "docs/photographs.md",
    "example_experiments/README.md",
)
RESULTS = "example_experiments"
MEASURED_FILE = "measured.json"  # commit and date, written by evaluate.sh

BPP_RANGE = (0.2, 1.2)
_MARKED = re.compile(r"(<!-- numbers: ([\w-]+) -->)(.*?)(<!-- /numbers -->)", re.DOTALL)

# Columns of the tables, in their order; those without values are left out.
_COLUMNS = (
    *("psnr", "ms-ssim", "lpips", "ssimulacra2", "butteraugli", "cvvdp"),
    "psnr-hvs-m",
)
_PUBLISHED = "learned_q_w10_scale1e-5"
_RATES = (0.4, 0.6)  # of the publication's models, bits per pixel
_SCORES = (40, 50, 60, 70, 80)


class MissingResultsError(Exception):
    """Results that a text needs are not measured yet."""


class Source:
    """The committed results of a folder, read where they are first asked for."""

    def __init__(self, folder: str):
        """Stores the folder of the results; reads nothing yet."""
        self.folder = folder
        self.curves = functools.cache(self._curves)

    def _curves(self, part: str) -> list[Compared]:
        """Returns the curves of a folder such as "_optimized"; "" for the first one.

        Raises:
          MissingResultsError: there is no such folder.
        """
        path = os.path.join(self.folder, part)
        if not any(os.path.isdir(os.path.join(path, own)) for own in _OUTPUTS):
            raise MissingResultsError(part)
        return read_curves(path)

    def curve(self, part: str, name: str, *words: str) -> Compared:
        """Returns the curve of a run or codec.

        Args:
          part: as of `curves`.
          name: of the run or codec.
          words: parts of its label that follow the name, such as "4:2:0"; all of them.

        Raises:
          MissingResultsError: there is none.
        """
        for curve in self.curves(part):
            own = curve.label.removeprefix(name).split(", ")[1:]
            if curve.name == name and set(words) <= set(own):
                return curve
        raise MissingResultsError(f"{part}: {name}")

    def jpeg(self, sampling: str = "4:4:4", coding: str = "standard") -> Compared:
        """Returns JPEG as Pillow writes it; "optimized" coding has a lossless pass."""
        part = "" if coding == "standard" else "_optimized"
        if sampling != "4:4:4":  # measured where something else is at this sampling
            part = "_optimized_psnr" if coding == "optimized" else "_rdoq"
        found = [c for c in self.curves(part) if c.name == "JPEG"]
        for curve in found:
            if curve.records[0]["settings"]["subsampling"] == sampling:
                return curve
        raise MissingResultsError(f"{part}: JPEG {sampling}")

    def searched(self, tune: str) -> Compared:
        """Returns the search without a model, for a tune."""
        return self.curve(f"_optimized_{tune}", "search, no model")

    def default(self) -> tuple[str, Compared]:
        """Returns (tune, curve) of the default, or of SSIMULACRA2 until then."""
        try:
            return DEFAULT_TUNE, self.searched(DEFAULT_TUNE)
        except MissingResultsError:
            return "ssimulacra2", self.searched("ssimulacra2")

    def encoder(self, name: str) -> dict[int, results.PointResults]:
        """Returns the operating points of another encoder, by quality."""
        points = other_encoders.read_points(
            os.path.join(self.folder, "_encoders"), name
        )
        if not points:
            raise MissingResultsError(f"_encoders: {name}")
        return points

    def encoder_curve(self, name: str) -> Compared:
        """Returns an encoder as a curve that can be compared with others."""
        points = self.encoder(name)
        label = other_encoders.ENCODERS[name].label
        means = [point.means() for point in points.values()]
        return Compared(
            label, label, "jpeg", list(map(str, points)), means, list(points.values())
        )


_OUTPUTS = ("_output", "_output_PIL")


class Row(NamedTuple):
    """A row of a table of BD-rates.

    Attributes:
      label: in the first column.
      find: function from a `Source` to the curve.
    """

    label: str
    find: Callable[[Source], Compared]


def _rows(source: Source, rows: Iterable[Row]) -> Iterator[tuple[str, Compared]]:
    """Yields the label and the curve of the rows that are measured."""
    for row in rows:
        try:
            yield row.label, row.find(source)
        except MissingResultsError:
            continue


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} %".replace("-0.0", "+0.0")


def _rates(source: Source, curve: Compared, keys: Iterable[str]) -> list[float | None]:
    """Returns the BD-rates of a curve against JPEG 4:4:4, in percent."""
    anchor = source.jpeg()
    return [
        bd_rate(anchor.points(key), curve.points(key), key, BPP_RANGE).percent
        for key in keys
    ]


def _spread(source: Source, curve: Compared, key: str) -> str:
    gains = gains_of_images(source.jpeg(), curve, key, BPP_RANGE)
    if len(gains) < 2:
        return ""
    return f" ({statistics.stdev(gains.values()):.1f})"


def _bd_table(
    source: Source,
    heading: str,
    rows: Iterable[Row],
    keys: Iterable[str] = _COLUMNS,
    *,
    with_spread: bool = False,
) -> str:
    """Returns BD-rates against JPEG 4:4:4; the lowest of each column is bold."""
    found = list(_rows(source, rows))
    if not found:
        raise MissingResultsError(heading)
    rates = [_rates(source, curve, keys) for _, curve in found]
    columns = [
        (key, column)
        for key, column in zip(keys, zip(*rates, strict=True), strict=True)
        if any(rate is not None for rate in column)
    ]
    cells: list[list[str]] = [[label] for label, _ in found]
    for key, column in columns:
        lowest = min(rate for rate in column if rate is not None)
        for own, (_, curve), rate in zip(cells, found, column, strict=True):
            text = _percent(rate)
            if rate == lowest and len(found) > 2:
                text = f"**{text}**"
            if text and with_spread:
                text += _spread(source, curve, key)
            own.append(text)
    header = [heading, *(registry.get(key).name for key, _ in columns)]
    return tables.markdown_table(header, cells)


def _tune_rows() -> list[Row]:
    """Returns a row for each tune of the search, the default first."""
    tunes = (DEFAULT_TUNE, "ssimulacra2", "psnr", "ms-ssim", "mixed")
    return [
        Row(
            f"ours, `--tune {tune}`" + (" (default)" if tune == DEFAULT_TUNE else ""),
            functools.partial(Source.searched, tune=tune),
        )
        for tune in tunes
    ]


_CLASSICAL = (
    Row(
        "JPEG 4:2:0 and a lossless pass",
        lambda source: source.jpeg("4:2:0", "optimized"),
    ),
    Row("mozjpeg 4:2:0", lambda source: source.curve("", "mozjpeg")),
    Row(
        "jpegli 4:2:0 and a lossless pass",
        lambda source: source.encoder_curve("jpegli"),
    ),
)


def encoders_table(source: Source) -> str:
    """Returns the BD-rates of JPEG encoders and of the search's tunes."""
    refined = Row(
        "`tables_entropy_lpips`, 4:4:4, `--refine_steps 30`, see below",
        lambda source: source.curve("_optimized_refined", "tables_entropy_lpips"),
    )
    return _bd_table(source, "encoder", [*_CLASSICAL, *_tune_rows(), refined])


def search_table(source: Source) -> str:
    """Returns the BD-rates of the search with their spread over the images."""
    return _bd_table(source, "encoder", [*_CLASSICAL, *_tune_rows()], with_spread=True)


def started_table(source: Source) -> str:
    """Returns the BD-rates of searches that start from learned tables."""
    rows = [
        Row(
            f"`{tune}`, `{run}`",
            lambda source, part=part, run=run: source.curve(part, run),
        )
        for tune, run, part in (
            ("ssimulacra2", "tables_entropy_ms-ssim", "_optimized_ssimulacra2"),
            ("psnr", "tables_rdoq_mse", "_optimized_psnr"),
            ("ms-ssim", "tables_entropy_ms-ssim", "_optimized_ms-ssim"),
            ("mixed", "tables_entropy_ms-ssim", "_optimized_mixed"),
            ("model", "tables_entropy_mse", "_optimized_rdoq"),
            ("model", "tables_entropy_lpips", "_optimized_rdoq"),
        )
    ]
    return _bd_table(source, "`--tune`, start", rows)


def standard_table(source: Source) -> str:
    """Returns the BD-rates of searched files with the standard Huffman tables."""
    rows = [Row("JPEG 4:2:0, rounded", lambda source: source.jpeg("4:2:0"))]
    rows += [
        _run_row(run, "_rdoq")
        for run in (
            "tables_rdoq_mse",
            "tables_entropy_mse",
            "tables_entropy_lpips",
            "tables_entropy_ms-ssim",
        )
    ]
    return _bd_table(source, "`--tune model`, start", rows)


def worst_table(source: Source) -> str:
    """Returns the image of each tune that gains least, by its own metric and others."""
    anchor = source.jpeg()
    rows = []
    for tune, keys in (
        (DEFAULT_TUNE, ("ssimulacra2", "butteraugli", "psnr")),
        ("ssimulacra2", ("ssimulacra2", "butteraugli", "psnr")),
        ("psnr", ("psnr", "ssimulacra2")),
        ("mixed", ("ms-ssim",)),
    ):
        try:
            curve = source.searched(tune)
        except MissingResultsError:
            continue
        for key in keys:
            gains = gains_of_images(anchor, curve, key, BPP_RANGE)
            if gains:
                image = max(gains, key=lambda name: (gains[name], name))
                name = os.path.splitext(image)[0]
                title = registry.get(key).name
                rows.append([f"`{tune}`", title, name, _percent(gains[image])])
    return tables.markdown_table(["`--tune`", "metric", "worst image", "BD-rate"], rows)


_CODINGS = {
    "standard": "",
    "optimized": "_optimized",
    "mozjpeg quantization": "_trellis",
    "standard, search, 4:2:0": "_rdoq",
    "optimized, search, 4:2:0": "_optimized_rdoq",
    "optimized, refined": "_optimized_refined",
}
_MODELS = (
    "tables_entropy_mse",
    "attention_entropy_mse",
    "tables_rdoq_mse",
    "tables_entropy_ms-ssim",
    "attention_entropy_ms-ssim",
    "tables_entropy_lpips",
    "attention_entropy_lpips",
)


def models_table(source: Source, key: str) -> str:
    """Returns the BD-rates of each model in each coding, by one metric."""
    anchor = source.jpeg()

    def cell(part, run):
        try:
            curve = source.curve(part, run)
        except MissingResultsError:
            return ""
        rate = bd_rate(anchor.points(key), curve.points(key), key, BPP_RANGE)
        return _percent(rate.percent)

    rows = [
        [f"`{run}`", *(cell(part, run) for part in _CODINGS.values())]
        for run in _MODELS
    ]
    jpeg = [cell(part, "JPEG") for part in ("_optimized", "_trellis")]
    rows.insert(0, ["JPEG 4:4:4", "+0.0 %", *jpeg, *[""] * (len(_CODINGS) - 3)])
    return tables.markdown_table([registry.get(key).name, *_CODINGS], rows)


def formats_table(source: Source) -> str:
    """Returns how many bytes our files take of those of other encoders.

    At equal SSIMULACRA2, of the mean curves.
    """
    tune, ours = source.default()
    others = [
        Row("mozjpeg 4:2:0", _CLASSICAL[1].find),
        Row("jpegli 4:2:0 and a lossless pass", _CLASSICAL[2].find),
        Row("WebP (Pillow, method 6)", lambda source: source.encoder_curve("webp")),
        Row("AVIF (Pillow, speed 6)", lambda source: source.encoder_curve("avif")),
    ]
    source.encoder("webp")
    rows = []
    for label, curve in _rows(source, others):
        pairs = [
            (
                rate_at(ours.points("ssimulacra2"), "ssimulacra2", score),
                rate_at(curve.points("ssimulacra2"), "ssimulacra2", score),
            )
            for score in _SCORES
        ]
        cells = [_percent(100 * (a / b - 1)) if a and b else "" for a, b in pairs]
        gains = gains_of_images(curve, ours, "ssimulacra2", BPP_RANGE)
        wins = sum(gain < 0 for gain in gains.values())
        rows.append([label, *cells, f"{wins} of {len(gains)}"])
    heading = f"bytes of ours (`--tune {tune}`) against"
    header = [heading, *map(str, _SCORES), "images with smaller files"]
    return tables.markdown_table(header, rows)


# What the default is compared with by every metric, and the metrics by which it is to
# be better on each image.
_JUDGED = {"mozjpeg": _CLASSICAL[1], "jpegli": _CLASSICAL[2]}
_BY_IMAGE = ("ssimulacra2", "butteraugli", "cvvdp")


def judges_table(source: Source) -> str:
    """Returns the BD-rates of the default against other encoders, by every metric.

    Each row also has the number of images on which it needs fewer bits, and says
    whether the default minimises the metric or was chosen by it.
    """
    _, ours = source.default()
    minimised = judges.minimised_by(ours.records[0]["settings"])
    anchors = [row.find(source) for row in _JUDGED.values()]
    rows = []
    for metric in registry.compared():
        cells = []
        for anchor in anchors:
            points = anchor.points(metric.key), ours.points(metric.key)
            rate = bd_rate(*points, metric.key, BPP_RANGE).percent
            gains = gains_of_images(anchor, ours, metric.key, BPP_RANGE)
            wins = sum(gain < 0 for gain in gains.values())
            cells += [_percent(rate), f"{wins} of {len(gains)}" if gains else ""]
        if any(cells):
            part = "none" if judges.is_outside(metric) else "used to choose"
            if metric.key in minimised:
                part = "minimised"
            rows.append([metric.name, *cells, part])
    heads = [
        head for name in _JUDGED for head in (f"against {name} 4:2:0", "better on")
    ]
    return tables.markdown_table(["metric", *heads, "part in our default"], rows)


def judges_text(source: Source) -> str:
    """Returns on how many images the default is better than others by three metrics."""
    _, ours = source.default()
    images = ours.results[0].images
    better = set(images)
    for row in _JUDGED.values():
        for key in _BY_IMAGE:
            gains = gains_of_images(row.find(source), ours, key, BPP_RANGE)
            if not gains:
                raise MissingResultsError(key)
            better &= {image for image, gain in gains.items() if gain < 0}
    return f"on {len(better)} of the {len(images)} images"


# The lowest BD-rates of published encoders, see the table of these, and for LPIPS what
# was hoped for.
_AIMS = (
    ("psnr", -38.3, "the search", "_optimized_psnr", "search, no model"),
    ("ms-ssim", -34.1, "the search", "_optimized_ms-ssim", "search, no model"),
    (
        *("lpips", -40.0, "`tables_entropy_lpips`, refined"),
        *("_optimized_refined", "tables_entropy_lpips"),
    ),
)


def aims_table(source: Source) -> str:
    """Returns the aims of the project with what was reached."""
    rows = []
    for key, aim, label, part, name in _AIMS:
        (rate,) = _rates(source, source.curve(part, name), [key])
        rows.append([registry.get(key).name, _percent(aim), _percent(rate), label])
    return tables.markdown_table(["metric", "aim", "reached", "by"], rows)


_SHOWN = ("5", "20", "50", "90")


def _at_quality(curve: Compared, quality: int) -> dict[str, float]:
    """Returns the means of the operating point of a quality."""
    for record, means in zip(curve.records, curve.means, strict=True):
        if record["settings"].get("quality") == quality:
            return means
    raise MissingResultsError(f"{curve.label}: quality {quality}")


def jpeg_table(source: Source) -> str:
    """Returns the means of JPEG at some qualities."""
    keys = [key for key in _COLUMNS if key != "butteraugli"]
    curve = source.jpeg()
    points = {quality: _at_quality(curve, int(quality)) for quality in _SHOWN}
    metrics = [registry.get(key) for key in keys]
    shown = [m for m in metrics if results.is_shown(m.key, curve.means)]
    rows = [
        [
            quality,
            f"{points[quality]['bpp']:.4f}",
            *(
                tables.value_cell(metric, points[quality][metric.key])
                for metric in shown
            ),
        ]
        for quality in _SHOWN
    ]
    return tables.markdown_table(["quality", "bpp", *(m.name for m in shown)], rows)


def qualities_table(source: Source) -> str:
    """Returns what `--quality` gives, beside JPEG of the same number."""
    ours = source.encoder("ours")
    rows = []
    for quality in (30, 50, 75, 90):
        sampling = "4:2:0" if quality < 90 else "4:4:4"
        jpeg = source.jpeg(sampling, "optimized")
        theirs = _at_quality(jpeg, quality)
        own = ours[quality].means()
        kilobytes = [1000 / 8 * mean["bpp"] for mean in (theirs, own)]
        rows.append(
            [
                str(quality),
                f"{theirs['ssimulacra2']:.0f}",
                f"{own['ssimulacra2']:.0f}",
                *(f"{size:.0f} kB" for size in kilobytes),
                f"{100 * (1 - kilobytes[1] / kilobytes[0]):.0f} %",
            ]
        )
    header = [
        "quality",
        "SSIMULACRA2 of JPEG",
        "of ours",
        "JPEG by Pillow and a lossless pass, per megapixel",
        "ours",
        "saving",
    ]
    return tables.markdown_table(header, rows)


def _run_row(run: str, part: str = "") -> Row:
    return Row(f"`{run}`", lambda source: source.curve(part, run))


def publication_table(source: Source) -> str:
    """Returns the BD-rates of the publication's losses in their own coding."""
    rows = [
        _run_row(f"{kind}_{_PUBLISHED}{suffix}")
        for suffix in ("", "_lpips500", "_lpips5000")
        for kind in ("tables", "attention")
    ]
    rows.append(
        Row(
            "`google_baseline_lr_1e-5`",
            lambda source: source.curve("", "Google baseline"),
        )
    )
    return _bd_table(source, "run", rows, ("psnr", "ms-ssim", "lpips", "ssimulacra2"))


def rates_table(source: Source) -> str:
    """Returns what JPEG and the publication's models reach at equal rates."""
    rows = [
        Row("JPEG", Source.jpeg),
        _run_row(f"tables_{_PUBLISHED}"),
        _run_row(f"attention_{_PUBLISHED}"),
    ]
    metrics = [registry.get(key) for key in ("psnr", "ms-ssim", "lpips")]
    cells = []
    for label, curve in _rows(source, rows):
        own = [label]
        for metric in metrics:
            rates, values = np.transpose(curve.points(metric.key))
            values = [metric.to_scale(value) for value in values]
            digits = 4 if metric.key == "lpips" else 2
            for rate in _RATES:
                value = np.interp(np.log(rate), np.log(rates), values)
                own.append(f"{value:.{digits}f}")
        cells.append(own)
    heads = [f"{m.heading} at {rate:g}" for m in metrics for rate in _RATES]
    return tables.markdown_table(["bpp", *heads], cells)


def attention_table(source: Source) -> str:
    """Returns the BD-rates of tables and attention with an estimated rate."""
    rows = [
        _run_row(f"{kind}_entropy_{loss}")
        for loss in ("mse", "ms-ssim", "lpips")
        for kind in ("tables", "attention")
    ]
    return _bd_table(source, "run", rows, ("psnr", "ms-ssim", "lpips", "ssimulacra2"))


def summary_table(source: Source) -> str:
    """Returns in one table what is best today; for the top of the log."""
    attention = f"attention_{_PUBLISHED}"
    rows = [
        Row(
            "the publication's attention, rounded, 4:4:4",
            lambda source: source.curve("", attention),
        ),
        *_CLASSICAL,
        *_tune_rows()[:3],
    ]
    return _bd_table(source, "Kodak", rows)


def savings_text(source: Source) -> str:
    """Returns how much smaller the files of the default are at equal SSIMULACRA2."""
    tune, ours = source.default()
    key = "ssimulacra2"
    savings = []
    for other in (source.jpeg(), source.curve("", "mozjpeg")):
        rate = bd_rate(other.points(key), ours.points(key), key, BPP_RANGE).percent
        if rate is None:
            raise MissingResultsError(other.label)
        savings.append(f"{-rate:.0f} %")
    return (
        f"the files of `--tune {tune}` are {savings[0]} smaller than JPEG's (4:4:4) "
        f"and {savings[1]} smaller than mozjpeg's"
    )


def published_gain_text(source: Source) -> str:
    """Returns the BD-rate of the publication's attention by PSNR."""
    curve = source.curve("", f"attention_{_PUBLISHED}")
    return _percent(_rates(source, curve, ["psnr"])[0])


def attention_gain_text(source: Source) -> str:
    """Returns how far attention is ahead of its tables, beside a rate in bits."""
    leads = []
    for loss in ("mse", "ms-ssim", "lpips"):
        curves = [
            source.curve("", f"{kind}_entropy_{loss}")
            for kind in ("tables", "attention")
        ]
        without, with_it = (_rates(source, curve, ["psnr"])[0] for curve in curves)
        leads.append(without - with_it)
    return f"by {min(leads):.1f} to {max(leads):.1f} points of BD-rate for PSNR"


def demo_text(source: Source) -> str:
    """Returns what `make demo` finds, in words."""
    demo = Source(os.path.join(source.folder, "_demo"))
    anchor = demo.curve("", "JPEG")
    ours = demo.curve("", "search, no model")
    key = "ssimulacra2"
    savings = []
    for other in (anchor, demo.curve("", "mozjpeg")):
        rate = bd_rate(other.points(key), ours.points(key), key, BPP_RANGE).percent
        savings.append(f"{-rate:.0f} %" if rate is not None else "?")
    return (
        f"the files are {savings[0]} smaller than JPEG's and {savings[1]} smaller than "
        "mozjpeg's"
    )


def measured_text(source: Source) -> str:
    """Returns the commit and the date of the measurement."""
    path = os.path.join(source.folder, MEASURED_FILE)
    if not os.path.exists(path):
        raise MissingResultsError(MEASURED_FILE)
    found = read_json(path)
    return f"measured at commit `{found['commit']}` on {found['date']}"


def jpeg_75_text(source: Source) -> str:
    """Returns the SSIMULACRA2 of JPEG of quality 75, 4:2:0."""
    curve = source.jpeg("4:2:0", "optimized")
    mean = _at_quality(curve, 75)
    return f"{mean['ssimulacra2']:.0f}"


TEXTS: dict[str, Callable[[Source], str]] = {
    "encoders": encoders_table,
    "search": search_table,
    "started": started_table,
    "standard": standard_table,
    "worst": worst_table,
    "models-psnr": functools.partial(models_table, key="psnr"),
    "models-ms-ssim": functools.partial(models_table, key="ms-ssim"),
    "models-lpips": functools.partial(models_table, key="lpips"),
    "formats": formats_table,
    "judges": judges_table,
    "judges-images": judges_text,
    "aims": aims_table,
    "jpeg": jpeg_table,
    "qualities": qualities_table,
    "publication": publication_table,
    "rates": rates_table,
    "attention": attention_table,
    "summary": summary_table,
    "demo": demo_text,
    "measured": measured_text,
    "savings": savings_text,
    "jpeg-75": jpeg_75_text,
    "published-gain": published_gain_text,
    "attention-gain": attention_gain_text,
}


def filled(page: str, text_of: Callable[[str], str]) -> str:
    """Returns a page with its marked parts written anew.

    Args:
      page: Markdown.
      text_of: function from a name to what belongs there. Raises
        `MissingResultsError` for what stays as it is.

    Raises:
      UserError: a mark without an end, or an end without a mark.
    """
    if page.count("<!-- numbers:") != page.count("<!-- /numbers -->"):
        raise UserError("a <!-- numbers: NAME --> lacks its <!-- /numbers -->")

    def replacement(match):
        begin, name, old, end = match.groups()
        try:
            text = text_of(name)
        except MissingResultsError:
            return match[0]
        # A table stands in lines of its own, words within a sentence.
        around = "\n" if old.startswith("\n") else ""
        return f"{begin}{around}{text}{around}{end}"

    return _MARKED.sub(replacement, page)


class Filled(NamedTuple):
    """The findings of `fill_pages`.

    Attributes:
      changed: the pages that differ from the results.
      missing: names of what is not measured yet.
    """

    changed: list[str]
    missing: list[str]


def fill_pages(root: str, *, writes: bool) -> Filled:
    """Compares the pages with the results, and writes them.

    Args:
      root: folder of the project.
      writes: False only compares.

    Raises:
      UserError: a page has a name that nobody knows, or a mark without an end.
    """
    source = Source(os.path.join(root, RESULTS))
    missing: dict[str, None] = {}

    @functools.cache
    def text_of(name):
        if name not in TEXTS:
            raise UserError(f"numbers: {name}: no such text; see TEXTS")
        try:
            return TEXTS[name](source)
        except MissingResultsError:
            missing[name] = None
            raise

    changed = []
    for page in PAGES:
        path = os.path.join(root, page)
        with open(path, encoding="utf-8") as file:
            old = file.read()
        try:
            new = filled(old, text_of)
        except UserError as error:
            raise UserError(f"{page}: {error}") from error
        if new != old:
            changed.append(page)
            if writes:
                write_atomically(path, new.encode())
    return Filled(changed, list(missing))


def main():
    """Writes or checks the pages; returns the exit status."""
    args = arg_parser.parse_numbers()
    found = fill_pages(ROOT, writes=not args.check)
    for name in found.missing:
        print(f"{name}: not measured yet, stays as it is (make results)")
    if args.check and found.changed:
        raise UserError(
            f"{', '.join(found.changed)}: differs from the results; run "
            "python3 -m report.numbers"
        )
    if found.changed:
        print("Written:", *found.changed, sep="\n  ")
    return 0


if __name__ == "__main__":
    run_main(main)
