"""Measurements of coding: evaluation, compression, growth with the image."""

import contextlib
import dataclasses
import functools
import glob
import io
import os

import numpy as np
from PIL import Image

import tensorflow_v1 as tf
from arg_parser import parse_evaluate
from benchmarks.measuring import (
    in_own_process,
    interleave,
    peak_megabytes,
    ratio,
    sample_image,
)
from benchmarks.training_speed import CASES
from evaluation.evaluator import Evaluator, TestImages, find_test_images
from evaluation.operating_points import plan_operating_points
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.quantizers import Rounding, edited_image
from learned_jpeg.codec.trained import Networks, TrainedModel, standard_tables
from learned_jpeg.common.machine import usable_cores
from learned_jpeg.jpeg import ENTROPY_CODINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.image_metrics import ImageMetrics, measure
from learned_jpeg.models import folders
from training import checkpoints, devices, variables
from training.differentiable import LearnedTables
from training.loop import Trainer

QUALITY = 50  # of plain JPEG, and of the tables in the stand-in for a trained model
GROWTH_MEGAPIXELS = (1, 4, 12)
SEARCH_MEGAPIXELS = (1, 10, 50)
_ROUND = EncodeOptions(quantization="round")
SEARCHES = {"MSE": "psnr", "MS-SSIM": "ms-ssim", "SSIMULACRA2": "ssimulacra2"}


def evaluation(options):
    """Evaluation, an image of 768x512 and an operating point."""
    image = sample_image(options)
    with _model("ljpeg_attention", options) as model:
        network = model.codec(_ROUND).model
        quantize = functools.partial(Rounding("standard").quantize, network, image)
        quantized = quantize()
        data = jpeg_file.encode(quantized)
        decoded = jpeg_file.decode(data)
        edited = edited_image(network, image)
        functions = {
            "attention: model": quantize,
            **{
                f"attention: coding, {coding}": functools.partial(
                    jpeg_file.encode, quantized, coding
                )
                for coding in ENTROPY_CODINGS
            },
            "attention: mozjpeg's quantization": lambda: jpeg_file.encode_mozjpeg(
                edited, quantized.qtables
            ),
            **{
                f"JPEG: coding, {coding}": functools.partial(
                    jpeg_file.encode_rgb, image, QUALITY, coding
                )
                for coding in ENTROPY_CODINGS
            },
            "JPEG: mozjpeg's quantization": lambda: jpeg_file.encode_mozjpeg(
                image, ijg_qtables(QUALITY).astype(np.uint8)
            ),
            "decoding": lambda: jpeg_file.decode(data),
            **_metric_functions(image, decoded),
            "once an image: features of the original": lambda: ImageMetrics(image),
        }
        timings = interleave(functions, options, "evaluation")
    rows = [
        {"case": name, "ms": timing.ms, **timing.checks}
        for name, timing in timings.items()
    ]
    return rows + _whole_points(options), []


def _metric_functions(image, decoded):
    """Returns functions that measure by each metric, and by all of them."""
    functions = {
        metric.name: functools.partial(ImageMetrics(image, [metric]).compare, decoded)
        for metric in registry.available()
    }
    everything = functools.partial(ImageMetrics(image).compare, decoded)
    return {**functions, "all metrics": everything}


def _whole_points(options):
    """Measures operating points as evaluate.py does: threads, files and results."""
    batch_dir = os.path.join(options.folder, "batch")
    folder = os.path.join(batch_dir, "run", "lambda_001", "train")
    _stand_in("ljpeg_attention", folder, options)
    flags = ["--batch_dir", batch_dir, "--test_image_glob", options.test_images]
    flags += ["--precision", options.precision, "--workers", str(usable_cores())]
    args = parse_evaluate(flags)
    images = TestImages(find_test_images(args.test_image_glob))
    evaluator = Evaluator(images, args)
    points = {point.name: point for point in plan_operating_points(args)[0]}
    fresh = functools.partial(_evaluate_anew, evaluator, options.folder)
    functions = {
        "whole operating point, JPEG": lambda: fresh(points[f"Q{QUALITY}"]),
        "whole operating point, attention": lambda: fresh(points["run-lambda_001"]),
    }
    timings = interleave(functions, options, "operating points")
    return [
        {
            "case": f"{name}, {args.workers} threads",
            "ms": timing.ms / len(images.paths),
            **timing.checks,
        }
        for name, timing in timings.items()
    ]


