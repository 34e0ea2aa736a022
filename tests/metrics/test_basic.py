"""Tests of basic: rate, squared error, decibels."""

import numpy as np
import pytest

from metrics.basic import ms_ssim_db


def test_ms_ssim_of_one_is_infinite_decibels():
    assert ms_ssim_db(1.0) == np.inf
    assert ms_ssim_db(0.99) == pytest.approx(20)
