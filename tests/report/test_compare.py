"""compare.py: curves of several evaluations against one anchor."""

import json
import re

import numpy as np
import pytest

from evaluation import curves, results
from evaluation.operating_points import encoding
from learned_jpeg.common.errors import UserError
from learned_jpeg.metrics import registry
from report import compare
from tests.evaluation.helpers import read_point
from tests.paths import SHARED

IMAGES = ["a.png", "b.png"]
RATES = np.array([0.2, 0.35, 0.6, 0.9, 1.3])

STANDARD = encoding(quantization="round", entropy_coding="standard")


def write_curve(folder, part, names, settings, factors, images=IMAGES):
    """Points of PSNR 30 + 10 log10(bpp); rates of each image times its factor."""
    for name, rate in zip(names, RATES, strict=True):
        quality = 30 + 10 * np.log10(rate)
        rows = [
            {
                "bpp": rate * factor,
                "mse": 255**2 * 10 ** (-quality / 10),
                "lpips": 0.5 / (1 + rate),
                "psnr": quality,
                "ms-ssim": 1 - 0.05 / rate,
                "ssimulacra2": 70 - 20 / rate,
            }
            for factor in factors
        ]
        results.save(
            str(folder / part),
            name,
            results.PointResults.from_rows(images, rows),
            {"images": [{"name": image} for image in images]},
            settings=settings | setting_of(name),
        )


def setting_of(name):
    """A lambda of the number in a run's name, or the quality of JPEG."""
    if name.startswith("Q"):
        return {"quality": int(name[1:])}
    return {"lmbda": int(name[-1]) / 100}


@pytest.fixture
def folders(tmp_path):
    first, second = tmp_path / "standard", tmp_path / "search"
    qualities = [f"Q{q}" for q in (5, 10, 20, 40, 70)]
    write_curve(first, "_output_PIL", qualities, STANDARD, (1.0, 1.0))
    coding = {**STANDARD, "entropy_coding": "optimized", "quantization": "search"}
    names = [f"my-run-lambda_{i}" for i in range(5)]
    write_curve(second, "_output", names, coding, (0.5, 0.9))
    return [str(first), str(second)]


def run(monkeypatch, capsys, argv):
    monkeypatch.setattr("sys.argv", ["compare.py", *argv])
    assert compare.main() == 0
    return capsys.readouterr().out


def test_table_has_the_bd_rates_of_the_means_and_the_worst_image(
    monkeypatch, capsys, folders
):
    text = run(monkeypatch, capsys, folders)
    assert "against JPEG, standard, 0.2 to 1.2 bpp, of SSIMULACRA2" in text
    # Every rate is 0.7 of the anchor's at the same quality; image b takes 0.9.
    assert rows_of(text, "my-run, optimized, search")[0] == [
        *["-30.0 %"] * 4,
        "b -10.0 %",
    ]


def test_worst_image_is_of_the_rates_that_are_compared():
    """Image a is the worst one at low rates, b above 1 bpp."""
    rates = np.geomspace(0.1, 10, 41)

    def curve(factors):
        means = []
        for rate, *own in zip(rates, *factors, strict=True):
            values = {"mse": 1.0, "psnr": 30 + 10 * np.log10(rate)}
            values |= {"ms-ssim": 1 - 0.05 / (1 + rate), "lpips": 0.5 / (1 + rate)}
            values["ssimulacra2"] = 70 - 20 / rate
            rows = [{**values, "bpp": rate * factor} for factor in own]
            means.append(results.PointResults.from_rows(["a.png", "b.png"], rows))
        return curves.Compared("x", "x", "run", [], [m.means() for m in means], means)

    ones = np.ones(rates.size)
    high = np.where(rates > 1, 0.95, 0.5)
    anchor, other = curve([ones, ones]), curve([0.8 * ones, high])
    assert (
        compare._cells(anchor, other, [registry.get("psnr")], (0.2, 0.8))[-1]
        == "a -20.0 %"
    )
    assert (
        compare._cells(anchor, other, [registry.get("psnr")], (1.5, 8))[-1]
        == "b -5.0 %"
    )


