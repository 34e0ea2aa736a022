"""Tests of the command `export`: tables as a user gets them."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

import arg_parser
from learned_jpeg.commands import run as commands
from learned_jpeg.common.errors import UserError
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from ljpeg_PIL import StandardJPEG
from tests.commands.helpers import (
    compress_ljpeg,
    photograph,
    save_png,
)
from tests.records import record_of
from tests.tables_models import asymmetric_tables


def export(model_class, *argv):
    words = [str(word) for word in argv]
    return commands.run(model_class, arg_parser.parse_model(model_class, words))


def export_ljpeg(checkpoint_dir, *argv):
    words = ["--checkpoint_dir", checkpoint_dir, "export", *argv]
    return export(LJPEG, *words)


def parse_cjpeg(text):
    """Tables `[2, 8, 8]` as cjpeg's parser (rdswitch.c) reads them, and comments."""
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    numbers = re.sub("#.*", "", text).split()
    return np.array(numbers, int).reshape(2, 8, 8), comments


def tables_of_file(path):
    """Tables `[2, 8, 8]` in the DQT segments of a .jpg file, as Pillow reads them."""
    with Image.open(path) as image:
        assert sorted(image.quantization) == [0, 1]
        return np.array([image.quantization[i] for i in (0, 1)]).reshape(2, 8, 8)


def test_exported_text_holds_the_tables_of_a_compressed_file(
    tmp_path, capsys, run_dir, tables_dir
):
    path = save_png(tmp_path / "a.png")
    for folder in (run_dir / "lambda_05", tables_dir):
        capsys.readouterr()
        assert export_ljpeg(folder) == 0
        tables, _ = parse_cjpeg(capsys.readouterr().out)
        assert compress_ljpeg(folder, path, "-f") == 0
        np.testing.assert_array_equal(tables, tables_of_file(tmp_path / "a.jpg"))
    assert len(np.unique(tables)) > 1


def test_a_dash_is_standard_output(tmp_path, monkeypatch, capsys, run_dir):
    monkeypatch.chdir(tmp_path)
    assert export_ljpeg(run_dir / "lambda_05") == 0
    text = capsys.readouterr().out
    assert export_ljpeg(run_dir / "lambda_05", "-o", "-") == 0
    assert capsys.readouterr().out == text != ""
    assert list(tmp_path.iterdir()) == []


def test_exported_tables_are_in_natural_order(capsys, run_dir):
    assert export_ljpeg(run_dir / "lambda_05") == 0
    tables, _ = parse_cjpeg(capsys.readouterr().out)
    np.testing.assert_array_equal(tables, asymmetric_tables(30))


def test_comments_tell_script_lambda_and_step(capsys, run_dir, tables_dir):
    assert export_ljpeg(tables_dir) == 0
    _, comments = parse_cjpeg(capsys.readouterr().out)
    assert comments[0] == "script ljpeg, lambda 0.01, step 3"
    assert comments[1:] == ["luma", "chroma"]


def test_exported_json_holds_tables_and_origin(tmp_path, capsys, run_dir):
    output = tmp_path / "tables.json"
    flags = ["--format", "json", "-o", output]
    assert export_ljpeg(run_dir / "lambda_05", *flags) == 0
    assert capsys.readouterr().out == ""
    content = json.loads(output.read_text())
    luma, chroma = asymmetric_tables(30).tolist()
    assert content == {
        "script": "ljpeg",
        "lambda": 0.1,
        "step": 7,
        "luma": luma,
        "chroma": chroma,
    }


@pytest.mark.slow
def test_export_of_the_attention_model_gives_its_tables(
    tmp_path, capsys, attention_dir
):
    words = ["--checkpoint_dir", attention_dir]
    assert export(LJPEGAttention, *words, "export") == 0
    tables, comments = parse_cjpeg(capsys.readouterr().out)
    assert comments[0] == "script ljpeg_attention, lambda 0.01, step 3"
    path = save_png(tmp_path / "a.png")
    assert export(LJPEGAttention, *words, "compress", path) == 0
    np.testing.assert_array_equal(tables, tables_of_file(tmp_path / "a.jpg"))


@pytest.mark.parametrize("quality", [1, 33, 100])
def test_export_of_standard_tables_is_that_of_pillow(tmp_path, capsys, quality):
    assert export(StandardJPEG, "export", "--quality", quality) == 0
    tables, comments = parse_cjpeg(capsys.readouterr().out)
    path = tmp_path / "pillow.jpg"
    Image.new("RGB", (8, 8)).save(path, quality=quality)
    np.testing.assert_array_equal(tables, tables_of_file(path))
    assert comments[0] == f"script ljpeg_PIL, quality {quality}"


def test_export_does_not_overwrite_without_force(tmp_path, run_dir):
    output = tmp_path / "tables.txt"
    output.write_text("precious")
    with pytest.raises(UserError, match="exists already; pass --force"):
        export_ljpeg(run_dir / "lambda_05", "-o", output)
    assert output.read_text() == "precious"
    assert export_ljpeg(run_dir / "lambda_05", "-o", output, "--force") == 0
    tables, _ = parse_cjpeg(output.read_text())
    np.testing.assert_array_equal(tables, asymmetric_tables(30))


@pytest.mark.skipif(not shutil.which("cjpeg"), reason="cjpeg is not on the PATH")
def test_cjpeg_takes_the_exported_tables(tmp_path, run_dir):
    tables = tmp_path / "tables.txt"
    assert export_ljpeg(run_dir / "lambda_05", "-o", tables) == 0
    Image.fromarray(photograph(40, 56)).save(tmp_path / "a.ppm")
    command = f"cjpeg -qtables {tables} -qslots 0,1 -sample 1x1"
    output = tmp_path / "a.jpg"
    command += f" -outfile {output} {tmp_path / 'a.ppm'}"
    subprocess.run(command.split(), check=True)
    np.testing.assert_array_equal(tables_of_file(output), asymmetric_tables(30))
    command = command.replace(" -qslots 0,1", "")  # as the help of --format has it
    subprocess.run(command.split(), check=True)
    np.testing.assert_array_equal(tables_of_file(output), asymmetric_tables(30))


@pytest.mark.parametrize(
    "record, words",
    [
        (record_of("ljpeg", lmbda="x"), '--lambda "x" is no value'),
        (record_of("ljpeg") | {"script": 1}, "--script 1 is no value"),
        (record_of("ljpeg", vgg=3), "--vgg 3 is no value"),
        ({"script": "ljpeg"}, "lacks --lambda"),
    ],
)
def test_absurd_settings_are_one_line_in_export_and_compress(
    tmp_path, run_dir, record, words
):
    folder = tmp_path / "copy"
    shutil.copytree(run_dir / "lambda_05", folder)
    path = folder / "train" / "settings.json"
    path.write_text(json.dumps(record))
    image = save_png(tmp_path / "a.png")
    for call in (export_ljpeg, lambda f: compress_ljpeg(f, image)):
        with pytest.raises(UserError, match=words) as caught:
            call(folder)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert not (tmp_path / "a.jpg").exists()


def test_export_and_compress_of_a_folder_whose_name_is_a_pattern(
    tmp_path, capsys, run_dir
):
    folder = tmp_path / "run [5]*"
    shutil.copytree(run_dir / "lambda_05", folder)
    assert export_ljpeg(folder) == 0
    odd = capsys.readouterr().out
    assert export_ljpeg(run_dir / "lambda_05") == 0
    assert odd == capsys.readouterr().out
    assert compress_ljpeg(folder, save_png(tmp_path / "a.png")) == 0
