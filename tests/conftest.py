"""Fixtures of all tests: a session of TensorFlow, small images for training."""

import os

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common import first_call
from learned_jpeg.metrics import butteraugli
from tests import synthetic

# Messages are the same whatever is compiled already.
os.environ.setdefault(first_call.QUIET, "1")

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
    # Imported here: the process that hands out the tests to others does without it.
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        yield session


@pytest.fixture(scope="session")
def smooth_picture():
    """`synthetic.smooth_image`, which new tests import."""
    return synthetic.smooth_image


@pytest.fixture(scope="session")
def train_glob(tmp_path_factory):
    """Two images of noise over a gradient, large enough for crops of 64 px."""
    folder = tmp_path_factory.mktemp("training images")
    rng = np.random.default_rng(0)
    for index in range(2):
        image = Image.fromarray(synthetic.ramp_image(rng, 96, 96))
        image.save(folder / f"{index}.png")
    return str(folder / "*.png")
