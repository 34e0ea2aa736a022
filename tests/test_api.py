"""Tests of the package's functions: what a user of Python gets, and is told."""

import io
import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

import learned_jpeg as lj
from learned_jpeg.commands.arguments import parse_compress
from learned_jpeg.commands.compress import compress
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.metrics import registry
from tests.commands.helpers import compress_pil, photograph, save_png
from tests.fork_server import ForkServer
from tests.paths import EXAMPLE_IMAGES, ROOT
from tests.tables_models import asymmetric_tables, write_tables_model

ENTROPY = {"rate_model": "entropy"}
ORIENTATION, ARTIST = 274, 315
HEIGHT, WIDTH = 48, 56


@pytest.fixture(scope="module")
def image():
    """A small image, uint8 `[48, 56, 3]`."""
    return photograph(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def tables_dir(tmp_path_factory):
    """Checkpoint folder of learned tables, for a search of the MSE."""
    folder = tmp_path_factory.mktemp("model") / "lambda_002"
    return write_tables_model(folder, asymmetric_tables(9), lmbda=0.02, **ENTROPY)


@pytest.fixture(scope="module")
def server():
    """Starts of Python where the package has encoded an image."""
    preparation = """
import numpy
import learned_jpeg as lj
lj.encode(numpy.zeros((16, 16, 3), numpy.uint8), lmbda=1)
"""
    with ForkServer(preparation) as server:
        yield server


def pixels_of(data):
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.array(image.convert("RGB"))


# The bytes are those of the command


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, options",
    [
        ("", {}),
        ("--quality 40", {"quality": 40}),
        ("--lambda 0.01 --tune psnr", {"lmbda": 0.01, "tune": "psnr"}),
        ("--target_bytes 1.6k", {"target": lj.Bytes(1600)}),
        ("--target_bpp 4.5", {"target": lj.BitsPerPixel(4.5)}),
        ("--target_psnr 30", {"target": lj.MetricTarget("psnr", 30)}),
        ("--target_ssimulacra2 55", {"target": lj.MetricTarget("ssimulacra2", 55)}),
        ("--subsampling 4:4:4", {"subsampling": "4:4:4"}),
        ("--entropy_coding standard", {"entropy_coding": "standard"}),
        ("--strip_metadata", {"metadata": "look"}),
        ("--strip_all", {"metadata": False}),
        ("--model MODEL", {"model": True}),
        (
            "--model MODEL --quantization search",
            {"model": True, "quantization": "search"},
        ),
        (
            "--model MODEL --quantization search --tune psnr --target_bytes 1590",
            {
                "model": True,
                "quantization": "search",
                "tune": "psnr",
                "target": lj.Bytes(1590),
            },
        ),
        (
            "--model MODEL --quantization mozjpeg --subsampling 4:2:0",
            {"model": True, "quantization": "mozjpeg", "subsampling": "4:2:0"},
        ),
    ],
)
def test_bytes_are_those_of_the_command(tmp_path, tables_dir, image, flags, options):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "Ansel"
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path, icc_profile=profile, exif=exif)
    words = flags.replace("MODEL", str(tables_dir)).split()
    argv = [str(path), "-o", str(tmp_path / "x.jpg"), "--workers", "1", *words]
    assert compress(parse_compress(argv)) == 0
    if "model" in options:
        options = {**options, "model": lj.load_model(tables_dir)}
    data = lj.encode(path, **options)
    assert data == (tmp_path / "x.jpg").read_bytes()
    with Image.open(path) as opened:
        assert data == lj.encode(opened, **options)
    with Image.open(io.BytesIO(data)) as coded:
        assert (coded.height, coded.width) == (WIDTH, HEIGHT)
        kept = coded.info.get("icc_profile"), coded.getexif().get(ARTIST)
        expected = {True: (profile, "Ansel"), "look": (profile, None)}
        assert kept == expected.get(options.get("metadata", True), (None, None))


