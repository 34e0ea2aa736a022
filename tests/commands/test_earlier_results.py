"""A folder that is compressed again: results beside the inputs are no inputs."""

import io
import os
import shutil

import mozjpeg_lossless_optimization
import numpy as np
import pytest
from PIL import Image

from learned_jpeg.commands import earlier_results
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.segments import SOS, segments
from learned_jpeg.pictures.read_options import ReadOptions
from tests.commands.helpers import compress_pil, photograph, save_png
from tests.paths import EXAMPLE_IMAGES


def contents(folder):
    """dict from each path below a folder, relative to it, to its bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def save_jpeg(path, seed=0, size=(24, 32), **options):
    Image.fromarray(photograph(*size, seed)).save(path, "JPEG", quality=95, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Five images; those of two pairs have one stem and one size."""
    save_png(tmp_path / "a.png", 24, 32, 0)
    save_jpeg(tmp_path / "b.jpg", 1)
    save_png(tmp_path / "c.png", 24, 32, 2)
    save_jpeg(tmp_path / "c.jpg", 3)
    save_png(tmp_path / "sub" / "d.png", 24, 32, 4)
    return tmp_path


RESULTS = ["a.jpg", "b.jpg.jpg", "c.jpg.jpg", "c.png.jpg", "sub/d.jpg"]


