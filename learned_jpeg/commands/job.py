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
from learned_jpeg.commands.arguments import read_options_of
from learned_jpeg.commands.batch import Budget, Done, size_of
from learned_jpeg.commands.files import EncodedFile, encode_file
from learned_jpeg.commands.keeping import keeping_of
from learned_jpeg.commands.placing import Placing
from learned_jpeg.commands.plan import STREAM
from learned_jpeg.commands.records import ORIGINAL, SKIPPED, Record
from learned_jpeg.common import machine
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.terminal import write_to_stdout
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.frame import read_frame
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.basic import bits_per_pixel
from learned_jpeg.metrics.image_metrics import ImageMetrics
from learned_jpeg.pictures.image_files import decode_jpeg, image_size

# Bytes that an image takes while it is encoded, measured at --quality 75, two threads:
# each pixel of a small image; strips of a large one, and each of its pixels.
_SMALL, _STRIPS, _LARGE = 220, 350_000_000, 48
SCORE = "ssimulacra2"  # key of the metric that a record names by itself


def memory_of(height: int, width: int) -> int:
    """Returns how many bytes an image of so many px takes while it is encoded."""
    pixels = height * width
    return min(_SMALL * pixels, _STRIPS + _LARGE * pixels)


class Job:
    """Compresses one file after another; may be called from several threads."""

    def __init__(self, encoder: Encoder, args, placing: Placing):
        """Stores what all images share.

        Args:
          encoder: `Encoder`.
          args: flags of the command.
          placing: puts the results where they belong.
        """
        self._encoder = encoder
        self._args = args
        self._placing = placing
        self._reading = read_options_of(args)
        self.workers = args.workers or machine.usable_cores()
        self._budget = Budget(machine.available_memory(), self.workers)

    def __call__(self, path: str, output: str) -> Done:
        """Compresses a file, unless its result is there and is not to be replaced."""
        start = time.perf_counter()
        size = size_of(path)
        result, measured = None, {}
        existing = self._placing.existing(path, output)
        if not existing:
            height, width = image_size(path, self._reading)
            with self._budget.taken(memory_of(height, width)):
                result = self._compress(path, output)
                if result:
                    measured = self._measure(result, output)
        record = Record(
            path=path,
            output=output,
            bytes_in=size,
            bytes_out=len(result.data) if result else os.path.getsize(output),
            dry_run=self._args.dry_run,
            seconds=time.perf_counter() - start,
            **self._fields(result, measured),
        )
        return Done(record, measured, existing.note if existing else None)

    def _compress(self, path: str, output: str) -> EncodedFile | None:
        """Returns what it has written; None if it is to be skipped."""
        args = self._args
        result = encode_file(
            self._encoder,
            path,
            keeping=keeping_of(args),
            keeps_smaller=args.keep_smaller,
            reading=self._reading,
        )
        result = self._placing.chosen(path, result)
        if not args.dry_run and not self._placing.put(path, output, result):
            return None
        return result

    def _fields(self, result, measured) -> dict[str, Any]:
        """Returns the fields of a `Record` that tell of a result."""
        if not result:
            return {"status": SKIPPED}
        frame = read_frame(io.BytesIO(result.data))
        return {
            "status": result.status,
            "bpp": bits_per_pixel(len(result.data), *result.image.shape[:2]),
            "setting": result.setting,
            "subsampling": frame and frame.subsampling,
            "score": measured.get(SCORE, result.score),
            "metrics": measured if self._args.verbose else None,
        }

    def _measure(self, result: EncodedFile, output: str) -> dict[str, float]:
        """Returns the metrics that are asked for, of the file on the disk."""
        if not (self._args.verbose or self._args.dry_run):
            return {}
        data = result.data
        if not self._args.dry_run:
            with open(output, "rb") as file:
                data = file.read()
        if result.status == ORIGINAL:  # may still have to be turned upright
            decoded = decode_jpeg(data, output)
        else:
            decoded = jpeg_file.decode(data)
        metrics = None if self._args.verbose else [registry.get(SCORE)]
        values = ImageMetrics(result.image, metrics).compare(decoded)
        return {name: float(value) for name, value in values.items()}


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
        if output == STREAM and not done.record.dry_run:
            with open(target, "rb") as file:
                write_to_stdout(file.read())
        record = dataclasses.replace(done.record, path=path, output=output)
        return done._replace(record=record)
