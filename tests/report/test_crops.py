"""crops.py: what stands side by side has about as many bits."""

import numpy as np
import pytest
from PIL import Image

import arg_parser
import ljpeg
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import Networks
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from report import crops
from tests.plain_training import with_plain_flags
from training.loop import train

pytestmark = pytest.mark.slow  # the fixtures that all tests share


@pytest.fixture(scope="module")
def photo(tmp_path_factory, smooth_picture):
    path = tmp_path_factory.mktemp("photo") / "a:b.png"
    Image.fromarray(smooth_picture(3, 80, 104)).save(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, photo):
    """A folder with the models of two lambdas and of two tables."""
    folder = tmp_path_factory.mktemp("my_run")
    for name, entry in (("lambda_001", 20), ("lambda_01", 60)):
        argv = (
            f"--checkpoint_dir {folder}/{name}/train train --patchsize 32 "
            f"--batchsize 2 --lambda 0.{name[8:]} --table_init {entry} --table_lr 1e-9 "
            "--last_step 1 --rate_model search --train_glob"
        )
        argv = with_plain_flags([*argv.split(), str(photo)])
        train(
            ljpeg.LJPEG,
            arg_parser.parse_model(ljpeg.LJPEG, argv),
        )
    return folder


def test_figure_is_of_the_files_it_says(monkeypatch, tmp_path, photo, run):
    drawn = {}

    def keep(shown, pictures, columns):
        drawn.update(crops=shown, pictures=pictures, columns=columns)
        return figure(shown, pictures, columns)

    figure = crops.crops_figure
    monkeypatch.setattr(crops, "crops_figure", keep)
    output = tmp_path / "figures" / "crops.png"
    argv = [f"{photo}:30,20,48", f"{photo}:0,0,80", "--searched", run, "-o", output]
    monkeypatch.setattr("sys.argv", ["crops.py", *map(str, argv)])
    assert crops.main() == 0
    assert Image.open(output).width > 800
    assert drawn["crops"] == [(str(photo), 30, 20, 48), (str(photo), 0, 0, 80)]
    titles, files = zip(*drawn["columns"], strict=True)
    assert titles == (f"{run.name}, searched", "JPEG 4:2:0", "mozjpeg")
    for ours, plain, mozjpeg in zip(*files, strict=True):
        # Files of another coding; qualities are less than 10 % apart at this size.
        assert len(ours) <= len(plain) < 1.15 * len(ours)
        assert len(ours) <= len(mozjpeg) < 1.15 * len(ours)


@pytest.mark.parametrize("target_bpp, entry", [(9, 20), (0.1, 60)])
def test_the_lambda_closest_to_the_target_is_taken(photo, run, target_bpp, entry):
    options = EncodeOptions(quantization="round", tune=OWN_LOSS)
    pictures, networks = [crops.read_image(str(photo))], Networks("float32")
    (data,) = crops.closest_files(str(run), options, networks, pictures, target_bpp)
    table = jpeg_file.read_coefficients(data).qtables
    np.testing.assert_array_equal(table, entry)


@pytest.mark.parametrize("text", ["a.png", "a.png:1,2", "a.png:1,2,0", ":1,2,3"])
def test_other_forms_of_a_crop_are_user_errors(text):
    with pytest.raises(UserError, match="FILE:X,Y,SIDE"):
        crops.Crop.parse(text)


@pytest.mark.parametrize("x, y", [(41, 0), (0, 21)])
def test_a_crop_outside_is_a_user_error(x, y):
    picture = np.zeros((60, 80, 3), np.uint8)
    assert crops.Crop("a.png", 40, 20, 40).of(picture).shape == (40, 40, 3)
    with pytest.raises(UserError, match="80x60 px"):
        crops.Crop("a.png", x, y, 40).of(picture)


def test_crop_has_its_corner_at_x_and_y():
    picture = np.arange(60 * 80 * 3).reshape(60, 80, 3)
    np.testing.assert_array_equal(
        crops.Crop("a.png", 50, 7, 9).of(picture), picture[7:16, 50:59]
    )


def test_searched_files_are_just_below_the_rate(photo):
    picture = crops.read_image(str(photo))
    places = [crops.Crop(str(photo), 0, 0, 9)]
    (data,) = crops.searched_files("ssimulacra2", places, [picture], 1.2)
    assert 0.98 * 1.2 < 8 * len(data) / picture[..., 0].size <= 1.2
    assert jpeg_file.read_coefficients(data).sampling == "4:2:0"


def test_smallest_file_of_at_least_a_size(photo):
    picture = crops.read_image(str(photo))

    def encode(picture, quality):
        return jpeg_file.encode_rgb(picture, quality, "optimized")

    files = [jpeg_file.encode_rgb(picture, q, "optimized") for q in range(1, 101)]
    size = sorted(map(len, files))[40]
    found = crops.smallest_from(picture, encode, size)
    assert found in files and len(found) >= size
    assert all(len(data) < size for data in files[: files.index(found)])
    assert crops.smallest_from(picture, encode, 10**9) == files[-1]


def test_a_folder_that_is_not_one_run_is_a_user_error(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "batch" / name / "lambda_01").mkdir(parents=True)
    for folder in (tmp_path / "missing", tmp_path / "batch"):
        with pytest.raises(UserError, match="folder of one run"):
            crops.closest_files(str(folder), crops._SEARCHED, Networks(), [], 1.0)


def test_errors_of_a_run_name_it(monkeypatch, photo, run, tmp_path):
    argv = [f"{photo}:0,0,9", "--refined", run, "-o", tmp_path / "a.png"]
    monkeypatch.setattr("sys.argv", ["crops.py", *map(str, argv)])
    with pytest.raises(UserError, match=f"--refined {run}: .*entropy"):
        crops.main()


@pytest.mark.parametrize("name", ["a.jpg", "folder.png", "b.png"])
def test_output_that_cannot_be_is_refused_before_any_work(monkeypatch, tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    picture = tmp_path / "b.png"
    Image.new("RGB", (9, 9)).save(picture)
    before = picture.read_bytes()
    argv = [f"{picture}:0,0,9", "--searched", tmp_path, "-o", tmp_path / name]
    monkeypatch.setattr("sys.argv", ["crops.py", *map(str, argv)])
    with pytest.raises(UserError, match=f"-o .*{name}"):
        crops.main()
    assert picture.read_bytes() == before


def test_a_run_has_to_be_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        arg_parser.parse_crops(["a.png:0,0,9"])
    assert "--searched or --refined, or --search" in capsys.readouterr().err