@pytest.mark.parametrize(
    "flags, options",
    [
        ("--quantization round --quality 30", {"quality": 30}),
        (
            "--quantization round --quality 30 --subsampling 4:2:0 --entropy_coding "
            "standard",
            {"quality": 30, "subsampling": "4:2:0", "entropy_coding": "standard"},
        ),
        ("--quantization mozjpeg", {"quantization": "mozjpeg"}),
        ("--target_psnr 31", {"target": lj.MetricTarget("psnr", 31)}),
        ("--quantization search --tune model", {"tune": "model"}),
    ],
)
def test_plain_jpeg_has_the_bytes_of_its_script(tmp_path, image, flags, options):
    path = save_png(tmp_path / "a.png", HEIGHT, WIDTH)
    assert compress_pil(path, "-o", tmp_path / "x.jpg", *flags.split()) == 0
    if "tune" not in options:
        options = {"quantization": "round", **options}
    assert lj.encode(image, **options) == (tmp_path / "x.jpg").read_bytes()


def test_a_smaller_jpeg_file_is_returned_without_loss(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(HEIGHT, WIDTH)).save(path, quality=10, exif=exif)
    data = lj.encode(path, lmbda=100, tune="psnr")
    assert data == optimized(path.read_bytes())
    # It is turned upright where it is decoded, from bytes as well.
    np.testing.assert_array_equal(lj.decode(data), lj.decode(path))
    assert lj.decode(data).shape == (WIDTH, HEIGHT, 3)
    assert lj.score(path, data, "mse") == 0
    larger = lj.encode(Image.open(path), lmbda=100, tune="psnr")
    assert len(larger) > len(data)


# Kinds of images


def test_path_image_and_array_are_one(tmp_path, image):
    path = save_png(tmp_path / "a.png", HEIGHT, WIDTH)
    data = lj.encode(image, tune="psnr")
    assert jpeg_file.read_coefficients(data).sampling == "4:2:0"
    turned = np.asfortranarray(image)
    for same in (path, str(path), Image.open(path), Image.fromarray(image), turned):
        assert lj.encode(same, tune="psnr") == data
    np.testing.assert_array_equal(lj.decode(data), pixels_of(data))
    assert np.abs(lj.decode(data) - image.astype(float)).mean() < 13


def modes():
    """Images of other modes, and the RGB pixels that they show."""
    rgb = Image.fromarray(photograph(HEIGHT, WIDTH))
    gray = rgb.convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    rgba = rgb.copy()
    rgba.putalpha(128)
    over_white = 255 - (255 - np.asarray(rgb, float)) * 128 / 255
    palette = rgb.quantize(64)
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    turned = io.BytesIO()
    rgb.save(turned, "PNG", exif=exif)
    return {
        "L": (gray, np.asarray(gray.convert("RGB"))),
        "16 bits": (deep, np.asarray(gray.convert("RGB"))),
        "RGBA": (rgba, over_white),
        "P": (palette, np.asarray(palette.convert("RGB"))),
        "CMYK": (rgb.convert("CMYK"), np.asarray(rgb)),
        "1": (rgb.convert("1"), np.asarray(rgb.convert("1").convert("RGB"))),
        "turned": (Image.open(turned), np.asarray(rgb)[::-1, ::-1]),
        "gray array": (np.asarray(gray), np.asarray(gray.convert("RGB"))),
    }


@pytest.mark.parametrize("kind", modes())
def test_images_of_any_mode_show_what_they_showed(kind):
    image, shown = modes()[kind]
    data = lj.encode(image, quantization="round", quality=95, metadata=False)
    wanted = np.rint(shown).astype(np.uint8)
    assert data == lj.encode(wanted, quantization="round", quality=95)
    assert np.abs(pixels_of(data) - shown.astype(float)).mean() < 4


def test_metadata_of_a_pillow_image_are_kept_or_not(tmp_path, image):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    carried = {"icc_profile": profile, "comment": b"mine", "dpi": (300, 300)}
    Image.fromarray(image).save(tmp_path / "a.jpg", **carried)
    for metadata in (True, False):
        data = lj.encode(Image.open(tmp_path / "a.jpg"), tune="psnr", metadata=metadata)
        with Image.open(io.BytesIO(data)) as coded:
            found = {"icc_profile", "comment", "dpi"} & coded.info.keys()
        assert len(found) == (3 if metadata else 0)


# Files


def test_save_writes_what_encode_returns(tmp_path, image):
    data = lj.encode(image, quality=30, tune="psnr")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"older")
    lj.save(image, path, quality=30, tune="psnr")
    assert path.read_bytes() == data
    buffer = io.BytesIO()
    lj.save(image, buffer, quality=30, tune="psnr")
    assert buffer.getvalue() == data
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_a_private_file_is_saved_as_a_private_one(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS[:16, :16]).save(path)
    path.chmod(0o600)
    lj.save(path, tmp_path / "b.jpg", lmbda=0.1, tune="psnr")
    assert (tmp_path / "b.jpg").stat().st_mode & 0o777 == 0o600


