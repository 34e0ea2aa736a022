"""Compresses images to small .jpg files that every program opens; needs no model.

The quantized DCT coefficients and the quantization tables of each image are chosen by
rate-distortion optimisation: `python3 compress.py photo.png -o smaller`. The same as
the command `learned-jpeg` of `pip install .`.
"""

from learned_jpeg.commands.main import main

if __name__ == "__main__":
    main()
