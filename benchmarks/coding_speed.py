"""Measurements of coding: evaluation, compression, growth with the picture."""

import contextlib
import functools
import glob
import io
import os

import numpy as np
from learned_jpeg.codec.codecs import PLAIN, Codecs
from PIL import Image

import tensorflow_v1 as tf
from arg_parser import parse_evaluate
from benchmarks.measuring import (
    in_own_process,
    interleave,
    peak_megabytes,
    ratio,
    test_picture,
)
from benchmarks.training_speed import CASES
from evaluation.dots import plan_dots
from evaluation.evaluator import Evaluator, TestImages, find_test_images
from learned_jpeg.codec.codec import Quantization
from learned_jpeg.jpeg import ENTROPY_CODINGS
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.metrics import registry
from learned_jpeg.metrics.image_metrics import ImageMetrics, measure
from ljpeg_PIL import StandardJPEG
from training import checkpoints, devices, variables
from training.differentiable import LearnedTables
from training.loop import Trainer

QUALITY = 50  # of plain JPEG, and of the tables in the stand-in for a trained model
GROWTH_MEGAPIXELS = (1, 4, 12)
SEARCH_MEGAPIXELS = (1, 10, 50)
SEARCHES = {"MSE": "psnr", "MS-SSIM": "ms-ssim", "SSIMULACRA2": "ssimulacra2"}


def evaluation(options):
    """Evaluation, an image of 768x512 and a dot"""
    picture = test_picture(options)
    with _codec("ljpeg_attention", options) as codec:
        quantized = codec.quantize(picture)
        data = jpeg_file.encode(quantized)
        decoded = jpeg_file.decode(data)
        functions = {
            "attention: model": lambda: codec.quantize(picture),
            **{
                f"attention: coding, {coding}": functools.partial(
                    jpeg_file.encode, quantized, coding
                )
                for coding in ENTROPY_CODINGS
            },
            **{
                f"JPEG: coding, {coding}": functools.partial(
                    jpeg_file.encode_rgb, picture, QUALITY, coding
                )
                for coding in ENTROPY_CODINGS
            },
            "decoding": lambda: jpeg_file.decode(data),
            **_metric_functions(picture, decoded),
            "once an image: features of the original": lambda: ImageMetrics(picture),
        }
        timings = interleave(functions, options, "evaluation")
    rows = [
        {"case": name, "ms": timing.ms, **timing.checks}
        for name, timing in timings.items()
    ]
    return rows + _whole_dots(options), []


def _metric_functions(picture, decoded):
    """Returns functions that measure by each metric, and by all of them."""
    functions = {
        metric.name: functools.partial(ImageMetrics(picture, [metric]).compare, decoded)
        for metric in registry.available()
    }
    everything = functools.partial(ImageMetrics(picture).compare, decoded)
    return {**functions, "all metrics": everything}


def _whole_dots(options):
    """Whole dots as evaluate.py measures them: threads, files, caches, results."""
    batch_dir = os.path.join(options.folder, "batch")
    folder = os.path.join(batch_dir, "run", "lambda_001", "train")
    _stand_in("ljpeg_attention", folder, options)
    flags = ["--batch_dir", batch_dir, "--test_image_glob", options.test_images]
    args = parse_evaluate([*flags, "--precision", options.precision])
    images = TestImages(find_test_images(args.test_image_glob))
    evaluator = Evaluator(images, args)
    dots = {dot.name: dot for dot in plan_dots(args)[0]}
    fresh = functools.partial(_evaluate_anew, evaluator, options.folder)
    functions = {
        "whole dot, JPEG": lambda: fresh(dots[f"Q{QUALITY}"]),
        "whole dot, attention": lambda: fresh(dots["run-lambda_001"]),
    }
    timings = interleave(functions, options, "dots")
    return [
        {
            "case": f"{name}, {args.workers} threads",
            "ms": timing.ms / len(images.paths),
            **timing.checks,
        }
        for name, timing in timings.items()
    ]


def _evaluate_anew(evaluator, folder, dot):
    """Measures a dot in a folder of its own, where no cached result is."""
    number = len(glob.glob(os.path.join(glob.escape(folder), "output*")))
    evaluator.evaluate(dot._replace(folder=os.path.join(folder, f"output{number}")))


