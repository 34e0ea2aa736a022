"""A model and options as an encoder: images to .jpg files."""

QUANTIZATIONS = ("round", "mozjpeg", "search")
