"""Tools that all rooms share: errors of one line, atomic files, cores and memory.

Nothing here depends on JPEG or on images.
"""