def rows_of(text, label):
    """The cells of every row of a curve."""
    rows = re.findall(rf"\| {re.escape(label)} +\|(.*)\|", text)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_table_has_the_means_of_every_lambda(monkeypatch, capsys, folders):
    text = run(monkeypatch, capsys, folders)
    rows = rows_of(text, "my-run, optimized, search")[1:]
    assert len(rows) == 5
    for index, (rate, row) in enumerate(zip(RATES, rows, strict=True)):
        expected = [
            f"lambda {index / 100:g}",
            f"{0.7 * rate:.3f}",
            f"{30 + 10 * np.log10(rate):.2f}",
            f"{1 - 0.05 / rate:.4f}",
            f"{0.5 / (1 + rate):.4f}",
            f"{70 - 20 / rate:.2f}",
        ]
        assert row == expected


def test_curves_are_read_in_the_order_of_their_rates(folders):
    (curve,) = curves.read_curves(folders[1])
    assert (curve.name, curve.kind) == ("my-run", "run")
    assert curve.settings == [
        f"lambda {x}" for x in ("0", "0.01", "0.02", "0.03", "0.04")
    ]
    rates = [bpp for bpp, _ in curve.points("psnr")]
    np.testing.assert_allclose(rates, 0.7 * RATES)
    np.testing.assert_allclose(
        [bpp for bpp, _ in curve.points_of_image("psnr", 1)], 0.9 * RATES
    )


def test_figures_and_table_are_written(monkeypatch, capsys, folders, tmp_path):
    figures = tmp_path / "figures"
    table = tmp_path / "table.md"
    argv = [*folders, "--figure_dir", str(figures), "-o", str(table)]
    text = run(monkeypatch, capsys, argv)
    assert table.read_text() in text
    assert sorted(p.name for p in figures.iterdir()) == [
        "gain.png",
        "lpips.png",
        "ms_ssim.png",
        "mse.png",
        "overview.png",
        "psnr.png",
        "ssimulacra2.png",
    ]


@pytest.fixture
def published(tmp_path):
    """Two curves of other codecs, of 0.6 of JPEG's rates; the second has no LPIPS."""
    numbers = {
        "bpp": list(0.6 * RATES[::-1]),
        "psnr-rgb": list(30 + 10 * np.log10(RATES[::-1])),
        "ms-ssim-rgb": list(1 - 0.05 / RATES[::-1]),
        "lpips-alex": list(0.5 / (1 + RATES[::-1])),
        "ssimulacra2": list(70 - 20 / RATES[::-1]),
        "vmaf": list(1 / RATES[::-1]),  # not ours
    }
    others = {key: value for key, value in numbers.items() if key != "lpips-alex"}
    path = tmp_path / "others.json"
    entries = [("mozjpeg", numbers), ("no LPIPS", others)]
    path.write_text(json.dumps([{"name": n, "results": r} for n, r in entries]))
    return str(path)


def test_published_curves_stand_beside_ours(monkeypatch, capsys, folders, published):
    text = run(monkeypatch, capsys, [*folders, "--published", published])
    assert rows_of(text, "mozjpeg") == [[*["-40.0 %"] * 4, "not known"]]
    cells, *means = rows_of(text, "no LPIPS")
    assert cells == ["-40.0 %", "-40.0 %", "no values", "-40.0 %", "not known"]
    # A codec that is no JPEG encoder is a row among our own.
    wanted = [f"{0.6 * rate:.3f}" for rate in RATES]
    assert [row[:2] for row in means] == [["", rate] for rate in wanted]
    assert "Without" not in text


@pytest.mark.slow
def test_points_of_an_older_program_are_left_out_of_ssimulacra2_with_one_note(
    monkeypatch, capsys, folders, tmp_path
):
    for path in (tmp_path / "search" / "_output").glob("*.csv"):
        record, point = results.read_record(path.with_suffix("")), read_point(path)
        point.values.pop("ssimulacra2")
        folder = str(path.parent)
        settings = record["settings"]
        results.save(folder, path.stem, point, record["key"], settings=settings)
    text = run(monkeypatch, capsys, [*folders, "--figure_dir", str(tmp_path / "f")])
    bd_rates, *means = rows_of(text, "my-run, optimized, search")
    assert bd_rates[:4] == [*["-30.0 %"] * 3, "no values"]
    # None of the learned curves has it: no column, and one figure of the anchor only.
    assert len(means) == 5 and {len(row) for row in means} == {5}
    note = (
        "Without ssimulacra2: my-run, optimized, search, lambda 0 and 4 more, measured"
    )
    assert text.count("Without") == text.count(note) == 1


