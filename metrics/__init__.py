"""Numbers of one picture and its original, for training, encoding and evaluation.

Nothing here knows of files, models or results.
"""
