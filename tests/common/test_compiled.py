"""Tests of compiled.py: the code is right with any cache, and without one."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from learned_jpeg.common import compiled
from tests.fork_server import ForkServer
from tests.paths import ROOT

SOURCE = """
from learned_jpeg.common.compiled import njit
from package.helper import seven

@njit
def f(x):
    return x + seven()
"""
HELPER = """
from learned_jpeg.common.compiled import njit

@njit
def seven():
    return 7
"""


@pytest.fixture(scope="module")
def server():
    """Starts of Python where numba has compiled, which takes most of a second."""
    preparation = (
        # Sources that are changed within a second would be taken from their bytecode.
        "import sys; sys.dont_write_bytecode = True; "
        "import numba; from learned_jpeg.common import compiled; "
        "compiled._load_array_functions(); numba.njit(lambda x: x + 1)(1)"
    )
    with ForkServer(preparation) as server:
        yield server


@pytest.fixture
def run(server, package):
    """A function that returns (f(1), number of compilations) of a new process."""

    def run(**variables):
        code = (
            "from package.source import f; print(f(1)); "
            "print(len(f.stats.cache_misses)); "
            "import numba; assert numba.config.CACHE_DIR == ''"
        )
        done = server.run(code, path=[str(package.parent)], environment=variables)
        assert (done.returncode, done.stderr) == (0, "")
        return tuple(map(int, done.stdout.split()))

    return run


@pytest.fixture
def package(tmp_path):
    """Returns the folder of a package with two compiled functions."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "source.py").write_text(SOURCE)
    (folder / "helper.py").write_text(HELPER)
    return folder


def cache_files(package):
    return sorted((package / "__pycache__").glob("*.nb?"))


def test_code_is_compiled_once_and_again_where_its_files_are_damaged(run, package):
    assert run() == (8, 1)
    assert len(cache_files(package)) == 2  # an index and data: parts have none
    assert run() == (8, 0)
    for damage in ("cut", "empty", "flipped", "foreign"):
        for path in cache_files(package):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            content = {"cut": data[:-9], "empty": b"", "flipped": data}
            path.write_bytes(content.get(damage, b"x"))
        assert run() == (8, 1), damage
        assert run() == (8, 0), damage


def test_a_change_of_what_is_called_is_noticed(run, package):
    run()
    (package / "helper.py").write_text(HELPER.replace("return 7", "return 9"))
    assert run()[0] == 10


@pytest.mark.parametrize("decorator", ["@njit", "@intrinsic"])
def test_the_stamp_of_a_folder_tells_of_every_compiled_source(tmp_path, decorator):
    source = tmp_path / "source.py"
    stamps = set()
    for body in ("1", "2"):
        source.write_text(f"{decorator}\ndef f():\n    return {body}\n")
        stamps.add(compiled._stamp.__wrapped__(str(tmp_path)))
    assert len(stamps) == 2


def test_a_class_of_an_argument_that_is_gone_is_noticed(run, package):
    """Files of the cache name the class, and are made again by another program."""
    source = """
from typing import NamedTuple
from learned_jpeg.common.compiled import njit

class Pair(NamedTuple):
    one: int

@njit
def of_pair(pair):
    return pair.one + 7

def f(x):
    return of_pair(Pair(x))

f.stats = of_pair.stats
"""
    (package / "source.py").write_text(source)
    assert run() == (8, 1)
    assert run() == (8, 0)
    (package / "source.py").write_text(source.replace("Pair", "Couple"))
    assert run() == (8, 1)


def test_another_place_is_found_where_neither_source_nor_home_can_be_written_to(
    run, package, tmp_path
):
    """Files in the way stand for missing permissions, which root never lacks."""
    (package / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    (tmp_path / "tmp").mkdir()
    places = {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home" / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    assert run(**places) == (8, 1)
    (folder,) = (tmp_path / "tmp").iterdir()
    assert folder.name == f"learned-jpeg-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(**places) == (8, 0)
    folder.chmod(0o777)  # others may have put code there
    assert run(**places) == (8, 1)


def test_it_works_without_any_place(package, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_temporary_folder", lambda: None)
    monkeypatch.setattr(compiled, "_Cache", refuse)
    function = compiled.njit(lambda x: 2 * x)
    assert function(4) == 8


def refuse(function):
    raise RuntimeError("no locator available")


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"learned-jpeg-{os.getuid()}"
    folder.mkdir()
    folder.chmod(mode)
    assert compiled._temporary_folder.__wrapped__() is None
    folder.chmod(0o700)
    assert compiled._temporary_folder.__wrapped__() == str(folder)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert compiled._temporary_folder.__wrapped__() is None


def test_a_full_disk_is_no_reason_to_fail(server, package):
    """No file may grow above 100 bytes."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from package.source import f; print(f(1))"
    )
    done = server.run(code, path=[str(package.parent)])
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_every_module_compiles_by_it():
    paths = list(ROOT.glob("[!.]*/**/*.py"))
    using = [path for path in paths if "numba.njit" in path.read_text("utf-8")]
    assert {path.name for path in using} == {"test_compiled.py"}


def test_scipy_is_not_loaded_for_compiled_code(package):
    code = (
        "import sys; from package.source import f; f(1); "
        "print('scipy.linalg' in sys.modules); "
        "from scipy.linalg import cython_blas; print(cython_blas.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{package.parent}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("False\nscipy.linalg.cython_blas\n", "")


@compiled.njit
def fused_and_rounded_twice(a, b, c):
    return compiled.fma(a, b, c), a * b + c


def test_a_fused_product_is_rounded_once():
    a, c = np.float32(1 + 2**-12), np.float32(-1 - 2**-11)
    assert fused_and_rounded_twice(a, a, c) == (2**-24, 0)


def test_a_division_by_zero_gives_infinity():
    divided = compiled.njit(lambda a, b: a / b)
    assert divided(1.0, 0.0) == np.inf
    assert np.isnan(divided(0.0, 0.0))
