"""Test sets are checked, curves and files are published, files of any codec scored."""

import csv
import hashlib
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

import arg_parser
from evaluation import dataset, other_encoders, publish, results, score
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import mean_squared_error
from tests import synthetic


def _png(path, width, height):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(synthetic.smooth_image(1, height, width)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_flags_name_every_known_set():
    assert tuple(dataset.known()) == arg_parser.DATASETS
    for known in dataset.known().values():
        count = len(known.get("files", ())) or len(known.get("names", ()))
        assert count in (0, known["count"])
        assert known["published"].startswith("https://")


def test_missing_changed_and_foreign_images_are_named(tmp_path):
    good = _png(tmp_path / "a.png", 24, 16)
    _png(tmp_path / "b.png", 24, 16)
    _png(tmp_path / "c.png", 16, 24)
    _png(tmp_path / "x.png", 16, 16)
    listed = {
        "files": [
            {"name": "a.png", "width": 24, "height": 16, "sha256": good},
            {"name": "b.png", "width": 24, "height": 16, "sha256": "0" * 64},
            {"name": "c.png", "width": 24, "height": 16, "sha256": "0" * 64},
            {"name": "d.png", "width": 24, "height": 16, "sha256": "0" * 64},
        ]
    }
    images = ["a.png", "b.png", "c.png", "x.png"]
    assert dataset.check(listed, images, str(tmp_path)) == [
        "d.png: missing",
        "x.png: not of this set",
        "b.png: other bytes than those of the set (SHA-256)",
        "c.png: 16x24 px instead of 24x16",
    ]


def test_names_of_jpeg_ai_tell_the_size(tmp_path):
    known = dataset.known()["jpeg-ai"]
    names = ["00001_TE_24x16_8bit_sRGB.png", "00002_TE_24x16_8bit_sRGB.png"]
    _png(tmp_path / names[0], 24, 16)
    _png(tmp_path / names[1], 16, 16)
    assert dataset.check(known, names, str(tmp_path)) == [
        "2 images; the set has 50",
        f"{names[1]}: 16x16 px instead of 24x16",
    ]


def test_a_set_is_recognised_by_its_images():
    kodak = dataset.known()["kodak"]["files"]
    assert dataset.title_of(kodak) == "Kodak"
    assert dataset.title_of(kodak[1:]) is None
    named = [{"name": f"{index:04}.png"} for index in range(801, 901)]
    assert dataset.title_of(named) == "DIV2K, validation, high resolution"


def test_a_folder_that_lacks_images_fails_and_says_where_they_are(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", ["dataset", "kodak", str(tmp_path)])
    assert dataset.main() == 1
    text = capsys.readouterr().out
    assert "kodim01.png: missing" in text and "r0k.us" in text
    monkeypatch.setattr("sys.argv", ["dataset", "kodak", str(tmp_path / "none")])
    with pytest.raises(UserError, match="none: "):
        dataset.main()


@pytest.fixture
def coded(tmp_path):
    """Originals, and a folder of an operating point of JPEG and one of WebP."""
    for seed, name in enumerate("ab"):
        image = synthetic.smooth_image(seed, 40, 48)
        (tmp_path / "originals").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "originals" / f"{name}.png")
        for folder in ("q30", "q80"):
            (tmp_path / "files" / folder).mkdir(parents=True, exist_ok=True)
        data = jpeg_file.encode_rgb(image, 30, "standard", "4:4:4")
        (tmp_path / "files" / "q30" / f"{name}.jpg").write_bytes(data)
        data = other_encoders.ENCODERS["webp"].encode(image, 80)
        (tmp_path / "files" / "q80" / f"{name}.webp").write_bytes(data)
    return tmp_path


def call_score(monkeypatch, folder, *flags):
    # Without those that load TensorFlow or call a tool.
    quick = [registry.get(key) for key in ("mse", "psnr", "ssimulacra2")]
    monkeypatch.setattr(registry, "available", lambda: quick)
    argv = ["score", str(folder / "files"), str(folder / "originals"), *flags]
    monkeypatch.setattr("sys.argv", argv)
    return score.main()


def test_files_of_any_codec_are_scored(coded, monkeypatch, capsys):
    table, curve = coded / "scores.csv", coded / "curve.json"
    assert call_score(monkeypatch, coded, "-o", str(table)) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 4
    for row in rows:
        path = coded / "files" / row["file"]
        original = coded / "originals" / f"{path.stem}.png"
        decoded = np.asarray(Image.open(path).convert("RGB"))
        truth = np.asarray(Image.open(original))
        size = path.stat().st_size
        assert float(row["bpp"]) == pytest.approx(8 * size / (40 * 48))
        mse = mean_squared_error(truth, decoded)
        assert float(row["mse"]) == pytest.approx(mse)
        points = registry.get("ssimulacra2")
        points = points.compare(points.prepare(truth), decoded)
        assert float(row["ssimulacra2"]) == pytest.approx(points, abs=1e-6)
    capsys.readouterr()
    assert call_score(monkeypatch, coded, "-o", str(curve), "--name", "mine") == 0
    written = json.loads(curve.read_text())
    assert written["name"] == "mine"
    assert written["results"]["bpp"] == sorted(written["results"]["bpp"])
    assert "q30" in capsys.readouterr().out


def test_a_file_without_its_original_is_a_user_error(coded, monkeypatch):
    (coded / "originals" / "b.png").unlink()
    with pytest.raises(UserError, match="no original of the name b"):
        call_score(monkeypatch, coded)


def test_a_file_of_another_size_is_a_user_error(coded, monkeypatch):
    Image.new("RGB", (40, 40)).save(coded / "files" / "q30" / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg: 40x40 px.*48x40"):
        call_score(monkeypatch, coded)


def test_curves_and_files_are_published_with_a_manifest(tmp_path, monkeypatch):
    settings = {
        "quantization": "round",
        "entropy_coding": "standard",
        "subsampling": "4:4:4",
        "tune": "model",
        "refine_steps": 0,
        "quality": 30,
    }
    kodak = dataset.known()["kodak"]["files"]
    names = [file["name"] for file in kodak]
    values = {"bpp": [0.5] * 24, "psnr": [30.0] * 24}
    folder = tmp_path / "runs" / "_output_PIL"
    key = {"images": kodak, "settings": settings}
    measured = results.PointResults(names, values)
    results.save(str(folder), "Q30", measured, key, settings=settings)
    (folder / "Q30").mkdir()
    for name in names:
        (folder / "Q30" / name.replace("png", "jpg")).write_bytes(name.encode())
    argv = ["publish", str(tmp_path / "runs"), "-o", str(tmp_path / "curves.json")]
    argv += ["--archive", str(tmp_path / "files.tar")]
    monkeypatch.setattr("sys.argv", argv)
    assert publish.main() == 0
    (curve,) = json.loads((tmp_path / "curves.json").read_text())
    assert curve["dataset"] == "Kodak" and curve["results"]["psnr-rgb"] == [30.0]
    with tarfile.open(tmp_path / "files.tar") as archive:
        entries = json.load(archive.extractfile("manifest.json"))
        first = archive.extractfile(entries[0]["file"]).read()
    assert len(entries) == 24 and first == b"kodim01.png"
    assert entries[0]["file"] == "Q30/kodim01.jpg"
    assert entries[0]["sha256"] == hashlib.sha256(first).hexdigest()
    assert entries[0]["original_sha256"] == kodak[0]["sha256"]
    (folder / "Q30" / "kodim02.jpg").unlink()
    with pytest.raises(UserError, match=r"kodim02\.jpg: not there"):
        publish.main()
