"""Batches of crops: exact, complete, and unharmed by bad files."""

import itertools
import logging
import threading
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from learned_jpeg.common.errors import UserError
from training import crops
from training.crops import CropDataset

PATCH = 16


def coordinates(index, height, width):
    """A picture that says which one it is, and where each of its pixels is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.full_like(y, index), y, x], -1).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path):
    """Seven PNG files of different sizes; returns their pixels by index."""
    sizes = [(16, 16), (16, 40), (33, 20), (30, 30), (50, 17), (24, 64), (20, 21)]
    pixels = [coordinates(i, *size) for i, size in enumerate(sizes)]
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    return pixels


@pytest.fixture
def small_pools(monkeypatch):
    """Pools of 2 visits with 3 crops each: batches of 4 cross pools and epochs."""
    monkeypatch.setattr(crops, "VISITS_PER_POOL", 2)
    monkeypatch.setattr(crops, "CROPS_PER_VISIT", 3)


def dataset(folder, batchsize=4, seed=0, threads=2, patchsize=PATCH):
    pattern = str(folder / "*.png")
    return CropDataset(pattern, batchsize, patchsize, threads, seed)


def take(data, count, start=0):
    with closing(data.batches(start)) as batches:
        return np.stack(list(itertools.islice(batches, count)))


def damage(path):
    """Cuts a PNG file off behind its header: its size can be read, its pixels not."""
    path.write_bytes(path.read_bytes()[:60])


# Order


def test_batch_is_the_same_wherever_the_reading_starts(tmp_path, pictures, small_pools):
    # 7 images, 3 crops a visit, 4 crops a batch: 30 batches are almost six epochs.
    batches = take(dataset(tmp_path), 30)
    assert batches.shape == (30, 4, PATCH, PATCH, 3)
    assert batches.dtype == np.uint8
    for start in (1, 2, 3, 7, 20, 29):
        again = take(dataset(tmp_path), 30 - start, start)
        np.testing.assert_array_equal(again, batches[start:])


def test_batches_do_not_depend_on_the_number_of_threads(
    tmp_path, pictures, small_pools
):
    one = take(dataset(tmp_path, threads=1), 12)
    np.testing.assert_array_equal(one, take(dataset(tmp_path, threads=8), 12))


def test_batch_larger_than_a_pool_is_filled_from_several(
    tmp_path, pictures, small_pools
):
    large = take(dataset(tmp_path, batchsize=20), 3)
    small = take(dataset(tmp_path, batchsize=4), 15)
    np.testing.assert_array_equal(large.reshape(small.shape), small)
    second = take(dataset(tmp_path, batchsize=20), 1, start=2)
    np.testing.assert_array_equal(second[0], large[2])


def test_seeds_give_other_batches(tmp_path, pictures, small_pools):
    first = take(dataset(tmp_path, seed=0), 5)
    assert not np.array_equal(first, take(dataset(tmp_path, seed=1), 5))


def test_default_pool_is_resumed_in_its_middle(tmp_path, pictures):
    per_pool = crops.VISITS_PER_POOL * crops.CROPS_PER_VISIT // 4
    batches = take(dataset(tmp_path), per_pool + 3)
    again = take(dataset(tmp_path), 5, per_pool - 2)
    np.testing.assert_array_equal(again, batches[per_pool - 2 :])


# Content


def test_crops_are_true_parts_of_the_files(tmp_path, pictures, small_pools):
    corners = set()
    for crop in take(dataset(tmp_path), 40).reshape(-1, PATCH, PATCH, 3):
        index, top, left = (int(v) for v in crop[0, 0])
        part = pictures[index][top : top + PATCH, left : left + PATCH]
        np.testing.assert_array_equal(crop, part)
        corners.add((index, top, left))
    assert len(corners) > 80  # of 160 crops, of which 1 in 7 has a single place


def test_every_image_is_visited_once_an_epoch_in_an_order_of_its_own(
    tmp_path, pictures, monkeypatch
):
    monkeypatch.setattr(crops, "VISITS_PER_POOL", 1)
    monkeypatch.setattr(crops, "CROPS_PER_VISIT", 1)
    epochs = take(dataset(tmp_path, batchsize=7), 6)[:, :, 0, 0, 0]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(7))
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_visits_of_an_epoch_that_ends_inside_a_pool_are_complete(
    tmp_path, pictures, small_pools
):
    # Seven epochs of seven visits; the last visit shares a pool with the next epoch.
    crops = take(dataset(tmp_path, batchsize=1), 48 * 3)[:, 0, 0, 0, 0]
    counts = np.bincount(crops, minlength=7)
    assert counts.sum() == 144
    assert sorted(counts) == [18] + 6 * [21]


def test_crops_of_two_epochs_differ(tmp_path, pictures, small_pools):
    crops = take(dataset(tmp_path, batchsize=42), 2)
    crops = [
        {crop.tobytes() for crop in batch if crop[0, 0, 0] == 5} for batch in crops
    ]
    assert crops[0] and crops[0] != crops[1]


def test_crops_of_one_pool_are_shuffled_across_its_images(tmp_path, pictures):
    indices = take(dataset(tmp_path, batchsize=56), 1)[0, :, 0, 0, 0]
    # Unshuffled, a visit's crops come together: 7 runs of 8.
    assert np.count_nonzero(np.diff(indices.astype(int))) > 20


# Bad files


def test_corrupt_image_is_reported_once_by_name_and_replaced(
    tmp_path, pictures, small_pools, caplog
):
    damage(tmp_path / "3.png")
    with caplog.at_level(logging.WARNING):
        data = dataset(tmp_path)
        crops = take(data, 30)
    assert len(data.paths) == 7
    reports = [r.getMessage() for r in caplog.records]
    assert len(reports) == 1
    assert str(tmp_path / "3.png") in reports[0]
    assert set(np.unique(crops[..., 0])) == {0, 1, 2, 4, 5, 6}


def test_corrupt_image_does_not_change_what_a_resume_sees(
    tmp_path, pictures, small_pools
):
    damage(tmp_path / "3.png")
    batches = take(dataset(tmp_path), 20)
    np.testing.assert_array_equal(take(dataset(tmp_path), 9, 11), batches[11:])


def test_file_that_is_no_image_is_left_out_and_named(tmp_path, pictures, caplog):
    (tmp_path / "8.png").write_bytes(b"not a picture")
    with caplog.at_level(logging.WARNING):
        data = dataset(tmp_path)
    assert len(data.paths) == 7
    [report] = [r.getMessage() for r in caplog.records]
    assert str(tmp_path / "8.png") in report


def test_small_images_are_left_out_with_one_warning(tmp_path, pictures, caplog):
    with caplog.at_level(logging.WARNING):
        data = dataset(tmp_path, patchsize=24)
    assert [path.rsplit("/", 1)[-1] for path in data.paths] == ["3.png", "5.png"]
    [report] = [r.getMessage() for r in caplog.records]
    assert "5 training images" in report and "--patchsize 24" in report
    assert str(tmp_path / "0.png") in report
    assert set(np.unique(take(data, 4)[..., 0])) == {3, 5}


def test_images_that_fit_exactly_are_used(tmp_path, pictures, caplog):
    data = dataset(tmp_path, patchsize=16)
    assert len(data.paths) == 7
    assert not caplog.records


def test_glob_without_files_is_a_user_error_that_repeats_it(tmp_path):
    pattern = str(tmp_path / "nothing-*.png")
    with pytest.raises(UserError) as caught:
        CropDataset(pattern, 4, PATCH, 2, 0)
    message = str(caught.value)
    assert "--train_glob" in message and pattern in message and "\n" not in message


def test_images_that_are_all_too_small_are_a_user_error(tmp_path, pictures):
    with pytest.raises(UserError) as caught:
        dataset(tmp_path, patchsize=65)
    message = str(caught.value)
    assert str(tmp_path / "*.png") in message and "65x65" in message
    assert "--patchsize" in message and "7 files" in message


def test_images_that_become_unreadable_are_a_user_error_in_the_reader(
    tmp_path, pictures, small_pools
):
    for path in tmp_path.glob("*.png"):
        damage(path)
    data = dataset(tmp_path)
    with closing(data.batches()) as batches, pytest.raises(UserError, match="none of"):
        next(batches)


def test_vanished_image_is_replaced(tmp_path, pictures, small_pools, caplog):
    data = dataset(tmp_path)
    (tmp_path / "2.png").unlink()
    crops = take(data, 20)
    assert 2 not in np.unique(crops[..., 0])
    assert len([r for r in caplog.records if "2.png" in r.getMessage()]) == 1


def test_image_that_shrank_below_a_crop_is_replaced(tmp_path, pictures, small_pools):
    data = dataset(tmp_path)
    Image.fromarray(coordinates(2, 9, 9)).save(tmp_path / "2.png")
    crops = take(data, 20)
    assert 2 not in np.unique(crops[..., 0])


# Threads


def test_threads_end_when_the_reader_is_closed(tmp_path, pictures, small_pools):
    before = set(threading.enumerate())
    batches = dataset(tmp_path).batches()
    next(batches)
    assert set(threading.enumerate()) - before
    batches.close()
    assert not set(threading.enumerate()) - before


def test_reader_is_no_more_than_a_few_batches_ahead(
    tmp_path, pictures, small_pools, monkeypatch
):
    visits = []
    read_image = crops.read_image
    monkeypatch.setattr(
        crops, "read_image", lambda p: visits.append(p) or read_image(p)
    )
    waiting = threading.Event()
    put = crops._put

    def put_and_tell(ready, item, stop):
        if ready.full():
            waiting.set()
        return put(ready, item, stop)

    monkeypatch.setattr(crops, "_put", put_and_tell)
    with closing(dataset(tmp_path).batches()) as batches:
        next(batches)
        assert waiting.wait(20)
    # 8 waiting and 2 in hand, of 4 crops; 3 crops a visit, and three pools of 2.
    assert len(visits) <= (10 * 4) // 3 + 6


def pixel_positions(height, width):
    """A picture that says where each of its pixels is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x], -1).astype(np.uint8)


def test_crops_are_parts_of_the_picture_and_own_their_memory():
    picture = pixel_positions(40, 50)
    found = crops._random_crops(picture, 16, 30, np.random.default_rng(0))
    assert len(found) == 30
    for crop in found:
        top, left = crop[0, 0].astype(int)
        expected = picture[top : top + 16, left : left + 16]
        np.testing.assert_array_equal(crop, expected)
        assert crop.base is None


def test_crops_reach_every_corner_and_no_further():
    found = crops._random_crops(
        pixel_positions(18, 17), 16, 500, np.random.default_rng(0)
    )
    corners = {tuple(int(v) for v in crop[0, 0]) for crop in found}
    assert corners == {(top, left) for top in range(3) for left in range(2)}
