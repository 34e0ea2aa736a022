"""The rooms of the house: imports run one way, TensorFlow is loaded late or never."""

import ast
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

# From the ground up; a module imports from its own floor or from below.
FLOORS = (
    ("errors", "atomic_files", "tensorflow_v1", "jpeg_standard"),
    ("hardware", "image_utils", "weights"),
    ("lpips_tensorflow", "conv_blocks"),
    ("jpeg",),
    ("metrics",),
    ("arg_parser",),
    ("training",),
    ("encoding",),
    ("ljpeg", "ljpeg_attention", "ljpeg_PIL", "google_baseline"),
    ("evaluation",),
    ("evaluate",),
)
# Modules that are imported, and work, where there is no TensorFlow.
WITHOUT_TENSORFLOW = (
    *("errors", "atomic_files", "arg_parser", "jpeg_standard", "weights"),
    *("jpeg.coded_error", "jpeg.compiled", "jpeg.entropy", "jpeg.file"),
    *("jpeg.huffman", "jpeg.image_files"),
    *("jpeg.metadata", "jpeg.pixels", "jpeg.planes", "jpeg.png", "jpeg.progressive"),
    *("jpeg.sampling", "jpeg.search", "jpeg.segments", "jpeg.sources", "jpeg.strips"),
    *("jpeg.tiff", "jpeg.transform", "jpeg.trellis"),
    *("metrics.basic", "metrics.butteraugli"),
    *("metrics.ms_ssim", "metrics.recursive_blur", "metrics.ssimulacra2"),
    *("metrics.ssimulacra2_loss", "metrics.ssimulacra2_slopes"),
    "metrics.ssimulacra2_window",
    *("encoding.basis_energies", "encoding.perceptual"),
    *("training.checkpoints", "training.crops", "training.feature_cache"),
    "training.json_files",
    *("encoding.batch", "encoding.calibration", "encoding.codec"),
    *("encoding.originals", "encoding.outputs"),
    *("encoding.records", "encoding.refinement"),
    *("evaluation.bd_rate", "evaluation.results", "evaluation.safe_pickle"),
    *("evaluation.compare", "evaluation.curves", "evaluation.gains"),
    *("evaluation.plots", "evaluation.report", "evaluation.tables"),
)


def project_modules():
    """{dotted name: path} of every module of the project, but for tests and tools."""
    paths = [*ROOT.glob("*.py")]
    for floor in FLOORS:
        for name in floor:
            paths += (ROOT / name).glob("*.py")
    modules = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


MODULES = project_modules()


def imports_of(name):
    """Dotted names of the project's modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {i if i in MODULES else node.module for i in inner}
    return {i for i in found if i in MODULES}


def floor_of(name):
    (number,) = (i for i, floor in enumerate(FLOORS) if name.partition(".")[0] in floor)
    return number


def test_every_module_of_the_root_is_on_a_floor():
    listed = {name for floor in FLOORS for name in floor}
    found = {name for name in MODULES if "." not in name}
    assert found <= listed
    scripts = [path for path in ROOT.iterdir() if path.suffix in (".py", ".sh")]
    assert len(scripts) <= 15


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_one_way(name):
    for imported in imports_of(name):
        assert floor_of(imported) <= floor_of(name), f"{name} imports {imported}"


def test_imports_close_no_circle():
    waiting, done = {name: imports_of(name) for name in MODULES}, set()
    while waiting:
        free = {name for name, imported in waiting.items() if imported <= done}
        assert free, f"a circle among {sorted(waiting)}"
        done |= free
        waiting = {name: i for name, i in waiting.items() if name not in free}


def test_only_one_module_names_tensorflow():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])]
            names += [getattr(node, "module", None) or ""]
            if name != "tensorflow_v1" and isinstance(
                node, ast.Import | ast.ImportFrom
            ):
                assert not any(n.split(".")[0] == "tensorflow" for n in names), name


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_what_needs_no_tensorflow_imports_none(name):
    reached, waiting = set(), {name}
    while waiting:
        reached |= waiting
        waiting = set().union(*map(imports_of, waiting)) - reached
    assert name in MODULES
    assert "tensorflow_v1" not in reached


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


@pytest.mark.parametrize(
    "name",
    ["ljpeg", "ljpeg_attention", "ljpeg_PIL", "google_baseline", "evaluate"],
)
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
