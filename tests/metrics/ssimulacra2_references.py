"""SSIMULACRA2 in numpy, plane by plane: exactly, and rounded as libjxl's tool is."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

# All 108, also those that the module leaves out: of X, Y and B - Y a row for each
# scale; of the means, then of the 4-norms, those of SSIM, ringing and blur.
WEIGHTS = np.reshape(
    [
        *(0, 0.000737660671, 0, 0, 0.000779348168, 0),
        *(0, 0.000437115573, 0, 1.10417264, 0.000662848341, 0.000152316328),
        *(0, 0.00164064375, 0, 1.84224555, 11.4411726, 0),
        *(0.000798910944, 0.000176816438, 0, 1.8787595, 10.9490699, 0),
        *(0.000728934699, 0.967793708, 0),
        *(0.000140034243, 0.998176698, 0.000319497559),
        *(0.000455099211, 0, 0, 0.00136487662, 0, 0),
        *(0, 0, 0, 7.46689033, 0, 17.445834),
        *(0.000623560163, 0, 0, 6.68367815, 0.00037724408, 1.02788994),
        *(225.205153, 0, 0, 19.2132382, 0.00114015246, 0.00123775564),
        *(176.393176, 0, 0, 24.43301, 0.285208026, 0.000448543692),
        *(0, 0, 0, 34.7790634, 44.8356253, 0),
        *(0, 0, 0, 0, 0, 0),
        *(0, 0.000868055657, 0, 0, 0, 0),
        *(0, 0.000531319187, 0, 0.000165338142, 0, 0),
        *(0, 0, 0, 0.00041791718, 0.00172908282, 0),
        *(0.00208270058, 0, 0, 8.82698276, 23.1924334, 0),
        *(95.1080499, 0.986397803, 0.983438279),
        *(0.0012286405, 171.266726, 0.980785887),
        *(0, 0, 0, 0.000513006459, 0, 0.000108540579),
    ],
    (3, 6, 6),
)


SIGMA = 1.5
RADIUS = 5
BIAS = 0.0037930732552754493
X_TO_Z = [0.24342268924547819, 0.20476744424496821]
CONES = np.array([[0.3, 0.622], [0.23, 0.692], X_TO_Z])
CONES = np.column_stack([CONES, 1 - CONES.sum(1)])


def truncated_cosines():
    """Charalampidis' Gaussian: a sum of cosines that are 0 at their ends.

    Their factors make the sum of the taps 1, and the second derivative of their
    transform that of the Gaussian; see section 2 of the paper.

    Returns:
      `(omega, factors)`, `[3]` each.
    """
    omega = np.array([1, 3, 5]) * np.pi / (2 * RADIUS)
    p = np.array([1, -1, 1]) / np.tan(omega / 2)
    r = p**2 * np.array([1, -1, 1]) / np.sin(omega)
    rho = np.exp(-(SIGMA**2) * omega**2 / 2) / RADIUS
    normal = np.cross(p, r) / (p[0] * r[1] - r[0] * p[1])
    factors = np.linalg.solve([p, r, normal], [1, RADIUS**2 - SIGMA**2, normal @ rho])
    return omega, factors


def taps():
    omega, factors = truncated_cosines()
    return np.cos(np.outer(np.arange(1 - RADIUS, RADIUS), omega)) @ factors


def exact_blur(plane):
    for axis in (0, 1):
        plane = ndimage.convolve1d(plane.astype(float), taps(), axis, mode="constant")
    return plane


def exact_light(picture):
    """Linear RGB [h, w, 3] of uint8 sRGB."""
    v = picture / 255
    return np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)


def exact_planes(linear):
    """X, Y and B - Y of linear RGB [h, w, 3], each in about 0..1."""
    long, medium, short = np.moveaxis(np.cbrt(linear @ CONES.T + BIAS), -1, 0)
    x, y = (long - medium) / 2, (long + medium) / 2 - np.cbrt(BIAS)
    return 14 * x + 0.42, y + 0.01, short - np.cbrt(BIAS) - y + 0.55


def fused(a, b, c):
    """`a b + c` of float32, rounded once: the product is exact in float64."""
    a, b, c = (np.asarray(value, np.float64) for value in (a, b, c))
    return (a * b + c).astype(np.float32)


def tool_light(picture):
    """libjxl's `TF_SRGB::DisplayFromEncoded`."""
    v = picture.astype(np.float32) * np.float32(1 / 255)
    p = [2.200248328e-4, 1.043637593e-2, 0.1624820318, 0.7961564959, 0.8210152774]
    q = [0.263184697, 1.076976492, 0.498752835, -5.512498495e-2, 6.521209011e-3]
    above, below = np.zeros_like(v), np.zeros_like(v)
    for i in range(4, -1, -1):
        above = fused(above, v, np.float32(p[i]))
        below = fused(below, v, np.float32(q[i]))
    low = v * (np.float32(1) / np.float32(12.92))
    return np.where(v > np.float32(0.04045), above / below, low)


def tool_planes(linear):
    """libjxl's `LinearRGBToXYB` and the tool's `MakePositiveXYB`."""
    cones = []
    for red, green, blue in np.float32(CONES):
        total = fused(blue, linear[..., 2], np.float32(BIAS))
        total = fused(red, linear[..., 0], fused(green, linear[..., 1], total))
        cones.append(tool_root(total))
    half = np.float32(0.5)
    x, y = half * (cones[0] - cones[1]), half * (cones[0] + cones[1])
    shifted = cones[2] - y + np.float32(0.55)
    return x * np.float32(14) + np.float32(0.42), y + np.float32(0.01), shifted


