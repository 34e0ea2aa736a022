"""The learned quantization tables of a checkpoint."""

from __future__ import annotations

import numpy as np

from learned_jpeg.codec.optional import needs_tensorflow
from learned_jpeg.models import folders


def learned_qtables(prefix: str, script: str) -> np.ndarray:
    """Reads the integer tables of a checkpoint.

    Args:
      prefix: path prefix of the checkpoint.
      script: name of a model with learned tables.

    Returns:
      uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`, of the file beside the checkpoint if
      that is there, else of the checkpoint itself, for which TensorFlow is loaded.

    Raises:
      UserError: the checkpoint is damaged, or of another model.
    """
    qtables = folders.load_qtables(prefix, script)
    if qtables is None:
        with needs_tensorflow(f"{prefix}: without its own qtables.json"):
            from training.variables import saved_qtables
        qtables = saved_qtables(prefix, script)
    return qtables
