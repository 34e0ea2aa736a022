"""Search and refinement by the codec of trained models, on the files' own terms."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from learned_jpeg.codec.codecs import PLAIN, Codecs
from PIL import Image
from scipy.fft import dctn

import arg_parser
import ljpeg
from learned_jpeg.codec import codec
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import ENTROPY_CODINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.search import passes, tunes
from learned_jpeg.search.fixed_step_error import FixedStepError
from learned_jpeg.search.ms_ssim_distortion import MsSsimDistortion
from learned_jpeg.search.squared_error import SquaredError
from learned_jpeg.search.ssimulacra2_distortion import Ssimulacra2Distortion
from tests.paths import EXAMPLE_IMAGES
from training import checkpoints, loop, rate_models, strip


def picture_of(height, width):
    rng = np.random.default_rng(height)
    v, u = (i[..., np.newaxis] for i in np.mgrid[:height, :width])
    smooth = 120 + 70 * np.sin(v / 15) * np.cos(u / [9, 12, 15])
    return (smooth + rng.normal(0, 15, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(checkpoint folder, original) of a few steps of `--rate_model entropy`."""
    folder = tmp_path_factory.mktemp("entropy")
    Image.fromarray(picture_of(64, 64)).save(folder / "a.png")
    argv = (
        f"--checkpoint_dir {folder}/model train --train_glob {folder}/*.png "
        "--patchsize 32 --batchsize 2 --rate_model entropy --lambda 0.01 "
        "--table_init 30 --table_lr 1e-6 --rate_lr 1e-2 --last_step 150"
    )
    loop.train(ljpeg.LJPEG, arg_parser.parse_ljpeg(argv.split()))
    return str(folder / "model")


def quantized(folder, picture, quantization, **changes):
    """What a checkpoint makes of a picture, with other settings beside it."""
    if changes:
        saved = checkpoints.load_settings(folder)
        checkpoints.save_settings(folder, {**saved, **changes})
    try:
        settings = checkpoints.model_settings(folder, "ljpeg")
        prefix = checkpoints.find_checkpoint(folder)
        codecs = Codecs("float32", quantization)
        with codecs.make(ljpeg.LJPEG, settings, prefix) as made:
            return made.quantize(picture)
    finally:
        if changes:
            checkpoints.save_settings(folder, saved)


def dct_of(picture):
    """Coefficients `[rows, cols, 8, 8, 3]` by scipy; sides are multiples of 8."""
    r, g, b = np.moveaxis(picture.astype(np.float64), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    ycc = np.stack([y - 128, (b - y) / 1.772, (r - y) / 1.402], -1)
    rows, cols = picture.shape[0] // 8, picture.shape[1] // 8
    blocks = ycc.reshape(rows, 8, cols, 8, 3).transpose(0, 2, 1, 3, 4)
    return dctn(blocks, axes=(2, 3), norm="ortho").astype(np.float32)


def squared_error(coded, picture):
    decoded = jpeg_file.decode(jpeg_file.encode(coded))
    return np.mean((decoded.astype(float) - picture) ** 2)


@pytest.mark.slow
def test_rdoq_of_an_mse_model_lowers_its_own_loss_on_the_file(trained):
    picture = picture_of(72, 88)
    costs = []
    for method in ("round", "rdoq"):
        coded = quantized(trained, picture, codec.Quantization(method))
        size = len(jpeg_file.encode(coded, "optimized"))
        bpp = 8 * size / picture[..., 0].size
        costs.append(0.01 * squared_error(coded, picture) + bpp)
    assert costs[1] < 0.97 * costs[0]


def test_rdoq_counts_the_bits_of_the_coding_that_follows(trained):
    picture = picture_of(136, 128)
    costs = {}
    for counted in ENTROPY_CODINGS:
        coded = quantized(trained, picture, codec.Quantization("rdoq", counted))
        for coding in ENTROPY_CODINGS:
            bpp = 8 * len(jpeg_file.encode(coded, coding)) / picture[..., 0].size
            costs[counted, coding] = 0.01 * squared_error(coded, picture) + bpp
    # For the lengths of the picture itself the search only finds a local minimum.
    assert costs["standard", "standard"] < costs["optimized", "standard"]


def planes_of(distortion, picture, qtables):
    """The search's result for an image at 4:2:0, by a distortion that is given."""
    return passes.search(
        picture,
        distortion,
        sampling="4:2:0",
        entropy_coding="optimized",
        qtables=qtables,
    )


def assert_equal(found, planes, tables):
    assert found.sampling == "4:2:0"
    np.testing.assert_array_equal(found.qtables, tables)
    for own, wanted in zip(found.planes, planes, strict=True):
        np.testing.assert_array_equal(own, wanted)


SEARCHED = codec.Quantization("rdoq", sampling="4:2:0")


@pytest.mark.parametrize(
    "changes, bits", [({"rate_model": "proxy"}, 6.0), ({"lpips_weight": 9.0}, 48.0)]
)
def test_a_model_without_a_rate_or_with_lpips_has_one_weight_for_all_steps(
    trained, changes, bits
):
    picture = picture_of(64, 72)
    found = quantized(trained, picture, SEARCHED, **changes)
    given = quantized(trained, picture, PLAIN).qtables
    distortion = FixedStepError(given, bits)
    assert_equal(found, *planes_of(distortion, picture, given))


def test_a_model_of_a_rate_is_searched_by_its_own_loss_from_its_tables(trained):
    picture = picture_of(96, 104)
    found = quantized(trained, picture, SEARCHED)
    given = quantized(trained, picture, PLAIN).qtables
    distortion = SquaredError(0.01)
    assert_equal(found, *planes_of(distortion, picture, given))
    assert (found.qtables != given).any()


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["model", "psnr"])
def test_a_model_for_ssimulacra2_is_searched_by_it_and_its_squared_error(trained, tune):
    picture = picture_of(168, 176)
    how = SEARCHED._replace(tune=tune)
    found = quantized(trained, picture, how, ssimulacra2_weight=30.0)
    given = quantized(trained, picture, PLAIN).qtables
    # 1.1 points for an MSE of 1 give files of about the same size.
    own = 0.01 * (1 + 30 / 1.1)
    distortion = {
        "model": lambda: Ssimulacra2Distortion(picture, 0.3, 0.01),
        "psnr": lambda: SquaredError(own),
    }[tune]()
    assert_equal(found, *planes_of(distortion, picture, given))


