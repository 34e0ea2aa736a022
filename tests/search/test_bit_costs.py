"""Tests of bit_costs: the order of an interleaved scan, against the standard."""

from learned_jpeg.search.bit_costs import interleaved_order


def test_blocks_of_luma_come_in_units_of_the_interleaved_scan():
    """Units are 2x2 blocks at 4:2:0; the units of an image of 3x3 blocks are cut."""
    order = interleaved_order(24, 24, "4:2:0")
    assert order.tolist() == [0, 1, 3, 4, 2, 5, 6, 7, 8]
    order = interleaved_order(16, 24, "4:2:2")
    assert order.tolist() == [0, 1, 2, 3, 4, 5]
    order = interleaved_order(16, 16, "4:4:4")
    assert order.tolist() == [0, 1, 2, 3]
