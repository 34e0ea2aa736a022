"""What attention changes in a file is counted block by block."""

from types import SimpleNamespace

import numpy as np

from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import transform
from learned_jpeg.jpeg.standard import ijg_qtables
from report import attention
from tests import synthetic


def test_changed_integers_are_counted_and_drawn():
    image = synthetic.smooth_image(2, 40, 48)
    tables = ijg_qtables(60)
    (dct,) = transform.image_to_dct(image)
    integers = np.rint(dct / np.moveaxis(tables[[0, 1, 1]], 0, -1)).astype(np.int16)
    edited = integers.copy()
    edited[1, 2, :, :, 0] = 0
    edited[1, 2, 0, 0, 0] = integers[1, 2, 0, 0, 0]
    wanted = np.count_nonzero(integers[1, 2, :, :, 0]) - bool(integers[1, 2, 0, 0, 0])
    assert wanted > 1

    def encode(image):
        coded = jpeg_file.QuantizedImage.of_integers(edited, tables, 40, 48)
        return jpeg_file.encode(coded, "optimized")

    kept = np.linspace(0, 1, 30).reshape(5, 6)
    codec = SimpleNamespace(encode=encode, kept_detail=lambda image: kept)
    effect = attention.effect_of(codec, image)
    counts = np.zeros((5, 6), int)
    counts[1, 2] = wanted
    np.testing.assert_array_equal(effect.changed, counts)
    without, with_it = effect.sizes
    assert with_it == len(encode(image)) < without
    figure = attention.attention_figure(image, effect)
    ranges = [axes.images[0].get_clim() for axes in figure.axes[1:3]]
    assert ranges == [(0, 1), (0, attention.CHANGES_SHOWN)]
