"""Compiles functions by numba, with a cache on the disk that is right or not used.

numba's own cache has three faults, which are avoided here: it raises an error where it
finds no place to write to, and where a file of the cache is damaged; and it does not
notice that a function which another one calls has changed in another file.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import glob
import hashlib
import importlib
import os
import pickle
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numba.core.config
from numba import types
from numba.core import cgutils
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from learned_jpeg.common import first_call
from learned_jpeg.common.claims import Claim

_DIGEST_SIZE = hashlib.sha256().digest_size

_OPTIONS: dict[str, Any] = {
    "nopython": True,
    "boundscheck": None,
    "nogil": True,
    "error_model": "numpy",
    # A wrapper for callers in C would take a tenth of the time to compile.
    "no_cfunc_wrapper": True,
}


def njit(function: Callable, **options) -> Callable:
    """Returns a function that is compiled at its first call and runs without the GIL.

    The code is kept in `__pycache__` next to the source, else in the user's folder for
    caches, else in a temporary folder that belongs to the user. Where none of them can
    be written to, every process compiles it.

    A division by zero gives inf or nan, as in numpy: Python's check would keep loops
    from being vectorised. So does an array that is unpacked into its rows: take them by
    index. An array that is assigned to a slice takes two seconds to compile, for the
    message of an error: copy it in a loop.

    Args:
      function: the function to compile.
      options: numba's options.
    """
    compiled = _Function(py_func=function, targetoptions=_OPTIONS | options)
    cache = _cache_of(function)
    if cache is not None:
        # As its enable_caching() does.
        compiled._cache = cache  # pyright: ignore[reportAttributeAccessIssue]
        compiled.claim = cache.claim
    return compiled


class _Function(CPUDispatcher):
    """A function that compiles in less time where other compiled code calls it.

    numba compiles what a function calls one by one, and links it in. These parts need
    neither a place in the cache nor an entry for Python: a tenth of the time.

    Attributes:
      claim: of the cache, on compiling the function; None without a cache.
    """

    claim: Claim | None = None

    @functools.cached_property
    def _as_part(self) -> CPUDispatcher:
        options = self.targetoptions | {"no_cpython_wrapper": True}
        return CPUDispatcher(py_func=self.py_func, targetoptions=options)

    @property
    def _numba_type_(self):
        """The type that calls by compiled code see."""
        return types.Dispatcher(self._as_part)

    def compile(self, sig):
        """Compiles the function for a signature, or loads it."""
        with global_compiler_lock, _no_collection():
            try:
                return super().compile(sig)
            finally:
                if self.claim:
                    self.claim.release()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Puts garbage collection off, which takes a tenth of the time to compile."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


@intrinsic
def _fma(context, factor, other, summand):

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return factor(factor, other, summand), generate


# Returns `factor * other + summand`, rounded once, by the processor's instruction; in
# compiled code only, for floats of one type.
fma: Any = _fma


@intrinsic
def _float_to_bits(context, value):

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.int32))

    return types.int32(value), generate


@intrinsic
def _bits_to_float(context, bits):

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(bits), generate


# The bits of a float32 as an int32, and back; in compiled code only.
to_bits: Any = _float_to_bits
from_bits: Any = _bits_to_float


@intrinsic
def _trailing_zeros(context, value):

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.int64(value), generate


# The number of zeros behind the last one of a uint64; in compiled code only.
trailing_zeros: Any = _trailing_zeros


@intrinsic
def _borrowed(context, array):

    def generate(context, builder, signature, arguments):
        own = make_array(signature.args[0])(context, builder, arguments[0])
        own.meminfo = cgutils.get_null_value(own.meminfo.type)
        return own._getvalue()

    return array(array), generate


# An argument without its count of references, in compiled code only. Its rows can be
# passed on to functions without counting them, which takes a tenth of the time where
# rows are short. Only for arguments: the caller holds on to these.
borrowed: Any = _borrowed


def _cache_of(function: Callable) -> _Cache | None:
    with contextlib.suppress(RuntimeError):  # no place
        return _Cache(function)
    folder = _temporary_folder()
    if folder is None:
        return None
    with contextlib.suppress(RuntimeError), _cache_folder(folder):
        return _Cache(function)
    return None


@contextlib.contextmanager
def _cache_folder(folder: str) -> Iterator[None]:
    """Sets the folder of numba's caches, a setting of the process, for a moment."""
    config: Any = numba.core.config
    before, config.CACHE_DIR = config.CACHE_DIR, folder
    try:
        yield
    finally:
        config.CACHE_DIR = before


