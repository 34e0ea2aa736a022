"""Tests of the report: what it says, which pictures it chooses, what is missing."""

import io
import json
import os
import re
import shutil
import urllib.parse

import markupsafe
import numpy as np
import pytest
from PIL import Image

from evaluation import curves, results
from evaluation.bd_rate import bd_rate
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from report import compare, findings, report, viewer
from tests.report import report_data
from tests.report.report_data import (
    BPP_RANGE,
    JPEG,
    MOZJPEG,
    PAGE_JPEG,
    PAGE_MOZJPEG,
    RUN,
)

pytestmark = pytest.mark.slow  # the fixtures that all tests share


@pytest.fixture(scope="module")
def found(made):
    anchor, *others = curves.read_curves(str(made[0]))
    return findings.Findings(anchor, others, BPP_RANGE)


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    """(text of a page, its data, its folder)."""
    folder = tmp_path_factory.mktemp("page")
    anchor, *others = curves.read_curves(str(made[0]))
    content = report.Content(anchor, others, BPP_RANGE, made[1], "a < b", ["x & y"])
    written = report.write_report(str(folder / "page #1?.html"), content)
    assert written.missing == ["x & y"]
    text = (folder / "page #1?.html").read_text()
    return text, data_of(text), folder


def data_of(text):
    (found,) = re.findall(
        r'<script type="application/json" id="data">(.*)</script>', text
    )
    return json.loads(found)


# --- What results say ----------------------------------------------------------------


def test_numbers_are_those_of_the_tables(made, found):
    by_label = {curve.label: curve for curve in curves.read_curves(str(made[0]))}
    for label in (RUN, MOZJPEG):
        for metric in ("ssimulacra2", "psnr", "lpips"):
            pair = (by_label[name].points(metric) for name in (JPEG, label))
            wanted = bd_rate(*pair, metric, BPP_RANGE)
            assert found.gains[label, metric].rate == wanted
    assert found.metrics == ["ssimulacra2", "psnr", "lpips"]
    assert found.ours.label == RUN


def test_answers_tell_the_gain_over_every_classical_encoder(made, found):
    answer = found.answers[0]
    assert [label for label, _ in answer.gains] == [JPEG, MOZJPEG]
    percent = found.gains[RUN, "ssimulacra2"].rate.percent
    assert f"{abs(percent):.1f} % smaller than those of {JPEG} (" in answer.sentence
    assert "of 3 images" in answer.sentence
    by_label = {curve.label: curve for curve in curves.read_curves(str(made[0]))}
    pair = (by_label[name].points("psnr") for name in (MOZJPEG, RUN))
    percent = bd_rate(*pair, "psnr", BPP_RANGE).percent
    size = "larger" if percent > 0 else "smaller"
    assert found.answers[1].parts[1].startswith(f"{abs(percent):.1f} % {size} than")


def test_jpeg_alone_has_no_answer(made):
    anchor, *_ = curves.read_curves(str(made[0]))
    alone = findings.Findings(anchor, [], BPP_RANGE)
    assert alone.answers == [] and alone.ours is anchor
    assert alone.viewed_images() == dict.fromkeys(report_data.SIZES, "")
    assert alone.rival() is None


def test_images_are_chosen_by_the_numbers(found):
    by_image = found.gains[RUN, "ssimulacra2"].by_image
    order = sorted(by_image, key=by_image.get)  # best first
    chosen = found.viewed_images()
    assert list(chosen) == [order[1], order[2], order[0]]
    assert list(chosen.values()) == [
        f"{rank} for {RUN}" for rank in ("median", "worst", "best")
    ]


def test_scatter_is_at_one_quality(made, found):
    """Interpolated sizes lie between those of the files around the quality."""
    scatter = found.scatter("ssimulacra2")
    for curve in curves.read_curves(str(made[0])):
        for index, name in enumerate(scatter["images"]):
            scores = [point.values["ssimulacra2"][index] for point in curve.results]
            place = int(np.searchsorted(scores, scatter["level"]))
            sizes = [
                os.path.getsize(os.path.join(stem, name.replace(".png", ".jpg"))) / 1000
                for stem in curve.stems[place - 1 : place + 1]
            ]
            assert sizes[0] <= scatter["kilobytes"][curve.label][index] <= sizes[1]


# --- Pictures ------------------------------------------------------------------------


def test_crops_are_where_the_errors_differ_most():
    original = np.full((64, 96, 3), 100, np.uint8)
    ours, theirs = original.copy(), original.copy()
    ours[2:10, 2:10] += 40  # ours is worst in the left upper corner
    theirs[50:, 80:] += 40  # and best in the right lower one
    crops = viewer.ranked_crops(original, ours, theirs, side=32)
    assert crops["worst"] == (0, 0, 32) and crops["best"] == (64, 32, 32)
    # No larger than the picture.
    assert viewer.ranked_crops(original, ours, theirs)["worst"] == (0, 0, 64)


def picture_path(page, key):
    """The file that an address of the page leads to."""
    _, data, folder = page
    return folder / urllib.parse.unquote(data["files"][key])


