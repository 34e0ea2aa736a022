"""Chroma subsampling: how large the planes of a JPEG file are.

A component of a file covers the picture with fewer samples and whole blocks of its own
(ITU-T T.81, A.1.1 and A.2.4). Where a scan interleaves components, the encoder repeats
the DC coefficient of the last block up to a whole MCU, and a decoder leaves such blocks
out: no plane holds them.
"""

from jpeg_standard import BLOCK

# (rows, columns) of luma samples for one chroma sample.
_FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}


def factors(sampling):
    """(v, h): how many luma samples a chroma sample stands for, down and across.

    Args:
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: another one.
    """
    if sampling not in _FACTORS:
        raise ValueError(f"sampling must be one of {[*_FACTORS]}, not {sampling!r}")
    return _FACTORS[sampling]


def with_factors(v, h):
    """The sampling of these factors, or None where it is none of ours."""
    return next((name for name in _FACTORS if _FACTORS[name] == (v, h)), None)


def plane_sizes(height, width, sampling):
    """Sizes in samples of Y, Cb and Cr: three pairs (height, width).

    Args:
      height, width: of the picture, in px.
      sampling: one of `jpeg.SUBSAMPLINGS`.

    Raises:
      ValueError: another sampling.
    """
    v, h = factors(sampling)
    chroma = -(-height // v), -(-width // h)
    return (height, width), chroma, chroma


def blocks_of(height, width):
    """(rows, cols) of the blocks that cover a plane of so many samples."""
    return -(-height // BLOCK), -(-width // BLOCK)


def plane_blocks(height, width, sampling):
    """Sizes in blocks of Y, Cb and Cr, (rows, cols); arguments as `plane_sizes`."""
    return tuple(blocks_of(*size) for size in plane_sizes(height, width, sampling))
