"""What a search minimises beside the squared error: metrics as quadratic forms.

Each class has the interface that jpeg/search.py asks for, see `search.SquaredError`.
"""

import functools

import numpy as np

from learned_jpeg.jpeg.standard import YCBCR_TO_RGB
from learned_jpeg.metrics import ms_ssim
from learned_jpeg.search.basis_energies import grams
from learned_jpeg.search.passes import Form, SquaredError, Steps
from learned_jpeg.search.planes import add_error_slope, shown_rgb

NUMBERS_VERSION = 1  # see evaluation/fingerprint.py


class MultiScaleSimilarity:
    """`lmbda * (1 - MS-SSIM) * pixels`, beside a squared error where that has a weight.

    Near what is coded, `1 - MS-SSIM` is taken as its gradient and the curvature of its
    contrast and structure, which is exact; it is linearised anew for Cb and for Y in
    every pass. Later passes move less far, by a weight that grows: with a constant one
    the search may swing.
    """

    STEPS = Steps(3.0, 4.2, 0.0, 1.0)
    STARTS = 0
    DAMPING = (1.0, 1.0, 2.0, 3.0, 4.0)  # of the weights, a number a pass
    PASSES = len(DAMPING)

    def __init__(self, picture, lmbda, mse_lmbda=0.0):
        """Prepares what depends on the original only.

        Args:
          picture: uint8 RGB `[h, w, 3]`, sides of at least `ms_ssim.MIN_SIDE` px.
          lmbda: bits per pixel that a loss of 1 in MS-SSIM is worth.
          mse_lmbda: bits per pixel that a mean squared error of 1 is worth.
        """
        self._factor = np.float32(lmbda * picture.shape[0] * picture.shape[1])
        self._picture = picture
        self._squared = SquaredError(mse_lmbda) if mse_lmbda else None
        self._mse_lmbda = mse_lmbda
        self._slopes = None
        self._gradients = {}  # `planes.Gradient` of the components that are to come

    def weights(self, coded, component):
        """Of the coefficients of each block, as in `Form`, without damping."""
        if self._slopes is None:
            self._linearise(coded, ())
        energies = np.float32(YCBCR_TO_RGB[:, component] ** 2)
        own_factors = coded.factors(component)
        responses = _responses(own_factors)
        maps = [*self._slopes.contrast, self._slopes.luminance]
        columns = [
            _block_cells(np.tensordot(energies, m, 1), own_factors).ravel()
            for m in maps
        ]
        weights = np.stack(columns, -1) @ (self._factor * responses)
        if self._squared:
            weights += self._squared.weights(coded, component)
        return weights

    def form(self, coded, component, number):
        """The `Form` of a component near what is coded, see `SquaredError.form`."""
        if component != 2:  # Cr takes that of Cb.
            self._linearise(coded, (1, 2) if component else (0,))
        gradient = self._gradients.pop(component)
        if self._squared:
            add_error_slope(gradient, coded, component, 2 * self._mse_lmbda)
        slope = gradient.coefficients()
        weights = self.weights(coded, component)
        weights *= np.float32(self.DAMPING[number])
        slope /= weights
        slope *= np.float32(0.5)
        return Form(coded.moved(component, slope), weights)

    def _linearise(self, coded, components):
        """Weights, and the gradients of components, near what is coded."""
        width = self._picture.shape[1]
        self._gradients = {c: coded.new_gradient(c) for c in components}

        def take(rows, gradient):
            for component, own in self._gradients.items():
                direction = -self._factor * np.float32(YCBCR_TO_RGB[:, component])
                part = np.tensordot(direction, gradient, 1)
                own.add(rows, slice(0, width), part)

        self._slopes = ms_ssim.slopes(
            self._picture,
            lambda rows: shown_rgb(coded, rows),
            take if components else None,
        )


def _block_cells(means, own_factors):
    """Means over the blocks that one block of a component covers."""
    rows, cols = means.shape
    v, h = own_factors
    padded = np.pad(means, [(0, -rows % v), (0, -cols % h)], mode="edge")
    return padded.reshape(-(-rows // v), v, -(-cols // h), h).mean((1, 3))


@functools.cache
def _responses(own_factors):
    """Energies of a coefficient's basis function at each scale of MS-SSIM.

    Returns:
      float32 `[6, 64]`, zigzag: local variance, `sum(x^2) - sum((G * x)^2)`, at the
      five scales, and the squared local mean at the coarsest; G is the Gaussian window.
    """
    plain, mean, _ = grams(own_factors, tuple(ms_ssim.window()))
    energies = np.concatenate([plain - mean, mean[-1:]])
    return np.einsum("saa->sa", energies).astype(np.float32)
