"""Trained models as the rest of the project sees them, without TensorFlow.

`contract` says what a model script provides and lists all models, `settings` how a
model was trained, `folders` where its checkpoint lies.
"""
