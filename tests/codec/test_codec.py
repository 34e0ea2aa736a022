"""Trained models as codecs: values, strips, sizes, wild edits, wrong checkpoints."""

import dataclasses
import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import conv_blocks
import google_baseline
import ljpeg
import ljpeg_attention
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.quantizers import edited_image
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.sampling import planes_of
from learned_jpeg.models.settings import ModelSettings
from learned_jpeg.pictures import strips
from tests.small_networks import use_small_networks
from tests.tables_models import asymmetric_tables, write_tables_model
from training import checkpoints, variables
from training.differentiable import rgb_to_dct

ROUND = EncodeOptions(quantization="round", entropy_coding="standard")
SEARCH = EncodeOptions(quantization="search", tune="psnr", lmbda=0.01)
SIZES = [(1, 1), (64, 17), (33, 50)]
LEARNED = [ljpeg.LJPEG, ljpeg_attention.LJPEGAttention, google_baseline.GoogleBaseline]


def settings_of(model_class, subsampling="4:4:4", **changes):
    return ModelSettings(model_class.NAME, subsampling=subsampling, **changes)


def random_tables(low=1, high=40):
    return np.random.default_rng(3).integers(low, high, (2, 8, 8))


def randomize(session, tables):
    """Sets tables, and heads and filters that change all over an image."""
    rng = np.random.default_rng(0)
    for variable in tf.global_variables():
        name, shape = variable.op.name, variable.shape.as_list()
        if name == "qtables":
            array = tables.transpose(1, 2, 0) * 1e-5
        elif name == "attention/head/kernel":
            array = rng.normal(0, 1 / shape[2], shape)
        elif name == "attention/head/bias":
            array = np.zeros(shape)  # it starts where hardly anything is smoothed
        elif name.startswith("editor") and name.endswith("kernel"):
            array = rng.normal(0, 1 / np.sqrt(np.prod(shape[:3])), shape)
        else:
            continue
        variable.load(array.astype(np.float32), session)


def save_model(folder, model_class, settings=None, pretrained=True, tables=None):
    """Writes a checkpoint of a random model; returns its prefix."""
    with tf.Graph().as_default(), tf.Session() as session:
        model = model_class(settings or settings_of(model_class), tf.float32)
        step = tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        if pretrained:
            variables.load_pretrained(session, model, frozen_only=False)
        randomize(session, random_tables() if tables is None else tables)
        path = os.path.join(folder, checkpoints.CHECKPOINT_NAME)
        saver = variables.saver(tf.global_variables())
        return saver.save(session, path, step, write_meta_graph=False)


def restored(model_class, prefix=None, settings=None, networks=None):
    """Context of a `TrainedModel`."""
    return TrainedModel(
        settings or settings_of(model_class),
        prefix,
        model_class,
        networks or Networks("float32"),
    )


def evaluate(model_class, prefix, image, quality=None, sampling="4:4:4"):
    """`Coded` of one image as a whole, at its static size."""
    with tf.Graph().as_default(), tf.Session() as session:
        model = model_class(settings_of(model_class, sampling), tf.float32)
        x = tf.constant(image[np.newaxis] / np.float32(255))
        coded = model.code(x, quality)
        variables.restore(session, tf.global_variables(), prefix)
        return session.run(coded)


def in_file(codec, image, quality=0):
    """The integers that a codec writes."""
    return jpeg_file.read_coefficients(codec.encode(image, quality))


@pytest.fixture
def small_networks(monkeypatch):
    use_small_networks(monkeypatch, None)


@pytest.fixture(scope="module")
def saved_models():
    """Prefixes of checkpoints by model, for `saved`."""
    return {}


@pytest.fixture
def saved(small_networks, saved_models, tmp_path_factory):
    """A function from a model to the prefix of a random checkpoint of its class."""

    def prefix_of(model_class):
        if model_class not in saved_models:
            folder = tmp_path_factory.mktemp(model_class.NAME)
            saved_models[model_class] = save_model(
                folder, model_class, pretrained=False
            )
        return saved_models[model_class]

    return prefix_of


