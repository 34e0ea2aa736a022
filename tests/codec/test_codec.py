"""Trained models as functions of pictures: strips, odd sizes, wild edits."""

import os
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from learned_jpeg.codec.codecs import Codecs
from learned_jpeg.codec.graph import CodecGraph

import arg_parser
import conv_blocks
import google_baseline
import ljpeg
import ljpeg_attention
from learned_jpeg.codec.codec import Quantization
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import SUBSAMPLINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.sampling import planes_of
from learned_jpeg.pictures import strips
from ljpeg_PIL import StandardJPEG
from tests.small_networks import use_small_networks
from training import checkpoints, variables

SETTINGS = arg_parser.parse_ljpeg_attention(["train"])
SIZES = [(1, 1), (64, 17), (33, 50)]


def random_tables(low=1, high=40):
    return np.random.default_rng(3).integers(low, high, (2, 8, 8))


def randomize(session, tables):
    """Sets tables, and heads and filters that change all over a picture."""
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


def save_model(folder, model_class, settings=SETTINGS, pretrained=True, change=None):
    """Writes a checkpoint of a random model; returns its prefix."""
    with tf.Graph().as_default(), tf.Session() as session:
        model = model_class(settings, tf.float32)
        step = tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        if pretrained:
            variables.load_pretrained(session, model, frozen_only=False)
        randomize(session, random_tables())
        if change:
            change(session)
        path = os.path.join(folder, checkpoints.CHECKPOINT_NAME)
        saver = variables.saver(tf.global_variables())
        return saver.save(session, path, step, write_meta_graph=False)


def restored(model_class, prefix=None, settings=SETTINGS):
    return Codecs("float32").make(model_class, settings, prefix)


def evaluate(model_class, prefix, picture, quality=None, sampling="4:4:4"):
    """`Coded` of one picture as a whole, at its static size."""
    with tf.Graph().as_default(), tf.Session() as session:
        model = model_class(at(sampling), tf.float32)
        x = tf.constant(picture[np.newaxis] / np.float32(255))
        coded = model.code(x, quality)
        variables.restore(session, tf.global_variables(), prefix)
        return session.run(coded)


def at(sampling):
    return types.SimpleNamespace(**{**vars(SETTINGS), "subsampling": sampling})


@pytest.fixture
def small_networks(monkeypatch):
    use_small_networks(monkeypatch, None)


MODELS = [ljpeg.LJPEG, ljpeg_attention.LJPEGAttention, google_baseline.GoogleBaseline]


# Values


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("model", MODELS)
def test_codec_equals_the_graph_on_the_whole_picture(
    model, tmp_path, small_networks, smooth_picture, sampling
):
    prefix = save_model(tmp_path, model, pretrained=False)
    with restored(model, prefix, at(sampling)) as trained:
        for index, size in enumerate(SIZES):
            picture = smooth_picture(index, *size)
            quantized = trained.quantize(picture, 35)
            expected = evaluate(model, prefix, picture, 35, sampling)
            assert (quantized.height, quantized.width) == size
            assert quantized.sampling == sampling
            planes = planes_of([own[0] for own in expected.integers])
            for plane, wanted in zip(quantized.planes, planes, strict=True):
                assert plane.dtype == np.int16
                np.testing.assert_array_equal(plane, wanted)
            tables = expected.qtables.transpose(2, 0, 1)
            np.testing.assert_array_equal(quantized.qtables, tables)
            shown = trained.edit(picture, 35)
            assert shown.dtype == np.uint8
            assert shown.shape == (*size, 3)
            # Tables alone leave chroma whole for what looks at the edited picture.
            edited = picture if model.TABLES_ALONE else 255 * expected.edited[0]
            assert np.abs(shown - edited).max() < 0.501


