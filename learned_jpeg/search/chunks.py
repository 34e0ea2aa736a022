"""Work in chunks, which takes less memory than all at once."""


def chunks(count: int, size: int) -> list[slice]:
    """Returns consecutive slices of at most `size` that cover `count` items."""
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]
