"""ColorVideoVDP for still images, as the package cvvdp measures them."""

import numpy as np

from learned_jpeg.metrics.metric import Metric, TargetKind

MIN_SIDE = 4  # px, the least with a band of contrast beside the mean


def _prepare(original: np.ndarray):
    # Imported here, as compiled functions take their time.
    from learned_jpeg.metrics.cvvdp import score

    return score.prepare(original)


def _compare(original, decoded: np.ndarray) -> float:
    from learned_jpeg.metrics.cvvdp import score

    return score.score(original, decoded)


METRIC = Metric(
    key="cvvdp",
    name="CVVDP",
    unit="JOD",
    prepare=_prepare,
    compare=_compare,
    min_side=MIN_SIDE,
    higher_is_better=True,
    order=80,
    rank=15,
    decimals=3,
    bd_range=(8.9, 9.9),  # below, nobody would keep an image; above, few see more
    target=TargetKind(
        tolerance=0.01,
        text="{:.3f}",
        slope=0.2,
        metavar="JOD",
        help="from above, at most 10",
        allowed=(-np.inf, 10.0),
    ),
)
