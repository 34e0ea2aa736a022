"""Rounding, search and refinement by models, on the files' own terms."""

import dataclasses

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

import arg_parser
import ljpeg
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import Networks, TrainedModel
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.models import folders
from learned_jpeg.models.settings import LossWeights
from learned_jpeg.search import passes, tunes
from learned_jpeg.search.fixed_step_error import FixedStepError
from learned_jpeg.search.ms_ssim_distortion import MsSsimDistortion
from learned_jpeg.search.squared_error import SquaredError
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion
from tests.commands.helpers import compress_pil, photograph, save_png
from tests.paths import EXAMPLE_IMAGES
from tests.plain_training import with_plain_flags
from tests.tables_models import asymmetric_tables, write_tables_model
from training import loop, rate_models, strip

ROUND = EncodeOptions(quantization="round")
SEARCH = EncodeOptions(tune="model", subsampling="4:2:0")


def image_of(height, width):
    rng = np.random.default_rng(height)
    v, u = (i[..., np.newaxis] for i in np.mgrid[:height, :width])
    smooth = 120 + 70 * np.sin(v / 15) * np.cos(u / [9, 12, 15])
    return (smooth + rng.normal(0, 15, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Checkpoint folder of a few steps of `--rate_model entropy`."""
    folder = tmp_path_factory.mktemp("entropy")
    Image.fromarray(image_of(64, 64)).save(folder / "a.png")
    argv = (
        f"--checkpoint_dir {folder}/model train --train_glob {folder}/*.png "
        "--patchsize 32 --batchsize 2 --rate_model entropy --lambda 0.01 "
        "--table_init 30 --table_lr 1e-6 --rate_lr 1e-2 --last_step 150"
    )
    loop.train(
        ljpeg.LJPEG, arg_parser.parse_model(ljpeg.LJPEG, with_plain_flags(argv.split()))
    )
    return str(folder / "model")


@pytest.fixture(scope="module")
def tables_model(tmp_path_factory):
    """Checkpoint folder of tables, of `--rate_model entropy --lambda 0.01`."""
    folder = tmp_path_factory.mktemp("tables")
    write_tables_model(folder, asymmetric_tables(12), rate_model="entropy")
    return str(folder)


def coded(folder, image, options, **changes):
    """Returns the file of a model, with some of its settings changed."""
    return jpeg_file.read_coefficients(encoded(folder, image, options, **changes))


def encoded(folder, image, options, **changes):
    prefix = folders.find_checkpoint(folder)
    settings = dataclasses.replace(folders.load_settings(folder), **changes)
    with TrainedModel(settings, prefix, networks=Networks("float32")) as model:
        return model.codec(options).encode(image)


def squared_error(data, image):
    return np.mean((jpeg_file.decode(data).astype(float) - image) ** 2)


def found_by(distortion, image, qtables):
    """The search's result at 4:2:0, by a distortion that is given."""
    return passes.search(
        image,
        distortion,
        sampling="4:2:0",
        entropy_coding="optimized",
        qtables=qtables,
    )


def assert_equal(found, wanted):
    assert found.sampling == "4:2:0"
    np.testing.assert_array_equal(found.qtables, wanted.qtables)
    for own, plane in zip(found.planes, wanted.planes, strict=True):
        np.testing.assert_array_equal(own, plane)


# Searches


@pytest.mark.slow
def test_a_search_of_an_mse_model_lowers_its_own_loss_on_the_file(trained):
    image = image_of(72, 88)
    costs = []
    for quantization in ("round", "search"):
        data = encoded(trained, image, EncodeOptions(quantization=quantization))
        bpp = 8 * len(data) / image[..., 0].size
        costs.append(0.01 * squared_error(data, image) + bpp)
    assert costs[1] < 0.97 * costs[0]


def test_a_search_counts_the_bits_of_the_coding_that_follows(tables_model):
    image = image_of(136, 128)
    costs = {}
    for counted in ENTROPY_CODINGS:
        options = dataclasses.replace(SEARCH, entropy_coding=counted)
        data = encoded(tables_model, image, options)
        standard = jpeg_file.encode(jpeg_file.read_coefficients(data), "standard")
        bpp = 8 * len(standard) / image[..., 0].size
        costs[counted] = 0.01 * squared_error(data, image) + bpp
    assert costs["standard"] < costs["optimized"]


@pytest.mark.parametrize(
    "changes, bits",
    [({"rate_model": "proxy"}, 6.0), ({"weights": LossWeights(lpips=9.0)}, 48.0)],
)
def test_a_model_without_a_rate_or_with_lpips_has_one_weight_for_all_steps(
    tables_model, changes, bits
):
    image, given = image_of(64, 72), asymmetric_tables(12)
    found = coded(tables_model, image, SEARCH, **changes)
    assert_equal(found, found_by(FixedStepError(given, bits), image, given))
    np.testing.assert_array_equal(found.qtables, given)


def test_a_model_of_a_rate_is_searched_by_its_own_loss_from_its_tables(tables_model):
    image, given = image_of(96, 104), asymmetric_tables(12)
    found = coded(tables_model, image, SEARCH)
    assert_equal(found, found_by(SquaredError(0.01), image, given))
    assert (found.qtables != given).any()


@pytest.mark.parametrize("tune", ["model", "psnr"])
def test_a_model_for_ssimulacra2_is_searched_by_it_and_its_squared_error(
    tables_model, tune
):
    image, given = image_of(168, 176), asymmetric_tables(12)
    options = dataclasses.replace(SEARCH, tune=tune)
    weights = LossWeights(ssimulacra2=30.0)
    found = coded(tables_model, image, options, weights=weights)
    # 1.1 points for an MSE of 1 give files of about the same size.
    distortion = {
        "model": lambda: Ssimulacra2Distortion(image, 0.3, 0.01),
        "psnr": lambda: SquaredError(0.01 * (1 + 30 / 1.1)),
    }[tune]()
    assert_equal(found, found_by(distortion, image, given))


@pytest.mark.slow
@pytest.mark.parametrize(
    "tune, weights, lmbdas",
    [
        ("model", {"ms_ssim": 700.0}, (7.0, 0.01)),
        ("ms-ssim", {}, (50 / 2.4, 0.0)),
        ("mixed", {"lpips": 9.0}, (50 / 4, 0.01 / 4)),
        ("mixed", {"ms_ssim": 5000.0}, (50.0, 0.01)),
        ("ms-ssim", {"ms_ssim": 9.0}, (4 * 50 / 2.4, 0.0)),
    ],
)
def test_distortion_is_that_of_the_loss_or_of_the_tune(
    tables_model, tune, weights, lmbdas
):
    image, given = image_of(168, 176), asymmetric_tables(12)
    options = dataclasses.replace(SEARCH, tune=tune)
    found = coded(tables_model, image, options, weights=LossWeights(**weights))
    assert_equal(found, found_by(MsSsimDistortion(image, *lmbdas), image, given))


def test_tune_of_a_model_without_a_rate_takes_the_lambda_of_its_tables(tables_model):
    image = image_of(64, 72)
    options = dataclasses.replace(SEARCH, tune="psnr")
    found = coded(tables_model, image, options, rate_model="proxy", lmbda=99.0)
    lmbda = tunes.lambda_of_tables(asymmetric_tables(12))
    assert_equal(found, found_by(SquaredError(lmbda), image, None))


def test_a_model_needs_its_lambda_only_where_it_weighs_bits(tables_model):
    image = image_of(16, 24)
    for options in (SEARCH, dataclasses.replace(SEARCH, tune="psnr")):
        with pytest.raises(UserError, match=r"settings\.json has no lambda") as caught:
            encoded(tables_model, image, options, lmbda=None)
        assert str(caught.value).startswith(tables_model)
        with pytest.raises(UserError, match=r"settings\.json has lambda 0, which"):
            encoded(tables_model, image, options, lmbda=0.0)
    for options, changes in (
        (SEARCH, {"rate_model": "proxy"}),
        (SEARCH, {"weights": LossWeights(lpips=1.0)}),
        (ROUND, {}),
    ):
        for lmbda in (None, 0.0):
            encoded(tables_model, image, options, lmbda=lmbda, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("tune", tunes.TUNE_NAMES)
def test_a_lambda_that_is_asked_for_is_that_of_the_search(tmp_path, tune):
    """That of the tables of a quality is what `--quality` meant for them once."""
    image = photograph(168, 176)
    path = save_png(tmp_path / "a.png", 168, 176)
    lmbda = tunes.lambda_of_tables(ijg_qtables(40)) * tunes.TUNES[tune].equal_rate
    argv = ("--quantization", "search", "--tune", tune, "--lambda", repr(lmbda))
    assert compress_pil(path, "-o", tmp_path / "x.jpg", *argv) == 0
    found = jpeg_file.read_coefficients((tmp_path / "x.jpg").read_bytes())
    distortion = tunes.distortion(tune, image, lmbda)
    assert_equal(found, found_by(distortion, image, None))


@pytest.mark.slow
def test_lambda_of_tables_gives_about_their_psnr():
    """Mean over photographs, which took no part in the fit."""
    for quality in (15, 50, 85):
        gains = []
        for path in sorted(EXAMPLE_IMAGES.glob("*.png")):
            image = np.array(Image.open(path).convert("RGB"))[:192, :192]
            data = jpeg_file.encode_rgb(image, quality)
            lmbda = tunes.lambda_of_tables(ijg_qtables(quality))
            found = found_by(SquaredError(lmbda), image, None)
            quantized = jpeg_file.QuantizedImage(
                planes=found.planes,
                sampling="4:2:0",
                qtables=found.qtables,
                height=image.shape[0],
                width=image.shape[1],
            )
            error = squared_error(jpeg_file.encode(quantized), image)
            gains.append(10 * np.log10(squared_error(data, image) / error))
        assert np.mean(gains) == pytest.approx(0, abs=1.5), gains


def test_coarser_tables_have_a_lower_lambda():
    tables = np.random.default_rng(0).integers(2, 60, (2, 8, 8))
    ratio = tunes.lambda_of_tables(4 * tables) / tunes.lambda_of_tables(tables)
    assert ratio == pytest.approx(4**-1.39)


@pytest.mark.parametrize("tune", ["ms-ssim", "mixed"])
def test_an_image_too_small_for_ms_ssim_is_a_user_error(tables_model, tune):
    options = dataclasses.replace(SEARCH, tune=tune)
    with pytest.raises(UserError, match=r"200x100 px: MS-SSIM .* --tune psnr"):
        encoded(tables_model, image_of(100, 200), options)


# Refinement


@pytest.mark.slow
def test_refinement_lowers_the_loss_and_keeps_the_tables(trained):
    image = image_of(96, 80)
    bits = rate_models.bits_of_checkpoint(folders.find_checkpoint(trained), 1024)
    index = np.arange(192).reshape(8, 8, 3)

    def cost(data):
        integers = jpeg_file.read_coefficients(data).integers
        estimate = bits[index, integers + 1024].sum() / image[..., 0].size
        # The lambda of the refinement, a fifth of the training's.
        return 0.002 * squared_error(data, image) + estimate

    plain = encoded(trained, image, ROUND)
    refined = encoded(trained, image, dataclasses.replace(ROUND, refine_steps=25))
    tables = [jpeg_file.read_coefficients(data).qtables for data in (plain, refined)]
    np.testing.assert_array_equal(*tables)
    assert cost(refined) < 0.97 * cost(plain)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"rate_model": "proxy"}, "--rate_model proxy .* --rate_model entropy"),
        ({"rate_model": "search"}, "--rate_model search .* --rate_model entropy"),
        ({"subsampling": "4:2:0"}, "full chroma only, not 4:2:0"),
        ({"lmbda": None}, "no lambda"),
    ],
)
def test_refinement_is_refused_where_it_cannot_work(tables_model, changes, words):
    options = dataclasses.replace(ROUND, refine_steps=5)
    with pytest.raises(UserError, match=words) as caught:
        encoded(tables_model, image_of(16, 16), options, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_stripped_checkpoint_can_still_be_refined(trained, tmp_path):
    target = str(tmp_path / "copy")
    strip.strip(trained, target)
    image = image_of(40, 48)
    options = dataclasses.replace(ROUND, refine_steps=3)
    first, second = (encoded(folder, image, options) for folder in (trained, target))
    assert first == second
    assert not [
        name
        for name, _ in tf.train.list_variables(folders.find_checkpoint(target))
        if "Adam" in name or "power" in name
    ]
