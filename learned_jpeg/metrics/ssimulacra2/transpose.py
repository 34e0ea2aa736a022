"""Transposes squares of pixels in the processor's registers.

A compiled loop moves such pixels one by one, which takes four times as long.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

SIDE = 16  # px, a power of two

_FLOATS = ir.VectorType(ir.FloatType(), SIDE)
_PLACES = ir.VectorType(ir.IntType(32), SIDE)


@intrinsic
def _transpose_square(context, source, start, step, target, to, to_step):

    def generate(context, builder, signature, arguments):

        def pointers(number):
            array, place, step = arguments[number : number + 3]
            array_type = make_array(signature.args[number])
            data = array_type(context, builder, array).data
            for _ in range(SIDE):
                row = builder.gep(data, [place], inbounds=True)
                yield builder.bitcast(row, _FLOATS.as_pointer())
                place = builder.add(place, step)

        rows = [builder.load(pointer, align=4) for pointer in pointers(0)]
        for row, pointer in zip(_transposed(builder, rows), pointers(3), strict=True):
            builder.store(row, pointer, align=4)
        return context.get_dummy_value()

    return types.void(source, start, step, target, to, to_step), generate


def _transposed(builder, rows):
    """Returns the columns of a square, whose rows are vectors of `SIDE` floats.

    Rows that are half a square apart are interleaved, and these again, until each row
    has one pixel of every row.
    """
    half = SIDE // 2
    for _ in range(SIDE.bit_length() - 1):
        rows = [
            builder.shuffle_vector(upper, lower, _interleaved(first))
            for upper, lower in zip(rows[:half], rows[half:], strict=True)
            for first in (0, half)
        ]
    return rows


def _interleaved(first):
    """Returns places of half of the pixels of two rows, in turn, from `first` on."""
    pairs = [(first + i, SIDE + first + i) for i in range(SIDE // 2)]
    return ir.Constant(_PLACES, [place for pair in pairs for place in pair])


# Writes a square of `SIDE` x `SIDE` px transposed; in compiled code only.
#
# Args:
#   source: float32, in C's order.
#   start, step: the place of the first pixel, and the distance of rows, in floats.
#   target, to, to_step: the same of the array that is written.
transpose_square: Any = _transpose_square
