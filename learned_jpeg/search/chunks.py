"""Work in chunks, which takes less memory than all at once."""


def chunks_of_rows(rows: int, cols: int, size: int) -> list[tuple[slice, slice]]:
    """Divides blocks into chunks of whole rows.

    Args:
      rows, cols: numbers of blocks.
      size: most blocks of a chunk, unless one row has more.

    Returns:
      (slice of the rows, slice of their blocks) for each chunk.
    """
    return [
        (own, slice(own.start * cols, own.stop * cols))
        for own in chunks(rows, max(size // cols, 1))
    ]


def chunks(count: int, size: int) -> list[slice]:
    """Returns consecutive slices of at most `size` that cover `count` items."""
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]
