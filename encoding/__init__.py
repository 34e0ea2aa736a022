"""A trained model as a function of pictures: compressing, exporting, searching.

Nothing here knows of test sets or curves.
"""
