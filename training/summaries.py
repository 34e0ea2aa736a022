"""TensorBoard's events of a training: scalars, images, rate of real files."""

from __future__ import annotations

import concurrent.futures
import io
import logging
import time

import numpy as np
from PIL import Image

import tensorflow_v1 as tf
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.sampling import planes_of
from learned_jpeg.metrics.basic import bits_per_pixel, mean_squared_error, psnr

logger = logging.getLogger(__name__)


class Summaries:
    """Writes TensorBoard's events; files are coded and written in another thread."""

    def __init__(self, folder: str, tensors: dict, sampling: str):
        """Writes into `folder` the values of `tensors`, see `Trainer`."""
        # Names hold seconds: a training that goes on at once would write into the same.
        suffix = f".{time.time_ns()}"
        self._writer = tf.summary.FileWriter(folder, filename_suffix=suffix)
        self._tensors = tensors
        self._sampling = sampling
        self._executor = concurrent.futures.ThreadPoolExecutor(1)
        self._pending = None

    def __enter__(self):
        """Returns itself."""
        return self

    def __exit__(self, *error):
        """Waits for the last summary, and closes the file of events."""
        self._executor.shutdown()
        self._report_failure()
        self._writer.close()

    def add(self, session: tf.Session, feeds: dict, step: int, losses: list) -> None:
        """Measures one batch now, and writes the summary of `step` later.

        Args:
          session, feeds: for the measurement.
          step: the global step.
          losses: of the batches since the last summary; a single one is noisy.
        """
        values = session.run(self._tensors, feeds)
        if losses:
            values["scalars"]["mean_loss"] = np.mean(losses)
        self._report_failure()
        self._pending = self._executor.submit(self._write, values, step)

    def _report_failure(self):
        """Reports what went wrong in the thread; the training goes on."""
        error = self._pending and self._pending.exception()
        if error:
            logger.warning("a summary was not written: %s", error)

    def _write(self, values, step):
        scalars = dict(values["scalars"])
        scalars["psnr"], scalars["bpp"] = _psnr_and_bpp(values, self._sampling)
        for table, name in enumerate(("luma", "chroma")):
            scalars[f"qtables/{name}_mean"] = values["qtables"][..., table].mean()
        summary = tf.Summary()
        for name, value in scalars.items():
            summary.value.add(tag=name, simple_value=float(value))
        images = dict(values["images"])
        images["qtables"] = _table_image(values["qtables"])[np.newaxis]
        for name, batch in images.items():
            for index, image in enumerate(batch):
                summary.value.add(tag=f"{name}/{index}", image=_image_summary(image))
        self._writer.add_summary(summary, step)
        self._writer.flush()


def _psnr_and_bpp(values, sampling):
    """Returns mean PSNR [dB] and bits per pixel of real files."""
    originals = values["images"]["original"]
    height, width = originals.shape[1:3]
    qtables = values["qtables"].transpose(2, 0, 1)
    psnrs, rates = [], []
    planes = planes_of(values["integers"])
    for original, *own in zip(originals, *planes, strict=True):
        coded = jpeg_file.QuantizedImage(own, sampling, qtables, height, width)
        data = jpeg_file.encode(coded)
        mse = mean_squared_error(original, jpeg_file.decode(data))
        psnrs.append(psnr(mse))
        rates.append(bits_per_pixel(len(data), height, width))
    return np.mean(psnrs), np.mean(rates)


def _table_image(qtables):
    """Draws both tables side by side, 16x16 px per entry, `[128, 272, 1]`."""
    # Of one logarithmic scale in every training: a step of 1 is black, 255 is white.
    shades = np.rint(255 * np.log(np.maximum(qtables, 1)) / np.log(255)).astype(
        np.uint8
    )
    tables = np.kron(shades.transpose(2, 0, 1), np.ones([1, 16, 16], np.uint8))
    gap = np.zeros([tables.shape[1], 16], np.uint8)
    return np.concatenate([tables[0], gap, tables[1]], 1)[..., np.newaxis]


def _image_summary(image):
    """Makes a `tf.Summary.Image` of uint8 `[h, w, 1 or 3]`."""
    height, width, channels = image.shape
    return tf.Summary.Image(
        height=height,
        width=width,
        colorspace=channels,
        encoded_image_string=_encode_png(image),
    )


def _encode_png(image):
    """Encodes a PNG file of uint8 `[h, w, 3]` (RGB) or `[h, w, 1]` (gray)."""
    buffer = io.BytesIO()
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
