"""Mean squared error over all pixels and channels, on the 0..255 scale.

BD-rates are not taken of it: the PSNR tells the same.
"""

from learned_jpeg.metrics.basic import mean_squared_error
from learned_jpeg.metrics.metric import Metric

METRIC = Metric(
    key="mse",
    name="MSE",
    compare=mean_squared_error,
    higher_is_better=False,
    order=40,
    rank=60,
    note="0\N{EN DASH}255 scale",
    is_compared=False,
)
