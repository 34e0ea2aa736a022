"""How the benchmarks measure: interleaved timing, processes of their own, images."""

import concurrent.futures
import dataclasses
import glob
import math
import multiprocessing
import os
import platform
import random
import statistics
import time

import numpy as np
import tqdm
from PIL import Image

from evaluation import results
from learned_jpeg.pictures import image_files
from training import devices

# A repeat calls a fast function so often that it runs as long as this.
_MIN_SECONDS = 0.3
_SLOW_SECONDS = 10.0  # A function that takes longer is warmed up once only.

_PACKAGES = ("tensorflow", "tensorflow-compression", "numpy", "pillow", "jpeglib")


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of every measurement."""

    repeats: int
    quick: bool  # one short repeat, to see that everything runs
    precision: str  # of the convolutions
    folder: str  # temporary, for images and checkpoints
    train_images: str  # glob
    test_images: str  # glob


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds and processor seconds (of all threads) of a call, one for each repeat."""

    seconds: tuple
    processor_seconds: tuple

    @property
    def median(self):
        """Seconds a call."""
        return statistics.median(self.seconds)

    @property
    def ms(self):
        """Median, in milliseconds a call."""
        return 1000 * self.median

    @property
    def checks(self):
        """The columns that show how far to trust the median."""
        pairs = zip(self.processor_seconds, self.seconds, strict=True)
        return {
            "spread": max(self.seconds) / self.median,
            "cores": statistics.median(cpu / wall for cpu, wall in pairs),
        }


def interleave(functions, options, label):
    """Times functions in turn, so that other work on the machine slows all alike.

    Args:
      functions: `{name: callable without arguments}`.
      options: `Options`.
      label: of the progress bar.

    Returns:
      `{name: Timing}`.
    """
    timings = {name: [] for name in functions}
    total = (1 + options.repeats) * len(functions)
    with tqdm.tqdm(total=total, desc=label, leave=False, disable=None) as bar:
        calls = {}
        for name, function in functions.items():
            calls[name] = _warm_up(function, options)
            bar.update()
        for repeat in range(options.repeats):
            # Shuffled, as what ran before can matter.
            for name in random.Random(repeat).sample(list(functions), len(functions)):
                timings[name].append(_time(functions[name], calls[name]))
                bar.update()
    return {
        name: Timing(*zip(*values, strict=True)) for name, values in timings.items()
    }


def _warm_up(function, options):
    """Calls the function; returns how often a repeat calls it."""
    seconds, _ = _time(function, 1)  # Allocates; TensorFlow optimises the graph.
    if options.quick or seconds > _SLOW_SECONDS:
        return 1
    seconds, _ = _time(function, 1)
    return math.ceil(_MIN_SECONDS / seconds)


def _time(function, calls):
    """Returns (seconds, processor seconds) of a call."""
    cpu, start = _processor_seconds(), time.perf_counter()
    for _ in range(calls):
        function()
    seconds = time.perf_counter() - start
    return seconds / calls, (_processor_seconds() - cpu) / calls


def _processor_seconds():
    """Returns the processor time of this process and of programs that it has run."""
    own = os.times()
    return time.process_time() + own.children_user + own.children_system


def time_once(function):
    """Returns the `Timing` of one call, without a warm-up."""
    seconds, cpu = _time(function, 1)
    return Timing((seconds,), (cpu,))


def ratio(timing, base):
    """Returns the median over the repeats of the ratio of two interleaved timings."""
    pairs = zip(timing.seconds, base.seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def in_own_process(function, *args):
    """Runs a module's function in a new process; returns its result and peak memory.

    Returns:
      (what `function(*args)` returns, peak resident memory of the process in MB).
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        return executor.submit(_with_peak, function, args).result()


def _with_peak(function, args):
    value = function(*args)
    return value, peak_megabytes()


def peak_megabytes():
    """Returns the peak resident memory of this process so far, in MB (10^6 bytes).

    Not from `getrusage`, whose peak a new process inherits from its parent.
    """
    return _kilobytes("/proc/self/status", "VmHWM") * 1024 / 1e6


def memory_gigabytes():
    """Returns (all memory, memory that is available now) of the machine, in GB."""
    keys = ("MemTotal", "MemAvailable")
    return tuple(_kilobytes("/proc/meminfo", key) * 1024 / 1e9 for key in keys)


def _kilobytes(path, key):
    with open(path, encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[key].split()[0])


def machine():
    """Returns what the numbers depend on, as a JSON-able dict."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_gigabytes()[0], 1),
        "bfloat16": devices.choose_precision()[1],
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "versions": results.library_versions(_PACKAGES),
    }


def _cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":")[1].strip() for line in file if "model name" in line]
    return names[0] if names else platform.machine()


def photograph_like(seed, height, width):
    """Returns a synthetic image, uint8 `[height, width, 3]`.

    As in photographs, amplitudes fall with the frequency, chroma is weaker than luma,
    and there are edges and plain areas. At quality 50 it takes about as many bits as
    a photograph of Kodak's set (1.1 bpp).
    """
    rng = np.random.default_rng(seed)
    luma, detail, *chroma = (_falling_noise(rng, height, width) for _ in range(4))
    edges = np.digitize(luma, [-1.0, -0.3, 0.4, 1.1]) - 2.0
    luma = 30 * edges + 14 * luma + 24 * detail * (edges > -0.5)
    planes = [luma + 10 * chroma[0], luma, luma + 12 * chroma[1]]
    return np.clip(128 + np.stack(planes, -1), 0, 255).astype(np.uint8)


def _falling_noise(rng, height, width):
    """Returns noise whose amplitude falls with the frequency, variance 1."""
    vertical = np.fft.fftfreq(height)[:, np.newaxis]
    frequency = np.hypot(vertical, np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    spectrum /= frequency**1.4
    noise = np.fft.irfft2(spectrum, (height, width))
    return noise / noise.std()


def write_images(folder, count, height, width):
    """Writes `count` synthetic images as PNG files; returns a glob for them."""
    os.makedirs(folder, exist_ok=True)
    for seed in range(count):
        image = Image.fromarray(photograph_like(seed, height, width))
        image.save(os.path.join(folder, f"image{seed:02d}.png"))
    return os.path.join(glob.escape(folder), "*.png")


def sample_image(options, height=512, width=768):
    """Returns the first test image, uint8, cut or repeated to `[height, width, 3]`.

    An image that is higher than wide is turned.
    """
    image = image_files.read_image(image_files.find_images(options.test_images)[0])
    if image.shape[0] > image.shape[1]:
        image = image.transpose(1, 0, 2)
    repeats = [-(-height // image.shape[0]), -(-width // image.shape[1]), 1]
    return np.ascontiguousarray(np.tile(image, repeats)[:height, :width])
