"""Results of an operating point, made up."""

import os

from evaluation import results

IMAGES = ["a.png", "b, c.png"]


VALUES = {
    "bpp": [0.1, 1 / 3],
    "mse": [20.25, 91.0],
    "lpips": [0.1, 0.25],
    "psnr": [35.066, 28.54],
    "ms-ssim": [0.98, 0.9],
    "ssimulacra2": [80.5, -3.25],
}


def make_results(**changes):
    return results.PointResults(IMAGES, {**VALUES, **changes})


def make_key(**changes):
    images = [
        {"name": name, "height": 512, "width": 768, "sha256": name[0] * 64}
        for name in IMAGES
    ]
    key = {"checkpoint": "c" * 64, "images": images, "settings": {"quality": 20}}
    return {**key, "code": "0123456789ab", **changes}


def lists_of(point):
    return [point.values[name] for name in results.PICKLED]


def read_point(path):
    """The results of an operating point, of whatever key, by the path of a file."""
    stem = os.path.splitext(path)[0]
    return results.read_values(stem, results.read_record(stem))


BPP = [0.25, 0.4, 0.6, 0.9, 1.3, 2.0]


MEANS = {
    "psnr": [24.0, 27.1, 29.4, 31.5, 33.6, 36.4],
    "ms-ssim": [0.81, 0.9, 0.95, 0.973, 0.986, 0.993],
    "lpips": [0.45, 0.3, 0.17, 0.1, 0.05, 0.02],
    "ssimulacra2": [-24.0, 12.0, 33.5, 50.0, 62.5, 77.0],
}
