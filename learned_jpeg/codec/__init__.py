"""A model and options as an encoder: images to integers and tables."""

QUANTIZATIONS = ("round", "rdoq")  # of our own; `trellis` quantizes by itself
