"""Losses, rate models, crops, the loop, and the checkpoint folders that it leaves.

Nothing here knows how an encoder uses a trained model.
"""
