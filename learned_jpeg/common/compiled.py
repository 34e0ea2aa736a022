"""numba's compiler, with a cache on the disk that is right or not used.

numba ends with an error where it finds no place to write to, and where a file of its
cache is damaged; and it takes no notice where a function that another one calls has
changed in a file of its own. All three are seen to here.
"""

import contextlib
import functools
import glob
import hashlib
import importlib
import os
import pickle
import stat
import sys
import tempfile

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.serialize import dumps
from numba.extending import intrinsic

_DIGEST_SIZE = hashlib.sha256().digest_size


def njit(function, **options):
    """Compiles a function at its first call, without the GIL.

    The code is kept in `__pycache__` beside the source, else in the user's folder for
    caches, else in a folder of the user's own among the temporary ones; where none of
    them can be written to, it is compiled by every process. `options` are numba's.
    """
    compiled = numba.njit(nogil=True, **options)(function)
    cache = _cache_of(function)
    if cache is not None:
        compiled._cache = cache  # as its enable_caching() does
    return compiled


@intrinsic
def fma(context, factor, other, summand):
    """`factor * other + summand`, rounded once: an instruction of processors.

    For floats of one type, in compiled code.
    """

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return factor(factor, other, summand), generate


def _cache_of(function):
    with contextlib.suppress(RuntimeError):  # no place
        return _Cache(function)
    folder = _temporary_folder()
    if folder is None:
        return None
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, folder
    try:
        return _Cache(function)
    except RuntimeError:
        return None
    finally:
        numba.config.CACHE_DIR = before


@functools.cache
def _temporary_folder():
    """A folder that nobody else can write to, or None: code is loaded from there."""
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


def _load_array_functions():
    """Spares numba the import of scipy, a fifth of the start of a program.

    It looks for a BLAS for products of matrices, which no compiled function has here.
    """
    blas = "scipy.linalg.cython_blas"
    if blas not in sys.modules:
        sys.modules[blas] = None  # taken for a module that is not there
        try:
            importlib.import_module("numba.np.arraymath")
        finally:
            sys.modules.pop(blas, None)


class _Cache(FunctionCache):
    """A cache of one function whose files are checked."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            self._cache_path,
            self._impl.filename_base,
            _stamp(os.path.dirname(function.__code__.co_filename)),
        )

    def load_overload(self, sig, target_context):
        """Loads compiled code, and before it what numba knows of arrays."""
        _load_array_functions()
        return super().load_overload(sig, target_context)

    def save_overload(self, sig, data):
        """Saves compiled code; a full disk is no reason not to use it."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


@functools.cache
def _stamp(folder):
    """Hash of the compiled sources of a package and of this one, which others call."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    digest = hashlib.sha256()
    for root in sorted({folder, package}):
        pattern = os.path.join(glob.escape(root), "**", "*.py")
        for path in sorted(glob.glob(pattern, recursive=True)):
            with open(path, "rb") as file:
                source = file.read()
            if b"@njit" in source:
                digest.update(hashlib.sha256(source).digest())
    return digest.digest()


class _CheckedFiles(IndexDataCacheFile):
    """numba's files of an index and of data, each with the SHA-256 of its content."""

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
        """Content of a file; OSError if it is damaged, for which numba compiles."""
        with open(path, "rb") as file:
            digest, data = file.read(_DIGEST_SIZE), file.read()
        if digest != hashlib.sha256(data).digest():
            raise OSError(f"{path}: damaged")
        return pickle.loads(data)
