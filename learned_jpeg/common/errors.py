"""Errors that a user can fix, as one line that says what to do."""

from __future__ import annotations

from learned_jpeg.common.terminal import one_line


class UserError(Exception):
    """A mistake or a condition that the user can fix.

    The text is one line: it names the file or flag, says what is wrong and what to do.
    Control characters, which a name of a file may hold, are shown as escapes.
    """

    def __init__(self, text: str):
        """Stores the text."""
        super().__init__(one_line(text))


class ImageTooSmallError(UserError):
    """An image is too small for the metric that its encoding depends on."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception is Python's or TensorFlow's lack of memory.

    It goes by the name of the class, so that TensorFlow is not loaded for it.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "ResourceExhaustedError"})


def describe_os_error(error: OSError) -> str:
    """Returns one line for an `OSError`: the file and the system's reason."""
    reason = error.strerror or str(error)
    return one_line(f"{error.filename}: {reason}" if error.filename else reason)
