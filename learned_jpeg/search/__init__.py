"""The search for the smallest file: integers and tables by rate-distortion.

Nothing here knows of models, checkpoints or command lines.
"""