# Values


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("model_class", LEARNED)
def test_codec_equals_the_graph_on_the_whole_image(
    model_class, saved, smooth_picture, sampling
):
    prefix = saved(model_class)
    settings = settings_of(model_class, sampling)
    with restored(model_class, prefix, settings) as trained:
        codec = trained.codec(ROUND)
        # One block is tried without subsampling.
        for index, size in enumerate(SIZES[sampling != "4:4:4" :]):
            image = smooth_picture(index, *size)
            found = in_file(codec, image, 35)
            expected = evaluate(model_class, prefix, image, 35, sampling)
            assert (found.height, found.width) == size
            luma, *chroma = planes_of([own[0] for own in expected.integers])
            np.testing.assert_array_equal(found.planes[0], luma)
            if np.any(chroma):
                assert found.sampling == sampling
                for plane, wanted in zip(found.planes[1:], chroma, strict=True):
                    np.testing.assert_array_equal(plane, wanted)
            else:
                assert len(found.planes) == 1
            tables = expected.qtables.transpose(2, 0, 1)
            if len(found.planes) == 1:
                tables = tables[:1]
            np.testing.assert_array_equal(found.qtables[: len(tables)], tables)
            edited = edited_image(codec.model, image, 35)
            assert edited.dtype == np.uint8
            assert edited.shape == (*size, 3)
            # Tables leave the whole chroma to what looks at the edited image.
            is_edited = model_class.TRAITS.has_network
            shown = 255 * expected.edited[0] if is_edited else image
            assert np.abs(edited - shown).max() < 0.501


@pytest.mark.parametrize(
    "quantization, trained_at, rate_model, asked, wanted",
    [
        ("round", "4:2:2", "proxy", None, "4:2:2"),
        ("round", "4:2:0", "proxy", "4:4:4", "4:4:4"),
        ("search", "4:4:4", "entropy", None, "4:2:0"),
        ("search", "4:2:2", "search", None, "4:2:2"),
        ("search", "4:2:2", "search", "4:4:4", "4:4:4"),
        ("round", "4:2:2", "search", None, "4:2:2"),
        ("mozjpeg", "4:2:2", "search", None, "4:2:2"),
        ("round", None, "search", None, "4:4:4"),
        ("search", None, "search", None, "4:2:0"),
    ],
)
def test_subsampling_is_that_of_the_training_unless_it_is_named(
    tmp_path, smooth_picture, quantization, trained_at, rate_model, asked, wanted
):
    changes = {"subsampling": trained_at, "rate_model": rate_model}
    folder = write_tables_model(tmp_path, asymmetric_tables(5), **changes)
    options = EncodeOptions(quantization=quantization, subsampling=asked)
    with TrainedModel.load(str(folder)) as trained:
        found = in_file(trained.codec(options), smooth_picture(0, 45, 70))
    assert found.sampling == wanted


@pytest.mark.slow
def test_a_search_edits_at_the_subsampling_of_the_training(saved, smooth_picture):
    """Chroma that a model does not edit stays whole until the search."""
    model_class = ljpeg_attention.LJPEGAttention
    prefix = saved(model_class)
    image = smooth_picture(0, 48, 64)
    shown = []
    for sampling in ("4:4:4", "4:2:0"):
        settings = settings_of(model_class, sampling)
        with restored(model_class, prefix, settings) as trained:
            codec = trained.codec(SEARCH)
            assert in_file(codec, image).sampling == "4:2:0"
            expected = evaluate(model_class, prefix, image, None, sampling)
            edited = 255 * expected.edited[0]
            assert np.abs(edited_image(codec.model, image) - edited).max() < 0.501
            shown.append(edited)
    assert np.abs(shown[0] - shown[1]).max() > 2


def test_tables_are_those_of_the_checkpoint_rows_first(tmp_path):
    prefix = save_model(tmp_path, ljpeg.LJPEG)
    with restored(ljpeg.LJPEG, prefix) as trained:
        for tables in (trained.qtables(), trained.codec(ROUND).qtables()):
            assert tables.dtype == np.uint8
            np.testing.assert_array_equal(tables, random_tables())
        assert not trained.takes_quality


def test_tables_of_the_standard_model_are_those_of_the_quality():
    codec = standard_tables().codec(ROUND)
    for quality in (1, 25, 49, 50, 100):
        rgb = np.full([8, 8, 3], (9, 0, 0), np.uint8)  # gray has no table of chroma
        data = jpeg_file.encode_rgb(rgb, quality)
        expected = jpeg_file.read_coefficients(data).qtables
        np.testing.assert_array_equal(codec.qtables(quality), expected)
        np.testing.assert_array_equal(standard_tables().qtables(quality), expected)


@pytest.mark.parametrize("entropy_coding", ["standard", "optimized"])
def test_file_of_the_codec_decodes_to_nearly_the_image(
    tmp_path, smooth_picture, entropy_coding
):
    write_tables_model(tmp_path, random_tables())
    image = smooth_picture(0, 45, 70)
    options = dataclasses.replace(ROUND, entropy_coding=entropy_coding)
    with TrainedModel.load(str(tmp_path)) as trained:
        decoded = jpeg_file.decode(trained.codec(options).encode(image))
    assert decoded.shape == image.shape
    # Rounding alone, to steps of 20 on average in Y, Cb and Cr: some 20^2 / 12 each.
    assert 10 < np.mean((decoded.astype(float) - image) ** 2) < 120


