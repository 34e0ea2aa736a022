"""The format: reading pictures, transform, differentiable pipeline, search, bytes.

Nothing here knows of training, checkpoints or results, nor of any model.
"""

import os

# Before numpy is loaded: threads gain nothing in the search's products with 64x64
# matrices, but wait for each other in loops, with twice the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ENTROPY_CODINGS = ("default", "optimized", "trellis")  # see file.py
QUANTIZATIONS = ("round", "rdoq")  # of our own; `trellis` quantizes by itself
MAX_MEGAPIXELS = 200  # a larger picture is decoded only if that is asked for
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")  # of chroma, see sampling.py
# What `rdoq` minimises, see encoding/search.py.
TUNES = ("model", "psnr", "ms-ssim", "mixed", "ssimulacra2")
