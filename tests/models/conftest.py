"""A checkpoint as a training leaves it."""

from tests.training.conftest import checkpoint, folder  # noqa: F401
