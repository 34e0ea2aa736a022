"""The encoder's search in place of rounding, for tables that are trained with it."""

from __future__ import annotations

import concurrent.futures

import numpy as np

import tensorflow_v1 as tf
from learned_jpeg.common import machine
from learned_jpeg.jpeg.bands import band_histogram
from learned_jpeg.jpeg.sampling import groups, planes_of
from learned_jpeg.jpeg.scans import coded_bits, zigzag_blocks
from learned_jpeg.models.contract import Tensor
from learned_jpeg.models.settings import ModelSettings
from learned_jpeg.search import passes, trellis
from learned_jpeg.search.tunes import distortion_of_loss
from training import differentiable
from training.differentiable import Pipeline

_RATIO = 1.1  # of steps whose bits are compared


def searched_integers(
    jpeg: Pipeline, z: list[Tensor], qtables: Tensor, settings: ModelSettings
) -> tuple[list[Tensor], Tensor]:
    """Returns integers that `--quantization search` finds, in place of rounding.

    They minimise `lmbda * distortion + bits per pixel` for tables that stay, so that
    (by the envelope theorem) the gradient of the minimum in the tables is that of the
    distortion with the integers held fixed: none flows through the integers of AC or
    their bits. For DC see `differentiable.straight_through_dc`: there the rate has a
    slope in the step.

    Args:
      jpeg: the batch.
      z: its coefficients in units of their step, see `differentiable.divide`.
      qtables: float32 `[8, 8, 2]`.
      settings: of the training; its `lmbda` is the bits per pixel that a distortion of
        1 is worth.

    Returns:
      float32 integers, shaped as `z`, and their bits per pixel, a scalar.
    """

    def search_all(images, qtables, *z):
        tables = np.moveaxis(qtables, -1, 0)
        integers, bits = _search_all(images, tables, settings)
        bits_and_slopes = [bits, dc_slopes(z)]
        num_pixels = images.size / 3
        values = [*integers, *(np.divide(v, num_pixels) for v in bits_and_slopes)]
        return [value.astype(np.float32) for value in values]

    pixels = tf.cast(tf.round(255.0 * jpeg.x), tf.uint8)
    types = [tf.float32] * (len(z) + 2)
    outputs = tf.numpy_function(search_all, [pixels, qtables, *z], types)
    *integers, bpp, slopes = map(tf.stop_gradient, outputs)
    log_steps = tf.log(qtables[0, 0])
    bpp += tf.reduce_sum(slopes * (log_steps - tf.stop_gradient(log_steps)))
    for found, own in zip(integers, z, strict=True):
        found.set_shape(own.shape)
    return [
        found + differentiable.straight_through_dc(own)
        for found, own in zip(integers, z, strict=True)
    ], bpp


def _search_all(images, qtables, settings):
    """Integers `[b, rows, cols, 8, 8, c]` of each group of components; their bits."""
    with concurrent.futures.ThreadPoolExecutor(machine.usable_cores()) as executor:
        results = executor.map(lambda p: searched(p, qtables, settings), images)
        planes, bits = zip(*results, strict=True)
    integers = [
        np.stack([np.stack([own[c] for c in components], -1) for own in planes])
        for components, _ in groups(settings.subsampling)
    ]
    return integers, sum(bits)


def searched(
    image: np.ndarray, qtables: np.ndarray, settings: ModelSettings
) -> tuple[list[np.ndarray], float]:
    """Searches the integers of one image.

    Args:
      image: uint8 `[h, w, 3]`.
      qtables: `[2, 8, 8]`, the steps, not only whole ones.
      settings: of the training.

    Returns:
      Three int16 arrays `[rows, cols, 8 (v), 8 (u)]`, and their bits in progressive
      scans, a float: symbols by their self-information.
    """
    weights = vars(settings.weights)
    distortion = distortion_of_loss(image, settings.lmbda, weights)
    planes, _ = passes.search(
        image,
        distortion,
        sampling=settings.subsampling,
        entropy_coding="optimized",
        qtables=qtables,
        moves_tables=False,
    )
    return planes, _bits([zigzag_blocks(plane) for plane in planes])


def _bits(integers):
    """Self-information of the symbols of components `[blocks, 64]`, and extra bits."""
    dc_counts = np.zeros((2, 16), np.int64)
    bits = 0.0
    for component, own in enumerate(integers):
        bits += trellis.count_dc(own, np.arange(len(own)), dc_counts[min(component, 1)])
        counts = band_histogram(own, 1, 63)
        bits += _entropy(counts) + coded_bits(counts, 0)
    return bits + sum(map(_entropy, dc_counts))


def _entropy(counts):
    present = counts[counts > 0]
    return float(-(present * np.log2(present / present.sum())).sum())


def dc_slopes(z: list[np.ndarray]) -> np.ndarray:
    """Estimates how the bits of DC change with the logarithm of its step.

    Args:
      z: coefficients in units of their step, a list as from
        `differentiable.rgb_to_dct`.

    Returns:
      float `[2 (luma, chroma)]`, bits; negative, as coarser steps take fewer.
    """
    dc = planes_of([own[..., 0, 0, :] for own in z])
    coarse, fine = (_dc_bits(dc, scale) for scale in (1 / _RATIO, _RATIO))
    return (coarse - fine) / (2 * np.log(_RATIO))


def _dc_bits(dc, scale):
    """Bits of the differences of rounded DC: for luma and for chroma.

    Args:
      dc: of each component, `[b, rows, cols]`.
      scale: that it is multiplied by.
    """
    counts = np.zeros((2, 16), np.int64)
    bits = np.zeros(2)
    for component, own in enumerate(dc):
        integers = np.rint(own.reshape(-1, 1) * scale).astype(np.int16)
        order = np.arange(len(integers))
        bits[min(component, 1)] += trellis.count_dc(
            integers, order, counts[min(component, 1)]
        )
    return bits + [_entropy(own) for own in counts]
