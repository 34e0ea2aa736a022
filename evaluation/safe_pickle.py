"""Reads the lists of a dot's pickle without running any code that it may ask for."""

import io
import math
import pickle
import pickletools
import re

import numpy as np

from learned_jpeg.common.errors import UserError

# What a pickle holds, in this order.
LISTS = ("bpp", "mse", "lpips", "psnr", "ms-ssim")


_MAX_VALUE = 1e9  # of any list
_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}
_MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")


class DamagedPickle(UserError):
    """A pickle that does not hold five lists of numbers of the same length."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}; delete it to measure again")
        self.reason = reason


def unpickle_lists(data, path):
    """Reads the five lists from the bytes of a pickle and runs no code of it.

    Lists, tuples and numbers need no code at all. Numpy's arrays and scalars (written
    by numpy 1 or 2, Python 2 or 3) are rebuilt here from their bytes; nothing of numpy
    is called by the pickle itself, and arrays of objects are not rebuilt.

    Args:
      data: bytes of the pickle.
      path: name of the file, for the errors.

    Returns:
      List of five lists of floats, in the order of `LISTS`.

    Raises:
      UserError: the pickle asks for any other function or class.
      DamagedPickle: it is cut off, or holds something else than five such lists.
    """
    try:
        _refuse_large_memo(data, path)
        content = _Unpickler(io.BytesIO(data), path).load()
        lists = [[_number(value) for value in _items(row)] for row in _items(content)]
        for name, row in zip(LISTS, lists, strict=False):
            for value in row:
                check_number(name, value)
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = f"the pickle is damaged ({type(error).__name__}: {error})"
        raise DamagedPickle(path, reason) from error
    lengths = [len(row) for row in lists]
    if len(lengths) != len(LISTS) or len(set(lengths)) != 1:
        reason = (
            f"{len(lists)} lists of lengths {lengths} instead of {len(LISTS)} equal"
        )
        raise DamagedPickle(path, reason)
    return lists


def check_number(name, value):
    """Returns a value of one of the `LISTS` if a picture may have it.

    Raises:
      ValueError: it is beyond all measure. PSNR may be infinite, others nan.
    """
    if abs(value) > _MAX_VALUE and not (name == "psnr" and value == math.inf):
        raise ValueError(f"{name} of {value:g}")
    return value


def _refuse_large_memo(data, path):
    """Refuses a pickle that makes the unpickler reserve memory out of all proportion.

    It keeps objects in an array as long as the largest index that the pickle names,
    which nine bytes can make some gigabytes. Other lengths in a pickle are those of
    bytes that follow, which `_operations` finds out.
    """
    for name, argument in _operations(data):
        if name in _MEMO_OPCODES and argument > len(data):
            raise UserError(
                f"{path} is not a list of numbers: its {len(data)} bytes ask for "
                f"memory for {argument} objects, which was refused; delete the file if "
                "you do not know who wrote it"
            )


def _operations(data):
    """Yields (name, argument) of each operation of a pickle.

    As `pickletools.genops`, which takes no bytes above 127 in text of Python 2.

    Raises:
      ValueError, KeyError: an argument is cut off or odd, there is no such operation.
    """
    file = io.BytesIO(data)
    while code := file.read(1):
        operation = _OPERATIONS[code.decode("latin1")]
        if operation.name == "STRING":
            argument = file.readline()
        else:
            argument = operation.arg and operation.arg.reader(file)
        yield operation.name, argument
        if operation.name == "STOP":
            return


class _Unpickler(pickle.Unpickler):
    """Resolves only numpy's array and scalar constructors, to stand-ins of them."""

    def __init__(self, file, path):
        # Python 2 wrote the bytes of numbers as text; latin1 keeps them as they are.
        super().__init__(file, encoding="latin1")
        self._path = path
        # Made anew for each file: a pickle can set attributes of what it is given.
        self._allowed = _stand_ins()

    def find_class(self, module, name):
        try:
            return self._allowed[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise UserError(
                f"{self._path} is not a list of numbers: it asks for {module}.{name}, "
                "which was refused; delete the file if you do not know who wrote it"
            ) from None


def _stand_ins():
    """What a pickle may ask for, under the names of numpy 1 (`numpy.core`)."""

    def scalar(dtype, raw):
        return dtype.numbers(raw).item()

    def from_buffer(raw, dtype, shape, order):
        return _Array(dtype.numbers(raw).reshape(shape, order=order))

    return {
        ("numpy", "dtype"): lambda spec, *_: _Dtype(spec),
        ("numpy", "ndarray"): "ndarray",
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
        ("numpy.core.numeric", "_frombuffer"): from_buffer,
        ("_codecs", "encode"): lambda text, _encoding: _bytes(text),
    }


class _Dtype:
    """Stands in for `numpy.dtype` in a pickle: floats and integers only."""

    def __init__(self, spec):
        if not re.fullmatch("f[248]|[iu][1248]", spec):
            raise ValueError(f"numpy type {spec!r} is not a real number")
        self._dtype = np.dtype(spec)

    def __setstate__(self, state):
        self._dtype = self._dtype.newbyteorder(state[1])

    def numbers(self, raw):
        return np.frombuffer(_bytes(raw), self._dtype)


class _Array:
    """Stands in for `numpy.ndarray` in a pickle."""

    def __init__(self, numbers=None):
        self.numbers = numbers

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, raw = state
        order = "F" if is_fortran else "C"
        self.numbers = dtype.numbers(raw).reshape(shape, order=order)


def _bytes(raw):
    # Not bytes(raw) of anything: of a number that would be so many zeros.
    return raw.encode("latin1") if isinstance(raw, str) else memoryview(raw).tobytes()


def _items(value):
    if isinstance(value, _Array):
        return value.numbers.tolist()
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"{type(value).__name__} instead of a list")


def _number(value):
    """One float; a list or array of a single number counts as that number."""
    if isinstance(value, _Array | list) and len(_flat(value)) == 1:
        value = _flat(value)[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} instead of a number")
    return float(value)


def _flat(value):
    return value.numbers.ravel().tolist() if isinstance(value, _Array) else value
