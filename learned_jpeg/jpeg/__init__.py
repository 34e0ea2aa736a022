"""The JPEG format: tables, sampling, Huffman codes, scans and files.

Nothing here knows of other formats, of metrics or of the search.
"""

ENTROPY_CODINGS = ("standard", "optimized")  # see file.py
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")  # of chroma, see sampling.py