def test_one_graph_serves_several_checkpoints(tmp_path, small_networks):
    model_class, networks = ljpeg_attention.LJPEGAttention, Networks("float32")
    codecs = []
    for value in (3, 9):
        (tmp_path / str(value)).mkdir()
        tables = np.full([2, 8, 8], value)
        options = {"pretrained": False, "tables": tables}
        prefix = save_model(tmp_path / str(value), model_class, **options)
        codecs.append(restored(model_class, prefix, networks=networks).codec(ROUND))
    for _ in range(2):
        for codec, value in zip(codecs, (3, 9), strict=True):
            assert set(np.unique(codec.qtables())) == {value}
    settings = settings_of(model_class)
    network = networks.of_kind(model_class, settings)
    assert networks.of_kind(model_class, dataclasses.replace(settings)) is network
    other = dataclasses.replace(settings, vgg="vgg19")
    assert networks.of_kind(model_class, other) is not network


def test_codec_may_be_called_from_several_threads(saved, smooth_picture):
    model_class = ljpeg_attention.LJPEGAttention
    prefix = saved(model_class)
    images = [smooth_picture(i, 20 + i, 60 - i) for i in range(8)]
    with restored(model_class, prefix) as trained, ThreadPoolExecutor(4) as executor:
        codec = trained.codec(ROUND)
        alone = [codec.encode(image) for image in images]
        assert list(executor.map(codec.encode, images * 3)) == alone * 3


def test_codecs_are_made_once_and_closed_with_the_model(saved):
    model_class = google_baseline.GoogleBaseline
    prefix = saved(model_class)
    image = np.full([16, 16, 3], 99, np.uint8)
    with restored(model_class, prefix) as trained:
        codec = trained.codec(ROUND)
        for rate in ({"quality": 9}, {"quality": 70}):
            assert trained.codec(dataclasses.replace(ROUND, **rate)) is codec
        other = dataclasses.replace(ROUND, subsampling="4:2:0")
        assert trained.codec(other) is not codec
        codec.encode(image, 25)
    with pytest.raises(RuntimeError, match="closed"):
        codec.encode(image, 25)


@pytest.mark.slow
def test_kept_detail_is_one_for_tables_and_less_behind_attention(saved, smooth_picture):
    image = smooth_picture(0, 40, 56)
    image[:8, :8] = 7
    kept = standard_tables().codec(ROUND).kept_detail(image)
    np.testing.assert_array_equal(kept, np.ones((5, 7)))
    model_class = ljpeg_attention.LJPEGAttention
    prefix = saved(model_class)
    for sampling in ("4:4:4", "4:2:0"):
        settings = settings_of(model_class, sampling)
        with restored(model_class, prefix, settings) as trained:
            kept = trained.codec(ROUND).kept_detail(image)
        edited = evaluate(model_class, prefix, image, None, sampling).dct[0]
        sums = [
            np.abs(dct[0, ..., 0]).sum((2, 3)) - np.abs(dct[0, ..., 0, 0, 0])
            for dct in (edited, plain_dct(image))
        ]
        assert kept[0, 0] == 1
        wanted = np.divide(*sums, where=sums[1] > 1, out=np.ones_like(sums[0]))
        np.testing.assert_allclose(kept, wanted, rtol=1e-4)
        assert 0.1 < kept.mean() < 0.95


def plain_dct(image):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.constant(image[np.newaxis] / np.float32(255))
        return session.run(rgb_to_dct(x))[0]  # the components that go together


# Strips


def assert_nearly_equal(strips, whole):
    """Equal but for rounding of sums in another order, at most 1 in 10000."""
    difference = np.abs(strips.astype(int) - whole)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= difference.size // 10000


@pytest.mark.parametrize("model_class", LEARNED[1:])
def test_strips_are_those_of_the_whole_image(
    model_class, tmp_path, monkeypatch, smooth_picture
):
    if model_class is google_baseline.GoogleBaseline:
        use_small_networks(monkeypatch, None)
    prefix = save_model(tmp_path, model_class)
    image = smooth_picture(0, 203, 30)
    with restored(model_class, prefix) as trained:
        codec = trained.codec(ROUND)
        whole, edited = in_file(codec, image, 40), edited_image(codec.model, image, 40)
        monkeypatch.setattr(strips, "STRIP_PIXELS", 1)
        cut, cut_edited = (
            in_file(codec, image, 40),
            edited_image(codec.model, image, 40),
        )
    assert_nearly_equal(cut.integers, whole.integers)
    assert_nearly_equal(cut_edited, edited)
    # The network does change the image, from place to place.
    assert edited.std() > 5
    assert np.abs(edited.astype(int) - image).max() > 5


