"""Features that are computed once: values, keys, damaged files, full disks."""

import logging
import os
import resource

import numpy as np
import pytest
from PIL import Image

from training import crops
from training.feature_cache import FeatureCache


def block_means(picture):
    """Stands for a network: mean and corner of each 8x8 block, `[rows, cols, 6]`."""
    pad = [(0, -side % 8) for side in picture.shape[:2]] + [(0, 0)]
    blocks = np.pad(picture, pad, "edge").astype(np.float32)
    rows, cols = blocks.shape[0] // 8, blocks.shape[1] // 8
    blocks = blocks.reshape(rows, 8, cols, 8, 3)
    return np.concatenate([blocks.mean((1, 3)), blocks[:, 0, :, 0]], -1)


class Counting:
    """A function that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, picture):
        self.calls += 1
        return block_means(picture)


@pytest.fixture
def compute():
    return Counting()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "features"


@pytest.fixture
def picture(smooth_picture):
    return smooth_picture(3, 37, 50)


def lines(caplog):
    assert all("\n" not in record.getMessage() for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


def test_features_are_computed_once_and_mapped(folder, compute, picture, caplog):
    wanted = np.float16(block_means(picture))
    for _ in range(2):  # Another one finds what the first has written.
        cache = FeatureCache(str(folder), compute, b"1")
        for _ in range(2):
            found = cache.of(picture)
            assert isinstance(found, np.memmap)
            np.testing.assert_array_equal(found, wanted)
    assert compute.calls == 1
    assert len(os.listdir(folder)) == 1 and not lines(caplog)


def test_another_picture_and_another_network_have_files_of_their_own(
    folder, compute, picture
):
    other = picture.copy()
    other[5, 5, 1] ^= 1
    for version in (b"1", b"2"):
        for seen in (picture, other, picture[:, ::-1], picture.transpose(1, 0, 2)):
            found = FeatureCache(str(folder), compute, version).of(seen)
            np.testing.assert_array_equal(found, np.float16(block_means(seen)))
    assert compute.calls == len(os.listdir(folder)) == 8


def flip_a_bit(data):
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda data: data[:-1],
        lambda data: data[:-900],
        lambda data: data[:5],
        lambda data: b"",
        lambda data: b"x" * len(data),
        lambda data: data[:128] + bytes(len(data) - 128),
    ],
)
def test_a_damaged_file_costs_a_line(folder, compute, picture, caplog, damage):
    FeatureCache(str(folder), compute, b"1").of(picture)
    (path,) = folder.iterdir()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    found = FeatureCache(str(folder), compute, b"1").of(picture)
    np.testing.assert_array_equal(found, np.float16(block_means(picture)))
    assert path.read_bytes() == sound
    (line,) = lines(caplog)
    assert str(path) in line and "damaged" in line


def test_a_full_disk_costs_a_line(folder, compute, smooth_picture, caplog):
    cache = FeatureCache(str(folder), compute, b"1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))
    try:
        for seed in (0, 1, 0):
            picture = smooth_picture(seed, 16, 24)
            found = cache.of(picture)
            np.testing.assert_array_equal(found, np.float16(block_means(picture)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert compute.calls == 3 and not os.listdir(folder)
    (line,) = lines(caplog)
    assert f"--feature_cache {folder}: File too large; missing" in line


def test_files_begin_as_those_of_numpy(folder, compute, picture, tmp_path):
    FeatureCache(str(folder), compute, b"1").of(picture)
    np.save(tmp_path / "a.npy", np.float16(block_means(picture)))
    (path,) = folder.iterdir()
    assert path.read_bytes()[:-4] == (tmp_path / "a.npy").read_bytes()


def test_a_folder_that_cannot_be_made_costs_a_line(tmp_path, compute, picture, caplog):
    (tmp_path / "file").touch()
    found = FeatureCache(str(tmp_path / "file"), compute, b"1").of(picture)
    np.testing.assert_array_equal(found, np.float16(block_means(picture)))
    assert "--feature_cache" in lines(caplog)[0]


def test_files_stay_below_the_limit(folder, compute, smooth_picture, caplog):
    for _ in range(2):  # The second one counts what the first has left.
        cache = FeatureCache(str(folder), compute, b"1", limit_gb=2000e-9)
        for seed in range(9):
            cache.of(smooth_picture(seed, 40, 40))
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert len(sizes) == 4 and sum(sizes) <= 2000
    assert [("0.000002" in line or "2e-06" in line) for line in lines(caplog)] == [
        True
    ] * 2
    assert compute.calls == 9 + 5


def test_what_half_precision_cannot_hold_is_clipped(folder):
    cache = FeatureCache(str(folder), lambda x: np.full((1, 1, 2), [1e9, -1e9]), b"1")
    found = cache.of(np.zeros((8, 8, 3), np.uint8))
    np.testing.assert_array_equal(found[0, 0], [65504, -65504])


@pytest.mark.parametrize("limit_gb", [1, 0])
def test_crops_come_with_the_features_of_their_own_blocks(
    tmp_path, folder, smooth_picture, limit_gb, caplog
):
    caplog.set_level(logging.ERROR)
    for index in range(3):
        picture = smooth_picture(index, 51 + index, 77)
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    data = crops.CropDataset(f"{tmp_path}/*.png", 7, 24, 2, seed=5)
    data.features = FeatureCache(str(folder), block_means, b"1", limit_gb).of
    batches = data.batches()
    found, mirrored = set(), 0
    originals = [np.asarray(Image.open(path)) for path in data.paths]
    for _ in range(20):
        pixels, features = next(batches)
        assert pixels.shape == (7, 24, 24, 3) and pixels.dtype == np.uint8
        assert features.shape == (7, 3, 3, 6) and features.dtype == np.float16
        for crop, own in zip(pixels, features, strict=True):
            np.testing.assert_array_equal(own, np.float16(block_means(crop)))
            mirrored += not any(on_grid(p, crop) for p in originals)
            found.add(crop.tobytes())
    batches.close()
    assert 30 < mirrored < 110 and len(found) > 60
    # A resumed training sees what it would have seen.
    resumed = data.batches(19)
    np.testing.assert_array_equal(next(resumed)[0], pixels)
    resumed.close()


def on_grid(picture, crop):
    """Whether a crop is one of the picture on the grid of blocks."""
    height, width = crop.shape[:2]
    return any(
        np.array_equal(picture[top : top + height, left : left + width], crop)
        for top in range(0, picture.shape[0] - height + 1, 8)
        for left in range(0, picture.shape[1] - width + 1, 8)
    )
