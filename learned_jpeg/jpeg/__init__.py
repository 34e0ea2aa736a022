"""The JPEG format: tables, sampling, Huffman codes, scans and files.

Nothing here depends on other formats, on metrics or on the search.
"""

ENTROPY_CODINGS = ("standard", "optimized")  # see file.py
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")  # of chroma; see sampling.py
