"""Small results of evaluate.py, of files that are there and measured."""

import hashlib

import numpy as np
from PIL import Image
from scipy import ndimage

from evaluation import results
from evaluation.operating_points import encoding
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.metrics.basic import bits_per_pixel, mean_squared_error, psnr
from learned_jpeg.metrics.ssimulacra2 import score as ssimulacra2

ODD = "b #50%<i>%{x}\"'&amp;|日.png"
SIZES = {"a.png": (80, 112), ODD: (96, 72), "d.png": (73, 91)}
QUALITIES = (8, 20, 40, 65, 90)
BPP_RANGE = (0.5, 4.0)
RUN = "my-run, optimized, 4:2:0"
JPEG = "JPEG, standard"
MOZJPEG = "mozjpeg, 4:2:0"
# As the page calls them.
PAGE_JPEG = "JPEG"
PAGE_MOZJPEG = "mozjpeg 4:2:0"


def picture_of(name):
    """Smooth with some noise, uint8 RGB."""
    height, width = SIZES[name]
    noise = np.random.default_rng(width).standard_normal((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 3, 0))
    smooth = 128 + 50 * smooth / smooth.std() + 4 * noise
    return np.clip(smooth, 0, 255).round().astype(np.uint8)


def write_originals(folder):
    """{name: path} of the pictures in a new folder."""
    folder.mkdir(parents=True)
    for name in SIZES:
        Image.fromarray(picture_of(name)).save(folder / name)
    return {name: str(folder / name) for name in SIZES}


def write_point(folder, name, settings, encode, originals):
    """Writes and measures the files of a point; LPIPS and MS-SSIM are made up."""
    rows, images = [], []
    (folder / name).mkdir(parents=True)
    for image, path in originals.items():
        original = picture_of(image)
        height, width = original.shape[:2]
        data = encode(original)
        (folder / name / image.replace(".png", ".jpg")).write_bytes(data)
        decoded = jpeg_file.decode(data)
        mse = mean_squared_error(original, decoded)
        score = ssimulacra2.score(ssimulacra2.reference_scales(original), decoded)
        row = {"mse": mse, "psnr": psnr(mse), "lpips": mse / 1000, "ms-ssim": np.nan}
        row |= {"bpp": bits_per_pixel(len(data), height, width), "ssimulacra2": score}
        rows.append(row)
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        size = {"height": height, "width": width}
        images.append({"name": image, **size, "sha256": digest})
    point = results.PointResults.from_rows(list(originals), rows)
    key = {"images": images, "checkpoint": "c0ffee" * 8}
    versions = {"pillow": "12"}
    results.save(str(folder), name, point, key, settings=settings, versions=versions)


def write_results(folder, originals):
    """JPEG, mozjpeg and a run: an `--output_dir` of evaluate.py."""
    plain = encoding(quantization="round", entropy_coding="standard")
    small = encoding(
        quantization="round", entropy_coding="optimized", subsampling="4:2:0"
    )
    trellis = {**small, "quantization": "mozjpeg"}
    for q in QUALITIES:
        write_point(
            folder / "_output_PIL",
            f"Q{q}",
            {**plain, "quality": q},
            lambda picture, q=q: jpeg_file.encode_rgb(picture, q),
            originals,
        )
        write_point(
            folder / "_output",
            f"mozjpeg_Q{q}",
            {"tables": "mozjpeg", **trellis, "quality": q},
            lambda picture, q=q: jpeg_file.encode_mozjpeg_quality(picture, q),
            originals,
        )
        write_point(
            folder / "_output",
            f"my-run-lambda_{q}",
            {"script": "ljpeg", **small, "lmbda": q / 100},
            lambda picture, q=q: jpeg_file.encode_rgb(
                picture, q, "optimized", sampling="4:2:0"
            ),
            originals,
        )
    return folder