def files_of(page, how):
    """Every set of files of equal bytes or quality: {label: (entry, data)}."""
    for image in page[1]["images"]:
        for rate in image["rates"]:
            yield (
                image["name"],
                {
                    label: (entry, picture_path(page, entry["file"]).read_bytes())
                    for label, entry in rate[how].items()
                },
            )


def test_files_of_equal_bytes_are_the_smallest_that_are_no_smaller(page):
    count = 0
    for name, files in files_of(page, "bytes"):
        own = len(files[RUN][1])
        for label in (PAGE_JPEG, PAGE_MOZJPEG):
            entry, data = files[label]
            assert entry["bytes"] == len(data) >= own
            quality = int(entry["setting"].removeprefix("quality "))
            encode = {
                PAGE_JPEG: jpeg_file.encode_rgb,
                PAGE_MOZJPEG: jpeg_file.encode_mozjpeg_quality,
            }
            if quality > 1:
                picture = report_data.picture_of(name)
                assert len(encode[label](picture, quality - 1)) < own
        count += 1
    assert count > 3


def test_files_of_equal_quality_are_no_worse(page):
    for name, files in files_of(page, "quality"):
        scales = ssimulacra2.reference_scales(report_data.picture_of(name))
        scores = {
            label: ssimulacra2.score(scales, jpeg_file.decode(data))
            for label, (_, data) in files.items()
        }
        for label, (entry, _) in files.items():
            assert entry["ssimulacra2"] == pytest.approx(scores[label], abs=1e-3)
            assert scores[label] >= scores[RUN] or entry["setting"] == "quality 100"


def test_tables_are_those_of_the_files(page):
    for _, files in files_of(page, "bytes"):
        for entry, data in files.values():
            wanted = jpeg_file.read_coefficients(data).qtables.reshape(2, 64)
            np.testing.assert_array_equal(entry["qtables"], wanted)


def test_originals_are_as_they_were_read(page):
    for image in page[1]["images"]:
        with Image.open(picture_path(page, image["original"])) as picture:
            np.testing.assert_array_equal(
                np.asarray(picture), report_data.picture_of(image["name"])
            )


def test_quality_is_equal_by_psnr_where_an_image_is_too_small_for_another(monkeypatch):
    looked = viewer.Viewer(None, None, [], BPP_RANGE, "ssimulacra2")
    sizes = [(7, 90), (8, 8)]
    assert [looked._metric_of(size) for size in sizes] == ["psnr", "ssimulacra2"]
    # A blank image is the same as its original at some operating points.
    points = [
        results.PointResults(["a.png"], {"bpp": [1.0], "psnr": [psnr]})
        for psnr in (30.0, np.inf, 40.0)
    ]
    curve = curves.Compared(
        "x", "x", "run", [], [], points, [], [{"settings": {"script": "x"}}]
    )
    matcher = viewer.Matcher(np.zeros((8, 8, 3), np.uint8), curve, 0, None)
    monkeypatch.setattr(viewer, "file_of_point", lambda curve, place, image: place)
    assert [matcher._nearest("psnr", value) for value in (np.inf, 44, 1)] == [1, 2, 0]


def test_addresses_are_of_the_bytes_of_a_name():
    assert report.address("/x/#\udcff 日.csv", "/x") == "%23%FF%20%E6%97%A5.csv"


def test_a_second_page_leaves_no_old_pictures(page, made, tmp_path):
    folder = tmp_path / "report_pictures"
    folder.mkdir()
    (folder / "a_png-0123456789.jpg").touch()
    (folder / "mine.jpg").touch()
    anchor, *_ = curves.read_curves(str(made[0]))
    content = report.Content(anchor, [], BPP_RANGE, made[1], "", [])
    report.write_report(str(tmp_path / "report.html"), content)
    names = {path.name for path in folder.iterdir()}
    assert "mine.jpg" in names and "a_png-0123456789.jpg" not in names
    assert len(names) > 2


# --- The page ------------------------------------------------------------------------


def test_page_is_one_file_that_needs_no_network(page):
    text, _, _ = page
    assert "plotly.js v" in text[: text.index("Plotly.react(")]
    without_plotly = re.sub(r"<script>\n?/\*\*.*?</script>", "", text, flags=re.S)
    assert not re.findall(r'(?:src|href)="https?://(?!github.com/webm)', without_plotly)
    assert "a &lt; b" in text and "x &amp; y" in text


def test_page_links_to_the_files_of_every_point(page, made):
    text, _, folder = page
    links = re.findall(r'href="([^"#]+\.(?:csv|json))"', text)
    assert len(links) == 2 * 3 * len(report_data.QUALITIES) + 1
    assert all((folder / urllib.parse.unquote(link)).exists() for link in links)


def test_values_that_json_has_not_are_left_out(page):
    _, data, _ = page
    assert {metric["key"] for metric in data["metrics"]} == {
        "ssimulacra2",
        "psnr",
        "lpips",
    }
    assert [m["smaller"] for m in data["metrics"]] == [False, False, True]