@pytest.mark.slow
def test_published_butteraugli_has_a_column_and_a_figure(
    monkeypatch, capsys, folders, tmp_path
):
    path, figures = tmp_path / "jpegli.json", tmp_path / "figures"
    numbers = {"bpp": list(RATES), "psnr-rgb": list(30 + RATES)}
    numbers["butteraugli-3norm"] = list(2 / RATES)
    path.write_text(json.dumps({"name": "jpegli", "results": numbers}))
    argv = [*folders, "--published", str(path), "--figure_dir", str(figures)]
    text = run(monkeypatch, capsys, argv)
    assert text.count("Butteraugli 3-norm") == 1
    assert rows_of(text, "jpegli")[0][-2:] == ["no values", "not known"]
    assert (figures / "butteraugli.png").exists() and "Without" not in text


def test_published_curves_of_one_name_all_stand_there(
    monkeypatch, capsys, folders, published
):
    text = run(monkeypatch, capsys, [*folders, "--published", published, published])
    assert len(rows_of(text, "mozjpeg")) == len(rows_of(text, "mozjpeg (2)")) == 1


def test_a_mean_that_is_not_known_may_be_null(tmp_path, published):
    with open(published, encoding="utf-8") as file:
        content = json.load(file)[0]
    content["results"]["lpips-alex"] = [None] * 5
    path = tmp_path / "null.json"
    path.write_text(json.dumps(content))
    (curve,) = curves.read_published(str(path))
    assert np.isnan([value for _, value in curve.points("lpips")]).all()


def test_one_published_curve_may_stand_alone(tmp_path, published):
    path = tmp_path / "one.json"
    with open(published, encoding="utf-8") as file:
        path.write_text(json.dumps(json.load(file)[0]))
    (curve,) = curves.read_published(str(path))
    np.testing.assert_allclose([b for b, _ in curve.points("lpips")], 0.6 * RATES)


@pytest.mark.parametrize(
    "numbers, metric, wanted",
    [
        # As in CompressAI's files: of publications, old ones, and ours.
        ({"ms-ssim-db-rgb": [20.0, 10.0]}, "ms-ssim", [0.9, 0.99]),
        ({"ms-ssim-rgb": [12.0, 0.5]}, "ms-ssim", [1 - 10**-0.05, 1 - 10**-1.2]),
        ({"psnr": [31.0, 30.0]}, "psnr", [30, 31]),
        ({"psnr": [31.0, 30.0], "ms-ssim": [0.9, 0.8]}, "ms-ssim", [0.8, 0.9]),
        ({"ms-ssim-rgb": [0.9, None]}, "ms-ssim", [np.nan, 0.9]),
        ({"ssimulacra2": [60.0, 50.0]}, "ssimulacra2", [50, 60]),
    ],
)
def test_published_curves_have_any_of_the_metrics(tmp_path, numbers, metric, wanted):
    path = tmp_path / "codec.json"
    meta = {"source": "paper", "opt_metric": "ms-ssim-rgb"}
    timed = {"bpp": [0.5, 0.25], "encoding_time": [0.1, 0.2], **numbers}
    path.write_text(json.dumps({"name": "x", "meta": meta, "results": timed}))
    (curve,) = curves.read_published(str(path))
    np.testing.assert_allclose(
        curve.points(metric), list(zip([0.25, 0.5], wanted, strict=True))
    )
    others = set(results.MEASURED) - {"bpp", "psnr", "ms-ssim", metric}
    assert all(np.isnan(curve.means[0][other]) for other in others)
    assert curve.kind == "run"


KODAK_SCORES = SHARED / "anchors" / "kodak_ssimulacra2.json"


@pytest.mark.skipif(not KODAK_SCORES.exists(), reason=f"there is no {KODAK_SCORES}")
def test_published_curves_may_have_scores_beside_psnr_alone():
    found = {curve.name: curve for curve in curves.read_published(str(KODAK_SCORES))}
    points = found["pillow 4:4:4"].points("ssimulacra2")
    assert points[0] == (0.38078, -24.2615) and points[-1] == (2.20158, 82.7537)
    assert found["jpegli 4:2:0"].points("butteraugli")[1] == (0.37351, 2.64912)
    for curve in found.values():
        assert np.isfinite(curve.points("ssimulacra2")).all()
        assert np.isnan([value for _, value in curve.points("ms-ssim")]).all()


