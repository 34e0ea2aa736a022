"""Tests of the commands `compress` and `export`: the files that a user gets."""

import io
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image, ImageCms

import arg_parser
import google_baseline
from google_baseline import GoogleBaseline
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.commands import run as commands
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2
from ljpeg_attention import LJPEGAttention
from tests.commands.helpers import (
    compress_ljpeg,
    compress_pil,
    photograph,
    save_png,
)
from tests.paths import ROOT
from tests.records import record_of
from tests.tables_models import asymmetric_tables, write_tables_model
from training.differentiable import rgb_to_dct

ORIENTATION = 274

ARTIST = 315


def decode(path):
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return np.array(image.convert("RGB"))


def names(folder):
    return sorted(os.listdir(folder))


def contents(folder):
    """dict from each path below `folder` to its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_file_is_written_beside_the_input(tmp_path, capsys):
    path = save_png(tmp_path / "a.png")
    assert compress_pil(path) == 0
    assert names(tmp_path) == ["a.jpg", "a.png"]
    assert decode(tmp_path / "a.jpg").shape == (40, 56, 3)
    before, after = path.stat().st_size, (tmp_path / "a.jpg").stat().st_size
    assert capsys.readouterr().out == (
        f"1 of 1 images, {before} -> {after} bytes ({100 - 100 * after / before:.1f} % "
        f"smaller), in {tmp_path}\n"
    )


def test_many_files_go_to_their_own_folders(tmp_path, capsys):
    paths = [save_png(tmp_path / d / "x.png", seed=i) for i, d in enumerate("abc")]
    assert compress_pil(*paths) == 0
    assert [names(tmp_path / d) for d in "abc"] == [["x.jpg", "x.png"]] * 3
    data = {(tmp_path / d / "x.jpg").read_bytes() for d in "abc"}
    assert len(data) == 3
    total = sum(map(len, data))
    out = capsys.readouterr().out
    assert re.search(
        rf"3 of 3 images, \d+ -> {total} bytes \(.* % smaller\), in 3 folders", out
    )


@pytest.mark.parametrize("kind", ["folder", "glob"])
def test_a_folder_and_a_quoted_glob_stand_for_their_images(tmp_path, kind):
    source = tmp_path / "in"
    for i in range(3):
        save_png(source / f"{i}.png", seed=i)
    (source / "notes.txt").write_text("not a picture")
    pattern = source if kind == "folder" else source / "*.png"
    assert compress_pil(pattern, "-o", tmp_path / "new" / "out") == 0
    assert names(tmp_path / "new" / "out") == ["0.jpg", "1.jpg", "2.jpg"]
    assert names(source) == ["0.png", "1.png", "2.png", "notes.txt"]


def test_output_may_be_a_file_for_one_input(tmp_path):
    path = save_png(tmp_path / "a.png")
    assert compress_pil(path, "-o", tmp_path / "new" / "result.JPG") == 0
    assert names(tmp_path) == ["a.png", "new"]
    assert decode(tmp_path / "new" / "result.JPG").shape == (40, 56, 3)


def test_one_output_file_for_two_inputs_is_refused(tmp_path):
    paths = [save_png(tmp_path / f"{i}.png") for i in range(2)]
    with pytest.raises(UserError, match=r"out\.jpg: one file for 2 inputs"):
        compress_pil(*paths, "-o", tmp_path / "out.jpg")
    assert names(tmp_path) == ["0.png", "1.png"]


def test_a_folder_named_like_an_image_can_be_the_output_folder(tmp_path):
    paths = [save_png(tmp_path / f"{i}.png") for i in range(2)]
    (tmp_path / "out.jpg").mkdir()
    assert compress_pil(*paths, "-o", tmp_path / "out.jpg") == 0
    assert names(tmp_path / "out.jpg") == ["0.jpg", "1.jpg"]


def test_an_existing_file_is_kept_without_force_and_replaced_with_it(tmp_path, capsys):
    path = save_png(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes(b"precious")
    assert compress_pil(path) == 1
    assert (tmp_path / "a.jpg").read_bytes() == b"precious"
    assert f"{tmp_path / 'a.jpg'}: exists already" in capsys.readouterr().err
    assert compress_pil(path, "--force") == 0
    assert decode(tmp_path / "a.jpg").shape == (40, 56, 3)


def test_a_dangling_link_at_the_output_counts_as_existing(tmp_path):
    path = save_png(tmp_path / "a.png")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "elsewhere")
    assert compress_pil(path) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_inputs_of_one_stem_get_files_of_their_own(tmp_path):
    """Nothing collides, no input is overwritten even with --force."""
    folder = tmp_path / "in"
    save_png(folder / "a.png", 16, 24, 1)
    jpeg = photograph(24, 16, 2)
    Image.fromarray(jpeg).save(folder / "a.jpg", quality=95)
    Image.fromarray(photograph(32, 8, 3)).save(folder / "a.webp", lossless=True)
    before = contents(folder)
    for _ in range(2):
        assert compress_pil(folder / "a.*", "--force") == 0
        assert {path: path.read_bytes() for path in before} == before
        written = sorted(set(contents(folder)) - set(before))
        sizes = [decode(path).shape[:2] for path in written]
        assert sorted(sizes) == [(16, 24), (24, 16), (32, 8)]
        for path in written:
            path.unlink()


def test_equal_names_from_two_folders_do_not_collide_in_one(tmp_path):
    save_png(tmp_path / "x" / "a.png", 16, 24)
    save_png(tmp_path / "y" / "a.png", 24, 16)
    save_png(tmp_path / "z" / "a.png", 8, 8)
    assert compress_pil(tmp_path / "*" / "a.png", "-o", tmp_path / "out", "-f") == 0
    sizes = [decode(path).shape[:2] for path in (tmp_path / "out").iterdir()]
    assert sorted(sizes) == [(8, 8), (16, 24), (24, 16)]


def test_results_never_replace_inputs_of_other_names_even_with_force(tmp_path):
    """b.png would go to b.jpg, which is an input, and so would its second choice."""
    for index, name in enumerate(("b.png", "b.jpg", "b.png.jpg")):
        kind = "PNG" if name.endswith("png") else "JPEG"
        Image.fromarray(photograph(16, 8 + 8 * index)).save(tmp_path / name, kind)
    before = contents(tmp_path)
    assert compress_pil(tmp_path, "-o", tmp_path, "--force") == 0
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    widths = [decode(path).shape[1] for path in set(after) - set(before)]
    assert sorted(widths) == [8, 16, 24]


def test_output_that_is_a_link_to_an_input_does_not_overwrite_it(tmp_path):
    path = save_png(tmp_path / "a.png")
    data = path.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg").symlink_to(path)
    assert compress_pil(path, "-o", tmp_path / "out", "--force") == 0
    assert path.read_bytes() == data
    assert decode(tmp_path / "out" / "a.png.jpg").shape == (40, 56, 3)


@pytest.mark.parametrize("spelling", ["a.jpg", "sub/../a.jpg", "link.jpg"])
def test_output_that_is_the_input_itself_is_refused(tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    Image.fromarray(photograph(16, 16)).save("a.jpg")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    with pytest.raises(UserError, match="is the input itself"):
        compress_pil("a.jpg", "-o", spelling, "--force")
    assert (tmp_path / "a.jpg").read_bytes() == data


def coded(folder, image, **options):
    """The bytes of an image by a checkpoint without the command."""
    networks = Networks("float32")
    with TrainedModel.load(str(folder), networks=networks) as model:
        return model.codec(EncodeOptions(**options)).encode(image)


@pytest.mark.parametrize("coding", ["standard", "optimized"])
def test_files_are_those_of_the_model(tmp_path, tables_dir, run_dir, coding):
    for folder in (tables_dir, run_dir / "lambda_05" / "train"):
        path = save_png(tmp_path / "a.png", 43, 61)
        flags = ["--entropy_coding", coding, "-f"]
        assert compress_ljpeg(folder, path, *flags) == 0
        wanted = coded(
            folder, photograph(43, 61), quantization="round", entropy_coding=coding
        )
        assert (tmp_path / "a.jpg").read_bytes() == wanted


@pytest.mark.slow
def test_files_of_the_attention_model_are_its(tmp_path, attention_dir):
    path = save_png(tmp_path / "a.png", 43, 61)
    argv = f"--checkpoint_dir {attention_dir} compress {path} --precision float32"
    args = arg_parser.parse_model(LJPEGAttention, argv.split())
    assert commands.run(LJPEGAttention, args) == 0
    data = (tmp_path / "a.jpg").read_bytes()
    assert data == coded(attention_dir, photograph(43, 61), quantization="round")
    found = jpeg_file.read_coefficients(data)
    # Attention lies in (0, 1), so it must have taken energy away.
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.constant(photograph(43, 61)[None] / np.float32(255))
        dct = session.run(rgb_to_dct(x))[0]
    without = np.round(dct / found.qtables.transpose(1, 2, 0)[..., [0, 1, 1]])
    energy = np.square(found.integers[:, :, 1:], dtype=np.int64).sum()
    assert energy < np.square(without[:, :, 1:]).sum()


def test_optimized_shows_the_same_pixels_in_fewer_bytes(tmp_path, run_dir):
    path = save_png(tmp_path / "a.png", 64, 96)
    folder = run_dir / "lambda_005"
    for coding in ("standard", "optimized"):
        output = tmp_path / f"{coding}.jpg"
        flags = ["-o", output, "--entropy_coding", coding]
        assert compress_ljpeg(folder, path, *flags) == 0
    standard, optimized = tmp_path / "standard.jpg", tmp_path / "optimized.jpg"
    np.testing.assert_array_equal(decode(standard), decode(optimized))
    assert optimized.stat().st_size < 0.95 * standard.stat().st_size


def test_optimized_is_the_coding_without_a_flag(tmp_path):
    path = save_png(tmp_path / "a.png", 64, 96)
    assert compress_pil(path) == 0
    flags = ["--entropy_coding", "optimized", "-o", tmp_path / "b.jpg"]
    assert compress_pil(path, *flags) == 0
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_mozjpeg_writes_the_tables_of_the_model(tmp_path, run_dir):
    path = save_png(tmp_path / "a.png", 64, 96)
    mse, files = {}, {}
    for flags in (
        "--quantization round",
        "--quantization mozjpeg",
        "--entropy_coding trellis",  # its name in older versions
    ):
        argv = [path, *flags.split(), "--force"]
        assert compress_ljpeg(run_dir / "lambda_05", *argv) == 0
        files[flags] = (tmp_path / "a.jpg").read_bytes()
        found = jpeg_file.read_coefficients(files[flags])
        np.testing.assert_array_equal(found.qtables, asymmetric_tables(30))
        error = decode(tmp_path / "a.jpg") - photograph(64, 96).astype(float)
        mse[flags] = np.mean(error**2)
    plain, mozjpeg, _ = mse.values()
    assert plain < mozjpeg < 3 * plain
    assert files["--quantization mozjpeg"] == files["--entropy_coding trellis"]


def test_old_words_write_the_files_of_the_new_ones(tmp_path):
    path = save_png(tmp_path / "a.png", 40, 56)
    pairs = {
        "--entropy_coding default": "--entropy_coding standard",
        "--quantization rdoq --tune psnr": "--quantization search --tune psnr",
    }
    for words in pairs.items():
        files = []
        for flags in words:
            assert compress_pil(path, *flags.split(), "--force") == 0
            files.append((tmp_path / "a.jpg").read_bytes())
        assert files[0] == files[1]


def test_number_of_workers_does_not_change_a_byte(tmp_path, run_dir):
    for seed in range(4):
        save_png(tmp_path / "in" / f"{seed}.png", 40, 56, seed)
    for workers in (1, 4):
        flags = ["-o", tmp_path / str(workers), "--workers", workers]
        assert compress_ljpeg(run_dir / "lambda_1", tmp_path / "in", *flags) == 0
    one, four = (sorted((tmp_path / n).iterdir()) for n in "14")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in four]
    assert len(one) == 4


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_standard_tables_and_coding_are_close_to_pillow(tmp_path, quality):
    image = photograph(192, 256)
    path = save_png(tmp_path / "a.png", 192, 256)
    assert compress_pil(path, "--entropy_coding", "standard", "--quality", quality) == 0
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    ours, pillow = (tmp_path / "a.jpg").stat().st_size, len(buffer.getvalue())
    assert ours == pytest.approx(pillow, rel=0.01)
    psnr = independent_psnr(image, decode(tmp_path / "a.jpg"))
    assert psnr == pytest.approx(independent_psnr(image, decode(buffer)), abs=0.02)
    with Image.open(tmp_path / "a.jpg") as mine, Image.open(buffer) as theirs:
        assert mine.quantization == theirs.quantization


def independent_psnr(original, decoded):
    mse = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
    return 10 * np.log10(255**2 / mse)


def printed(text):
    """The numbers of a line of --verbose by their names."""
    found = re.fullmatch(
        r"(?P<path>.*): (?P<bytes>\d+) bytes, (?P<bpp>\S+) bpp, "
        r"(?:(?P<subsampling>[\d:]+), )?"
        r"PSNR (?P<psnr>\S+) dB, MS-SSIM (?P<ms_ssim>\S+) \((?P<db>\S+) dB\), "
        r"LPIPS (?P<lpips>\S+), MSE (?P<mse>\S+), SSIMULACRA2 (?P<score>[^\s,]+)"
        r"(?:, [^(]*?)?(?: \((?P<label>.*)\))?",  # other metrics
        text,
    )
    assert found, text
    values = found.groupdict()
    texts = {key: values.pop(key) for key in ("path", "label", "subsampling")}
    return {**{key: float(value) for key, value in values.items()}, **texts}


def independent_ms_ssim(original, decoded):
    with tf.Graph().as_default(), tf.Session() as session:
        images = [tf.constant(p[None].astype(np.float32)) for p in (original, decoded)]
        return float(session.run(tf.image.ssim_multiscale(*images, 255.0))[0])


@pytest.mark.slow
def test_verbose_prints_what_the_file_on_the_disk_holds(tmp_path, capsys):
    sizes = [(176, 168), (161, 170)]
    for seed, size in enumerate(sizes):
        save_png(tmp_path / f"{seed}.png", *size, seed)
    assert compress_pil(tmp_path / "*.png", "--verbose", "--quality", "20") == 0
    *lines, mean, total = capsys.readouterr().out.splitlines()
    rows = [printed(line) for line in lines]
    assert [row["path"] for row in rows] == [str(tmp_path / f"{i}.jpg") for i in (0, 1)]
    for seed, (row, (height, width)) in enumerate(zip(rows, sizes, strict=True)):
        path = tmp_path / f"{seed}.jpg"
        size = path.stat().st_size
        original, decoded = photograph(height, width, seed), decode(path)
        mse = np.mean((original.astype(np.float64) - decoded) ** 2)
        ms_ssim = independent_ms_ssim(original, decoded)
        assert row["bytes"] == size
        assert row["subsampling"] == "4:4:4"
        assert row["bpp"] == pytest.approx(8 * size / (height * width), abs=5e-5)
        assert row["mse"] == pytest.approx(mse, abs=5e-4)
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / mse), abs=5e-4)
        assert row["ms_ssim"] == pytest.approx(ms_ssim, abs=2e-5)
        assert row["db"] == pytest.approx(-10 * np.log10(1 - ms_ssim), abs=5e-3)
        assert 0 < row["lpips"] < 1
        score = ssimulacra2.score(ssimulacra2.reference_scales(original), decoded)
        assert row["score"] == pytest.approx(score, abs=5e-4)
        assert row["label"] == "quality 20"
    means = printed(mean)
    assert means["path"] == "mean"
    for key in ("bpp", "mse", "psnr", "ms_ssim", "lpips", "score"):
        wanted = np.mean([row[key] for row in rows])
        assert means[key] == pytest.approx(wanted, abs=6e-4), key
    assert f" -> {sum(r['bytes'] for r in rows):.0f} bytes (" in total


def test_without_verbose_no_metric_is_printed(tmp_path, capsys):
    save_png(tmp_path / "a.png")
    assert compress_pil(tmp_path / "a.png") == 0
    assert "PSNR" not in capsys.readouterr().out


def test_label_of_a_trained_model_is_its_folder(tmp_path, capsys, run_dir):
    path = save_png(tmp_path / "a.png")
    assert compress_ljpeg(f"{run_dir / 'lambda_05'}/", path, "-v") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert printed(line)["label"] == "lambda_05"


def test_ms_ssim_of_small_images_is_nan_with_one_note(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    save_png(tmp_path / "0.png", 160, 200)
    save_png(tmp_path / "1.png", 20, 20)
    save_png(tmp_path / "2.png", 161, 161)
    assert compress_pil(tmp_path, "--verbose") == 0
    rows = [printed(line) for line in capsys.readouterr().out.splitlines()[:4]]
    assert [math.isnan(row["ms_ssim"]) for row in rows] == [True, True, False, False]
    assert [math.isnan(row["db"]) for row in rows] == [True, True, False, False]
    assert rows[3]["ms_ssim"] == rows[2]["ms_ssim"]  # the mean of those that have one
    notes = [m for m in caplog.messages if "MS-SSIM" in m]
    assert len(notes) == 1
    assert "161 px" in notes[0] and "2 images" in notes[0]


def truncated_png(path):
    data = save_png(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


BAD_INPUTS = {
    "truncated.png": truncated_png,
    "empty.png": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_text("I am no picture"),
    "folder.png": lambda path: path.mkdir(),
    "dangling.png": lambda path: path.symlink_to("nowhere.png"),
    "cut_header.png": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0"),
}


def test_bad_files_are_reported_by_name_and_the_others_are_done(
    tmp_path, capsys, caplog
):
    for i in range(2):
        save_png(tmp_path / f"{i}.png", seed=i)
    for name, make in BAD_INPUTS.items():
        make(tmp_path / name)
    assert compress_pil(tmp_path / "*.png", "-o", tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert names(tmp_path / "out") == ["0.jpg", "1.jpg"]
    for name in BAD_INPUTS:
        lines = [line for line in err.splitlines() if f"{tmp_path / name}: " in line]
        assert len(lines) == 1, name
        assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    assert "2 of 8 images" in out
    assert "6 of 8 images failed" in caplog.messages


def test_a_bad_file_named_by_itself_does_not_stop_the_others(tmp_path, capsys):
    """The shell does so with an unquoted glob."""
    good = save_png(tmp_path / "z.png")
    for name, make in BAD_INPUTS.items():
        make(tmp_path / name)
    inputs = [tmp_path / name for name in BAD_INPUTS]
    assert compress_pil(*inputs, good, "-o", tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["z.jpg"]
    err = capsys.readouterr().err
    assert all(f"{path}: " in err for path in inputs)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_reported(tmp_path, capsys):
    path = save_png(tmp_path / "a.png")
    path.chmod(0)
    assert compress_pil(path) == 1
    assert f"{path}: no permission" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["missing.png", "*.png"])
def test_an_input_that_stands_for_nothing_is_refused(tmp_path, missing):
    with pytest.raises(UserError, match=re.escape(str(tmp_path / missing))):
        compress_pil(tmp_path / missing)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (1000, 3), (3, 1000), (8, 8)])
def test_odd_sizes_are_kept_and_look_like_the_input(tmp_path, size):
    image = np.full((*size, 3), (200, 90, 40), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert compress_pil(tmp_path / "a.png", "--quality", "95", "-v") == 0
    decoded = decode(tmp_path / "a.jpg")
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).max() <= 3


def test_16_bit_gray_is_scaled(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert compress_pil(tmp_path / "a.png", "--quality", "95") == 0
    decoded = decode(tmp_path / "a.jpg").astype(float)
    assert np.abs(decoded - ramp[..., None] / 257).max() < 6


def test_palette_gray_and_animated_images_show_what_they_showed(tmp_path):
    image = Image.fromarray(photograph(32, 40))
    palette = image.quantize(32)
    gray = image.convert("L")
    palette.save(tmp_path / "palette.png")
    gray.save(tmp_path / "gray.png")
    frames = [palette, image.transpose(Image.Transpose.ROTATE_180).quantize(32)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    gray.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert compress_pil(tmp_path, "-o", tmp_path / "out", "--quality", "95") == 0
    gray, palette = (np.array(p.convert("RGB"), float) for p in (gray, palette))
    wanted = {"palette": palette, "gray": gray, "animated": palette, "cmyk": gray}
    for name, image in wanted.items():
        decoded = decode(tmp_path / "out" / f"{name}.jpg")
        assert np.abs(decoded - image).mean() < 4, name


def exif_of(**tags):
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[int(tag[1:])] = value
    return exif


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_applied_once(tmp_path, orientation):
    image = photograph(24, 40)
    exif = exif_of(**{f"_{ORIENTATION}": orientation, f"_{ARTIST}": "Ansel"})
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    assert compress_pil(tmp_path / "a.png", "--quality", "95") == 0
    # Times that the stored image is turned by 90 degrees to the left.
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    upright = np.rot90(image, turns)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.height, image.width) == upright.shape[:2]
        assert image.getexif()[ORIENTATION] == 1
        assert image.getexif()[ARTIST] == "Ansel"
        assert np.abs(np.array(image).astype(float) - upright).mean() < 4


def test_metadata_is_carried_over_and_dropped_on_demand(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(photograph(24, 40))
    exif = exif_of(**{f"_{ARTIST}": "Ansel"})
    image.save(tmp_path / "a.png", icc_profile=profile, exif=exif)
    kept, stripped, bare = (tmp_path / f"{n}.jpg" for n in ("kept", "stripped", "bare"))
    assert compress_pil(tmp_path / "a.png", "-o", kept) == 0
    assert compress_pil(tmp_path / "a.png", "-o", stripped, "--strip_metadata") == 0
    assert compress_pil(tmp_path / "a.png", "-o", bare, "--strip_all") == 0
    with Image.open(kept) as image:
        assert image.info["icc_profile"] == profile
        assert image.getexif()[ARTIST] == "Ansel"
    for path, left in ((stripped, profile), (bare, None)):
        with Image.open(path) as image:
            assert image.info.get("icc_profile") == left
            assert len(image.getexif()) == 0
        np.testing.assert_array_equal(decode(kept), decode(path))
    assert bare.stat().st_size <= stripped.stat().st_size - len(profile)


@pytest.mark.parametrize(
    "name",
    ["my photo.png", "bäume–森.png", "a[1].png", "a*b.png", "A.PNG", "two.dots.png"],
)
def test_unusual_names_are_kept(tmp_path, name):
    path = save_png(tmp_path / name)
    assert compress_pil(path) == 0
    assert names(tmp_path) == sorted([name, name[:-4] + ".jpg"])


def test_names_that_start_with_a_dash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_png(tmp_path / "-x.png")
    assert compress_pil("./-x.png") == 0
    os.rename("-x.jpg", "first.jpg")
    assert compress_pil("--", "-x.png") == 0
    assert (tmp_path / "-x.jpg").read_bytes() == (tmp_path / "first.jpg").read_bytes()


def test_upper_case_suffixes_are_found_in_a_folder(tmp_path):
    save_png(tmp_path / "A.PNG")
    assert compress_pil(tmp_path, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["A.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["standard", "optimized"])
def test_target_bpp_takes_the_largest_quality_that_fits(tmp_path, coding):
    """Against all of 1..100."""
    path = save_png(tmp_path / "a.png", 40, 56)
    options = EncodeOptions(quantization="round", entropy_coding=coding)
    codec = standard_tables().codec(options)
    files = [codec.encode(photograph(40, 56), q) for q in range(1, 101)]
    sizes = [len(data) for data in files]
    for size in np.linspace(sizes[0] + 0.01, sizes[-1] + 9, 9):
        target = f"{8 * size / (40 * 56):.9f}"
        flags = ["--target_bpp", target, "--entropy_coding", coding]
        assert compress_pil(path, *flags, "--force") == 0
        largest = max(q for q, s in enumerate(sizes) if s <= size)
        assert (tmp_path / "a.jpg").read_bytes() == files[largest]


@pytest.mark.slow
def test_a_model_with_a_quality_meets_a_target_by_it(tmp_path, monkeypatch):
    monkeypatch.setattr(google_baseline, "ResConvLayer", lambda name, dtype: filter_of)
    folder = write_tables_model(tmp_path / "run" / "lambda_1", asymmetric_tables(9))
    record = json.dumps(record_of("google_baseline"))
    (folder / "settings.json").write_text(record)
    path = save_png(tmp_path / "a.png", 40, 56)

    def compress_google(folder, *flags):
        argv = ["--checkpoint_dir", folder, "compress", path, *flags, "--force"]
        args = arg_parser.parse_model(GoogleBaseline, [str(word) for word in argv])
        return commands.run(GoogleBaseline, args)

    for flags in (["--target_bpp", 3], ["--target_psnr", 30], ["--quality", 40]):
        assert compress_google(folder, *flags) == 0
        found = (tmp_path / "a.jpg").read_bytes()
        assert compress_pil(path, *flags, "--force") == 0
        assert (tmp_path / "a.jpg").read_bytes() == found
    with pytest.raises(UserError, match="run: holds lambda_. folders; name one"):
        compress_google(tmp_path / "run", "--target_bpp", 3)


def filter_of(x, training):
    """Stands for a network that changes nothing."""
    return x


def test_target_bpp_chooses_for_each_image(tmp_path, capsys):
    save_png(tmp_path / "a.png", 64, 64)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    assert compress_pil(tmp_path, "--target_bpp", "2.5", "-v") == 0
    smooth, rough = [printed(x) for x in capsys.readouterr().out.splitlines()[:2]]
    assert smooth["bpp"] <= 2.5 and rough["bpp"] <= 2.5
    qualities = [int(row["label"].split()[1]) for row in (smooth, rough)]
    assert qualities[0] > qualities[1]


def test_target_bpp_takes_the_lambda_folder_closest_from_below(tmp_path, run_dir):
    path = save_png(tmp_path / "a.png", 64, 96)
    files = []
    for folder in run_dir.iterdir():
        assert compress_ljpeg(folder, path, "--force") == 0
        files.append((tmp_path / "a.jpg").read_bytes())
    sizes = sorted(map(len, files))
    assert len(set(sizes)) == 4
    for size in [sizes[0] + 0.01, sizes[2] - 1, sizes[2] + 1, sizes[3] + 99]:
        target = f"{8 * size / (64 * 96):.9f}"
        assert compress_ljpeg(run_dir, path, "--target_bpp", target, "-f") == 0
        best = max((data for data in files if len(data) <= size), key=len)
        assert (tmp_path / "a.jpg").read_bytes() == best


def test_target_bpp_tells_the_chosen_lambda_folder(tmp_path, capsys, run_dir):
    path = save_png(tmp_path / "a.png", 64, 96)
    assert compress_ljpeg(run_dir, path, "--target_bpp", "24", "-v") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert printed(line)["label"] == "lambda_005"  # the one with the smallest steps


def test_target_bpp_below_every_setting_is_an_error_of_that_image(
    tmp_path, capsys, run_dir
):
    path = save_png(tmp_path / "a.png")
    assert compress_pil(path, "--target_bpp", "0.01") == 1
    assert compress_ljpeg(run_dir, path, "--target_bpp", "0.01") == 1
    lines = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert len(lines) == 2
    assert all(f"{path}: " in x and "--target_bpp 0.01" in x for x in lines)
    assert names(tmp_path) == ["a.png"]


def test_target_bpp_without_lambda_folders_is_an_error(tmp_path, tables_dir):
    path = save_png(tmp_path / "a.png")
    with pytest.raises(UserError, match="--target_bpp: no lambda_"):
        compress_ljpeg(tables_dir, path, "--target_bpp", "1")


def test_missing_checkpoint_names_the_folder(tmp_path):
    path = save_png(tmp_path / "a.png")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "none"))):
        compress_ljpeg(tmp_path / "none", path)


def test_checkpoint_of_another_script_is_refused(tmp_path, attention_dir):
    path = save_png(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"ljpeg_attention\.py, not of ljpeg\.py"):
        compress_ljpeg(attention_dir, path)
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_half_a_checkpoint_is_one_line_with_its_name(tmp_path, run_dir, suffix, damage):
    folder = tmp_path / "train"
    shutil.copytree(run_dir / "lambda_1" / "train", folder)
    part = folder / f"model.ckpt-7{suffix}"
    data = part.read_bytes()
    part.unlink()
    if damage != "missing":
        part.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    path = save_png(tmp_path / "a.png")
    with pytest.raises(UserError, match=re.escape(str(folder))) as caught:
        compress_ljpeg(folder, path)
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_the_output_folder_is_a_user_error(tmp_path):
    path = save_png(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out: name a folder, or a .jpg file"):
        compress_pil(path, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_folder_is_reported(tmp_path, capsys):
    path = save_png(tmp_path / "a.png")
    (tmp_path / "out").mkdir(mode=0o555)
    assert compress_pil(path, "-o", tmp_path / "out") == 1
    assert f"{tmp_path / 'out'}" in capsys.readouterr().err


def run_script(script, *argv, prelude="pass"):
    """Runs a model script as its own process; `prelude` is Python code before it."""
    code = (
        f"import runpy, sys; sys.argv = sys.argv[1:]; {prelude}; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    path = os.path.join(ROOT, script)
    return subprocess.run(
        [sys.executable, "-c", code, path, *map(str, argv)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_nothing_half_written(tmp_path):
    """No file may grow above 2 kB, as on a disk with no more space."""
    flat = Image.new("RGB", (16, 16), (9, 99, 200))
    flat.save(tmp_path / "small.png")
    flat.save(tmp_path / "exif.png", exif=exif_of(**{f"_{ARTIST}": 3000 * "A"}))
    save_png(tmp_path / "large.png", 128, 128)
    for name in ("large.jpg", "exif.jpg"):
        (tmp_path / name).write_bytes(b"older")
    inputs = [tmp_path / name for name in ("exif.png", "large.png", "small.png")]
    done = run_script(
        "ljpeg_PIL.py",
        "compress",
        *inputs,
        "--quality=95",
        "--force",
        prelude="import resource; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [x for x in done.stderr.splitlines() if "error:" in x]
    assert len(lines) == 2
    for line, name in zip(lines, ("exif.jpg", "large.jpg"), strict=True):
        assert f"{tmp_path / name}: File too large" in line
    assert "2 of 3 images failed" in done.stderr
    for name in ("large.jpg", "exif.jpg"):
        assert (tmp_path / name).read_bytes() == b"older"
    assert decode(tmp_path / "small.jpg").shape == (16, 16, 3)
    assert names(tmp_path) == sorted(
        f"{stem}.{suffix}"
        for stem in ("exif", "large", "small")
        for suffix in ("png", "jpg")
    )


def test_a_mistake_is_one_line_on_stderr_and_status_1(tmp_path):
    done = run_script("ljpeg_PIL.py", "compress", tmp_path / "no.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("ljpeg_PIL.py: error: ")
    assert str(tmp_path / "no.png") in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_with_130_and_no_half_file(tmp_path):
    """The signal comes while the first of many results is written."""
    for seed in range(6):
        save_png(tmp_path / f"{seed}.png", 64, 64, seed)
    prelude = (
        "import os, signal, time; "
        "from learned_jpeg.common import atomic_files; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "replace = atomic_files._put_in_place; "
        "atomic_files._put_in_place = lambda *paths: "
        "(os.kill(os.getpid(), 2), time.sleep(0.5), replace(*paths))"
    )
    argv = ["compress", tmp_path, "--workers", "1"]
    done = run_script("ljpeg_PIL.py", *argv, prelude=prelude)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "ljpeg_PIL.py: interrupted"
    written = sorted(set(names(tmp_path)) - {f"{i}.png" for i in range(6)})
    assert set(written) <= {f"{i}.jpg" for i in range(6)} and len(written) < 6
    for name in written:
        assert decode(tmp_path / name).shape == (64, 64, 3)


# Names, pipes and files that must not be lost


def test_an_input_is_not_replaced_under_another_name(tmp_path, capsys):
    """The hard link stands for a name that differs by case where case is no matter."""
    path = save_png(tmp_path / "a.png")
    os.link(path, tmp_path / "a.jpg")
    data = path.read_bytes()
    assert compress_pil(path, "--force") == 1
    assert path.read_bytes() == (tmp_path / "a.jpg").read_bytes() == data
    assert f"{tmp_path / 'a.jpg'}: is the same file as the input" in (
        capsys.readouterr().err
    )
    assert names(tmp_path) == ["a.jpg", "a.png"]


def test_a_file_that_appears_meanwhile_is_kept_without_force(
    tmp_path, capsys, monkeypatch
):
    path = save_png(tmp_path / "a.png")
    encode = jpeg_file.encode

    def encode_slowly(*args):
        (tmp_path / "a.jpg").write_bytes(b"of another call")
        return encode(*args)

    monkeypatch.setattr(jpeg_file, "encode", encode_slowly)
    assert compress_pil(path) == 1
    assert (tmp_path / "a.jpg").read_bytes() == b"of another call"
    assert f"{tmp_path / 'a.jpg'}: exists already; pass --force" in (
        capsys.readouterr().err
    )
    assert compress_pil(path, "--force") == 0
    assert decode(tmp_path / "a.jpg").shape == (40, 56, 3)


@pytest.mark.slow
def test_names_that_are_not_utf8_are_read_written_and_printed(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    Image.fromarray(photograph(16, 24)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", folder + b"/\xff.png")
    script = os.path.join(ROOT, "ljpeg_PIL.py")
    done = subprocess.run(
        [sys.executable, script, "compress", os.fsdecode(folder), "--verbose"],
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(folder)) == [b"\xff.jpg", b"\xff.png"]
    assert folder + b"/\xff.jpg: " in done.stdout
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_a_reader_that_has_gone_does_not_end_the_batch(tmp_path):
    for seed in range(3):
        save_png(tmp_path / f"{seed}.png", 16, 16, seed)
    script = os.path.join(ROOT, "ljpeg_PIL.py")
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        done = subprocess.run(
            [sys.executable, script, "compress", str(tmp_path), "--verbose"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, len(names(tmp_path))) == (0, 6)
    assert "Traceback" not in done.stderr and "error" not in done.stderr


@pytest.mark.parametrize("kind", [MemoryError, tf.errors.ResourceExhaustedError])
def test_lack_of_memory_costs_one_image_not_the_batch(
    tmp_path, capsys, monkeypatch, kind
):
    for seed in range(3):
        save_png(tmp_path / f"{seed}.png", 16, 16 + 8 * (seed == 1), seed)
    encode = jpeg_file.encode

    def encode_small(quantized, *args):
        if quantized.width == 24:
            raise kind() if kind is MemoryError else kind(None, None, "OOM")
        return encode(quantized, *args)

    monkeypatch.setattr(jpeg_file, "encode", encode_small)
    assert compress_pil(tmp_path) == 1
    assert [n for n in names(tmp_path) if n.endswith("jpg")] == ["0.jpg", "2.jpg"]
    errors = [x for x in capsys.readouterr().err.splitlines() if "error:" in x]
    assert len(errors) == 1
    assert f"{tmp_path / '1.png'}: not enough memory" in errors[0]


def test_lenient_takes_what_there_is_of_a_damaged_jpeg(tmp_path, capsys):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    output = tmp_path / "out"
    assert compress_pil(path, "-o", output) == 1
    assert f"{path}: damaged JPEG data" in capsys.readouterr().err
    assert compress_pil(path, "-o", output, "--lenient") == 0
    assert decode(output / "a.jpg").shape == (64, 64, 3)


def test_a_blank_page_does_not_hide_the_mean_psnr(tmp_path, capsys, caplog):
    save_png(tmp_path / "a.png", 176, 176)
    Image.new("RGB", (176, 176), (128, 128, 128)).save(tmp_path / "blank.png")
    caplog.set_level(logging.INFO)
    assert compress_pil(tmp_path, "--verbose") == 0
    first, blank, mean = capsys.readouterr().out.splitlines()[:3]
    decibels = re.search(r"PSNR [\d.]+ dB", first)[0]
    assert "PSNR inf dB" in blank
    assert mean.startswith("mean: ") and decibels in mean
    assert "left out of the mean PSNR: 1 of 2" in caplog.text


def test_size_limit_is_a_flag(tmp_path, capsys):
    path = save_png(tmp_path / "a.png")
    assert compress_pil(path, "--max_megapixels", "0.002") == 1
    assert "56x40 px are 0.00224 megapixels, more than 0.002" in capsys.readouterr().err
    assert compress_pil(path, "--max_megapixels", "0.003") == 0


def test_all_metadata_is_kept_or_stripped(tmp_path):
    path = tmp_path / "a.jpg"
    xmp = b'<x:xmpmeta tiff:Orientation="6"/>'
    image = Image.fromarray(photograph(24, 40))
    image.save(path, quality=95, xmp=xmp, dpi=(300, 200), comment=b"a comment")
    assert compress_pil(path, "-o", tmp_path / "kept.jpg") == 0
    assert compress_pil(path, "-o", tmp_path / "bare.jpg", "--strip_metadata") == 0
    with Image.open(tmp_path / "kept.jpg") as image:
        assert image.size == (24, 40)
        assert image.info["xmp"] == xmp.replace(b"6", b"1")
        assert image.info["comment"] == b"a comment"
        assert image.info["dpi"] == (200, 300)
    with Image.open(tmp_path / "bare.jpg") as image:
        assert image.size == (24, 40)
        assert not {"xmp", "comment", "exif", "dpi"} & set(image.info)
