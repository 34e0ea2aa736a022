"""The numbers of the pages come from the committed results."""

import pytest

from evaluation import other_encoders, results
from evaluation.curves import read_published
from learned_jpeg.common.errors import UserError
from report import numbers
from tests import synthetic
from tests.paths import ROOT


def test_every_page_agrees_with_the_results():
    found = numbers.fill_pages(str(ROOT), writes=False)
    assert found.changed == []


def test_every_text_stands_on_a_page():
    pages = "".join((ROOT / page).read_text("utf-8") for page in numbers.PAGES)
    names = {match[2] for match in numbers._MARKED.finditer(pages)}
    assert names == set(numbers.TEXTS)


def test_a_table_and_words_are_written_between_their_marks():
    page = (
        "<!-- numbers: a -->\nold\n<!-- /numbers -->\n"
        "is <!-- numbers: b -->old<!-- /numbers --> smaller\n"
        "<!-- numbers: c -->old<!-- /numbers -->\n"
    )

    def text_of(name):
        if name == "c":
            raise numbers.MissingResultsError(name)
        return {"a": "| x |", "b": "5 %"}[name]

    assert numbers.filled(page, text_of) == (
        "<!-- numbers: a -->\n| x |\n<!-- /numbers -->\n"
        "is <!-- numbers: b -->5 %<!-- /numbers --> smaller\n"
        "<!-- numbers: c -->old<!-- /numbers -->\n"
    )


def test_a_mark_without_an_end_is_a_user_error():
    with pytest.raises(UserError, match="lacks its"):
        numbers.filled("<!-- numbers: a -->\ntext\n", str)


def test_a_page_that_differs_fails_and_is_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text(
        "<!-- numbers: savings -->1 %<!-- /numbers -->\n"
    )
    monkeypatch.setattr(numbers, "ROOT", str(tmp_path))
    monkeypatch.setattr(numbers, "PAGES", ("README.md",))
    monkeypatch.setitem(numbers.TEXTS, "savings", lambda source: "47 %")
    monkeypatch.setattr("sys.argv", ["numbers", "--check"])
    with pytest.raises(UserError, match="README.md: differs"):
        numbers.main()
    monkeypatch.setattr("sys.argv", ["numbers"])
    assert numbers.main() == 0
    assert "README.md" in capsys.readouterr().out
    assert ">47 %<" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("<!-- numbers: x -->1<!-- /numbers -->\n")
    with pytest.raises(UserError, match="x: no such text"):
        numbers.main()


def _save(folder, name, settings, rates, scores, **more):
    """Writes the record of an operating point of two images."""
    measured = results.PointResults(
        ["a.png", "b.png"],
        {"bpp": rates, "psnr": [30.0, 31.0], "ssimulacra2": scores, **more},
    )
    key = {"images": [{"name": name} for name in measured.images], "settings": settings}
    results.save(str(folder), name, measured, key, settings=settings)


SEARCHED = {
    "script": "ljpeg_PIL",
    "quantization": "search",
    "entropy_coding": "optimized",
    "subsampling": "4:2:0",
    "tune": "visual",
    "refine_steps": 0,
}


def test_formats_compare_bytes_at_equal_scores(tmp_path):
    for quality, score in ((10, 35.0), (30, 50.0), (50, 65.0), (80, 85.0)):
        rate = score / 50
        _save(
            tmp_path / "_optimized_visual" / "_output",
            f"search_Q{quality}",
            {**SEARCHED, "quality": quality},
            [rate, rate],
            [score, score],
        )
        # Twice the bytes at every score.
        _save(
            tmp_path / "_encoders" / "_points",
            f"webp_Q{quality}",
            {"encoder": "webp", "quality": quality},
            [2 * rate, 2 * rate],
            [score, score],
        )
    table = numbers.formats_table(numbers.Source(str(tmp_path)))
    _, _, row = table.splitlines()
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert cells[0] == "WebP (Pillow, method 6)"
    assert cells[1:6] == ["-50.0 %"] * 5 and cells[6] == "2 of 2"


def test_judges_count_the_images_on_which_the_default_is_better(tmp_path):
    """It takes half of mozjpeg's bits on one image, and more on the other one."""
    for quality, score in ((10, 35.0), (30, 50.0), (50, 65.0), (80, 85.0)):
        rate = score / 50
        others = {
            "butteraugli": [3.5 - score / 33] * 2,
            "cvvdp": [8.5 + score / 61] * 2,
        }
        _save(
            tmp_path / "_optimized_visual" / "_output",
            f"search_Q{quality}",
            {**SEARCHED, "quality": quality},
            [rate / 2, rate * 1.1],
            [score, score],
            **others,
        )
        _save(
            tmp_path / "_output",
            f"mozjpeg_Q{quality}",
            {
                **{**SEARCHED, "quality": quality, "tables": "mozjpeg"},
                **{"quantization": "mozjpeg", "tune": "model"},
            },
            [rate, rate],
            [score, score],
            **others,
        )
        _save(
            tmp_path / "_encoders" / "_points",
            f"jpegli_Q{quality}",
            {"encoder": "jpegli", "quality": quality},
            [rate, rate * 1.2],
            [score, score],
            **others,
        )
    source = numbers.Source(str(tmp_path))
    lines = numbers.judges_table(source).splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["SSIMULACRA2"] == [
        *("-20.0 %", "1 of 2", "-27.3 %", "2 of 2", "minimised")
    ]
    assert cells["Butteraugli"] == cells["SSIMULACRA2"][:-1] + ["used to choose"]
    assert "LPIPS" not in cells  # was not measured
    assert numbers.judges_text(source) == "on 1 of the 2 images"


def test_curves_of_encoders_are_in_the_form_of_compressai(tmp_path):
    settings = {"encoder": "avif", "quality": 40}
    folder = tmp_path / other_encoders.POINTS_FOLDER
    _save(folder, "avif_Q40", settings, [0.5, 0.7], [60.0, 70.0])
    other_encoders.write_curves(str(tmp_path))
    (curve,) = read_published(str(tmp_path / other_encoders.CURVES_FILE))
    assert curve.name == "AVIF, speed 6"
    assert curve.points("ssimulacra2") == [(0.6, 65.0)]


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_other_formats_are_decoded_to_the_image(name):
    image = synthetic.smooth_image(3, 40, 56)
    encoder = other_encoders.ENCODERS[name]
    if encoder.missing():
        pytest.skip(encoder.missing())
    decoded = other_encoders.decode(encoder.encode(image, 90))
    assert decoded.shape == image.shape
    assert ((decoded.astype(float) - image) ** 2).mean() < 500


def test_what_is_no_image_is_not_decoded():
    with pytest.raises(ValueError, match="not a readable image"):
        other_encoders.decode(b"RIFF")
