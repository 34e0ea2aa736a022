"""Flags of trainings whose loss is the MSE alone: other tests add what they need."""

_COMMON = {
    "lambda": 0.01,
    "lr": 1e-4,
    "lr_schedule": "steps",
    "total_weight_regularizer": 0,
    "subsampling": "4:4:4",
    "ssimulacra2_weight": 0,
}


def plain_flags(rate_model: str = "proxy") -> dict[str, object]:
    """Returns values by the name of their flag, of a loss without other terms.

    Args:
      rate_model: of an ljpeg model.
    """
    flags = {"rate_model": rate_model, **_COMMON}
    if rate_model == "search":
        flags["subsampling"] = "4:2:0"
    return flags


def plain_words(rate_model: str = "proxy") -> list[str]:
    """Returns `plain_flags` as words of a command line; later words replace them."""
    words = []
    for name, value in plain_flags(rate_model).items():
        words += [f"--{name}", str(value)]
    return words


def with_plain_flags(argv: list[str], rate_model: str = "proxy") -> list[str]:
    """Returns a command line of `train` whose other flags are `plain_flags`."""
    start = argv.index("train") + 1
    return [*argv[:start], *plain_words(rate_model), *argv[start:]]