def test_a_file_is_saved_whole_or_not_at_all(tmp_path, image, server):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"older")
    with pytest.raises(lj.UserError):
        lj.save(image, path, target=lj.Bytes(9))
    assert path.read_bytes() == b"older"
    code = f"""
        import resource
        import numpy as np
        import learned_jpeg as lj
        image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            lj.save(image, {str(path)!r}, lmbda=0.1, tune="psnr")
        except OSError as error:
            print(type(error).__name__)
    """
    assert server.run(textwrap.dedent(code)).stdout == "OSError\n"
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["a.jpg"]


# Decoding and scores


def test_decode_reads_other_files_too(tmp_path, image):
    path = save_png(tmp_path / "a.png", HEIGHT, WIDTH)
    np.testing.assert_array_equal(lj.decode(path), image)
    for data in (lj.encode(image, tune="psnr"), b""):
        (tmp_path / "a.jpg").write_bytes(data)
        if data:
            wanted = pixels_of(data)
            for file in (data, bytearray(data), tmp_path / "a.jpg"):
                np.testing.assert_array_equal(lj.decode(file), wanted)


def test_scores_are_those_of_the_metrics(tmp_path):
    original = photograph(168, 184)
    data = lj.encode(original, lmbda=0.02, tune="psnr", subsampling="4:4:4")
    decoded = pixels_of(data)
    path = save_png(tmp_path / "a.png", 168, 184)
    found = lj.scores(path, data)
    assert list(found) == [metric.key for metric in registry.available()]
    mse = np.mean((original - decoded.astype(float)) ** 2)
    assert found["mse"] == pytest.approx(mse)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / mse))
    for metric in registry.available():
        wanted = metric.compare(metric.prepare(original), decoded)
        assert found[metric.key] == wanted
        assert lj.score(Image.fromarray(original), decoded, metric.key) == wanted
    assert lj.score(original, data) == found["ssimulacra2"]
    assert lj.score(original, data, "ms_ssim") == found["ms-ssim"]
    assert np.isnan(lj.score(original[:99], decoded[:99], "ms-ssim"))


def test_a_metric_without_its_tool_is_refused_by_name(image):
    with pytest.raises(lj.UserError, match="'butteraugli': .* not installed"):
        lj.score(image, image, "butteraugli")


# Models


def test_a_model_gives_its_tables(tables_dir, image):
    with lj.load_model(tables_dir) as model:
        data = lj.encode(image, model=model)
        found = jpeg_file.read_coefficients(data)
        assert found.sampling == "4:4:4"
        np.testing.assert_array_equal(found.qtables, asymmetric_tables(9))
        searched = lj.encode(image, model=model, quantization="search")
        assert jpeg_file.read_coefficients(searched).sampling == "4:2:0"
        assert len(searched) < len(data)


# Errors


def damaged_pillow_image():
    buffer = io.BytesIO()
    Image.fromarray(photograph(HEIGHT, WIDTH)).save(buffer, "PNG")
    return Image.open(io.BytesIO(buffer.getvalue()[:-800]))


def closed_pillow_image():
    with Image.open(EXAMPLE_IMAGES / "coffee.png") as image:
        return image


