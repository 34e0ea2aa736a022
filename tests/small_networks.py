"""Networks of a few channels in place of the models' own."""

import functools

import conv_blocks
import google_baseline
import ljpeg_attention


def use_small_networks(monkeypatch, imagenet_weights):
    """Lets the models build small networks.

    Args:
      monkeypatch: pytest's.
      imagenet_weights: takes the place of `ljpeg_attention.imagenet_weights`.
    """
    monkeypatch.setattr(
        ljpeg_attention,
        "VGGAttention",
        functools.partial(conv_blocks.VGGAttention, widths=(4, 8, 8)),
    )
    monkeypatch.setattr(ljpeg_attention, "imagenet_weights", imagenet_weights)
    monkeypatch.setattr(
        google_baseline,
        "ResConvLayer",
        functools.partial(conv_blocks.ResConvLayer, filters=(4, 4, 4, 4, 6, 6, 3)),
    )
