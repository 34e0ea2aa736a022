"""Shared by the tests: TensorFlow kept quiet, and small pictures."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image
from scipy import ndimage

from learned_jpeg.metrics import butteraugli

BUTTERAUGLI = butteraugli.find_tool()


@pytest.fixture(scope="session", autouse=True)
def without_butteraugli():
    """Results have the same columns, and tests take the same time, on all machines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(butteraugli, "find_tool", lambda: None)
        yield


@pytest.fixture
def session():
    """A session on a graph of its own, both of them the default ones."""
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


@pytest.fixture(scope="session")
def smooth_picture():
    """A function (seed, height, width, contrast) -> uint8 RGB, as smooth as photos."""

    def make(seed, height, width, contrast=40):
        noise = np.random.default_rng(seed).standard_normal((height, width, 3))
        smooth = ndimage.gaussian_filter(noise, (2, 2, 0), mode="nearest")
        smooth += 0.05 * noise
        picture = 128 + contrast * smooth / max(smooth.std(), 1e-3)
        return np.clip(picture, 0, 255).round().astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def train_glob(tmp_path_factory):
    """Two pictures of noise over a gradient, large enough for crops of 64 px."""
    folder = tmp_path_factory.mktemp("training images")
    rng = np.random.default_rng(0)
    for index in range(2):
        ramp = np.linspace(0, 200, 96)[:, None, None]
        pixels = ramp + rng.integers(0, 55, (96, 96, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return str(folder / "*.png")