@pytest.mark.parametrize(
    "tune, changes, lmbdas",
    [
        ("model", {"msssim_weight": 700.0}, (7.0, 0.01)),
        ("ms-ssim", {}, (50 / 2.4, 0.0)),
        ("mixed", {"lpips_weight": 9.0}, (50 / 4, 0.01 / 4)),
        ("mixed", {"msssim_weight": 5000.0}, (50.0, 0.01)),
        ("ms-ssim", {"msssim_weight": 9.0}, (4 * 50 / 2.4, 0.0)),
    ],
)
def test_distortion_is_that_of_the_loss_or_of_the_tune(trained, tune, changes, lmbdas):
    picture = picture_of(168, 176)
    found = quantized(trained, picture, SEARCHED._replace(tune=tune), **changes)
    given = quantized(trained, picture, PLAIN).qtables
    distortion = MsSsimDistortion(picture, *lmbdas)
    assert_equal(found, *planes_of(distortion, picture, given))


def test_tune_of_a_model_without_a_rate_takes_the_lambda_of_its_tables(trained):
    picture = picture_of(64, 72)
    changes = {"rate_model": "proxy", "lmbda": 99.0}
    found = quantized(trained, picture, SEARCHED._replace(tune="psnr"), **changes)
    given = quantized(trained, picture, PLAIN).qtables
    lmbda = tunes.lambda_of_tables(given)
    distortion = SquaredError(lmbda)
    assert_equal(found, *planes_of(distortion, picture, None))


@pytest.mark.slow
def test_lambda_of_tables_gives_about_their_psnr():
    """Mean over photographs, which took no part in the fit."""
    for quality in (15, 50, 85):
        gains = []
        for path in sorted(EXAMPLE_IMAGES.glob("*.png")):
            picture = np.array(Image.open(path).convert("RGB"))[:256, :256]
            data = jpeg_file.encode_rgb(picture, quality)
            rounded = np.square(jpeg_file.decode(data).astype(float) - picture).mean()
            lmbda = tunes.lambda_of_tables(ijg_qtables(quality))
            distortion = SquaredError(lmbda)
            planes, tables = planes_of(distortion, picture, None)
            coded = jpeg_file.QuantizedImage(
                *(planes, "4:2:0", tables),
                *picture.shape[:2],
            )
            gains.append(10 * np.log10(rounded / squared_error(coded, picture)))
        assert np.mean(gains) == pytest.approx(0, abs=1.5), gains


def test_coarser_tables_have_a_lower_lambda():
    tables = np.random.default_rng(0).integers(2, 60, (2, 8, 8))
    ratio = tunes.lambda_of_tables(4 * tables) / tunes.lambda_of_tables(tables)
    assert ratio == pytest.approx(4**-1.39)


@pytest.mark.parametrize("tune", ["ms-ssim", "mixed"])
def test_a_picture_too_small_for_ms_ssim_is_a_user_error(trained, tune):
    with pytest.raises(UserError, match="200x100 px: MS-SSIM .* --tune psnr"):
        quantized(trained, picture_of(100, 200), SEARCHED._replace(tune=tune))


def test_refinement_lowers_the_loss_and_keeps_the_tables(trained):
    picture = picture_of(96, 80)
    bits = rate_models.bits_of_checkpoint(checkpoints.find_checkpoint(trained), 1024)
    index = np.arange(192).reshape(8, 8, 3)

    def cost(coded):
        estimate = bits[index, coded.integers + 1024].sum() / picture[..., 0].size
        # The lambda of the refinement, a fifth of the training's.
        return 0.002 * squared_error(coded, picture) + estimate

    plain = quantized(trained, picture, PLAIN)
    refined = quantized(
        trained, picture, codec.Quantization("round", "optimized", refine_steps=25)
    )
    np.testing.assert_array_equal(refined.qtables, plain.qtables)
    assert cost(refined) < 0.97 * cost(plain)


def test_refinement_of_a_model_without_entropy_model_is_a_user_error(trained):
    quantization = codec.Quantization("round", "optimized", refine_steps=5)
    with pytest.raises(UserError, match="--refine_steps.*--rate_model entropy"):
        quantized(trained, picture_of(16, 16), quantization, rate_model="proxy")


def test_a_stripped_checkpoint_can_still_be_refined(trained, tmp_path):
    target = str(tmp_path / "copy")
    strip.strip(trained, target)
    picture = picture_of(40, 48)
    quantization = codec.Quantization("round", "optimized", refine_steps=3)
    first, second = (quantized(f, picture, quantization) for f in (trained, target))
    np.testing.assert_array_equal(first.integers, second.integers)
    assert not [
        name
        for name, _ in tf.train.list_variables(checkpoints.find_checkpoint(target))
        if "Adam" in name or "power" in name
    ]
