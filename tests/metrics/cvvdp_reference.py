"""ColorVideoVDP of a still image in float64, by numpy and scipy alone."""

import numpy as np
from scipy import ndimage

from learned_jpeg.metrics.cvvdp import sensitivity

WEIGHTS = np.array([0.05, 0.25, 0.4, 0.25, 0.05])
RGB_TO_DKL = np.array(
    [
        [0.23320121, 0.72883079, 0.08899587],
        [0.12762077, -0.08706809, -0.03677739],
        [-0.21482251, -0.62625369, 0.85140333],
    ]
)
P, Q = 2.264355, np.array([1.302623, 2.888591, 3.680771])
CROSS = 2.0 ** np.array(
    [
        [-0.189501, -5.962151, -4.318346],
        [2.565559, 0.344067, -2.719646],
        [3.811837, -1.005171, -0.519338],
    ]
)
EPSILON = 1e-5
LARGEST = 10**2.564245


def light(image):
    """Returns the display's light in DKL, `[3, h, w]`."""
    levels = image / 255
    linear = np.where(
        levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92
    )
    emitted = 0.2 + 199.8 * linear
    return np.moveaxis((emitted + 0.397887) @ RGB_TO_DKL.T, -1, 0)


def reduce(planes):
    """Returns planes of half the size."""
    blurred = ndimage.correlate1d(planes, WEIGHTS, -2, mode="reflect")[..., ::2, :]
    return ndimage.correlate1d(blurred, WEIGHTS, -1, mode="reflect")[..., ::2]


def reduce_as_package(planes):
    """Does what `reduce` does, with the package's last column."""
    height, width = planes.shape[-2:]
    blurred = ndimage.correlate1d(planes, WEIGHTS, -2, mode="reflect")[..., ::2, :]
    reduced = reduce(planes)
    rest = 0.2 * blurred[..., -1] + 0.05 * blurred[..., -2]
    reduced[..., -1] += rest * (height % 2 - width % 2)
    return reduced


def expand(planes, height, width):
    """Returns planes of twice the size, or one less."""
    for axis, size in ((-2, height), (-1, width)):
        pads = [(0, 0)] * planes.ndim
        pads[axis] = (1, 1)
        padded = np.moveaxis(np.pad(planes, pads, mode="edge"), axis, -1)
        spread = np.zeros((*padded.shape[:-1], 2 * padded.shape[-1]))
        spread[..., ::2] = padded
        spread = ndimage.correlate1d(spread, 2 * WEIGHTS, -1, mode="constant")
        planes = np.moveaxis(spread[..., 2 : 2 + size], -1, axis)
    return planes


def gain(luminance, number):
    """Returns the sensitivity of a band times the channels' gains, `[3, ...]`."""
    table = sensitivity.log2_sensitivities()[number]
    ends = sensitivity.FIRST_LUMINANCE, sensitivity.LAST_LUMINANCE
    places = np.linspace(*np.log2(ends), table.shape[-1])
    return np.stack([2 ** np.interp(np.log2(luminance), places, row) for row in table])


def bands(image):
    """Yields (contrast, luminance, factor) of each band; the mean is the last one."""
    planes = light(image)
    count = min(int(np.floor(np.log2(min(planes.shape[1:])))) - 1, 8)
    for number in range(count):
        coarser = reduce_as_package(planes)
        mean = expand(coarser, *planes.shape[1:])
        yield (planes - mean) / mean[0], mean[0], 2.0 if number else 1.0
        planes = coarser
    luminance = planes[0].mean()
    yield planes / luminance, luminance, 1.0


def mask(shared):
    """Returns how much contrast `[3, h, w]` masks differences in each channel."""
    if min(shared.shape[1:]) > 6:
        sigmas = 0, 3, 3
        shared = ndimage.gaussian_filter(shared, sigmas, mode="mirror", truncate=2)
    powers = (shared * 10**-0.795497) ** Q[:, np.newaxis, np.newaxis]
    return np.einsum("shw,sd->dhw", powers, CROSS)


def masked_difference(original, decoded):
    """Returns what is seen of the difference of two bands of perceived contrast."""
    shared = np.minimum(np.abs(original), np.abs(decoded))
    seen = np.abs(original - decoded) ** P / (1 + mask(shared))
    return seen / (1 + seen / LARGEST)


def root(values, degree):
    return (values + EPSILON) ** (1 / degree) - EPSILON ** (1 / degree)


def score(original, decoded):
    """Returns the score of two uint8 images `[h, w, 3]`."""
    pairs = list(zip(bands(original), bands(decoded), strict=True))
    norms = []
    for number, ((ours, luminance, factor), (others, _, _)) in enumerate(pairs):
        if number == len(pairs) - 1:
            own = gain(luminance, sensitivity.BANDS)[:, np.newaxis, np.newaxis]
            seen = np.abs(ours - others) * own
        else:
            own = gain(luminance, number) * factor
            seen = masked_difference(ours * own, others * own)
        norms.append(root((seen**2 + 2 * EPSILON * seen).mean((1, 2)), 2))
    norms[-1] = norms[-1] * [0.00363345, 1.662772, 4.118745]
    by_channel = root(((np.array(norms) + EPSILON) ** 4).sum(0), 4)
    total = 0.577918 * root(((by_channel + EPSILON) ** 4).sum(), 4)
    if total <= 0.1:
        return 10 - 0.0439569 * 0.1**-0.0697957 * total
    return 10 - 0.0439569 * total**0.930204


def loss_weights(image):
    """Returns the loss's factors of squared luminance in the second and third band."""
    found = []
    for number, (contrast, luminance, factor) in enumerate(
        list(bands(image))[1:-1][:2]
    ):
        own = gain(luminance, number + 1) * factor
        masking = 1 / (1 + mask(np.abs(contrast * own))[0])
        masking = np.sqrt(masking * np.square(masking).mean() / masking.mean())
        found.append(np.square(own[0] / luminance) * masking)
    return found


def loss_bands(original, decoded):
    """Returns differences of luminance in the same bands, of images of any floats."""
    finer = reduce(light(decoded)[0] - light(original)[0])
    found = []
    for _ in loss_weights(original):
        coarser = reduce(finer)
        found.append(finer - expand(coarser, *finer.shape))
        finer = coarser
    return found


def loss_of_bands(errors, weights):
    """Returns (loss, its slopes in the means of D^2)."""
    powers = [w * np.square(e) for w, e in zip(weights, errors, strict=True)]
    means = np.array([np.square(u / (1 + u / LARGEST)).mean() for u in powers]) + 1e-9
    joined = np.square(means).sum() ** 0.25
    value = 0.0439569 * (0.577918 * joined) ** 0.930204
    return value, value * 0.930204 / 2 * means / joined**4


def loss(original, decoded):
    """Returns the loss that the search minimises in place of the score."""
    return loss_of_bands(loss_bands(original, decoded), loss_weights(original))[0]