@pytest.mark.parametrize("coding", ["optimized", "standard"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_folder_that_is_compressed_again_has_no_more_files(
    folder, capsys, caplog, coding, beside
):
    caplog.set_level("INFO")
    argv = [folder, "-r", "--entropy_coding", coding]
    argv += [] if beside else ["-o", folder]
    before = contents(folder)
    assert compress_pil(*argv) == 0
    after = contents(folder)
    assert sorted(after.keys() - before.keys()) == RESULTS
    assert {name: after[name] for name in before} == before
    assert "left out" not in caplog.text
    assert compress_pil(*argv) == 0
    assert "5 of 5 images skipped: their results exist" in capsys.readouterr().out
    assert f"left out 5 results of an earlier call ({folder}/a.jpg, " in caplog.text
    assert compress_pil(*argv, "--skip_existing") == 0
    assert "5 of 5 images skipped" in capsys.readouterr().out
    assert contents(folder) == after
    for quality in (10, 75):
        assert compress_pil(*argv, "--force", "--quality", quality) == 0
        again = contents(folder)
        assert again.keys() == after.keys()
        assert {name: again[name] for name in before} == before
        assert (again == after) == (quality == 75)


def test_more_calls_after_a_chain_of_calls_make_no_more_files(folder):
    """Results of results, as older versions made them, are results."""
    for name in ("a.jpg", "a.jpg.jpg", "a.png.jpg", "a.png-2.jpg"):
        save_jpeg(folder / name, 0)
    before = contents(folder)
    assert compress_pil(folder, "--skip_existing") == 0
    made = contents(folder).keys() - before.keys()
    assert made == {"b.jpg.jpg", "c.jpg.jpg", "c.png.jpg"}


def found(folder):
    paths = sorted(str(path) for path in folder.iterdir())
    results = earlier_results.earlier_results(paths, os.path.dirname, ReadOptions())
    return sorted(os.path.basename(path) for path in results)


def test_what_is_no_result_stays_an_input(tmp_path):
    exif = Image.Exif()
    exif[271] = "a camera"
    save_png(tmp_path / "a.png", 24, 32, 0)
    for name, image, options in (
        ("a.jpg", 0, {"exif": exif}),
        ("a.png.jpg", 1, {}),
        ("a.png-2.jpg", 0, {"size": (32, 24)}),
        ("a-2.jpg", 0, {}),
        ("b.jpg", 0, {}),
    ):
        save_jpeg(tmp_path / name, image, **options)
    (tmp_path / "c.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:-300])
    save_png(tmp_path / "c.png", 24, 32, 0)
    assert found(tmp_path) == []


def test_what_our_encoder_made_is_known_without_its_pixels(tmp_path, monkeypatch):
    save_png(tmp_path / "a.png", 24, 32, 0)
    assert compress_pil(tmp_path / "a.png") == 0
    monkeypatch.setattr(earlier_results, "read_image", None)
    assert found(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize("is_gray", [False, True])
@pytest.mark.parametrize("quality", [40, 98])
def test_files_of_ours_are_told_from_those_of_others(tmp_path, quality, is_gray):
    with Image.open(EXAMPLE_IMAGES / "astronaut.png") as photo:
        image = np.array(photo.convert("RGB").crop((100, 100, 260, 260)))
    if is_gray:
        image = np.repeat(image[..., :1], 3, axis=2)
    source = tmp_path / "a.png"
    Image.fromarray(image).save(source)
    gray_or_rgb = Image.fromarray(image[..., 0] if is_gray else image)
    buffer = io.BytesIO()
    gray_or_rgb.save(buffer, "JPEG", quality=quality, progressive=True)
    ours = jpeg_file.encode_rgb(image, quality, "optimized", "4:2:0")
    low_bits = {ours[end - 1] for marker, _, end in segments(ours) if marker == SOS}
    assert (len(low_bits) > 1) == (quality == 98)  # also with single bits
    others = [
        buffer.getvalue(),
        jpeg_file.encode_mozjpeg_quality(image, quality),
        mozjpeg_lossless_optimization.optimize(buffer.getvalue()),
        jpeg_file.encode_rgb(image, quality),
    ]
    told = []
    for number, data in enumerate([ours, *others]):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(data)
        told.append(earlier_results.is_ours(str(path), str(source), ReadOptions()))
    assert told == [True, False, False, False, False]


def test_an_image_that_is_taken_for_a_result_is_not_replaced(tmp_path, capsys):
    """A file of ours at the name of a result may be one of another image."""
    save_png(tmp_path / "a.png", 24, 32, 0)
    other = save_png(tmp_path / "other" / "b.png", 24, 32, 1)
    assert compress_pil(other, "-o", tmp_path / "a.jpg") == 0
    before = contents(tmp_path)
    assert compress_pil(tmp_path, "--force") == 1
    assert contents(tmp_path) == before
    assert f"error: {tmp_path}/a.jpg: is not replaced, as it may be an image" in (
        capsys.readouterr().err
    )
    # An input of its own, where it is named alone.
    assert compress_pil(tmp_path / "a.jpg") == 0
    assert (tmp_path / "a.jpg.jpg").exists()


@pytest.mark.parametrize("kind", ["photograph", "flat"])
def test_a_bad_file_still_looks_like_its_image(tmp_path, kind):
    image = photograph(48, 64, 5)
    other = np.ascontiguousarray(image[::-1])
    if kind == "flat":
        image, other = np.full_like(image, 100), np.full_like(image, 130)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=5)
    paths = str(tmp_path / "a.jpg"), str(tmp_path / "a.png")
    assert earlier_results.is_same_image(*paths)
    assert earlier_results.is_same_image(*paths, image)
    assert not earlier_results.is_same_image(*paths, other)


def test_results_in_an_output_folder_inside_are_known_by_what_they_show(tmp_path):
    for seed, name in enumerate(("x/a.png", "x/y/b.png", "c.png")):
        save_png(tmp_path / name, 24, 32, seed)
    assert compress_pil(tmp_path, "-r", "-o", tmp_path / "out" / "1") == 0
    other = tmp_path / "x" / "2"
    other.mkdir()
    # Our file of another image, ours of the same name elsewhere, another program's.
    shutil.copyfile(tmp_path / "out" / "1" / "c.jpg", other / "a.jpg")
    shutil.copyfile(tmp_path / "out" / "1" / "c.jpg", tmp_path / "x" / "y" / "c.jpg")
    save_jpeg(other / "b.jpg", 1)
    paths = sorted(str(p) for p in tmp_path.rglob("*.*"))
    found = earlier_results.results_in_subfolders(paths, ReadOptions())
    names = sorted(os.path.relpath(path, tmp_path) for path in found)
    assert names == ["out/1/c.jpg", "out/1/x/a.jpg", "out/1/x/y/b.jpg", "x/y/c.jpg"]
