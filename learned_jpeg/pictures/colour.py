"""Colours of files that name them by numbers: cICP and gAMA of PNG, nclx of HEIF.

The numbers of cICP and nclx are those of ITU-T H.273 (tables 2 and 3). A JPEG file
names its colours by an ICC profile only, so one is written for them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_BT601 = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
# By their numbers: chromaticities of red, green, blue and white.
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: (*_BT601, _D65),
    7: (*_BT601, _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: (*_P3, _DCI),
    12: (*_P3, _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
# By their numbers: (g, a, b, c, d) of (a x + b)^g from d on, and c x below; or (g,).
_TRANSFERS = {
    1: _BT709_CURVE,
    4: (2.2,),
    5: (2.8,),
    6: _BT709_CURVE,
    8: (1.0,),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    14: _BT709_CURVE,
    15: _BT709_CURVE,
}
_SRGB_PRIMARIES, _SRGB_TRANSFER = 1, 13
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
_D50 = (0.9642, 1.0, 0.8249)  # of the profile connection space
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_ICC_HEADER = 128  # bytes

_SRGB_GAMMA = 1 / 2.2  # as gAMA of an sRGB image has it
_GAMMA_TOLERANCE = 0.02
_GAMMAS = (0.1, 5.0)  # others are no gamma


class Cicp(NamedTuple):
    """The content of a cICP chunk or of an nclx box.

    Attributes:
      primaries, transfer, matrix: numbers of H.273.
      is_full: 1 for the full range of values.
    """

    primaries: int
    transfer: int
    matrix: int
    is_full: int

    @property
    def hdr_name(self) -> str | None:
        """The name of a transfer function of more than white, or None."""
        return _HDR_TRANSFERS.get(self.transfer)

    @property
    def is_known(self) -> bool:
        """Whether a profile, or none for sRGB, says the same."""
        is_rgb = (self.matrix, self.is_full) == (0, 1)
        return is_rgb and self.primaries in _PRIMARIES and self.transfer in _TRANSFERS

    def is_srgb(self, is_gray: bool) -> bool:
        """Returns whether it says what is taken without it; gray has no primaries."""
        is_of_srgb = is_gray or self.primaries == _SRGB_PRIMARIES
        return is_of_srgb and self.transfer == _SRGB_TRANSFER


def profile_of_cicp(cicp: Cicp, is_gray: bool) -> bytes | None:
    """Returns an ICC profile of the same colours; None for sRGB and unknown ones."""
    if not cicp.is_known or cicp.is_srgb(is_gray):
        return None
    return icc_profile(cicp)


def icc_profile(cicp: Cicp) -> bytes:
    """Returns an ICC profile (ICC.1:2022, version 4) for known colours of a display."""
    name = f"CICP {cicp.primaries}/{cicp.transfer}/0/1"
    to_d50, colorants = _colorants(*_PRIMARIES[cicp.primaries])
    curve = _curve(_TRANSFERS[cicp.transfer])
    contents = [
        (b"desc", _text(name)),
        (b"cprt", _text("CC0")),
        (b"wtpt", _xyz(_D50)),
        (b"chad", b"sf32" + bytes(4) + _fixed(*to_d50.ravel())),
        *zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, colorants.T), strict=True),
        *((tag, curve) for tag in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    return _profile(contents)


def _colorants(
    red: tuple[float, float],
    green: tuple[float, float],
    blue: tuple[float, float],
    white: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the adaptation to D50, and XYZ of the primaries in it, by columns."""
    source_white = _xyz_of(white)
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ source_white)
    to_d50 = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    primaries = np.stack([_xyz_of(own) for own in (red, green, blue)], axis=1)
    scaled = primaries * np.linalg.solve(primaries, source_white)
    return to_d50, to_d50 @ scaled


def _xyz_of(chromaticity: tuple[float, float]) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(65536 * v) for v in values))


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    record = struct.pack(">II4sII", 1, 12, b"enUS", len(encoded), 28)
    return b"mluc" + bytes(4) + record + encoded


def _curve(parameters: tuple[float, ...]) -> bytes:
    kind = 0 if len(parameters) == 1 else 3
    return b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(*parameters)


def _profile(contents: list[tuple[bytes, bytes]]) -> bytes:
    """Returns a profile of a display with tags; equal contents are stored once."""
    start = _ICC_HEADER + 4 + 12 * len(contents)
    body, places, table = b"", {}, struct.pack(">I", len(contents))
    for tag, content in contents:
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += tag + struct.pack(">II", places[content], len(content))
    header = struct.pack(">I4sI", start + len(body), bytes(4), 0x04400000)
    header += b"mntrRGB XYZ " + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp"
    header += bytes(28) + _fixed(*_D50)
    return header.ljust(_ICC_HEADER, b"\0") + table + body


def srgb_of_gamma(gamma: float) -> np.ndarray | None:
    """Returns sRGB for the values of an image with another gamma.

    Args:
      gamma: as gAMA has it, the exponent of light that gives the values.

    Returns:
      uint8 `[256, 3]`; None where the values are about those of sRGB, or the number is
      no gamma.
    """
    low, high = _GAMMAS
    if not low <= gamma <= high or abs(gamma - _SRGB_GAMMA) <= _GAMMA_TOLERANCE:
        return None
    light = (np.arange(256) / 255) ** (1 / gamma)
    g, a, b, c, d = _TRANSFERS[_SRGB_TRANSFER]
    values = np.where(light < c * d, light / c, (light ** (1 / g) - b) / a)
    return np.repeat(np.rint(255 * values).astype(np.uint8)[:, np.newaxis], 3, axis=1)
