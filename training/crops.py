"""Random crops of training images: shuffled, bounded in memory, exactly resumable.

The n-th batch is a function of only the files, the sizes and the seed, so that a
resumed training sees what it would have seen without the break.
"""

from __future__ import annotations

import collections
import concurrent.futures
import logging
import queue
import threading
from collections.abc import Iterator

import numpy as np

from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg.standard import BLOCK
from learned_jpeg.pictures.image_files import find_images, image_size, read_image

logger = logging.getLogger(__name__)

# An image is decoded once a visit, which gives this many crops.
CROPS_PER_VISIT = 12
# Crops of this many images are shuffled together and make up the buffer: 384 crops,
# 75 MB at 256x256, of which at most three are alive (used, made, waiting).
VISITS_PER_POOL = 32
BATCHES_AHEAD = 8


class CropDataset:
    """Batches of random crops from a list of image files.

    With a function `features` from an image to `[rows, cols, channels]`, one vector
    for each of its 8x8 blocks, crops lie on the grid of the blocks and come with their
    part of the image's features; every second one is of the mirrored image.
    """

    def __init__(
        self, pattern: str, batchsize: int, patchsize: int, threads: int, seed: int
    ):
        """Lists the images and reads their headers.

        Args:
          pattern: glob, folder or file, as for `find_images`.
          batchsize: crops in a batch.
          patchsize: side of the crops in px.
          threads: number of images decoded at a time.
          seed: int, of the order of the images and of the crops.

        Raises:
          UserError: no image, or none that is readable and large enough.
        """
        self._batchsize = batchsize
        self._patchsize = patchsize
        self._threads = threads
        self._seed = seed
        self._reported = set()
        self.features = None
        try:
            paths = find_images([pattern])
        except UserError as error:
            raise UserError(f"--train_glob: {error}") from error
        self.paths = self._usable(paths)
        if not self.paths:
            raise UserError(
                f"--train_glob {pattern}: none of {len(paths)} files is a readable "
                f"image of at least {patchsize}x{patchsize} px (--patchsize)"
            )

    def _usable(self, paths):
        usable, small = [], []
        for path in paths:
            try:
                size = image_size(path)
            except UserError as error:
                self._report(path, error)
                continue
            (usable if min(size) >= self._patchsize else small).append(path)
        if small:
            logger.warning(
                "%d training images left out, smaller than --patchsize %d: %s%s",
                len(small),
                self._patchsize,
                ", ".join(small[:5]),
                ", ..." if len(small) > 5 else "",
            )
        return usable

    def _report(self, path, error):
        if path not in self._reported:
            self._reported.add(path)
            logger.warning("training image left out: %s", error)

    def batches(self, start: int = 0) -> Iterator:
        """Yields the batches `start`, `start + 1`, ... without end.

        Each is a uint8 array `[batchsize, patchsize, patchsize, 3]`; with `features` a
        pair of that and `[batchsize, patchsize / 8, patchsize / 8, channels]`. A thread
        makes them ahead of their use; close the generator to end it.
        """
        ready = queue.Queue(BATCHES_AHEAD)
        stop = threading.Event()
        worker = threading.Thread(
            target=self._produce, args=(start, ready, stop), daemon=True
        )
        worker.start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()
            worker.join()

    def _produce(self, start, ready, stop):
        """Puts batches, or the exception that ended them, into the queue `ready`."""
        with concurrent.futures.ThreadPoolExecutor(self._threads) as executor:
            try:
                for batch in self._make_batches(start, executor):
                    if not _put(ready, batch, stop):
                        break
            except Exception as error:
                _put(ready, error, stop)
            executor.shutdown(cancel_futures=True)

    def _make_batches(self, start, executor):
        per_pool = VISITS_PER_POOL * CROPS_PER_VISIT
        pool, skip = divmod(start * self._batchsize, per_pool)
        crops = collections.deque()
        futures = self._submit_pool(pool, executor)
        while True:
            made = self._collect_pool(pool, futures)
            crops.extend(made[skip:])
            pool, skip = pool + 1, 0
            futures = self._submit_pool(pool, executor)
            while len(crops) >= self._batchsize:
                yield _stack([crops.popleft() for _ in range(self._batchsize)])

    def _submit_pool(self, pool, executor):
        visits = range(pool * VISITS_PER_POOL, (pool + 1) * VISITS_PER_POOL)
        return [executor.submit(self._visit, visit) for visit in visits]

    def _collect_pool(self, pool, futures):
        crops = [crop for future in futures for crop in future.result()]
        order = self._rng(1, pool).permutation(len(crops))
        return [crops[i] for i in order]

    def _visit(self, visit):
        """Returns the crops of one visit, of the next image where one is damaged."""
        epoch, position = divmod(visit, len(self.paths))
        order = self._rng(0, epoch).permutation(len(self.paths))
        for index in np.roll(order, -position):
            try:
                image = self._read(self.paths[index])
            except UserError as error:
                self._report(self.paths[index], error)
                continue
            return self._crops(image, self._rng(2, visit))
        raise UserError("--train_glob: none of the training images can be read")

    def _crops(self, image, rng):
        if self.features is None:
            return _random_crops(image, self._patchsize, CROPS_PER_VISIT, rng)
        if rng.integers(2):
            image = np.ascontiguousarray(image[:, ::-1])
        features = self.features(image)
        return _random_pairs(image, features, self._patchsize, CROPS_PER_VISIT, rng)

    def _read(self, path):
        image = read_image(path)
        if min(image.shape[:2]) < self._patchsize:
            raise UserError(f"{path}: has become smaller than --patchsize")
        return image

    def _rng(self, stream, index):
        return np.random.default_rng([self._seed, stream, index])


