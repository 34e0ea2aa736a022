"""Errors that a user can mend: one line that says what to do."""


class UserError(Exception):
    """A mistake or a condition that the user can mend; its text is one line.

    The text names the file or flag, says what is wrong and what to do.
    """


def is_out_of_memory(error):
    """Whether an exception is Python's or TensorFlow's lack of memory.

    By the name of its class, so that TensorFlow is not loaded for it.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "ResourceExhaustedError"})


def describe_os_error(error):
    """One line for an `OSError`: the file and the system's reason."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
