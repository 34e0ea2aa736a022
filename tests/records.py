"""Content of settings.json files, as trainings with the default flags write it."""

_ALWAYS = {"lmbda": 0.01, "subsampling": "4:4:4"}
_LOSS = {
    "rate_model": "proxy",
    "lpips_weight": 0.0,
    "msssim_weight": 0.0,
    "ssimulacra2_weight": 0.0,
    "total_weight_regularizer": 0.0,
    "rounding": "straight_through",
    "table_init": None,
    "tables_from": None,
}
_TRUNK = {"vgg": "vgg16", "freeze_vgg": False}
_OF_SCRIPT = {
    "ljpeg": _ALWAYS | _LOSS,
    "ljpeg_attention": _ALWAYS | _LOSS | _TRUNK,
    "google_baseline": _ALWAYS,
}


def record_of(script, /, **changes):
    """The recorded flags that define a model, with some of them changed."""
    return {"script": script, **_OF_SCRIPT[script], **changes}
