"""Image-quality metrics: how far a decoded image is from its original.

Nothing here knows of files, models or results.
"""
