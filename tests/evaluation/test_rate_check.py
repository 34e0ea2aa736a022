"""rate_check.py: estimates of an entropy model beside the bytes of files."""

import numpy as np
import pytest
from PIL import Image

import arg_parser
import ljpeg
from evaluation import rate_check
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import TrainedModel
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.models import folders
from tests.plain_training import with_plain_flags
from training import loop, rate_models


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """(batch folder, glob of three images of rising noise) of a short training."""
    folder = tmp_path_factory.mktemp("batch")
    v, u = (i[..., np.newaxis] for i in np.mgrid[:48, :64])
    rng = np.random.default_rng(0)
    for index, noise in enumerate((2, 20, 60)):
        picture = 128 + 60 * np.sin(v / 9) * np.cos(u / [7, 9, 8])
        picture = picture + rng.normal(0, noise, picture.shape)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(
            folder / f"{index}.png"
        )
    argv = (
        f"--checkpoint_dir {folder}/runs/mine/lambda_001/train train --train_glob "
        f"{folder}/*.png --patchsize 32 --batchsize 2 --rate_model entropy "
        "--table_init 20 --table_lr 1e-6 --rate_lr 1e-2 --last_step 60"
    )
    loop.train(
        ljpeg.LJPEG, arg_parser.parse_model(ljpeg.LJPEG, with_plain_flags(argv.split()))
    )
    return folder / "runs", f"{folder}/*.png"


@pytest.mark.slow
def test_table_holds_estimate_rates_ratio_and_correlation(
    monkeypatch, capsys, batch, tmp_path
):
    runs, images = batch
    output = tmp_path / "table.md"
    argv = ["--batch_dir", str(runs), "--test_image_glob", images, "-o", str(output)]
    monkeypatch.setattr("sys.argv", ["rate_check.py", *argv])
    assert rate_check.main() == 0
    text = output.read_text()
    assert text in capsys.readouterr().out
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]

    prefix = folders.find_checkpoint(str(runs / "mine" / "lambda_001"))
    bits = rate_models.bits_of_checkpoint(prefix, 1024).reshape(8, 8, 3, 2049)
    wanted = []
    options = EncodeOptions(
        quantization="round", tune=OWN_LOSS, entropy_coding="standard"
    )
    with TrainedModel.load(str(runs / "mine" / "lambda_001")) as model:
        codec = model.codec(options)
        for index in range(3):
            data = codec.encode(np.array(Image.open(runs.parent / f"{index}.png")))
            coded = jpeg_file.read_coefficients(data)
            estimate = 0.0
            for (_, _, v, u, c), integer in np.ndenumerate(coded.integers):
                estimate += bits[v, u, c, integer + 1024]
            sizes = [
                8 * len(jpeg_file.encode(coded, coding)) for coding in ENTROPY_CODINGS
            ]
            wanted.append(np.array([estimate, *sizes]) / (48 * 64))
    wanted = np.array(wanted)
    means = wanted.mean(0)
    assert cells[0] == "mine-lambda_001"
    found = [float(cell) for cell in cells[1:]]
    np.testing.assert_allclose([found[0], found[1], found[4]], means, atol=1e-4)
    np.testing.assert_allclose([found[2], found[5]], means[0] / means[1:], atol=1e-3)
    correlations = [np.corrcoef(wanted[:, 0], wanted[:, i])[0, 1] for i in (1, 2)]
    np.testing.assert_allclose([found[3], found[6]], correlations, atol=1e-4)


@pytest.mark.slow
def test_a_batch_without_entropy_models_is_a_user_error(monkeypatch, tmp_path, batch):
    _, images = batch
    argv = ["--batch_dir", str(tmp_path), "--test_image_glob", images]
    monkeypatch.setattr("sys.argv", ["rate_check.py", *argv])
    with pytest.raises(UserError, match="no run of --rate_model entropy"):
        rate_check.main()


def test_a_model_without_entropy_model_has_no_bits(tmp_path, batch):
    _runs, images = batch
    argv = (
        f"--checkpoint_dir {tmp_path} train --train_glob {images} --patchsize 16 "
        "--batchsize 1 --last_step 1"
    )
    loop.train(
        ljpeg.LJPEG, arg_parser.parse_model(ljpeg.LJPEG, with_plain_flags(argv.split()))
    )
    with pytest.raises(UserError, match="does not hold"):
        rate_models.bits_of_checkpoint(folders.find_checkpoint(str(tmp_path)), 8)
