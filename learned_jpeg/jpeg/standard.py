"""Definitions of the standards: blocks, colours, the DCT, tables."""

from __future__ import annotations

import numpy as np

BLOCK = 8  # samples of a block's side

# ITU-T T.81, figure A.6: zigzag position -> index in the block, row by row.
_DIAGONALS = [[(i, d - i) for i in range(8) if 0 <= d - i < 8] for d in range(15)]
ZIGZAG = np.array(
    [
        8 * v + u
        for d, diagonal in enumerate(_DIAGONALS)
        for v, u in (diagonal if d % 2 else diagonal[::-1])
    ]
)

# JFIF 1.02: full-range YCbCr (ITU-R BT.601 weights), without the offset of 128.
RGB_TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
YCBCR_TO_RGB = np.linalg.inv(RGB_TO_YCBCR)

# ITU-T T.81, annex K, tables K.1 (luma) and K.2 (chroma), natural order.
STD_LUMA_QTABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int32,
)
STD_CHROMA_QTABLE = np.full((8, 8), 99, np.int32)
STD_CHROMA_QTABLE[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
STD_QTABLES = np.stack([STD_LUMA_QTABLE, STD_CHROMA_QTABLE])  # [2, 8, 8]

# ITU-T T.81, annex K.3: bits of a code -> the symbols that have such codes (hex).
_STD_DC_SYMBOLS = (  # tables K.3 (luma) and K.4 (chroma)
    {2: "00", 3: "0102030405", 4: "06", 5: "07", 6: "08", 7: "09", 8: "0A", 9: "0B"},
    {2: "000102", 3: "03", 4: "04", 5: "05", 6: "06", 7: "07", 8: "08", 9: "09"}
    | {10: "0A", 11: "0B"},
)
_STD_AC_SYMBOLS = (  # tables K.5 and K.6; all other runs and sizes have 16 bits
    {2: "0102", 3: "03", 4: "000411", 5: "051221", 6: "3141", 7: "06135161"}
    | {8: "072271", 9: "14328191A1", 10: "082342B1C1", 11: "1552D1F0", 12: "24336272"}
    | {15: "82"},
    {2: "0001", 3: "02", 4: "0311", 5: "04052131", 6: "06124151", 7: "076171"}
    | {8: "13223281", 9: "08144291A1B1C1", 10: "09233352F0", 11: "156272D1"}
    | {12: "0A162434", 14: "E1", 15: "25F1"},
)


def _std_code_lengths() -> np.ndarray:
    lengths = np.zeros((2, 2, 256), np.int64)
    for size in range(1, 11):
        lengths[:, 1, size::16] = 16
    for table, classes in enumerate(zip(_STD_DC_SYMBOLS, _STD_AC_SYMBOLS, strict=True)):
        for own, symbols_of in zip(lengths[table], classes, strict=True):
            for bits, symbols in symbols_of.items():
                own[list(bytes.fromhex(symbols))] = bits
    return lengths


# int64 `[2 (luma, chroma), 2 (DC, AC), 256 (symbol)]`, 0 for a symbol without a code.
STD_CODE_LENGTHS = _std_code_lengths()


def dct_matrix(size: int = BLOCK) -> np.ndarray:
    """Returns the orthonormal DCT-II, float64 `[size (frequency), size (sample)]`."""
    k, n = np.mgrid[:size, :size]
    matrix = np.sqrt(2.0 / size) * np.cos(np.pi * (2 * n + 1) * k / (2 * size))
    matrix[0] /= np.sqrt(2.0)
    return matrix


def ijg_qtables(quality: int) -> np.ndarray:
    """Returns the quantization tables that libjpeg (IJG) has for a quality 1..100.

    Returns:
      int32 `[2 (luma, chroma), 8 (v), 8 (u)]`, values 1..255.

    Raises:
      ValueError: a quality outside 1..100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}, but must lie in 1..100")
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((STD_QTABLES * scale + 50) // 100, 1, 255)