def tool_root(x):
    """libjxl's `CubeRootAndAdd`, of the bias."""
    third, four_thirds = np.float32(1 / 3), np.float32(4 / 3)
    r = (0x54800000 - (x.view(np.int32) >> 23) * 0x2AAAAA).astype(np.int32)
    r = r.view(np.float32)
    for _ in range(3):
        r = fused(-(third * x), (r * r) * (r * r), four_thirds * r)
    r = fused(third, fused(-x, (r * r) * (r * r), r), r)
    return fused(r * r, x, -np.float32(np.cbrt(BIAS)))


def tool_blur(plane):
    """libjxl's `FastGaussian`: along the rows, then down the columns."""
    omega, weights = truncated_cosines()
    gains = -weights * np.cos(omega * (RADIUS + 1))
    return _down(_along(plane, omega, gains), omega, gains)


def _ends(lines):
    """Sums of the lines that leave and enter the window, from line 1 - RADIUS on."""
    padded = np.pad(lines, ((2 * RADIUS, RADIUS - 1), (0, 0)))
    return padded[: -2 * RADIUS] + padded[2 * RADIUS :]


def _down(plane, omega, gains):
    gain = np.float32(gains)[:, np.newaxis]
    turn = np.float32(2 * np.cos(omega))[:, np.newaxis]
    last = before = np.zeros((3, plane.shape[1]), np.float32)
    found = []
    for ends in _ends(plane):
        last, before = fused(gain, ends, fused(turn, last, -before)), last
        found.append(last[0] + (last[1] + last[2]))
    return np.stack(found[RADIUS - 1 :])


def _along(plane, omega, gains):
    # The state is (last, before); powers of its matrix are steps of several pixels.
    steps = [np.array([[2 * c, -1], [1, 0]]) for c in np.cos(omega)]
    powers = [[np.linalg.matrix_power(m, n) for m in steps] for n in range(5)]
    first_rows = np.array([[m[0] for m in row] for row in powers])[..., np.newaxis]
    of_last, of_before = np.moveaxis(np.float32(first_rows[1:]), 2, 0)
    own = np.float32(first_rows[:4, :, 0] * gains[:, np.newaxis])
    ends = _ends(plane.T)
    last = before = np.zeros((3, plane.shape[0]), np.float32)
    found = []
    while len(found) < len(ends):
        n = len(found)
        x, width = n - (RADIUS - 1), plane.shape[1]
        count = 4 if 8 <= x < width - RADIUS - 2 else 1
        outputs = []
        for j in range(count):
            y = ends[n] * own[j]
            for i in range(1, j + 1):
                y = fused(own[j - i], ends[n + i], y)
            y = fused(of_last[j], last, fused(of_before[j], before, y))
            outputs.append(y)
        last, before = outputs[-1], outputs[-2] if count > 1 else last
        found += [y[0] + (y[1] + y[2]) for y in outputs]
    return np.stack(found[RADIUS - 1 :]).T


class Arithmetic(NamedTuple):
    light: object
    planes: object
    blur: object


EXACT = Arithmetic(exact_light, exact_planes, exact_blur)
TOOL = Arithmetic(tool_light, tool_planes, tool_blur)


def norms(original, decoded, blur):
    """Means, then 4-norms, of the three maps of errors of a plane."""
    x, y, c2 = original, decoded, original.dtype.type(0.0009)
    mean_x, mean_y = blur(x), blur(y)
    covariance = 2 * (blur(x * y) - mean_x * mean_y) + c2
    variances = (blur(x * x) - mean_x * mean_x) + (blur(y * y) - mean_y * mean_y) + c2
    luminance = 1 - (mean_x - mean_y) * (mean_x - mean_y)
    similarity = np.float64(luminance * covariance / variances)
    edge = (1 + np.float64(abs(y - mean_y))) / (1 + np.float64(abs(x - mean_x))) - 1
    maps = [np.maximum(values, 0) for values in (1 - similarity, edge, -edge)]
    return [m.mean() for m in maps] + [(m**4).mean() ** 0.25 for m in maps]


def halve(linear):
    odd = [(0, linear.shape[0] % 2), (0, linear.shape[1] % 2), (0, 0)]
    z = np.pad(linear, odd, mode="edge")
    total = z[::2, ::2] + z[::2, 1::2] + z[1::2, ::2] + z[1::2, 1::2]
    return total * z.dtype.type(0.25)


def score(original, decoded, arithmetic):
    """All planes of all scales, nothing left out."""
    pair = [arithmetic.light(picture) for picture in (original, decoded)]
    total = 0
    for scale in range(6):
        if min(pair[0].shape[:2]) < 8:
            break
        planes = zip(*map(arithmetic.planes, pair), strict=True)
        for plane, (x, y) in enumerate(planes):
            total += WEIGHTS[plane, scale] @ norms(x, y, arithmetic.blur)
        pair = [halve(linear) for linear in pair]
    s = 0.9562382616834844 * total
    p = np.polyval(
        [6.248496625763138e-05, -0.020884521182843837, 2.326765642916932, 0], s
    )
    return 100 - 10 * p**0.6276336467831387
