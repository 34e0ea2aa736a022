"""Learned JPEG: smaller JPEG files for every decoder."""