def test_curves_of_one_label_are_kept_apart(made, tmp_path):
    anchor, *others = curves.read_curves(str(made[0]))
    run = next(curve for curve in others if curve.label == RUN)
    mozjpeg = next(curve for curve in others if curve.label == MOZJPEG)
    other = mozjpeg._replace(label=RUN)
    content = report.Content(anchor, [run, other], BPP_RANGE, made[1], "", [])
    report.write_report(str(tmp_path / "report.html"), content)
    data = data_of((tmp_path / "report.html").read_text())
    drawn = {curve["label"]: curve["rates"]["psnr"] for curve in data["curves"]}
    assert list(drawn) == [PAGE_JPEG, RUN, f"{RUN} (2)"]
    assert drawn[f"{RUN} (2)"] == [mean["bpp"] for mean in mozjpeg.means]


def test_names_are_text_and_nothing_else(made, tmp_path):
    anchor, run, *_ = curves.read_curves(str(made[0]))
    odd = "</script><script>alert(1)</script><!--<script>"
    content = report.Content(
        anchor, [run._replace(label=odd)], BPP_RANGE, made[1], odd, [odd]
    )
    report.write_report(str(tmp_path / "report.html"), content)
    text = (tmp_path / "report.html").read_text()
    assert "alert(1)</script>" not in text and "<!--<script>" not in text
    assert data_of(text)["curves"][1]["label"] == odd


# --- What is missing -----------------------------------------------------------------


def run_compare(monkeypatch, capsys, *argv):
    monkeypatch.setattr("sys.argv", ["compare.py", *map(str, argv)])
    status = compare.main()
    return status, capsys.readouterr().out


def test_what_cannot_be_read_is_told_and_the_page_is_written(
    monkeypatch, capsys, caplog, made, tmp_path
):
    results, originals = made
    shutil.copytree(results, tmp_path / "results")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"program": "another"}')
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.zeros((80, 112, 3), np.uint8)).save(images / "a.png")
    shutil.copy(originals["d.png"], images)
    path = tmp_path / "report.html"
    argv = [tmp_path / "results", tmp_path / "empty", "--bpp_range", "0.5", "4"]
    argv += ["--published", tmp_path / "other.json", "--report", path]
    argv += ["--test_image_glob", images]
    status, out = run_compare(monkeypatch, capsys, *argv)
    assert status == 1 and "At equal SSIMULACRA2" in out
    assert len([r for r in caplog.records if "\n" not in r.getMessage()]) == 4
    text = path.read_text()
    assert "empty: no results of evaluate.py there" in text
    assert "other.json: no curves" in text
    sentence = f"{report_data.ODD} is not in the viewer: name its file by"
    assert str(markupsafe.escape(sentence)) in text
    assert "another image than was measured" in text
    assert [image["name"] for image in data_of(text)["images"]] == ["d.png"]


def test_a_file_that_has_gone_is_told(made, tmp_path):
    results, originals = made
    shutil.copytree(results, tmp_path / "results")
    for path in (tmp_path / "results" / "_output").glob("my-run*/a.jpg"):
        path.unlink()
    anchor, *others = curves.read_curves(str(tmp_path / "results"))
    content = report.Content(anchor, others, BPP_RANGE, originals, "", [])
    written = report.write_report(str(tmp_path / "report.html"), content)
    (sentence,) = written.missing
    assert sentence.startswith("a.png is not in the viewer: ")
    assert sentence.endswith("the file of a.png is gone; evaluate again")


def test_without_a_report_the_same_is_an_error(monkeypatch, capsys, made, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no results"):
        run_compare(monkeypatch, capsys, made[0], tmp_path / "empty")


def test_pictures_of_a_self_contained_page_are_part_of_it(made, tmp_path):
    anchor, *others = curves.read_curves(str(made[0]))
    content = report.Content(anchor, others, BPP_RANGE, made[1], "", [])
    report.write_report(str(tmp_path / "report.html"), content, self_contained=True)
    text = (tmp_path / "report.html").read_text()
    sources = data_of(text)["files"].values()
    assert all(re.match("data:image/(png|jpeg);base64,", s) for s in sources)
    assert not (tmp_path / "report_pictures").exists()


def test_attention_maps_are_shown_where_they_are(made, tmp_path):
    results, originals = made
    shutil.copytree(results, tmp_path / "results")
    folder = tmp_path / "results" / "_attention" / "my-run-lambda_40"
    folder.mkdir(parents=True)
    kept = np.arange(140, dtype=np.uint8).reshape(10, 14)
    png = io.BytesIO()
    Image.fromarray(kept).save(png, "PNG")
    (folder / "a.png.png").write_bytes(png.getvalue())
    anchor, *others = curves.read_curves(str(tmp_path / "results"))
    content = report.Content(anchor, others, BPP_RANGE, originals, "", [])
    report.write_report(str(tmp_path / "report.html"), content)
    data = data_of((tmp_path / "report.html").read_text())
    images = {image["name"]: image for image in data["images"]}
    assert images["d.png"]["attention"] == {}
    path = tmp_path / data["files"][images["a.png"]["attention"][RUN]]
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), kept)