@pytest.mark.parametrize(
    "method, trained_at, rate_model, asked, wanted",
    [
        ("round", "4:2:2", "proxy", None, "4:2:2"),
        ("round", "4:2:0", "proxy", "4:4:4", "4:4:4"),
        ("rdoq", "4:4:4", "entropy", None, "4:2:0"),
        ("rdoq", "4:2:2", "rdoq", None, "4:2:2"),
        ("rdoq", "4:2:2", "rdoq", "4:4:4", "4:4:4"),
        ("round", "4:2:2", "rdoq", None, "4:2:2"),
        ("round", None, "rdoq", None, "4:4:4"),
        ("rdoq", None, "rdoq", None, "4:2:0"),
    ],
)
def test_subsampling_is_that_of_the_training_unless_it_is_named(
    tmp_path, smooth_picture, method, trained_at, rate_model, asked, wanted
):
    prefix = save_model(tmp_path, ljpeg.LJPEG)
    settings = at(trained_at)
    settings.rate_model = rate_model
    quantization = Quantization(method, sampling=asked)
    codecs = Codecs("float32", quantization)
    with codecs.make(ljpeg.LJPEG, settings, prefix) as trained:
        quantized = trained.quantize(smooth_picture(0, 45, 70))
    assert quantized.sampling == wanted
    read = jpeg_file.read_coefficients(jpeg_file.encode(quantized))
    assert read.sampling == wanted


def test_a_search_edits_at_the_subsampling_of_the_training(
    tmp_path, small_networks, smooth_picture
):
    """Chroma that a model does not edit stays whole until the search."""
    prefix = save_model(tmp_path, ljpeg_attention.LJPEGAttention, pretrained=False)
    picture = smooth_picture(0, 48, 64)
    shown = []
    codecs = Codecs("float32", Quantization("rdoq"))
    for sampling in ("4:4:4", "4:2:0"):
        make = codecs.make(ljpeg_attention.LJPEGAttention, at(sampling), prefix)
        with make as trained:
            assert trained.quantize(picture).sampling == "4:2:0"
            expected = evaluate(
                ljpeg_attention.LJPEGAttention, prefix, picture, None, sampling
            )
            edited = 255 * expected.edited[0]
            assert np.abs(trained.edit(picture) - edited).max() < 0.501
            shown.append(edited)
    assert np.abs(shown[0] - shown[1]).max() > 2


def test_tables_are_those_of_the_checkpoint_rows_first(tmp_path):
    prefix = save_model(tmp_path, ljpeg.LJPEG)
    with restored(ljpeg.LJPEG, prefix) as trained:
        tables = trained.qtables()
    assert tables.dtype == np.uint8
    np.testing.assert_array_equal(tables, random_tables())


def test_tables_of_the_standard_model_are_those_of_the_quality():
    with restored(StandardJPEG) as standard:
        for quality in (1, 25, 49, 50, 100):
            data = jpeg_file.encode_rgb(np.zeros([8, 8, 3], np.uint8), quality)
            expected = jpeg_file.read_coefficients(data).qtables
            np.testing.assert_array_equal(standard.qtables(quality), expected)


def test_file_of_the_codec_decodes_to_nearly_the_picture(tmp_path, smooth_picture):
    prefix = save_model(tmp_path, ljpeg.LJPEG)
    picture = smooth_picture(0, 45, 70)
    with restored(ljpeg.LJPEG, prefix) as trained:
        decoded = jpeg_file.decode(jpeg_file.encode(trained.quantize(picture)))
    assert decoded.shape == picture.shape
    # Rounding alone, to steps of 20 on average in Y, Cb and Cr: some 20^2 / 12 each.
    assert 10 < np.mean((decoded.astype(float) - picture) ** 2) < 120


def test_one_graph_serves_several_checkpoints(tmp_path):
    prefixes = []
    for value in (3, 9):
        folder = tmp_path / str(value)

        def change(session, value=value):
            [tables] = tf.global_variables("qtables")
            tables.load(np.full([8, 8, 2], value * 1e-5, np.float32), session)

        prefixes.append(save_model(folder, ljpeg.LJPEG, change=change))
    graph = CodecGraph(ljpeg.LJPEG, SETTINGS, "float32")
    with graph.restore(prefixes[0]) as first, graph.restore(prefixes[1]) as second:
        assert set(np.unique(first.qtables(0))) == {3}
        assert set(np.unique(second.qtables(0))) == {9}
        assert set(np.unique(first.qtables(0))) == {3}


def test_codec_may_be_called_from_several_threads(tmp_path, smooth_picture):
    prefix = save_model(tmp_path, ljpeg.LJPEG)
    pictures = [smooth_picture(i, 20 + i, 60 - i) for i in range(8)]
    with restored(ljpeg.LJPEG, prefix) as trained, ThreadPoolExecutor(4) as executor:
        alone = [trained.quantize(picture).integers for picture in pictures]
        together = list(executor.map(trained.quantize, pictures * 3))
    for index, quantized in enumerate(together):
        np.testing.assert_array_equal(quantized.integers, alone[index % 8])


