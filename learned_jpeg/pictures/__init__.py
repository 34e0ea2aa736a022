"""Reads images of many formats as RGB, with their metadata."""

MAX_MEGAPIXELS = 200  # larger images are decoded only if the user asks for it
WHITE = (255, 255, 255)  # what transparent pixels are blended over by default
