"""Imports of the root's modules run one way, and TensorFlow is loaded late.

[tool.importlinter] in pyproject.toml has the floors of the packages: `make lint`.
"""

import ast
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

MODELS = ("ljpeg", "ljpeg_attention", "ljpeg_PIL", "google_baseline")
SCRIPTS = (*MODELS, "compress", "evaluate")
_LIBRARY = {"learned_jpeg", "tensorflow_v1", "weights"}
_TRAINING = {*_LIBRARY, "training", "image_utils", "conv_blocks", "arg_parser"}
# The modules and packages of the root, each with those modules of the root that it may
# import; for a module of the root, packages too.
MAY_IMPORT = {
    "tensorflow_v1": {"tensorflow", "learned_jpeg"},
    "image_utils": _LIBRARY,
    "conv_blocks": {*_LIBRARY, "image_utils"},
    "arg_parser": _LIBRARY,
    **dict.fromkeys(MODELS, _TRAINING),
    "compress": {"learned_jpeg"},
    "evaluate": {"arg_parser", "evaluation", "report", "learned_jpeg", "training"},
    "learned_jpeg": {"tensorflow_v1"},
    "weights": set(),
    "lpips_tensorflow": {"tensorflow_v1"},
    "training": {"tensorflow_v1", "image_utils", "conv_blocks"},
    "evaluation": {"tensorflow_v1", "conv_blocks", "arg_parser", *MODELS},
    "report": {"arg_parser"},
}
FILES = {name: ROOT / f"{name}.py" for name in MAY_IMPORT}
PACKAGES = [name for name, path in FILES.items() if not path.exists()]


def paths_of(name):
    """Paths of the source files of a module or package of the root."""
    return (ROOT / name).rglob("*.py") if name in PACKAGES else [FILES[name]]


def imported_roots(path):
    """First parts of the names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.add(node.module.partition(".")[0])
    return found


def test_the_root_holds_the_scripts_and_few_modules():
    assert {path.stem for path in ROOT.glob("*.py")} == MAY_IMPORT.keys() - PACKAGES
    assert len(list(ROOT.glob("*.sh"))) == 2


def test_imports_of_the_root_run_downwards():
    wrong = set()
    for name, allowed in MAY_IMPORT.items():
        # import-linter looks at the packages among each other.
        others = PACKAGES if name in PACKAGES else ()
        restricted = {*MAY_IMPORT, "tensorflow"} - {name, *allowed, *others}
        for path in paths_of(name):
            wrong |= {(path.name, found) for found in imported_roots(path) & restricted}
    assert not wrong


def test_every_package_has_a_floor():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    linter = tools["importlinter"]
    assert set(linter["root_packages"]) == set(PACKAGES)
    rooms = [path.parent for path in (ROOT / "learned_jpeg").glob("*/__init__.py")]
    names = {f"learned_jpeg.{room.name}" for room in rooms}
    (layers,) = [c["layers"] for c in linter["contracts"] if c["type"] == "layers"]
    floors = {name for layer in layers for name in layer.split(" | ")}
    assert names | set(PACKAGES) - {"learned_jpeg"} <= floors


def test_no_import_loads_tensorflow_or_what_else_takes_long():
    heavy = ["tensorflow", "tensorflow_compression", "matplotlib.figure", "pandas"]
    paths = [path for name in MAY_IMPORT for path in paths_of(name)]
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    modules = {".".join(part).removesuffix(".__init__") for part in parts}
    names = sorted(name for name in modules if not name.startswith("weights."))
    assert "learned_jpeg.jpeg.file" in names
    code = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_blas_has_one_thread_before_numpy_is_loaded(name):
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, module, path=None, target=None):\n"
        "        if module == 'numpy':\n"
        "            print(os.environ.get('OPENBLAS_NUM_THREADS'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {name}, numpy\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
