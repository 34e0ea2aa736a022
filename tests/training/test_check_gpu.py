"""What check_gpu prints is measured."""

from training import check_gpu


def test_a_matrix_product_and_batches_take_time():
    assert 0 < check_gpu.matrix_product_seconds("/cpu:0", side=64) < 5
    assert check_gpu.batches_a_second(12, images=1) > 0