def _evaluate_anew(evaluator, folder, point):
    """Measures an operating point in a folder of its own, without cached results."""
    number = len(glob.glob(os.path.join(glob.escape(folder), "output*")))
    own = os.path.join(folder, f"output{number}")
    evaluator.evaluate(dataclasses.replace(point, folder=own))


def compress(options):
    """Compression, 1 megapixel."""
    image = sample_image(options, 1024, 1024)
    megapixels = image.shape[0] * image.shape[1] / 1e6
    functions = {
        "Pillow, quality 75, 4:2:0": lambda: _pillow(image),
        "Pillow, quality 75, 4:4:4": lambda: jpeg_file.encode_rgb(image, 75),
    }
    with contextlib.ExitStack() as stack:
        for name in ("ljpeg", "ljpeg_attention"):
            model = stack.enter_context(_model(name, options))
            for coding in ENTROPY_CODINGS:
                own = dataclasses.replace(_ROUND, entropy_coding=coding)
                functions[f"{name}, {coding} coding"] = functools.partial(
                    model.codec(own).encode, image
                )
        timings = interleave(functions, options, "compress")
    base = timings["Pillow, quality 75, 4:2:0"]
    rows = [
        {
            "case": name,
            "ms/megapixel": timing.ms / megapixels,
            **timing.checks,
            "time / Pillow 4:2:0": ratio(timing, base),
        }
        for name, timing in timings.items()
    ]
    return rows, []


def _pillow(image):
    Image.fromarray(image).save(io.BytesIO(), "JPEG", quality=75)


def encoding(options):
    """Beyond rounding, an image of 768x512: pixels to bytes with ljpeg's tables."""
    image = sample_image(options)
    search = EncodeOptions(tune=OWN_LOSS, subsampling="4:2:0")
    cases = {
        "round": _ROUND,
        "round, 4:2:0": dataclasses.replace(_ROUND, subsampling="4:2:0"),
        "search for MSE": search,
        "search for MSE, 4:4:4": dataclasses.replace(search, subsampling="4:4:4"),
        "search for MSE, standard Huffman tables": dataclasses.replace(
            search, entropy_coding="standard"
        ),
        "search for MS-SSIM": dataclasses.replace(search, tune="ms-ssim"),
        "search for MSE and MS-SSIM": dataclasses.replace(search, tune="mixed"),
        "search for SSIMULACRA2": dataclasses.replace(search, tune="ssimulacra2"),
        "one refinement step, LPIPS": dataclasses.replace(_ROUND, refine_steps=1),
    }
    # At quality 50 an MSE of 1 is worth about this many bits per pixel.
    flags = {"lmbda": 0.01, "rate_model": "entropy"}
    with contextlib.ExitStack() as stack:
        functions = {}
        for name, own in cases.items():
            folder = os.path.join(options.folder, name)
            lpips = {"lpips_weight": 5000.0} if own.refine_steps else {}
            _stand_in("ljpeg", folder, options, **flags, **lpips)
            model = stack.enter_context(_restored("ljpeg", folder, options))
            functions[name] = functools.partial(model.codec(own).encode, image)
        timings = interleave(functions, options, "encoding")
    rows = [
        {"case": name, "ms": timing.ms, **timing.checks}
        for name, timing in timings.items()
    ]
    return rows, []


