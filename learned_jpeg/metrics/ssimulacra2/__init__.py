"""SSIMULACRA2: the score, and its gradients and curvature for the search."""

import numpy as np

from learned_jpeg.metrics.metric import Metric, TargetKind

MIN_SIDE = 8  # px, of an image and of each scale


def _prepare(original: np.ndarray):
    # Imported here, as compiled functions take their time.
    from learned_jpeg.metrics.ssimulacra2 import score

    return score.reference_scales(original)


def _compare(scales, decoded: np.ndarray) -> float:
    from learned_jpeg.metrics.ssimulacra2 import score

    return score.score(scales, decoded)


METRIC = Metric(
    key="ssimulacra2",
    name="SSIMULACRA2",
    prepare=_prepare,
    compare=_compare,
    min_side=MIN_SIDE,
    higher_is_better=True,
    order=50,
    rank=10,
    in_overview=True,
    bd_range=(30.0, 80.0),  # a score of 0 is no image that anybody would keep
    in_captions=True,
    caption_decimals=1,
    codec_compare=("ssimulacra2", "SSIMULACRA2 2.1"),
    target=TargetKind(
        tolerance=0.2,
        text="{:.2f}",
        slope=12.0,
        metavar="X",
        help="from above, at most 100",
        allowed=(-np.inf, 100.0),
    ),
)
