"""Tests of basic: rate, squared error, decibels."""

import numpy as np
import pytest

from learned_jpeg.metrics.basic import mean_of_defined, ms_ssim_db


def test_ms_ssim_of_one_is_infinite_decibels():
    assert ms_ssim_db(1.0) == np.inf
    assert ms_ssim_db(0.99) == pytest.approx(20)


@pytest.mark.parametrize(
    "values, mean",
    [
        ([30.0, np.inf, 40.0], 35.0),
        ([30.0, np.nan], 30.0),
        ([np.inf, np.nan, np.inf], np.inf),
        ([np.nan], np.nan),
        ([], np.nan),
    ],
)
def test_mean_is_that_of_the_finite_values(values, mean):
    np.testing.assert_equal(mean_of_defined(values), mean)
