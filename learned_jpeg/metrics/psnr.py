"""PSNR: the peak signal-to-noise ratio over RGB, in dB; infinite for equal images."""

import math

import numpy as np

from learned_jpeg.metrics.basic import mean_squared_error, psnr
from learned_jpeg.metrics.metric import Metric, TargetKind


def _compare(original: np.ndarray, decoded: np.ndarray) -> float:
    return psnr(mean_squared_error(original, decoded))


METRIC = Metric(
    key="psnr",
    name="PSNR",
    unit="dB",
    compare=_compare,
    higher_is_better=True,
    order=10,
    rank=30,
    in_overview=True,
    in_captions=True,
    json_name="psnr-rgb",
    codec_compare=("psnr", "Peak signal-to-noise ratio over RGB, in dB"),
    target=TargetKind(
        tolerance=0.05,
        text="{:.3f} dB",
        slope=2.0,
        metavar="DB",
        help="from above, in dB",
        allowed=(0.0, math.inf),
    ),
)
