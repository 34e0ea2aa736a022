"""The wheel, installed in an environment that has neither TensorFlow nor the clone."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

import learned_jpeg as lj
from learned_jpeg.commands.arguments import parse_compress
from learned_jpeg.commands.compress import compress
from tests.paths import EXAMPLE_IMAGES, ROOT

pytestmark = pytest.mark.slow

# The gate has an index of packages, and must not pass without one.
IS_REQUIRED = bool(os.environ.get("REQUIRE_WHEEL"))
MAX_MEGABYTES = 400  # 10^6 bytes, of all packages that are installed
ENCODE = """
import sys
import learned_jpeg
with open(sys.argv[2], "wb") as file:
    file.write(learned_jpeg.encode(sys.argv[1], quality=60))
"""


def run(*command, cwd=ROOT):
    """Runs a command that has to succeed; returns its standard output."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Path of the wheel. It is built from a copy, since a build leaves folders."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "learned_jpeg", folder / "learned_jpeg", ignore=ignored)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Path of a crop of an example image, of odd size."""
    path = tmp_path_factory.mktemp("image") / "image.png"
    original = Image.open(sorted(EXAMPLE_IMAGES.glob("*.png"))[0])
    original.crop((40, 30, 203, 141)).save(path)
    return path


@pytest.fixture(scope="module")
def clone_files(image, tmp_path_factory):
    """Bytes of the files that the clone writes: (of the command, of the library)."""
    path = tmp_path_factory.mktemp("clone") / "command.jpg"
    assert compress(parse_compress([str(image), "-o", str(path)])) == 0
    return path.read_bytes(), lj.encode(image, quality=60)


@pytest.fixture(scope="module")
def environment(wheel, clone_files, tmp_path_factory):
    """Folder of an environment with the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pins = ROOT / "requirements.txt"
    command = ("uv", "pip", "install", "--python", folder, "--constraint", pins, wheel)
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], capture_output=True, text=True
    )
    if done.returncode and not IS_REQUIRED:
        pytest.skip(f"the packages cannot be installed: {done.stderr}")
    assert done.returncode == 0, done.stderr
    copy_compiled_functions(next(folder.glob("lib/python*/site-packages")))
    return folder


def copy_compiled_functions(packages):
    """Spares the new environment half a minute: the clone has compiled them by now."""
    for path in (ROOT / "learned_jpeg").rglob("__pycache__/*.nb[ci]"):
        copy = packages / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0].partition("-")[0] for name in names}
    assert folders == {"learned_jpeg"}
    files = {name for name in names if name.startswith("learned_jpeg/")}
    sources = (ROOT / "learned_jpeg").rglob("*.py")
    expected = {path.relative_to(ROOT).as_posix() for path in sources}
    data = {"learned_jpeg/py.typed", "learned_jpeg/search/calibration.json"}
    assert files == expected | data


def test_installation_is_light(environment):
    (packages,) = environment.glob("lib/python*/site-packages")
    assert not list(packages.glob("tensorflow*")) + list(packages.glob("scipy*"))
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    assert size <= MAX_MEGABYTES * 1e6


def test_command_writes_the_bytes_of_the_clone(
    environment, clone_files, image, tmp_path
):
    run(environment / "bin" / "learned-jpeg", image, "-o", "wheel.jpg", cwd=tmp_path)
    assert (tmp_path / "wheel.jpg").read_bytes() == clone_files[0]


def test_library_returns_the_bytes_of_the_clone(
    environment, clone_files, image, tmp_path
):
    python = environment / "bin" / "python"
    run(python, "-c", ENCODE, image, "wheel.jpg", cwd=tmp_path)
    assert (tmp_path / "wheel.jpg").read_bytes() == clone_files[1]
