"""Tests of plots.py: what is drawn equals the means, and nothing that counts is cut."""

import os

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from evaluation import palette, plots
from evaluation.plots import Curve, rate_distortion_figure

METRICS = ("mse", "lpips", "psnr", "ms-ssim", "ssimulacra2")


def points(rates, gain=0.0):
    """Operating points that lie about where those of JPEG lie."""
    return [
        {
            "bpp": rate,
            "mse": 60 / rate,
            "lpips": 0.1 / rate,
            "psnr": 31 + gain + 6 * np.log2(rate),
            "ms-ssim": 1 - 0.03 / rate,
            "ssimulacra2": 65 + gain - 15 / rate,
        }
        for rate in rates
    ]


JPEG = Curve("JPEG", points([0.1, 0.27, 0.5, 1.0, 2.8, 40.0]), "jpeg")
RUN = Curve("run", points([0.9, 0.3, 0.5], 1.0), "run")
GOOGLE = Curve("Google", points([0.45, 0.7], 0.5), "google")


def axes_of(curves, metric):
    return rate_distortion_figure(curves, metric).axes[0]


def assert_inside(axes, points):
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    for x, y in points:
        assert left < x < right and low < y < high


@pytest.mark.parametrize("metric", METRICS)
def test_lines_hold_the_means_in_order_of_their_rates(metric):
    drawn = axes_of([JPEG, RUN, GOOGLE], metric).get_lines()
    for line, curve in zip(drawn, [JPEG, RUN, GOOGLE], strict=True):
        ordered = sorted(curve.points, key=lambda point: point["bpp"])
        values = [point[metric] for point in ordered]
        if metric == "ms-ssim":
            values = [-10 * np.log10(1 - value) for value in values]
        assert line.get_label() == curve.label
        np.testing.assert_allclose(line.get_xdata(), [d["bpp"] for d in ordered])
        np.testing.assert_allclose(line.get_ydata(), values)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "curves",
    [
        [RUN],
        [JPEG, RUN, GOOGLE],
        [JPEG, Curve("one operating point", points([0.5]), "run")],
        [JPEG, Curve("far away", points([0.01, 60.0], 30.0), "run")],
        [Curve("flat", 2 * points([0.5]), "run")],
        [JPEG, GOOGLE],
        [JPEG],
    ],
    ids=lambda curves: curves[-1].label,
)
def test_axes_hold_every_point_of_the_runs(curves, metric):
    axes = axes_of(curves, metric)
    learned = [curve for curve in curves if curve.kind != "jpeg"] or curves
    for line in axes.get_lines():
        if line.get_label() in {curve.label for curve in learned}:
            assert_inside(axes, line.get_xydata())


def test_axes_zoom_to_the_runs_where_jpeg_goes_much_further():
    steep = Curve("JPEG", [{**points([0.3])[0], "mse": 5000.0}, *JPEG.points], "jpeg")
    axes = axes_of([steep, RUN], "mse")
    assert axes.get_xlim()[1] < 1.5
    # JPEG goes up to an MSE of 5000 at 0.3 bpp, the runs up to 200.
    assert axes.get_ylim()[1] < 400


def test_axes_of_jpeg_alone_show_all_of_it():
    axes = axes_of([JPEG], "mse")
    assert_inside(axes, axes.get_lines()[0].get_xydata())


def test_points_that_are_not_finite_are_left_out():
    broken = [
        {**points([0.4])[0], "psnr": np.inf, "ms-ssim": np.nan},
        {**points([0.6])[0], "psnr": np.nan, "ms-ssim": 1.0},
    ]
    curve = Curve("run", points([0.5]) + broken, "run")
    for metric, count in (("psnr", 1), ("ms-ssim", 1), ("mse", 3), ("lpips", 3)):
        axes = axes_of([JPEG, curve], metric)
        assert len(axes.get_lines()[1].get_xdata()) == count
        assert np.all(np.isfinite([*axes.get_xlim(), *axes.get_ylim()]))


@pytest.mark.parametrize(
    "curves",
    [
        [],
        [Curve("empty", [], "run")],
        [Curve("nan", [{**points([0.4])[0], "psnr": np.nan}], "run")],
    ],
)
def test_figure_without_any_point_says_so(curves):
    assert [text.get_text() for text in axes_of(curves, "psnr").texts] == ["no data"]


