"""The search for the smallest file: integers and tables by rate-distortion.

Nothing here knows of models, checkpoints or command lines.
"""

# What the search minimises beside the bits, see learned_jpeg/codec/search.py.
TUNES = ("model", "psnr", "ms-ssim", "mixed", "ssimulacra2")
