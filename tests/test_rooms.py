"""The rooms of the house: imports run one way, and TensorFlow is loaded late."""

import ast
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

PACKAGES = ("learned_jpeg", "lpips_tensorflow", "weights", "training")
PACKAGES += ("evaluation", "report")
SCRIPTS = ("ljpeg", "ljpeg_attention", "ljpeg_PIL", "google_baseline", "evaluate")


def project_modules():
    """{dotted name: path} of every module of the project, but for tests and tools."""
    paths = [*ROOT.glob("*.py")]
    for name in PACKAGES:
        paths += (ROOT / name).rglob("*.py")
    modules = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


MODULES = project_modules()


def imported_names(name):
    """Dotted names that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_root_holds_no_more_than_the_scripts():
    scripts = [path for path in ROOT.iterdir() if path.suffix in (".py", ".sh")]
    assert len(scripts) <= 15


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"tensorflow_v1"}))
def test_only_one_module_names_tensorflow(name):
    names = {imported.partition(".")[0] for imported in imported_names(name)}
    assert ("tensorflow" in names) == (
        name == "tensorflow_v1" and "tensorflow" in names
    )


def test_no_import_loads_tensorflow_or_what_else_takes_long():
    heavy = ["tensorflow", "tensorflow_compression", "matplotlib.figure", "pandas"]
    names = sorted(name for name in MODULES if not name.startswith("weights."))
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
