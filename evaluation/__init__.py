"""Measuring models on test images: operating points, caches, BD-rates, tables, figures.

Commands beside evaluate.py: `python3 -m report.compare`, `.crops`, `.votes`,
`.loss_curves`, `.rate_check`. Nothing outside of evaluate.py imports from here.
"""
