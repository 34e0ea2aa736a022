"""Losses, rate models, crops, the loop, and the checkpoint folders that it leaves.

Nothing here knows how a trained model codes a picture.
"""