def _put(ready, item, stop):
    """Puts an item into the queue; False if the reader has stopped."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def _stack(crops):
    """Stacks crops, or pairs of crops and features, to batches."""
    if isinstance(crops[0], tuple):
        return tuple(map(np.stack, zip(*crops, strict=True)))
    return np.stack(crops)


def _random_crops(image, size, count, rng):
    """Cuts `count` random squares out of one image.

    Args:
      image: array `[h, w, c]`, both sides at least `size`.
      size: side of the crops in px.
      count: number of crops.
      rng: `numpy.random.Generator` that draws the corners.

    Returns:
      A list of contiguous copies `[size, size, c]`, which do not keep the image.
    """
    height, width = image.shape[:2]
    tops = rng.integers(0, height - size + 1, count)
    lefts = rng.integers(0, width - size + 1, count)
    return [
        image[top : top + size, left : left + size].copy()
        for top, left in zip(tops, lefts, strict=True)
    ]


def _random_pairs(image, features, size, count, rng):
    """Cuts random squares on the grid of 8x8 blocks out of an image and its features.

    Args:
      image: array `[h, w, c]`, both sides at least `size`.
      features: array `[rows, cols, channels]`, a vector for each block.
      size: side of the crops in px, a multiple of 8.
      count: number of pairs.
      rng: `numpy.random.Generator` that draws the corners.

    Returns:
      A list of (crop of the image, crop of the features). The former are copies; so
      are the latter, unless they are of a memory map, whose pages need not be resident.
    """
    height, width = image.shape[:2]
    blocks = size // BLOCK
    rows = rng.integers(0, (height - size) // BLOCK + 1, count)
    cols = rng.integers(0, (width - size) // BLOCK + 1, count)
    pairs = []
    for row, col in zip(rows, cols, strict=True):
        top, left = BLOCK * row, BLOCK * col
        own = features[row : row + blocks, col : col + blocks]
        if not isinstance(features, np.memmap):
            own = own.copy()
        pairs.append((image[top : top + size, left : left + size].copy(), own))
    return pairs
