"""SSIMULACRA2 as what a search minimises, with terms at fine scales.

The interface is that of jpeg/search.py, see `search.SquaredError`.
"""

import functools

import numpy as np

from learned_jpeg.jpeg.standard import BLOCK, YCBCR_TO_RGB
from learned_jpeg.metrics.ssimulacra2 import window as ssimulacra2_window
from learned_jpeg.metrics.ssimulacra2.loss import POINTS, WEIGHTS
from learned_jpeg.metrics.ssimulacra2.slopes import MAPS, Direction, Original, slopes
from learned_jpeg.search.basis_energies import SCALES, grams
from learned_jpeg.search.passes import Form, SquaredError, Steps
from learned_jpeg.search.planes import add_error_slope, parts, shown_rgb

NUMBERS_VERSION = 2  # see evaluation/fingerprint.py

_FIRST_POINTS = 6.0  # `POINTS` where nothing is coded yet
# Means of correlations between the errors of a block are less sure than variances.
_SHRINKAGE = 0.3
_REACH = 0.35  # steps that a target may differ from the original's coefficient
_CHROMA_REACH = 0.5  # part of the way that targets of chroma go

_PART = 1 << 13  # blocks


class SeenError:
    """`lmbda * (100 - score) * pixels`, near enough, of `ssimulacra2_loss`.

    Beside a squared error where that has a weight.

    In every pass, for Cb and Cr and for Y, the metric is taken as its gradient and a
    quadratic form whose weights differ by block; correlations between the errors of a
    block's coefficients are those of the picture's mean.
    """

    STEPS = Steps(2.0, 2.9, 0.0, 1.0)
    STARTS = 2
    DAMPING = (1.0, 2.0, 4.0, 6.0)  # of the weights, a number a pass
    PASSES = len(DAMPING)

    def __init__(self, picture, lmbda, mse_lmbda=0.0):
        """Prepares what depends on the original only.

        Args:
          picture: uint8 RGB `[h, w, 3]`, sides of at least `ssimulacra2.MIN_SIDE` px.
          lmbda: bits per pixel that a point of the score is worth.
          mse_lmbda: bits per pixel that a mean squared error of 1 is worth.
        """
        self._squared = SquaredError(mse_lmbda) if mse_lmbda else None
        self._mse_lmbda = mse_lmbda
        self._factor = lmbda * picture.shape[0] * picture.shape[1]
        self._original = Original(picture, WEIGHTS)
        self._gradients = {}
        self._curvatures = {}
        self._log_weights = [None] * 3

    def weights(self, coded, component):
        """Of the coefficients of each block, as in `Form`, without correlations."""
        if component == 0:
            self._linearise(coded, (0, 1, 2), False)
        return self._weights(coded, component)

    def form(self, coded, component, number):
        """The `Form` of a component near what is coded, see `SquaredError.form`."""
        if component != 2:
            self._linearise(coded, (1, 2) if component else (0,))
        weights = self._averaged_weights(coded, component)
        damping = self.DAMPING[number]
        correlations = self._correlations(coded, component, weights)
        target = self._target(coded, component, weights, correlations, damping)
        triangle = np.linalg.cholesky(correlations)
        diagonal = np.diag(triangle)
        weights *= (damping * diagonal**2).astype(np.float32)
        coupling = (triangle / diagonal[:, np.newaxis]).T.astype(np.float32)
        return Form(target, weights, coupling)

    def _averaged_weights(self, coded, component):
        """Geometric mean of the weights of this pass and those used in the last."""
        weights = self._weights(coded, component)
        logs = np.log(weights, out=weights)
        if self._log_weights[component] is not None:
            logs += self._log_weights[component]
            logs /= 2
        self._log_weights[component] = logs.astype(np.float16)  # within 1 %
        return np.exp(logs, out=logs)

    def _linearise(self, coded, components, wants_gradients=True):
        """Gradients and curvatures near what is coded."""
        is_original = not coded.is_replaced
        sums = [coded.new_gradient(c) for c in components if wants_gradients]
        found = slopes(
            self._original,
            lambda rows, cols: shown_rgb(coded, rows, cols),
            [self._direction(coded, c) for c in components],
            (lambda number, *part: sums[number].add(*part)) if sums else None,
            is_original,
        )
        points = _FIRST_POINTS if is_original else POINTS
        scaled = (np.float32(points * self._factor) * c for c in found.curvatures)
        self._gradients = dict(zip(components, sums, strict=False))
        self._curvatures = dict(zip(components, scaled, strict=True))

    @staticmethod
    def _direction(coded, component):
        v, h = coded.factors(component)
        return Direction(YCBCR_TO_RGB[:, component], BLOCK * v, BLOCK * h)

    def _grams(self, coded, component):
        """`[MAPS, scales, 64, 64]`, of the energies of `ssimulacra2_slopes`."""
        return _energies(coded.factors(component))[:, : len(self._original.sizes)]

    def _weights(self, coded, component):
        own = np.einsum("msaa->msa", self._grams(coded, component)).reshape(-1, 64)
        weights = self._curvatures[component] @ own.astype(np.float32)
        if self._squared:
            weights += self._squared.weights(coded, component)
        return weights

    def _correlations(self, coded, component, weights):
        """Of the mean block's quadratic form, `[64, 64]`, shrunk to independence."""
        mean, scales = np.zeros(self._curvatures[component].shape[1]), 0.0
        for part in parts(len(weights), _PART):
            scale = 1 / np.exp(np.log(weights[part]).mean(1, dtype=float))
            mean += scale @ self._curvatures[component][part]
            scales += scale.sum()
        own = self._grams(coded, component)
        form = np.einsum("x,xab->ab", mean, own.reshape(-1, 64, 64))
        if self._squared:
            form += np.diag(scales * self._squared.weights(coded, component)[0])
        roots = np.sqrt(np.diag(form))
        form /= np.outer(roots, roots)
        return (1 - _SHRINKAGE) * form + _SHRINKAGE * np.eye(64)

    def _target(self, coded, component, weights, correlations, damping):
        """Least of the form, in a reach of the original's coefficients."""
        scale = POINTS * self._factor
        gradient = self._gradients.pop(component)
        if self._squared:
            add_error_slope(gradient, coded, component, 2 * self._mse_lmbda / scale)
        slope = gradient.coefficients()
        inverse = np.linalg.inv(correlations) * (scale / 2 / damping)
        inverse = inverse.astype(np.float32)
        reach = np.float32(_REACH) * coded.steps(component)
        target = slope
        for part in parts(len(slope), _PART):
            roots = np.sqrt(weights[part])
            way = (slope[part] / roots) @ inverse
            way /= roots
            original = coded.originals[component][part]
            way = coded.coefficients(component, part) - way - original
            if component:
                way *= np.float32(_CHROMA_REACH)
            target[part] = original + way.clip(-reach, reach)
        return target


@functools.cache
def _energies(own_factors):
    """`Grams` of a component as `[MAPS, SCALES, 64, 64]`: variance, mean, detail."""
    taps = tuple(ssimulacra2_window.window())
    plain, mean, detail = grams(own_factors, taps)
    found = np.stack([plain - mean, mean, detail])
    assert found.shape == (MAPS, SCALES, 64, 64)
    return found
