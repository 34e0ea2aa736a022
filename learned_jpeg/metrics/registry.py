"""All image-quality metrics, found in the modules of this package.

To add a metric, add a module (or a package) that declares `METRIC = Metric(...)`. It
must import what takes long (numba, SciPy, TensorFlow) inside its functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

import learned_jpeg.metrics
from learned_jpeg.metrics.metric import Metric

# The metrics by which the defaults of the search and of the training were chosen. Every
# other one is an outside judge: it took no part in any choice.
CHOSEN_BY = ("ssimulacra2", "cvvdp", "butteraugli", "psnr", "mse")


def _found() -> list[Metric]:
    """Returns the metrics that the modules of this package declare."""
    package = learned_jpeg.metrics
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    declared = [vars(module).get("METRIC") for module in modules]
    return [metric for metric in declared if metric is not None]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.key: metric for metric in sorted(_found(), key=lambda m: m.order)}
)


def get(key: str) -> Metric:
    """Returns the metric of a key, such as "ms-ssim"; KeyError if there is none."""
    return METRICS[key]


def available() -> list[Metric]:
    """Returns the metrics that can be measured on this machine."""
    return [metric for metric in METRICS.values() if metric.is_available()]


def compared() -> list[Metric]:
    """Returns the metrics of which BD-rates are taken."""
    return [metric for metric in METRICS.values() if metric.is_compared]


def overview() -> list[Metric]:
    """Returns the metrics that the overview figure shows."""
    return [metric for metric in METRICS.values() if metric.in_overview]


def captions() -> list[Metric]:
    """Returns the metrics in the captions of images, the best ranked one first."""
    found = [metric for metric in METRICS.values() if metric.in_captions]
    return sorted(found, key=lambda metric: metric.rank)


def targets() -> list[Metric]:
    """Returns the metrics that a file can be asked to come close to."""
    return [metric for metric in METRICS.values() if metric.target]
