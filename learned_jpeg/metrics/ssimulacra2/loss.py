"""SSIMULACRA2 as a loss, of the search and of trainings: weights of its sum.

The metric alone would leave block edges and stray dots: it sees no ringing of luma at
fine scales, and no chroma there. So terms of its own kind are added.
"""

import numpy as np

from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2

# Points that a unit of the metric's weighted sum is taken for. Its polynomial is flat
# where a picture is bad: no error would seem worth its bits there.
POINTS = 5.0

# Weights of the mean of the SSIM map beside the metric's own. Rows for scales, columns
# for Y, X, B.
FINE = ((25.0, 4.0), (25.0, 8.0, 4.0), (25.0, 0.0, 8.0))


def _weights():
    """The metric's, `[n, 6]` for each scale, with `FINE`."""
    found = []
    for number, rows in enumerate(ssimulacra2.WEIGHTS):
        fine = FINE[number] if number < len(FINE) else ()
        own = np.zeros((max(len(rows), len(fine)), 6))
        own[: len(rows)] = rows
        own[: len(fine), 0] += fine
        found.append(own)
    return tuple(found)


WEIGHTS = _weights()
