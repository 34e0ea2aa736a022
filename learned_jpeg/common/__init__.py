"""What every room shares: errors of one line, files written whole, the machine.

Nothing here knows of JPEG or of images.
"""
