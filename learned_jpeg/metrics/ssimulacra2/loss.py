"""SSIMULACRA2 as a loss of the search and of trainings: the weights of its sum.

The metric by itself would leave block edges and stray dots: it sees no ringing of luma
at fine scales, and no chroma there. So terms of the same kind are added.
"""

import numpy as np

from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2

# Points that a unit of the metric's weighted sum counts. The score's own polynomial is
# flat where an image is bad: no error would seem worth its bits there.
POINTS = 5.0

# Weights of the mean of the SSIM map in addition to the metric's own. Rows for scales,
# columns for Y, X, B.
FINE = ((25.0,), (25.0, 8.0, 4.0), (25.0, 0.0, 8.0))


def _weights():
    """Returns the metric's weights plus `FINE`, `[n, 6]` for each scale."""
    found = []
    for number, rows in enumerate(ssimulacra2.WEIGHTS):
        fine = FINE[number] if number < len(FINE) else ()
        own = np.zeros((max(len(rows), len(fine)), 6))
        own[: len(rows)] = rows
        own[: len(fine), 0] += fine
        found.append(own)
    return tuple(found)


WEIGHTS = _weights()
