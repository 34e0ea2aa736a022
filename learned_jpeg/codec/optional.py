"""Parts of a clone of the repository that the package does not bring along."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from learned_jpeg.common.errors import UserError


@contextlib.contextmanager
def needs_tensorflow(what: str) -> Iterator[None]:
    """Context of imports from `training`, which need a clone and TensorFlow.

    Args:
      what: file or flag that asks for them, for the message.

    Raises:
      UserError: something cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{what}: needs TensorFlow and a clone of the repository ({reason}); run "
            'pip install ".[train]" in a clone, and call its scripts'
        ) from error