# Strips


def assert_nearly_equal(strips, whole):
    """Equal but for rounding of sums in another order, at most 1 in 10000."""
    difference = np.abs(strips.astype(int) - whole)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= difference.size // 10000


def assert_strips_make_no_difference(model, prefix, picture, monkeypatch):
    with restored(model, prefix) as trained:
        whole, edited = trained.quantize(picture, 40), trained.edit(picture, 40)
        monkeypatch.setattr(strips, "STRIP_PIXELS", 1)
        cut, cut_edited = trained.quantize(picture, 40), trained.edit(picture, 40)
    assert_nearly_equal(cut.integers, whole.integers)
    assert_nearly_equal(cut_edited, edited)
    # The network does change the picture, from place to place.
    assert edited.std() > 5
    assert np.abs(edited.astype(int) - picture).max() > 5


def test_strips_of_vgg_attention_are_those_of_the_whole_picture(
    tmp_path, monkeypatch, smooth_picture
):
    model = ljpeg_attention.LJPEGAttention
    prefix = save_model(tmp_path, model)
    picture = smooth_picture(0, 203, 30)
    assert_strips_make_no_difference(model, prefix, picture, monkeypatch)


def test_strips_of_the_baseline_are_those_of_the_whole_picture(
    tmp_path, monkeypatch, small_networks, smooth_picture
):
    model = google_baseline.GoogleBaseline
    prefix = save_model(tmp_path, model)
    picture = smooth_picture(0, 203, 30)
    assert_strips_make_no_difference(model, prefix, picture, monkeypatch)


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


@pytest.mark.parametrize(
    "height, width", [(1, 1), (64, 9), (65, 9), (1000, 777), (203, 10**7)]
)
@pytest.mark.parametrize("pixels", [1, 1 << 17, 1 << 20])
def test_strips_cover_a_picture_once_from_block_to_block(
    height, width, pixels, monkeypatch
):
    monkeypatch.setattr(strips, "STRIP_PIXELS", pixels)
    bounds = strips.strip_bounds(height, width)
    assert bounds[0][0] == 0 and bounds[-1][1] == height
    for (_, bottom), (top, _) in zip(bounds, bounds[1:], strict=False):
        assert bottom == top and top % 8 == 0
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
    picture = rng.choice(np.array([0, 255], np.uint8), (20, 30, 3))
    with restored(google_baseline.GoogleBaseline) as wild:
        quantized = wild.quantize(picture, 100)
        edited = wild.edit(picture, 100)
    assert np.abs(quantized.integers).max() == 1023
    data = jpeg_file.encode(quantized)
    read = jpeg_file.read_coefficients(data)
    np.testing.assert_array_equal(read.integers, quantized.integers)
    np.testing.assert_array_equal(edited, picture)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_can_be_written_at_quality_100(value):
    picture = np.full([9, 9, 3], value, np.uint8)
    with restored(StandardJPEG) as standard:
        decoded = jpeg_file.decode(jpeg_file.encode(standard.quantize(picture, 100)))
    np.testing.assert_array_equal(decoded, picture)


# Checkpoints of other models


def assert_refused(model, prefix, settings=SETTINGS):
    with pytest.raises(UserError) as caught, restored(model, prefix, settings):
        pass
    message = str(caught.value)
    assert prefix in message and "\n" not in message


def test_checkpoint_of_another_script_is_a_user_error(tmp_path, small_networks):
    prefix = save_model(tmp_path, ljpeg.LJPEG)
    assert_refused(google_baseline.GoogleBaseline, prefix)
    assert_refused(ljpeg_attention.LJPEGAttention, prefix)


@pytest.mark.parametrize("trained, asked", [("vgg16", "vgg19"), ("vgg19", "vgg16")])
def test_checkpoint_of_another_vgg_is_a_user_error(
    trained, asked, tmp_path, small_networks
):
    model = ljpeg_attention.LJPEGAttention

    def settings(vgg):
        return types.SimpleNamespace(**{**vars(SETTINGS), "vgg": vgg})

    prefix = save_model(tmp_path, model, settings(trained), pretrained=False)
    with restored(model, prefix, settings(trained)):
        pass
    assert_refused(model, prefix, settings(asked))
