"""SSIMULACRA2: the score, and its gradients and curvature for the search."""
