"""The work of `compress` on one image: read, encode, write, measure, record."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import sys
import time
from typing import Any

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.commands.batch import Done, MemoryBudget, size_of
from learned_jpeg.commands.batch_jobs import is_batch_job
from learned_jpeg.commands.earlier_results import is_same_image
from learned_jpeg.commands.files import encode_file
from learned_jpeg.commands.plan import STREAM
from learned_jpeg.commands.records import ORIGINAL, SKIPPED, Record
from learned_jpeg.common import machine
from learned_jpeg.common.atomic_files import is_free, permissions_of, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.terminal import write_to_stdout
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.frame import read_frame
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import image_size, read_image

# Bytes a pixel that an image takes while it is encoded, at most; measured.
_BYTES_PER_PIXEL = 150


class Job:
    """Compresses one file after another; may be called from several threads."""

    def __init__(self, encoder: Encoder, args, guard, earlier=frozenset()):
        """Stores what all images share.

        Args:
          encoder: `Encoder`.
          args: flags of the command.
          guard: `OutputGuard` or `NoOverwriteGuard`.
          earlier: as in `Plan`.
        """
        self._encoder = encoder
        self._args = args
        self._guard = guard
        self._earlier = earlier
        self.workers = args.workers or machine.usable_cores()
        self._budget = MemoryBudget(machine.available_memory())

    def __call__(self, path: str, output: str) -> Done:
        """Compresses a file, unless its result is there and is not to be replaced."""
        start = time.perf_counter()
        self._guard.check(output)
        fields: dict[str, Any] = {"status": SKIPPED}
        measured: dict[str, float] = {}
        if not self._is_there(output):
            height, width = image_size(path, self._args.max_megapixels)
            with self._budget.taken(_BYTES_PER_PIXEL * height * width):
                fields, measured = self._compress(path, output)
        record = Record(
            path=path,
            output=output,
            bytes_in=size_of(path),
            bytes_out=os.path.getsize(output),
            seconds=time.perf_counter() - start,
            **fields,
        )
        return Done(record, measured)

    def _is_there(self, output):
        """Whether there is a result that is not to be made again."""
        if self._args.force or is_free(output):
            return False
        if self._args.skip_existing:
            return True
        if is_batch_job(self._args):  # made by a call that did not come to record it?
            return False
        raise _exists(output)

    def _compress(self, path, output):
        """Writes a result; returns (fields of its `Record`, metrics)."""
        args = self._args
        result = encode_file(
            self._encoder,
            path,
            keeps_metadata=not args.strip_metadata,
            keeps_smaller=args.keep_smaller,
            lenient=args.lenient,
            max_megapixels=args.max_megapixels,
        )
        if os.path.realpath(output) in self._earlier:
            self._check_earlier(path, output, result.image)
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        if not self._write(output, result.data, permissions_of(path)):
            return {"status": SKIPPED}, {}
        frame = read_frame(io.BytesIO(result.data))
        fields = {
            "status": result.status,
            "bpp": bits_per_pixel(len(result.data), *result.image.shape[:2]),
            "setting": result.setting,
            "subsampling": frame and frame.subsampling,
        }
        return fields, self._measure(result, output) if args.verbose else {}

    def _check_earlier(self, path, output, image):
        """Looks again at a file that was left out as a result, before it is replaced.

        Raises:
          UserError: it shows another image, which would be lost.
        """
        if not self._args.force or is_free(output):
            return
        if not is_same_image(output, path, image):
            raise UserError(
                f"{output}: is not replaced, as it may be an image of its own; name a "
                "folder for the results by -o, or remove it"
            )

    def _write(self, output, data, permissions):
        """Writes a result; returns False if it is there and is to be skipped."""
        guard = self._guard.claim(output)
        try:
            write_atomically(output, data, self._args.force, guard, permissions)
        except FileExistsError:  # made by another call meanwhile
            if self._args.skip_existing:
                return False
            if not (is_batch_job(self._args) and _holds(output, data)):
                raise _exists(output) from None
        return True

    def _measure(self, result, output):
        """Returns the metrics of the file on the disk."""
        if result.status == ORIGINAL:  # may still have to be turned upright
            decoded = read_image(output)
        else:
            with open(output, "rb") as file:
                decoded = jpeg_file.decode(file.read())
        return ImageMetrics(result.image).compare(decoded)


def _exists(output):
    return UserError(f"{output}: exists already; pass --force to overwrite it")


def _holds(path, data):
    with open(path, "rb") as file:
        return file.read(len(data) + 1) == data


class StreamJob:
    """A job whose input or output is a standard stream, through temporary files."""

    def __init__(self, job: Job, folder: str):
        """Stores a `Job`, and a folder that is removed after it."""
        self._job = job
        self._folder = folder

    def __call__(self, path: str, output: str) -> Done:
        """Compresses one image; the record names the streams by `STREAM`."""
        source, target = path, output
        if path == STREAM:
            source = os.path.join(self._folder, "standard_input")
            with open(source, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        if output == STREAM:
            target = os.path.join(self._folder, "standard_output.jpg")
        try:
            done = self._job(source, target)
        except UserError as error:
            raise UserError(str(error).replace(source, path)) from error
        if output == STREAM:
            with open(target, "rb") as file:
                write_to_stdout(file.read())
        record = dataclasses.replace(done.record, path=path, output=output)
        return done._replace(record=record)
