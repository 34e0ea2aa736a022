"""Tests of DISTS: an independent implementation in float64, and when it is measured."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from numpy.lib.stride_tricks import sliding_window_view

import weights
from learned_jpeg.metrics import dists, registry

STAGES = ((3, 4, 4), (4, 5, 5), (5, 6, 6, 6), (6, 7, 7, 7), (7, 7, 7, 7))


@pytest.fixture
def arrays(monkeypatch):
    """Random weights of a narrow network; those of DISTS are not shipped."""
    random = np.random.default_rng(5)
    made = {}
    pairs = [pair for stage in STAGES for pair in pairwise(stage)]
    for i, (inputs, outputs) in enumerate(pairs):
        made[f"conv{i}/kernel"] = random.normal(0, 0.5, (3, 3, inputs, outputs))
        made[f"conv{i}/bias"] = random.normal(0, 0.1, outputs)
    channels = 3 + sum(stage[-1] for stage in STAGES)
    made |= {key: random.random(channels) for key in ("alpha", "beta")}
    made = {key: array.astype(np.float32) for key, array in made.items()}
    monkeypatch.setattr(weights, "load", lambda name: made)
    return made


def filtered(x, kernel):
    """Returns an image filtered with zeros around it, `[h, w, out]`."""
    windows = sliding_window_view(np.pad(x, [(1, 1), (1, 1), (0, 0)]), (3, 3), (0, 1))
    return np.einsum("hwcij,ijco->hwo", windows, kernel)


def numpy_features(x, arrays):
    outputs, number = [x], 0
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    hanning = np.hanning(5)[1:-1]
    window = np.outer(hanning, hanning) / np.outer(hanning, hanning).sum()
    for stage, widths in enumerate(STAGES):
        if stage:
            kernel = window[:, :, None, None] * np.eye(x.shape[-1])
            x = np.sqrt(filtered(x**2, kernel)[::2, ::2] + 1e-12)
        for _ in widths[1:]:
            x = filtered(x, arrays[f"conv{number}/kernel"])
            x = np.maximum(x + arrays[f"conv{number}/bias"], 0)
            number += 1
        outputs.append(x)
    return outputs


def numpy_dists(x, y, arrays):
    pairs = zip(numpy_features(x, arrays), numpy_features(y, arrays), strict=True)
    texture, structure = [], []
    for a, b in pairs:
        a, b = (z.reshape(-1, z.shape[-1]) for z in (a, b))
        mean_a, mean_b = a.mean(0), b.mean(0)
        covariance = (a * b).mean(0) - mean_a * mean_b
        texture.append((2 * mean_a * mean_b + 1e-6) / (mean_a**2 + mean_b**2 + 1e-6))
        structure.append((2 * covariance + 1e-6) / (a.var(0) + b.var(0) + 1e-6))
    alpha, beta = (arrays[key].astype(np.float64) for key in ("alpha", "beta"))
    similarity = alpha @ np.concatenate(texture) + beta @ np.concatenate(structure)
    return 1 - similarity / (alpha.sum() + beta.sum())


@pytest.mark.parametrize("shape", [(37, 50, 3), (16, 33, 3)])
def test_dists_equals_an_independent_float64_implementation(arrays, shape):
    x = np.random.default_rng(0).random(shape)
    y = np.clip(x + np.random.default_rng(1).normal(0, 0.1, shape), 0, 1)
    with tf.Graph().as_default(), tf.Session() as session:
        images = [tf.constant(z[np.newaxis], tf.float32) for z in (x, y)]
        found = session.run(dists.distance(*map(dists.features, images)))
    np.testing.assert_allclose(found, [numpy_dists(x, y, arrays)], rtol=1e-3)


def test_dists_is_measured_where_its_weights_have_been_made(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "path_of", lambda name: tmp_path / f"{name}.npz")
    metric = registry.get("dists")
    assert metric not in registry.available()
    (tmp_path / "dists.npz").touch()
    assert metric in registry.available()
