"""Logarithms and powers in single precision, in loops that the compiler vectorises."""

import math

import numpy as np

from learned_jpeg.common.compiled import fma, from_bits, njit, to_bits

_FRACTION_BITS = np.int32(23)  # of a float32
_FRACTION = np.int32((1 << 23) - 1)
_ROOT_HALF = np.float32(math.sqrt(0.5)).view(np.int32)

# log2(x) = 2 / log(2) atanh((x - 1) / (x + 1)), whose series is cut; the first term
# that is missing is below 4e-8 for x from the root of 1/2 to the root of 2.
_ATANH = tuple(np.float32(2 / math.log(2) / n) for n in (1, 3, 5, 7))

# 2^x, whose series is cut at x^6; the rest is below 2e-7 for x from -1/2 to 1/2.
_EXP2 = tuple(np.float32(math.log(2) ** n / math.factorial(n)) for n in range(7))

_ONE = np.float32(1)
_BIAS = np.int32(127)  # of an exponent
_ROUNDING_BIAS = np.float32(127.5)


@njit
def log2(value):
    """Returns the binary logarithm of a positive, normal float32."""
    bits = np.int32(to_bits(value) - _ROOT_HALF)
    exponent = np.int32(bits >> _FRACTION_BITS)
    fraction = from_bits(np.int32(np.int32(bits & _FRACTION) + _ROOT_HALF))
    ratio = (fraction - _ONE) / (fraction + _ONE)
    square = ratio * ratio
    series = fma(square, _ATANH[3], _ATANH[2])
    series = fma(square, series, _ATANH[1])
    series = fma(square, series, _ATANH[0])
    return fma(ratio, series, np.float32(exponent))


@njit
def exp2(value):
    """Returns 2 to the power of a float32 between -126 and 127."""
    whole = np.int32(np.int32(value + _ROUNDING_BIAS) - _BIAS)
    part = value - np.float32(whole)
    series = fma(part, _EXP2[6], _EXP2[5])
    series = fma(part, series, _EXP2[4])
    series = fma(part, series, _EXP2[3])
    series = fma(part, series, _EXP2[2])
    series = fma(part, series, _EXP2[1])
    series = fma(part, series, _EXP2[0])
    return from_bits(np.int32(to_bits(series) + np.int32(whole << _FRACTION_BITS)))


@njit
def power(base, exponent):
    """Returns a positive, normal float32 to a power that is one, too."""
    return exp2(exponent * log2(base))