@functools.cache
def _temporary_folder() -> str | None:
    """Returns a folder that nobody else can write to, since code is loaded from it."""
    if not hasattr(os, "getuid"):
        return None
    folder = os.path.join(tempfile.gettempdir(), f"learned-jpeg-{os.getuid()}")
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        status = os.lstat(folder)
        is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
        if is_own and not status.st_mode & 0o077:
            return folder
    return None


def _load_array_functions() -> None:
    """Loads numba's array functions without scipy, whose import is slow.

    It takes a fifth of a program's start. numba looks in scipy for a BLAS for products
    of matrices, which no compiled function here computes.
    """
    blas = "scipy.linalg.cython_blas"
    if blas not in sys.modules:
        # An entry of None makes Python say that there is no such module.
        sys.modules[blas] = None  # pyright: ignore[reportArgumentType]
        try:
            importlib.import_module("numba.np.arraymath")
        finally:
            sys.modules.pop(blas, None)


class _Cache(FunctionCache):
    """A cache of one function whose files are checked."""

    def __init__(self, function: Callable):
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            self._cache_path,
            self._impl.filename_base,
            _stamp(os.path.dirname(function.__code__.co_filename)),
        )
        path = os.path.join(self._cache_path, self._impl.filename_base)
        self.claim = Claim(f"{path}.claim")

    def load_overload(self, sig, target_context):
        """Loads numba's array functions, then the compiled code; None if it is new."""
        _load_array_functions()
        found = super().load_overload(sig, target_context)
        if found is None:
            first_call.begin()
            if self.claim.take():  # another process has just compiled it
                found = super().load_overload(sig, target_context)
        return found

    def save_overload(self, sig, data):
        """Saves compiled code; on a full disk the code is used without a cache."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


@functools.cache
def _stamp(folder: str) -> bytes:
    """Returns a hash of the compiled sources in a folder and in this package."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    digest = hashlib.sha256()
    for root in sorted({folder, package}):
        pattern = os.path.join(glob.escape(root), "**", "*.py")
        for path in sorted(glob.glob(pattern, recursive=True)):
            with open(path, "rb") as file:
                source = file.read()
            if b"@njit" in source or b"@intrinsic" in source:
                digest.update(hashlib.sha256(source).digest())
    return digest.digest()


class _CheckedFiles(IndexDataCacheFile):
    """The index and data files of numba, each with the SHA-256 of its content."""

    def _load_index(self):
        try:
            version, stamp, overloads = self._read(self._index_path)
        except (OSError, ValueError, TypeError, AttributeError, ImportError):
            return {}  # damaged, or of another version that had other classes
        is_current = (version, stamp) == (self._version, self._source_stamp)
        return overloads if is_current else {}

    def _save_index(self, overloads):
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name):
        return self._read(self._data_path(name))

    def _save_data(self, name, data):
        self._write(self._data_path(name), data)

    def _write(self, path, content):
        data = dumps(content)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(data).digest() + data)

    def _read(self, path):
        """Returns the content of a file; OSError makes numba compile anew."""
        with open(path, "rb") as file:
            digest, data = file.read(_DIGEST_SIZE), file.read()
        if digest != hashlib.sha256(data).digest():
            raise OSError(f"{path}: damaged")
        return pickle.loads(data)
