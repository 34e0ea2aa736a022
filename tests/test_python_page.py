"""The Python of the documentation runs, and writes what the text says."""

import inspect
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

import learned_jpeg
from tests.paths import EXAMPLE_IMAGES, ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_of(page):
    return BLOCK.findall((ROOT / page).read_text("utf-8"))


def run(code, folder):
    """Runs code as a process in a folder that looks like the project's own."""
    for name in ("example_images", "example_experiments"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "page.py").write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.name for path in folder.iterdir() if not path.is_symlink()}
    return done.stdout, written - {"page.py"}


def jpeg_size(path, original="coffee"):
    """Bytes of a JPEG file that shows an example image."""
    with Image.open(path) as image, Image.open(EXAMPLE_IMAGES / f"{original}.png") as o:
        image.load()
        assert (image.format, image.size) == ("JPEG", o.size)
    return path.stat().st_size


@pytest.mark.slow
def test_the_block_of_the_readme(tmp_path):
    (block,) = blocks_of("README.md")
    checked = "\nassert data == open('coffee.jpg', 'rb').read()\n"
    output, written = run(block + checked, tmp_path)
    assert (output, written) == ("", {"coffee.jpg"})
    assert 20_000 < jpeg_size(tmp_path / "coffee.jpg") < 100_000


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path):
    output, written = run("\n".join(blocks_of("docs/python.md")), tmp_path)
    assert written == {"coffee.jpg", "curve.png"}
    size = jpeg_size(tmp_path / "coffee.jpg")
    lines = output.splitlines()
    assert lines[0] == f"{size} bytes"
    tuned = int(re.fullmatch(r"(\d+) bytes, tuned for PSNR", lines[1])[1])
    assert 10_000 < tuned < 200_000
    with Image.open(EXAMPLE_IMAGES / "coffee.png") as image:
        assert lines[2] == f"{(image.height, image.width, 3)} uint8"
    assert 60 < float(re.fullmatch(r"SSIMULACRA2 (\S+)", lines[3])[1]) < 90
    assert 25 < float(re.fullmatch(r"PSNR (\S+) dB", lines[4])[1]) < 45
    assert lines[5].startswith("no_such_image.png: no such file")
    sizes = [int(number) for number in re.findall(r"png': (\d+)", lines[6])]
    assert len(sizes) == 2 and all(5_000 < size < 200_000 for size in sizes)
    curves = [re.findall(r"(\S+) bpp: (\S+)", line) for line in lines[7:]]
    jpeg, ours = ([tuple(map(float, p)) for p in curve] for curve in curves)
    assert jpeg == sorted(jpeg) and ours == sorted(ours)
    for (jpeg_bpp, jpeg_score), (bpp, score) in zip(jpeg, ours, strict=True):
        assert bpp < 0.9 * jpeg_bpp
        assert abs(score - jpeg_score) < 1.1
    with Image.open(tmp_path / "curve.png") as figure:
        assert min(figure.size) > 300
        assert len(figure.convert("RGB").getcolors(1 << 20)) > 20


def test_names_of_the_package_are_those_of_the_page():
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    names = set(re.findall(r"\blj\.([A-Za-z_]+)", text))
    assert names <= set(learned_jpeg.__all__)
    # The two are what its functions return and take apart.
    assert set(learned_jpeg.__all__) - names <= {"EncodeOptions", "TrainedModel"}


def test_options_of_the_page_are_those_of_encode():
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    table = text.partition("\n| option |")[2].partition("\n\n")[0]
    options = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    parameters = [*inspect.signature(learned_jpeg.encode).parameters]
    assert parameters[0] == "image"
    assert sorted(options) == sorted(parameters[1:])