PIXELS = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
REFUSED = {
    "no such file": (lambda: lj.encode("none.png"), "none.png: no such file"),
    "a folder": (lambda: lj.encode(EXAMPLE_IMAGES), "is a folder"),
    "a list": (lambda: lj.encode([[1]]), "type list: pass a path"),
    "bytes": (lambda: lj.encode(b"abc"), "type bytes"),
    "floats": (lambda: lj.encode(PIXELS / 255), "float64 .*uint8"),
    "two channels": (lambda: lj.encode(PIXELS[..., :2]), r"\[48, 56, 2\]"),
    "no pixels": (lambda: lj.encode(PIXELS[:0]), "no pixels"),
    "no Pillow pixels": (lambda: lj.encode(Image.new("RGB", (0, 5))), "no pixels"),
    "too large": (lambda: lj.encode(np.zeros((1, 65501, 3), np.uint8)), "too large"),
    "Lab": (lambda: lj.encode(Image.new("LAB", (9, 9))), "Lab"),
    "damaged": (lambda: lj.encode(damaged_pillow_image()), "damaged"),
    "closed": (lambda: lj.encode(closed_pillow_image()), "closed"),
    "two rates": (lambda: lj.encode(PIXELS, quality=5, lmbda=1), "only one"),
    "quality": (lambda: lj.encode(PIXELS, quality=101), "quality 101: out of range"),
    "no model": (lambda: lj.encode(PIXELS, model="runs/a"), "load_model"),
    "refinement": (
        lambda: lj.encode(PIXELS, quantization="round", refine_steps=3),
        "no entropy model",
    ),
    "tune": (lambda: lj.encode(PIXELS, tune="vmaf"), "'vmaf': unknown; .* psnr"),
    "too small": (lambda: lj.encode(PIXELS, tune="ms-ssim"), "56x48 px: MS-SSIM"),
    "unreached": (lambda: lj.encode(PIXELS, target=lj.Bytes(9)), "cannot be reached"),
    "metric": (lambda: lj.MetricTarget("bytes", 9), "'bytes': unknown; .*ms-ssim"),
    "decode": (lambda: lj.decode(b"no file"), "not a .jpg file"),
    "decode cut": (lambda: lj.decode(lj.encode(PIXELS)[:-20]), "damaged JPEG data"),
    "decode none": (lambda: lj.decode(None), "type NoneType"),
    "score": (lambda: lj.score(PIXELS, PIXELS, "vmaf"), "'vmaf': unknown; .*psnr"),
    "sizes": (lambda: lj.scores(PIXELS, PIXELS[1:]), "56x48 and 56x47 px"),
    "checkpoint": (lambda: lj.load_model("none"), "none: no checkpoint"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_goes_wrong_is_one_line(name):
    call, words = REFUSED[name]
    with pytest.raises(lj.UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_options_of_a_model_are_checked(tables_dir):
    model = lj.load_model(tables_dir)
    with pytest.raises(lj.UserError, match="tables of its own"):
        lj.encode(PIXELS, model=model, quality=50)
    with pytest.raises(lj.UserError, match="target bytes: .* quantization search"):
        lj.encode(PIXELS, model=model, target=lj.Bytes(50_000))
    with pytest.raises(TypeError, match="qality"):
        lj.save(PIXELS, "a.jpg", qality=50)


# The host


def python(code, **environment):
    """Runs Python code as a process of its own; returns it."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_import_loads_and_changes_nothing():
    code = """
        import logging, os, sys
        before = dict(os.environ), sys.excepthook
        import learned_jpeg as lj
        heavy = {"numpy", "PIL", "numba", "scipy", "tensorflow", "argparse", "jpeglib"}
        assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
        assert set(lj.__all__) <= set(dir(lj))
        for name in lj.__all__:
            getattr(lj, name)
        assert not {"tensorflow", "matplotlib", "tqdm"} & sys.modules.keys()
        assert (dict(os.environ), sys.excepthook) == before
        assert not logging.getLogger().handlers
        try:
            lj.nothing
        except AttributeError as error:
            assert "nothing" in str(error)
    """
    assert python(code).stdout == ""


def test_a_model_with_a_network_leaves_the_host_alone():
    """Its script is a command as well, which changes the process of a command."""
    folder = ROOT / "example_experiments" / "attention_entropy_mse" / "lambda_0002"
    code = f"""
        import os, sys
        import learned_jpeg as lj
        os.environ.pop("OPENBLAS_NUM_THREADS", None)
        before = dict(os.environ), sys.excepthook
        assert not lj.load_model({str(folder)!r}).takes_quality
        assert "ljpeg_attention" in sys.modules
        assert (dict(os.environ), sys.excepthook) == before
    """
    python(code)


def test_nothing_is_printed_where_notes_are_logged(tmp_path, server):
    """A blank page is far inside of its target, and the file has odd metadata."""
    Image.new("RGB", (40, 40), (90, 90, 90)).save(tmp_path / "a.png")
    code = f"""
        import logging
        import learned_jpeg as lj
        path = {str(tmp_path / "a.png")!r}
        lj.encode(path, target=lj.MetricTarget("psnr", 40))
        lj.score(path, lj.encode(path))
        notes = []
        logger = logging.getLogger("learned_jpeg")
        logger.addHandler(type("H", (logging.Handler,), {{"emit": lambda s, r:
            notes.append(r.getMessage())}})())
        lj.encode(path, target=lj.MetricTarget("psnr", 40))
        assert len(notes) == 1 and "the nearest is inf dB" in notes[0], notes
    """
    done = server.run(textwrap.dedent(code))
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
def test_threads_give_the_bytes_of_one(tmp_path, tables_dir):
    """Over images, and models that all threads share."""
    other = tmp_path / "lambda_1"
    write_tables_model(other, asymmetric_tables(30), lmbda=0.005, **ENTROPY)
    models = [None, lj.load_model(tables_dir), lj.load_model(other)]
    images = [photograph(32 + 8 * i, 64 - 4 * i, i) for i in range(2)]
    ways = [{"tune": "psnr"}, {"lmbda": 0.01}, {"quantization": "mozjpeg"}]
    jobs = [
        (image, {"model": model, "quantization": "search", **way})
        for image in images
        for model in models
        for way in ways
    ]

    def run(job):
        image, options = job
        return lj.encode(image, **options)

    alone = [run(job) for job in jobs]
    assert len(set(alone)) > len(jobs) * 0.8
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, jobs)) == alone


@pytest.mark.slow
def test_threads_of_blas_do_not_change_a_byte():
    code = """
        import hashlib
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        import learned_jpeg as lj
        from PIL import Image

        with Image.open("example_images/coffee.png") as opened:
            pixels = np.asarray(opened.convert("RGB"))[60:236, 90:282]

        def encode(tune):
            return lj.encode(pixels, tune=tune, lmbda=0.01)

        with ThreadPoolExecutor(4) as pool:
            files = pool.map(encode, ("psnr", "ms-ssim", "mixed", "ssimulacra2"))
        print([hashlib.sha256(data).hexdigest() for data in files])
    """
    code = f"import os; os.chdir({str(ROOT)!r})\n" + textwrap.dedent(code)
    outputs = {python(code, OPENBLAS_NUM_THREADS=n).stdout for n in "14"}
    assert len(outputs) == 1


@pytest.mark.slow
def test_types_are_those_that_a_checker_sees(tmp_path):
    snippet = """
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path

        import learned_jpeg as lj
        import numpy as np
        from PIL import Image

        image = Image.open("a.png")
        pixels = np.zeros((8, 8, 3), np.uint8)
        model = lj.load_model(Path("runs"), precision="float32")
        reveal_type(lj.encode(image, quality=75))
        reveal_type(lj.encode(pixels, target=lj.Bytes(200_000), model=model))
        reveal_type(lj.encode("a.png", target=lj.MetricTarget("psnr", 38)))
        reveal_type(lj.encode(Path("a.png"), target=lj.BitsPerPixel(0.5)))
        reveal_type(lj.decode(b"").ndim)
        reveal_type(lj.score(image, b""))
        reveal_type(lj.scores(pixels, "a.jpg"))
        reveal_type(model)
        with model as opened, open("b.jpg", "wb") as file:
            lj.save(image, "a.jpg", quality=75)
            lj.save(image, file, lmbda=0.1, model=opened)
        options = lj.EncodeOptions(quality=3)
        try:
            lj.encode("a.png")
        except lj.UserError as error:
            print(error)
    """
    (tmp_path / "good.py").write_text(textwrap.dedent(snippet))
    bad = ["lj.encode(3)", "lj.encode(b'')", "lj.encode('a', quality='3')"]
    bad += ["lj.encode('a', target=3)", "lj.encode('a', qality=3)", "lj.nothing"]
    (tmp_path / "bad.py").write_text("\n".join(["import learned_jpeg as lj", *bad]))
    config = {
        "extraPaths": [str(ROOT)],
        "pythonVersion": "3.10",
        "venvPath": os.path.dirname(sys.prefix),
        "venv": os.path.basename(sys.prefix),
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    in_good = [d for d in found if d["file"].endswith("good.py")]
    assert not [d["message"] for d in in_good if d["severity"] == "error"]
    types = [d["message"].split('" is ')[1] for d in in_good if "reveal" not in d]
    assert types == [
        *['"bytes"'] * 4,
        '"int"',
        '"float"',
        '"dict[str, float]"',
        '"TrainedModel"',
    ]
    in_bad = [d for d in found if d["file"].endswith("bad.py")]
    lines = {d["range"]["start"]["line"] for d in in_bad if d["severity"] == "error"}
    assert lines == set(range(1, len(bad) + 1))