def compress(options):
    """Compression, 1 megapixel"""
    picture = test_picture(options, 1024, 1024)
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    functions = {
        "Pillow, quality 75, 4:2:0": lambda: _pillow(picture),
        "Pillow, quality 75, 4:4:4": lambda: jpeg_file.encode_rgb(picture, 75),
    }
    with contextlib.ExitStack() as stack:
        for name in ("ljpeg", "ljpeg_attention"):
            codec = stack.enter_context(_codec(name, options))
            for coding in ENTROPY_CODINGS:
                functions[f"{name}, {coding} coding"] = functools.partial(
                    _encode, codec, picture, coding
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


def _pillow(picture):
    Image.fromarray(picture).save(io.BytesIO(), "JPEG", quality=75)


def _encode(codec, picture, coding):
    return jpeg_file.encode(codec.quantize(picture), coding)


def encoding(options):
    """Beyond rounding, an image of 768x512: pixels to bytes with ljpeg's tables"""
    picture = test_picture(options)
    search = Quantization("rdoq", sampling="4:2:0")
    entropy = {"rate_model": "entropy"}
    cases = {
        "round": (Quantization(), {}),
        "round, 4:2:0": (Quantization(sampling="4:2:0"), {}),
        "search for MSE": (search, entropy),
        "search for MSE, 4:4:4": (Quantization("rdoq", sampling="4:4:4"), entropy),
        "search for MSE, standard Huffman tables": (
            search._replace(entropy_coding="standard"),
            entropy,
        ),
        "search for MS-SSIM": (search._replace(tune="ms-ssim"), entropy),
        "search for MSE and MS-SSIM": (search._replace(tune="mixed"), entropy),
        "search for SSIMULACRA2": (search._replace(tune="ssimulacra2"), entropy),
        "one refinement step, LPIPS": (
            Quantization(refine_steps=1),
            {**entropy, "lpips_weight": 5000},
        ),
    }
    with contextlib.ExitStack() as stack:
        functions = {}
        for name, (quantization, flags) in cases.items():
            # At quality 50 an MSE of 1 is worth about this many bits per pixel.
            folder = os.path.join(options.folder, name)
            prefix = _stand_in("ljpeg", folder, options, lmbda=0.01, **flags)
            codec = _restored("ljpeg", prefix, options, quantization)
            codec = stack.enter_context(codec)
            coding = quantization.entropy_coding
            functions[name] = functools.partial(_encode, codec, picture, coding)
        timings = interleave(functions, options, "encoding")
    rows = [
        {"case": name, "ms": timing.ms, **timing.checks}
        for name, timing in timings.items()
    ]
    return rows, []


def picture_size(options):
    """Picture size: ljpeg_attention's codec, the metrics and the search"""
    folder = os.path.join(options.folder, "size")
    prefix = _stand_in("ljpeg_attention", folder, options)
    rows = []
    cases = {
        "codec": (_time_codec, GROWTH_MEGAPIXELS),
        "metrics": (_time_metrics, GROWTH_MEGAPIXELS),
        **{
            f"search for {name}": (
                functools.partial(_time_search, tune),
                SEARCH_MEGAPIXELS,
            )
            for name, tune in SEARCHES.items()
        },
    }
    for name, (function, sizes) in cases.items():
        first = None
        for megapixels in sizes[: 1 if options.quick else None]:
            (timing, start), peak = in_own_process(
                function, options, prefix, megapixels
            )
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


def _large_picture(options, megapixels):
    """A picture of the shape 4:3."""
    height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
    return test_picture(options, height, height * 4 // 3)


def _time_codec(options, prefix, megapixels):
    picture = _large_picture(options, megapixels)
    with _restored("ljpeg_attention", prefix, options) as codec:
        start = peak_megabytes()
        functions = {"codec": lambda: codec.quantize(picture)}
        return interleave(functions, options, f"{megapixels} MP")["codec"], start


def _time_metrics(options, prefix, megapixels):
    del prefix  # The metrics need no model.
    picture = _large_picture(options, megapixels)
    decoded = jpeg_file.decode(jpeg_file.encode_rgb(picture, QUALITY))
    start = peak_megabytes()
    functions = {"metrics": lambda: measure(picture, decoded)}
    return interleave(functions, options, f"{megapixels} MP")["metrics"], start


def _time_search(tune, options, prefix, megapixels):
    del prefix  # The search needs no model.
    picture = _large_picture(options, megapixels)
    with Codecs(quantization=Quantization("rdoq", tune=tune)).make(
        StandardJPEG
    ) as codec:
        codec.quantize(picture[:256, :256], QUALITY)  # compiles
        start = peak_megabytes()
        functions = {"search": lambda: codec.quantize(picture, QUALITY)}
        return interleave(functions, options, f"{megapixels} MP")["search"], start


@contextlib.contextmanager
def _codec(name, options):
    """Yields the `Codec` of a stand-in for a trained model."""
    prefix = _stand_in(name, os.path.join(options.folder, name), options)
    with _restored(name, prefix, options) as codec:
        yield codec


@contextlib.contextmanager
def _restored(name, prefix, options, quantization=PLAIN):
    settings = checkpoints.model_settings(os.path.dirname(prefix), name)
    model_class = CASES[name].model_class
    codecs = Codecs(options.precision, quantization)
    with codecs.make(model_class, settings, prefix) as codec:
        yield codec


def _stand_in(name, folder, options, **flags):
    """Writes a checkpoint as a training leaves it; returns its prefix.

    Weights as at the start of a training, ImageNet's in the trunk; but tables of
    quality 50, as those at the start (1 to 2) give files of a size that no one wants.
    """
    case = CASES[name]
    patchsize = 192 if flags.get("msssim_weight") else 64
    args = case.args(options, patchsize=patchsize, batchsize=1, **flags)
    os.makedirs(folder, exist_ok=True)
    checkpoints.save_settings(folder, checkpoints.settings_of(args, name))
    with (
        tf.Graph().as_default(),
        tf.Session(config=devices.session_config()) as session,
    ):
        Trainer(case.model_class, args).initialize(session, None)
        saved = tf.global_variables()
        (tables,) = [v for v in saved if v.op.name == LearnedTables.NAME]
        scaled = np.moveaxis(ijg_qtables(QUALITY), 0, -1) * LearnedTables.SCALE
        variables.assign(session, [tables], [scaled])
        path = os.path.join(folder, checkpoints.CHECKPOINT_NAME)
        saver = variables.saver(saved)
        prefix = saver.save(session, path, global_step=0, write_meta_graph=False)
    checkpoints.save_qtables(prefix, name, ijg_qtables(QUALITY))
    return prefix
