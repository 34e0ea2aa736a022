"""A model and options as an encoder: images to integers and tables."""

QUANTIZATIONS = ("round", "rdoq")  # of our own; `trellis` quantizes by itself


def file_coding(word):
    """The `jpeg.ENTROPY_CODINGS` of a word of the command line or of a record."""
    return "standard" if word == "default" else word