def test_only_chooses_and_orders(monkeypatch, capsys, folders, published):
    argv = [*folders, "--published", published, "--only"]
    text = run(monkeypatch, capsys, [*argv, "no LPIPS", "my-run"])
    labels = re.findall(r"^\| (\w.*?) +\|", text, re.M)
    assert labels[:3] == ["curve", "no LPIPS", "my-run, optimized, search"]
    assert "mozjpeg" not in text
    text = run(monkeypatch, capsys, [*argv, "my-run, optimized, search"])
    assert len(rows_of(text, "my-run, optimized, search")) == 6
    monkeypatch.setattr("sys.argv", ["compare.py", *argv, "my-ran"])
    with pytest.raises(UserError, match="--only my-ran.*my-run, optimized, search"):
        compare.main()


def test_jpeg_of_a_coding_stands_there_once(monkeypatch, capsys, folders, tmp_path):
    for name, coding in (("again", "standard"), ("third", "optimized")):
        qualities = [f"Q{q}" for q in (5, 10, 20, 40, 70)]
        settings = {**STANDARD, "entropy_coding": coding}
        write_curve(tmp_path / name, "_output_PIL", qualities, settings, (0.8, 0.8))
    folders += [str(tmp_path / name) for name in ("again", "third", "third")]
    text = run(monkeypatch, capsys, folders)
    assert len(rows_of(text, "JPEG, optimized")) == 1
    assert not rows_of(text, "JPEG, standard")


def test_first_folder_without_jpeg_is_a_user_error(monkeypatch, folders):
    monkeypatch.setattr("sys.argv", ["compare.py", folders[1]])
    with pytest.raises(UserError, match="no _output_PIL"):
        compare.main()


def test_other_test_images_are_a_user_error(monkeypatch, folders, tmp_path):
    other = tmp_path / "other"
    names = [f"my-run-lambda_{i}" for i in range(5)]
    write_curve(other, "_output", names, STANDARD, (1.0, 1.0), ["a.png", "c.png"])
    monkeypatch.setattr("sys.argv", ["compare.py", folders[0], str(other)])
    with pytest.raises(UserError, match="other test images"):
        compare.main()


def test_jpeg_of_another_folder_is_no_anchor(monkeypatch, folders):
    monkeypatch.setattr("sys.argv", ["compare.py", *folders[::-1]])
    with pytest.raises(UserError, match="search: no _output_PIL"):
        compare.main()


def test_a_point_that_is_being_measured_is_left_out(folders, tmp_path):
    (tmp_path / "search" / "_output" / "my-run-lambda_2.json").unlink()
    (curve,) = curves.read_curves(folders[1])
    assert curve.settings == [f"lambda {x}" for x in ("0", "0.01", "0.03", "0.04")]


def test_a_model_without_settings_has_no_lambda(tmp_path):
    coding = {**STANDARD, "lmbda": None}
    names = [f"old-lambda_{i}" for i in range(5)]
    write_curve(tmp_path, "_output", names, coding, (1.0, 1.0))
    for path in (tmp_path / "_output").glob("*.json"):
        record = json.loads(path.read_text())
        del record["settings"]["lmbda"]
        path.write_text(json.dumps(record))
    (curve,) = curves.read_curves(str(tmp_path))
    assert curve.settings == ["?"] * 5


def test_half_a_record_is_a_user_error(folders, tmp_path):
    (tmp_path / "search" / "_output" / "my-run-lambda_2.csv").write_text("image,bpp\n")
    with pytest.raises(UserError, match=r"my-run-lambda_2\.json.*evaluate again"):
        curves.read_curves(folders[1])


@pytest.mark.parametrize("run", ["google_Quick", "search_Q2", "mozjpeg_Q"])
def test_a_run_may_be_called_as_another_codec_is(run):
    found = curves._name_and_kind(f"{run}-lambda_1", "_output")
    assert found == (run, "run")
    assert curves._name_and_kind("google_Q5", "_output")[1] == "google"
    assert curves._name_and_kind("search_ms-ssim_Q5", "_output")[0].startswith("search")