def test_axes_name_units_and_direction():
    words = {
        "mse": "lower is better",
        "lpips": "lower is better",
        "psnr": "PSNR [dB] (higher",
        "ms-ssim": "MS-SSIM [dB] (higher",
        "ssimulacra2": "SSIMULACRA2 (higher",
    }
    for metric, text in words.items():
        axes = axes_of([JPEG, RUN], metric)
        assert text in axes.get_ylabel()
        assert axes.get_xlabel() == "rate [bits per pixel]"


def test_runs_have_colours_of_their_own_and_jpeg_is_dashed_grey():
    runs = [Curve(f"run {i}", points([0.3, 0.6], i / 4), "run") for i in range(5)]
    jpeg, google, *others = axes_of([JPEG, GOOGLE, *runs], "psnr").get_lines()
    colours = {line.get_color() for line in others}
    assert len(colours) == 5 and google.get_color() not in colours
    assert jpeg.is_dashed() and not any(line.is_dashed() for line in others)
    red, green, blue = matplotlib.colors.to_rgb(jpeg.get_color())
    assert red == green == blue
    assert google.get_marker() not in {line.get_marker() for line in others}


def test_a_codec_has_one_look_and_a_short_name_in_every_figure():
    names = {
        "search for visual, no model": "ours",
        "search, no model, optimized, 4:2:0, search, tuned for visual": "ours",
        "search, no model, optimized, 4:2:0, search, tuned for psnr": "ours, PSNR",
        "mozjpeg, 4:2:0": "mozjpeg 4:2:0",
        "mozjpeg 4:2:0": "mozjpeg 4:2:0",
        "JPEG, standard": "JPEG",
        "JPEG, optimized, 4:2:0": "JPEG 4:2:0, lossless pass",
        "AVIF, speed 6": "AVIF",
        "tables_entropy_mse, standard": "tables_entropy_mse",
    }
    assert {label: palette.short_name(label) for label in names} == names
    alone = palette.looks(["mozjpeg 4:2:0", "search for psnr, no model"], [True, False])
    others = ["run", "AVIF, speed 6", "mozjpeg, 4:2:0", "search for psnr, no model"]
    assert palette.looks(others, [False, True, True, False])[2:] == alone
    both = ["JPEG, standard", "JPEG, standard (2)"]
    assert palette.short_names(both) == both


def test_no_figure_has_more_than_seven_curves(tmp_path):
    runs = [Curve(f"run {i}", points([0.3, 0.6]), "run") for i in range(8)]
    mozjpeg = Curve("mozjpeg 4:2:0", JPEG.points, "jpeg")
    split = plots.groups([JPEG, *runs, mozjpeg])
    assert [[curve.label for curve in group] for group in split] == [
        ["JPEG", "mozjpeg 4:2:0", *(f"run {i}" for i in range(5))],
        ["JPEG", "mozjpeg 4:2:0", *(f"run {i}" for i in range(5, 8))],
    ]
    assert plots.groups([JPEG, *runs[:6]]) == [[JPEG, *runs[:6]]]
    paths = plots.plot_rate_distortion([JPEG, *runs], str(tmp_path))
    assert str(tmp_path / "psnr_2.png") in paths


def test_a_classical_codec_out_of_sight_is_named():
    far = Curve("JPEG", points([30.0, 40.0]), "jpeg")
    texts = [text.get_text() for text in axes_of([far, RUN], "psnr").texts]
    assert texts == ["outside of these axes: JPEG (30 to 40 bpp)"]
    assert not axes_of([JPEG, RUN], "psnr").texts
    # A line between two points far away crosses the axes.
    ends = [{**point, "psnr": 30.0} for point in points([0.1, 40.0])]
    crossing = Curve("JPEG", ends, "jpeg")
    assert not axes_of([crossing, RUN], "psnr").texts


def test_gains_are_bits_saved_against_jpeg_at_equal_quality():
    rates = [0.3, 0.5, 0.8, 1.0, 1.6, 2.4]
    jpeg = Curve("JPEG", points(rates), "jpeg")
    half = [{**point, "bpp": point["bpp"] / 2} for point in points(rates)]
    double = [{**point, "bpp": point["bpp"] * 2} for point in points(rates)]
    curves = [jpeg, Curve("half", half, "run"), Curve("double", double, "run")]
    for metric in ("psnr", "lpips", "ms-ssim"):
        axes = plots.new_figure((4, 3)).add_subplot()
        lines = plots._draw_gains(axes, curves, metric, (0.2, 2.5))
        assert [curve.label for curve in lines.values()] == ["half", "double"]
        for line, percent in zip(lines, (50.0, -100.0), strict=True):
            np.testing.assert_allclose(line.get_ydata(), percent, rtol=1e-6)
        low, high = axes.get_ylim()
        assert low < -100 and high > 50
    assert axes.get_xlabel().endswith("(better to the right)")
    assert plots.gain_figure([RUN]) is None


