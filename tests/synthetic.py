"""Synthetic images of any size, for every room's tests: all uint8 RGB `[h, w, 3]`."""

import numpy as np
from PIL import Image
from scipy import ndimage


def smooth_image(seed, height, width, contrast=40):
    """Returns blurred noise with a little sharp noise, as smooth as photographs.

    Args:
      seed: of the noise.
      height, width: in px.
      contrast: standard deviation around 128.
    """
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0), mode="nearest")
    smooth += 0.05 * noise
    return _to_uint8(128 + contrast * smooth / max(smooth.std(), 1e-3))


def noisy_pair(seed, height, width, sigma=3, noise=12):
    """Returns a smooth image and a copy of it with noise.

    Args:
      seed: of the noise.
      height, width: in px.
      sigma: of the blur, in px.
      noise: standard deviation of the difference.
    """
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((height, width, 3))
    smooth = ndimage.gaussian_filter(white, (sigma, sigma, 0))
    image = np.clip(128 + 60 * smooth / smooth.std(), 0, 255)
    return _to_uint8(image), _to_uint8(image + rng.normal(0, noise, image.shape))


def wave_image(height, width, seed=0):
    """Returns a mixture of six waves with a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 12
    waves = [np.sin(y * a + x * b + c) for a, b, c in rng.uniform(0.2, 3, (6, 3))]
    mixed = np.tensordot(rng.normal(0, 25, (3, 6)), waves, 1)
    noise = rng.normal(0, 4, (height, width, 3))
    return _to_uint8(128 + np.moveaxis(mixed, 0, -1) + noise)


def colourful_image(height, width, seed=0):
    """Returns strong colours that change slowly."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(image)


def ramp_image(rng, height, width):
    """Returns a ramp from dark above to bright below, with noise of a generator."""
    ramp = np.linspace(0, 200, height)[:, np.newaxis, np.newaxis]
    return (ramp + rng.integers(0, 55, (height, width, 3))).astype(np.uint8)


def _to_uint8(image):
    return np.clip(image, 0, 255).round().astype(np.uint8)