def test_halo_is_wider_than_what_the_networks_see(session):
    """Gradient of one feature or pixel: where it is not 0, the network looks."""
    tf.set_random_seed(0)
    trunk = conv_blocks.VGGTrunk("vgg", "vgg19", widths=(2, 2, 2))
    edit = conv_blocks.ResConvLayer("editor", (2, 2, 2, 2, 2, 2, 3))
    pixels = np.random.default_rng(0).uniform(0.2, 1, (1, 96, 96, 3))
    x = tf.constant(pixels.astype(np.float32))
    outputs = {"vgg": trunk(x)[:, 5], "editor": edit(x, training=False)[:, 40:48]}
    gradients = [tf.gradients(output, x)[0] for output in outputs.values()]
    session.run(tf.global_variables_initializer())
    # Positive weights: no unit is off, nothing cancels.
    for variable in tf.trainable_variables():
        variable.load(np.abs(session.run(variable)) + np.float32(0.1), session)
    for name, gradient in zip(outputs, session.run(gradients), strict=True):
        seen = np.flatnonzero(np.abs(gradient[0]).max((1, 2)))
        # Of the pixels under a max-pool, the gradient shows the largest only; there
        # are enough columns to see each of them somewhere.
        reach = max(40 - seen[0], seen[-1] - 47)
        assert reach == {"vgg": 22, "editor": 13}[name]
        assert reach <= strips.HALO


def test_strips_cover_an_image_once_from_block_to_block(monkeypatch):
    sizes = [(1, 1), (64, 9), (65, 9), (1000, 777), (203, 10**7)]
    for pixels in (1, 1 << 17, 1 << 20):
        monkeypatch.setattr(strips, "STRIP_PIXELS", pixels)
        for height, width in sizes:
            bounds = strips.strip_bounds(height, width)
            assert bounds[0][0] == 0 and bounds[-1][1] == height
            for (_, bottom), (top, _) in itertools.pairwise(bounds):
                assert bottom == top and top % 16 == 0
            for top, bottom in bounds:
                assert 0 < bottom - top <= max(64, pixels // width)


# Range


class Amplifier:
    """Stands for a network that leaves 0..1 far behind."""

    def __init__(self, name, dtype):
        pass

    def __call__(self, x, training):
        return 100.0 * (x - 0.5)


def test_integers_of_wild_edits_can_be_written(monkeypatch):
    monkeypatch.setattr(google_baseline, "ResConvLayer", Amplifier)
    rng = np.random.default_rng(0)
    image = rng.choice(np.array([0, 255], np.uint8), (20, 30, 3))
    with restored(google_baseline.GoogleBaseline) as wild:
        codec = wild.codec(ROUND)
        found = in_file(codec, image, 100)
        edited = edited_image(codec.model, image, 100)
    assert np.abs(found.integers).max() == 1023
    np.testing.assert_array_equal(edited, image)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_can_be_written_at_quality_100(value):
    image = np.full([9, 9, 3], value, np.uint8)
    decoded = jpeg_file.decode(standard_tables().codec(ROUND).encode(image, 100))
    np.testing.assert_array_equal(decoded, image)


# Checkpoints of other models


def assert_refused(model_class, prefix, settings=None):
    with (
        restored(model_class, prefix, settings) as trained,
        pytest.raises(UserError) as caught,
    ):
        trained.codec(ROUND)
    message = str(caught.value)
    assert prefix in message and "\n" not in message


def test_checkpoint_of_another_script_is_a_user_error(saved):
    for model_class in LEARNED:
        for other in LEARNED:
            if other is not model_class:
                assert_refused(model_class, saved(other))


@pytest.mark.parametrize("trained, asked", [("vgg16", "vgg19"), ("vgg19", "vgg16")])
def test_checkpoint_of_another_vgg_is_a_user_error(
    trained, asked, tmp_path, small_networks
):
    model_class = ljpeg_attention.LJPEGAttention
    own, other = (settings_of(model_class, vgg=vgg) for vgg in (trained, asked))
    prefix = save_model(tmp_path, model_class, own, pretrained=False)
    with restored(model_class, prefix, own) as model:
        assert model.codec(ROUND).model.sampling == "4:4:4"
    assert_refused(model_class, prefix, other)