def test_legend_names_every_curve_and_covers_no_point():
    runs = [Curve(f"a rather long name {i}", RUN.points, "run") for i in range(5)]
    figure = rate_distortion_figure([JPEG, GOOGLE, *runs], "psnr")
    axes = figure.axes[0]
    figure.draw_without_rendering()
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        curve.label for curve in [JPEG, GOOGLE, *runs]
    ]
    renderer = FigureCanvasAgg(figure).get_renderer()
    box = legend.get_window_extent(renderer)
    assert not box.overlaps(axes.get_window_extent(renderer))
    assert not box.overlaps(axes.xaxis.label.get_window_extent(renderer))


def test_a_curve_without_any_value_is_not_in_the_legend():
    old = Curve("old", [{**d, "ssimulacra2": np.nan} for d in RUN.points], "run")
    newer = Curve("newer", points([0.4, 0.8]), "run")
    for metric, labels in (
        ("psnr", ["JPEG", "old", "newer"]),
        ("ssimulacra2", ["JPEG", "newer"]),
    ):
        axes = axes_of([JPEG, old, newer], metric)
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == labels
        # In each figure a run has the same colour.
        colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
        assert colours["newer"] == palette.looks(["a", "b"], [False, False])[1].colour
        handle = legend.legend_handles[-1]
        assert handle.get_color() == colours["newer"]


def test_labels_with_special_characters_are_drawn_as_they_are():
    curves = [Curve("_output $x_1$ 100%", RUN.points, "run")]
    legend = axes_of(curves, "psnr").get_legend()
    assert not any(text.get_parse_math() for text in legend.get_texts())
    assert [text.get_text() for text in legend.get_texts()] == ["_output $x_1$ 100%"]


def test_five_files_are_png_of_at_least_150_dpi(tmp_path):
    folder = str(tmp_path / "new" / "folder")
    paths = plots.plot_rate_distortion([JPEG, RUN, GOOGLE], folder, "two images")
    names = ["mse.png", "lpips.png", "psnr.png", "ms_ssim.png", "ssimulacra2.png"]
    assert "gain.png" not in names  # of fewer than four operating points
    assert paths == [os.path.join(folder, name) for name in names]
    # Nothing else stays, no temporary file either.
    assert sorted(os.listdir(folder)) == sorted(names)
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.info["dpi"]) >= 150
            assert image.width >= 150 * 5
            assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_butteraugli_has_a_figure_where_it_was_measured(tmp_path):
    points = [{**point, "butteraugli": 2 / point["bpp"]} for point in JPEG.points]
    old = Curve("old", [{**m, "butteraugli": np.nan} for m in RUN.points], "run")
    measured = Curve("JPEG", points, "jpeg")
    assert "butteraugli.png" in plots.plot_rate_distortion([measured, old], tmp_path)[5]
    (line, empty) = axes_of([measured, old], "butteraugli").get_lines()
    np.testing.assert_allclose(line.get_ydata(), [2 / d["bpp"] for d in JPEG.points])
    assert not empty.get_xdata().size


def test_same_curves_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        plots.plot_rate_distortion([JPEG, RUN], str(tmp_path / name))
    for file in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / file).read_bytes() == (
            tmp_path / "b" / file
        ).read_bytes()


def test_overview_shows_gains_by_four_metrics(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(
        plots, "save_figure", lambda figure, path: figures.append((figure, path))
    )
    run = Curve("run", points([0.25, 0.4, 0.8, 1.3], 1.0), "run")
    jpeg = Curve("JPEG", points([0.2, 0.3, 0.5, 0.7, 1.0, 1.5]), "jpeg")
    plots.plot_overview([jpeg, run], str(tmp_path), (0.3, 0.9))
    ((figure, path),) = figures
    assert path == str(tmp_path / "overview.png")
    assert [axes.get_xlabel().split()[0] for axes in figure.axes] == [
        "PSNR",
        "MS-SSIM",
        "LPIPS",
        "SSIMULACRA2",
    ]
    figure.draw_without_rendering()
    (legend,) = figure.legends
    renderer = FigureCanvasAgg(figure).get_renderer()
    box = legend.get_window_extent(renderer)
    for axes in figure.axes:
        assert not box.overlaps(axes.get_tightbbox(renderer))
    assert [t.get_text() for t in legend.get_texts()] == ["run"]
