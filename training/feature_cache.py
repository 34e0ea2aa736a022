"""Features of a frozen network for whole images, computed once and kept on disk.

A file for each image: half precision, NumPy's format, memory-mapped, so that pages
which are not in use cost no memory; behind the array a CRC-32 of its bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import zlib
from collections.abc import Callable

import numpy as np

from learned_jpeg.common.atomic_files import atomic_path

logger = logging.getLogger(__name__)

FORMAT = 1  # of the files; another one gives other names
LIMIT_GB = 8.0  # of all files of a folder, 10^9 bytes
_CRC_BYTES = 4


class FeatureCache:
    """Features by image; may be asked by several threads."""

    def __init__(
        self,
        folder: str,
        compute: Callable[[np.ndarray], np.ndarray],
        version: bytes,
        limit_gb: float = LIMIT_GB,
    ):
        """Makes the folder; reads nothing yet.

        Args:
          folder: of the files; several trainings may share it.
          compute: function from uint8 RGB `[h, w, 3]` to `[rows, cols, channels]`.
          version: bytes that tell apart whatever the features depend on in addition to
            the image: weights, precision, code.
          limit_gb: once the files take more, further features are not kept.
        """
        self._folder = folder
        self._compute = compute
        self._version = version
        self._limit = limit_gb * 1e9
        self._lock = threading.Lock()  # One image at a time: memory is bounded.
        self._checked = set()  # Keys whose file has been read whole.
        self._is_writing = True
        try:
            os.makedirs(folder, exist_ok=True)
            with os.scandir(folder) as entries:
                self._used = sum(e.stat().st_size for e in entries if e.is_file())
        except OSError as error:
            self._stop_writing(error.strerror)

    def of(self, image: np.ndarray) -> np.ndarray:
        """Returns the features of an image, computed where no sound file has them.

        Args:
          image: uint8 RGB `[h, w, 3]`.

        Returns:
          float16 `[rows, cols, channels]`, one vector for each block of 8x8 px (the
          last ones padded by edge replication); memory-mapped where it is kept.
        """
        key = self._key(image)
        path = os.path.join(self._folder, f"{key}.npy")
        features = self._read(path, key)
        if features is not None:
            return features
        with self._lock:
            features = np.float16(
                np.clip(self._compute(image), *_finite_range(np.float16))
            )
            self._write(path, features)
        # Mapped, if it was written: an array would stay in memory with each crop.
        mapped = self._read(path, key)
        return features if mapped is None else mapped

    def _key(self, image):
        digest = hashlib.sha256(self._version)
        digest.update(f"{FORMAT} {image.shape}".encode())
        digest.update(np.ascontiguousarray(image))
        return digest.hexdigest()[:40]

    def _read(self, path, key):
        """Reads the array of a file; None where the file is missing or damaged."""
        try:
            features = np.load(path, mmap_mode="r", allow_pickle=False)
            if key not in self._checked:
                _check(path, features)
                self._checked.add(key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            logger.warning("%s: damaged (%s), is computed again", path, error)
            with contextlib.suppress(OSError):
                os.remove(path)
            return None
        return features

    def _write(self, path, features):
        size = features.nbytes + 128 + _CRC_BYTES
        if self._is_writing and self._used + size > self._limit:
            self._stop_writing(f"it has reached {self._limit / 1e9:g} GB")
        if not self._is_writing:
            return
        try:
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                _save(file, features)
            self._used += size
        except OSError as error:
            self._stop_writing(error.strerror)

    def _stop_writing(self, reason):
        self._is_writing = False
        logger.warning(
            "--feature_cache %s: %s; missing features are computed at every visit of "
            "an image, which takes longer",
            self._folder,
            reason,
        )


def _finite_range(dtype):
    return np.finfo(dtype).min, np.finfo(dtype).max


def _save(file, features):
    """Writes an array as np.save does, and its CRC; np.save hides the disk's error."""
    array = np.ascontiguousarray(features)
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header)
    file.write(array.data)
    file.write(_crc(array))


def _crc(features):
    return zlib.crc32(np.ascontiguousarray(features)).to_bytes(_CRC_BYTES, "little")


def _check(path, features):
    """Raises ValueError if a file's bytes are not those that were written."""
    with open(path, "rb") as file:
        file.seek(-_CRC_BYTES, os.SEEK_END)
        written = file.read()
    if features.dtype != np.float16 or features.ndim != 3 or written != _crc(features):
        raise ValueError("its checksum is wrong")