def picture_size(options):
    """Size of the image: ljpeg_attention's codec, the metrics and the search."""
    folder = os.path.join(options.folder, "size")
    _stand_in("ljpeg_attention", folder, options)
    cases = {
        "codec": (functools.partial(_time_codec, folder), GROWTH_MEGAPIXELS),
        "metrics": (_time_metrics, GROWTH_MEGAPIXELS),
        **{
            f"search for {name}": (
                functools.partial(_time_search, tune),
                SEARCH_MEGAPIXELS,
            )
            for name, tune in SEARCHES.items()
        },
    }
    rows = []
    for name, (function, sizes) in cases.items():
        first = None
        for megapixels in sizes[: 1 if options.quick else None]:
            (timing, start), peak = in_own_process(function, options, megapixels)
            speed = timing.ms / megapixels
            first = first or speed
            rows.append(
                {
                    "case": f"{name}, {megapixels} megapixels",
                    "ms/megapixel": speed,
                    **timing.checks,
                    "ms/megapixel / that of 1": speed / first,
                    "peak MB": peak,
                    "MB above start": peak - start,
                }
            )
    return rows, []


def _large_image(options, megapixels):
    """Returns an image of the shape 4:3."""
    height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
    return sample_image(options, height, height * 4 // 3)


def _time_codec(folder, options, megapixels):
    image = _large_image(options, megapixels)
    with _restored("ljpeg_attention", folder, options) as model:
        network = model.codec(_ROUND).model
        start = peak_megabytes()
        functions = {"codec": lambda: Rounding("standard").quantize(network, image)}
        return interleave(functions, options, f"{megapixels} MP")["codec"], start


def _time_metrics(options, megapixels):
    image = _large_image(options, megapixels)
    decoded = jpeg_file.decode(jpeg_file.encode_rgb(image, QUALITY))
    start = peak_megabytes()
    functions = {"metrics": lambda: measure(image, decoded)}
    return interleave(functions, options, f"{megapixels} MP")["metrics"], start


def _time_search(tune, options, megapixels):
    image = _large_image(options, megapixels)
    with standard_tables() as model:
        codec = model.codec(EncodeOptions(tune=tune, subsampling="4:2:0"))
        codec.encode(image[:256, :256], QUALITY)  # compiles
        start = peak_megabytes()
        functions = {"search": lambda: codec.encode(image, QUALITY)}
        return interleave(functions, options, f"{megapixels} MP")["search"], start


def _model(name, options):
    """Returns the `TrainedModel` of a stand-in."""
    folder = os.path.join(options.folder, name)
    _stand_in(name, folder, options)
    return _restored(name, folder, options)


def _restored(name, folder, options):
    return TrainedModel.load(folder, name, Networks(options.precision))


def _stand_in(name, folder, options, **flags):
    """Writes a checkpoint as a training leaves it.

    Its weights are those of the start of a training, ImageNet's in the trunk. Its
    tables are those of quality 50: those of the start (1 to 2) make files that no one
    wants.
    """
    case = CASES[name]
    own = case.train_options(options, patchsize=64, batchsize=1, **flags)
    os.makedirs(folder, exist_ok=True)
    checkpoints.save_record(folder, own.record)
    qtables = ijg_qtables(QUALITY)
    with (
        tf.Graph().as_default(),
        tf.Session(config=devices.session_config()) as session,
    ):
        Trainer(case.model_class, own).initialize(session, None)
        saved = tf.global_variables()
        (tables,) = [v for v in saved if v.op.name == LearnedTables.NAME]
        scaled = np.moveaxis(qtables, 0, -1) * LearnedTables.SCALE
        variables.assign(session, [tables], [scaled])
        path = os.path.join(folder, checkpoints.CHECKPOINT_NAME)
        saver = variables.saver(saved)
        prefix = saver.save(session, path, global_step=0, write_meta_graph=False)
    folders.save_qtables(prefix, name, qtables)
