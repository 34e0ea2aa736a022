"""Rate, squared error and decibels: numbers that every part of the project shares."""

import math
from collections.abc import Iterable

import numpy as np

INFINITE_PSNR = "Images that equal their originals are left out of the mean PSNR"


def bits_per_pixel(num_bytes: int, height: int, width: int) -> float:
    """Returns the rate of a file of `num_bytes` bytes and `height` x `width` px."""
    return 8 * num_bytes / (height * width)


def mean_squared_error(original: np.ndarray, decoded: np.ndarray) -> float:
    """Returns the mean squared error of two uint8 arrays, exact up to the division."""
    difference = np.subtract(original, decoded, dtype=np.int16)
    squares = np.square(difference, dtype=np.int32)
    return int(np.sum(squares, dtype=np.int64)) / squares.size


def psnr(mse: float) -> float:
    """Returns the PSNR in dB for a mean squared error on 0..255: inf for 0."""
    return 10 * math.log10(255**2 / mse) if mse else math.inf


def ms_ssim_db(ms_ssim: float) -> float:
    """Returns MS-SSIM in decibels, -10 log10(1 - ms_ssim): inf for 1, nan for nan."""
    return math.inf if ms_ssim >= 1 else -10 * np.log10(1 - ms_ssim)


def defined(values: Iterable[float]) -> list[float]:
    """Returns the values that are numbers: a metric of a small image is nan."""
    return [value for value in values if not np.isnan(value)]


def mean_of_defined(values: Iterable[float]) -> float:
    """Returns the mean of the finite values.

    An image that equals its original, such as a blank page, has an infinite PSNR,
    which would hide all others. Without a finite value: inf if there is one, else nan.
    """
    values = defined(values)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        return float(np.mean(finite))
    return float(values[0]) if values else math.nan