@pytest.mark.parametrize("folder", ["lambda_1e-5", "lambda_0001", "lambda_a-b"])
def test_run_is_named_without_its_lambda(folder):
    name, kind = curves._name_and_kind(f"my-run-{folder}.json", "_output")
    assert (name, kind) == ("my-run", "run")
    name, _ = curves._name_and_kind(f"a-lambda_x-b-{folder}.json", "_output")
    assert name == "a-lambda_x-b"


def test_small_lambdas_make_one_curve(tmp_path):
    names = [f"run-lambda_{i}e-{i + 1}" for i in range(5)]
    write_curve(tmp_path, "_output", names, STANDARD, (1.0, 1.0))
    (curve,) = curves.read_curves(str(tmp_path))
    assert curve.label == "run, standard" and len(curve.results) == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[3]",
        '{"name": "a", "results": {"bpp": [1], "mse": []}}',
        '{"name": "a", "results": {"bpp": [1, 2], "encoding_time": [3, 4]}}',
        "[" * 100_000,
        '{"name": "x", "results": {"bpp": [' + "9" * 400 + '], "psnr-rgb": [1]}}',
        '{"name": "x", "results": {"bpp": [1e308], "psnr-rgb": [1]}}',
        '{"name": "x", "results": {"bpp": [1e999], "psnr-rgb": [1]}}',
        '{"name": "x", "results": {"bpp": [1, 2], "psnr-rgb": [1]}}',
        '{"name": "x", "results": [1]}',
        '{"name": "x", "results": {"bpp": [0, 1], "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": [-1, 1], "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": [NaN, 1], "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": [null, 1], "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": [true, 1], "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": ["1", "2"], "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": "12", "psnr-rgb": [1, 2]}}',
        '{"name": "x", "results": {"bpp": 1, "psnr-rgb": 30}}',
        '{"name": "x", "results": {"bpp": [[1, 2]], "psnr-rgb": [[1, 2]]}}',
        '{"name": "x", "results": {"bpp": [], "psnr-rgb": []}}',
        '{"name": "x", "results": {"bpp": [1], "psnr-rgb": ["30 dB"]}}',
        '{"name": "x", "results": {"bpp": [1], "lpips-alex": [-0.1]}}',
        '{"name": "x", "results": {"bpp": [1], "ms-ssim-db-rgb": [-1e8]}}',
        '{"name": ["x"], "results": {"bpp": [1], "psnr-rgb": [30]}}',
        '{"name": "a\\nb", "results": {"bpp": [], "psnr-rgb": [30]}}',
        '["x"]',
        "[]",
        "3",
    ],
)
@pytest.mark.filterwarnings("error")
def test_odd_published_curves_are_one_line(tmp_path, text):
    path = tmp_path / "codec.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        curves.read_published(str(path))
    assert str(caught.value).startswith(f"--published {path}: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_odd_published_curves_are_told_in_words(tmp_path):
    path = tmp_path / "codec.json"
    name = f"--published {path}: "
    with pytest.raises(UserError, match="cannot be read: No such file"):
        curves.read_published(str(path))
    odd = {
        "{\n,}": "not JSON: line 2, column 1: Expecting property name",
        "{}": 'each curve needs "name": "...", "results": {"bpp"',
        '{"name": "x", "results": {}}': "'x': its results need a list bpp",
        '{"name": "x", "results": {"bpp": [1], "vmaf": [9]}}': "known are psnr-rgb, ",
    }
    for text, wanted in odd.items():
        path.write_text(text)
        with pytest.raises(UserError) as caught:
            curves.read_published(str(path))
        assert str(caught.value).startswith(name) and wanted in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        curves.read_published(str(path))


@pytest.mark.parametrize(
    "settings", [[], "x", None, {}, {**STANDARD, "quality": "high"}]
)
def test_odd_settings_of_a_record_are_one_line(folders, settings):
    path = f"{folders[0]}/_output_PIL/Q5.json"
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    record["settings"] = settings
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file)
    with pytest.raises(UserError) as caught:
        curves.read_curves(folders[0])
    assert str(caught.value).startswith(f"{path}: no whole record of evaluate.py")
