"""Commands that need no TensorFlow, where there is none."""

import json
import shutil
import textwrap

import numpy as np
import pytest
from PIL import Image

import learned_jpeg as lj
from learned_jpeg.codec.options import OWN_LOSS, EncodeOptions
from learned_jpeg.codec.trained import TrainedModel, standard_tables
from learned_jpeg.models import folders
from tests.fork_server import ForkServer
from tests.paths import EXAMPLE_IMAGES, ROOT

EXAMPLES = ROOT / "example_experiments"
TABLES = EXAMPLES / "tables_rdoq_mse" / "lambda_0004"
ATTENTION = EXAMPLES / "attention_learned_q_w10_scale1e-5" / "lambda_01"


# What every command needs; a server has it, and has loaded the compiled functions.
PREPARATION = """
import numpy
import learned_jpeg as lj
from learned_jpeg.search import tunes
lj.encode(numpy.zeros((16, 16, 3), numpy.uint8), lmbda=1)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function (script or -m, module, words...) -> the ended process."""
    blocked = tmp_path_factory.mktemp("blocked") / "tensorflow"
    blocked.mkdir()
    error = "ModuleNotFoundError('no TensorFlow here', name='tensorflow')"
    (blocked / "__init__.py").write_text(f"raise {error}")
    with ForkServer(PREPARATION, path=[blocked.parent, ROOT]) as server:
        assert "no TensorFlow here" in server.run("import tensorflow").stderr
        yield server.run_script


@pytest.fixture
def photo(tmp_path):
    """A crop of odd size, as a file."""
    image = Image.open(sorted(EXAMPLE_IMAGES.glob("*.png"))[0]).crop((40, 30, 203, 141))
    image.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def tables_in_checkpoint(tmp_path):
    """Folder of a model whose qtables.json is of another checkpoint."""
    copy = shutil.copytree(TABLES, tmp_path / "copy")
    path = copy / "train" / folders.QTABLES_FILE
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "checkpoint_sha256": 64 * "0"}))
    return copy


@pytest.mark.parametrize(
    "words",
    [
        ["ljpeg.py"],
        ["ljpeg_attention.py"],
        ["ljpeg_PIL.py"],
        ["google_baseline.py"],
        ["compress.py"],
        ["evaluate.py"],
        ["-m", "evaluation.rate_check"],
        ["-m", "evaluation.loss_curves"],
        ["-m", "report.compare"],
        ["-m", "report.crops"],
        ["ljpeg_attention.py", "train"],
        ["ljpeg.py", "compress"],
    ],
)
def test_help(run, words):
    done = run(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["standard", "optimized"])
@pytest.mark.parametrize("quantization", ["round", "search"])
def test_files_of_learned_tables_equal_those_of_the_codec(
    run, photo, tmp_path, coding, quantization
):
    """The codec is what evaluate.py measures."""
    words = ["compress", photo, "-o", tmp_path / "x.jpg", "--strip_all"]
    words += ["--entropy_coding", coding, "--quantization", quantization]
    done = run("ljpeg.py", "--checkpoint_dir", TABLES, *words)
    assert (done.returncode, done.stderr) == (0, "")
    options = EncodeOptions(
        quantization=quantization, tune=OWN_LOSS, entropy_coding=coding
    )
    with TrainedModel.load(TABLES) as model:
        expected = model.codec(options).encode(np.asarray(Image.open(photo)))
    assert (tmp_path / "x.jpg").read_bytes() == expected


@pytest.mark.slow
def test_files_of_standard_tables_equal_those_of_the_codec(run, photo, tmp_path):
    words = ["--quality", 40, "-o", tmp_path, "--strip_all"]
    done = run("ljpeg_PIL.py", "compress", photo, *words)
    assert (done.returncode, done.stderr) == (0, "")
    with standard_tables() as model:
        codec = model.codec(EncodeOptions(quantization="round"))
        expected = codec.encode(np.asarray(Image.open(photo)), quality=40)
    assert (tmp_path / "photo.jpg").read_bytes() == expected


@pytest.mark.parametrize(
    "script, name",
    [
        ("ljpeg", "tables_entropy_mse/lambda_0001"),
        ("ljpeg_attention", "attention_learned_q_w10_scale1e-5/lambda_01"),
    ],
)
def test_export(run, script, name):
    folder = EXAMPLES / name
    words = ["--checkpoint_dir", folder, "export", "--format", "json"]
    done = run(f"{script}.py", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    saved = json.loads((folder / "train" / folders.QTABLES_FILE).read_text())
    assert (found["luma"], found["chroma"]) == (saved["luma"], saved["chroma"])


@pytest.mark.slow
def test_comparison_of_results(run, tmp_path):
    figures = tmp_path / "figures"
    done = run("-m", "report.compare", EXAMPLES, "--figure_dir", figures)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tables_rdoq_mse" in done.stdout
    assert (figures / "overview.png").exists()


def assert_asks_for_tensorflow(done, reason):
    """The process has ended with one line of the reason."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert reason in line and "pip install" in line


def test_a_network_asks_for_it(run, photo, tmp_path):
    words = ["--checkpoint_dir", ATTENTION, "compress", photo, "-o", tmp_path]
    done = run("ljpeg_attention.py", *words)
    assert_asks_for_tensorflow(done, "TensorFlow is not installed")


def test_tables_of_another_checkpoint_are_not_taken(run, tables_in_checkpoint):
    """Then the checkpoint itself is read, which takes TensorFlow."""
    done = run("ljpeg.py", "--checkpoint_dir", tables_in_checkpoint, "export")
    assert_asks_for_tensorflow(done, "TensorFlow is not installed")


# The package alone, as pip installs it without a clone


COMMAND = "from learned_jpeg.commands.main import main; main()"
ABSENT = ("tensorflow", "tensorboard", "scipy", "matplotlib", "plotly")


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Server with the package, where nothing else of the project can be imported."""
    folder = tmp_path_factory.mktemp("light")
    shutil.copytree(ROOT / "learned_jpeg", folder / "learned_jpeg")
    block = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n"
    (folder / "sitecustomize.py").write_text(block)
    with ForkServer(PREPARATION, path=[folder], cwd=folder) as server:
        yield server


def run_light(server, code, *argv):
    return server.run(textwrap.dedent(code), *argv)


def test_the_light_installation_is_light(light):
    code = """
        import importlib.util, os, sys
        import learned_jpeg as lj
        from learned_jpeg.metrics import registry
        print(os.path.dirname(os.path.dirname(lj.__file__)) == os.getcwd())
        names = ["training", "weights", "lpips_tensorflow", "ljpeg", "arg_parser"]
        print([n for n in [*names, "tensorflow"] if importlib.util.find_spec(n)])
        print("lpips" in [metric.key for metric in registry.available()])
        # Nor is LPIPS there if another project has installed TensorFlow.
        del sys.modules["tensorflow"]
        print(importlib.util.find_spec("tensorflow") is not None)
        print("lpips" in [metric.key for metric in registry.available()])
    """
    done = run_light(light, code)
    assert done.stdout.split() == ["True", "[]", "False", "True", "False"], done.stderr


@pytest.mark.slow
def test_the_light_installation_writes_the_same_files(light, photo, tmp_path):
    options = [
        {"quality": 60},
        {"target": 4000},
        {"model": str(TABLES)},
        {"model": str(TABLES), "quantization": "search"},
        {"model": str(TABLES), "quantization": "mozjpeg"},
        {"quantization": "round", "entropy_coding": "standard"},
    ]
    code = """
        import json, sys
        import learned_jpeg as lj

        def encode(photo, options):
            if "model" in options:
                options["model"] = lj.load_model(options["model"])
            if "target" in options:
                options["target"] = lj.Bytes(options["target"])
            return lj.encode(photo, **options).hex()

        photo, options = sys.argv[1:]
        print(json.dumps([encode(photo, own) for own in json.loads(options)]))
    """
    done = run_light(light, code, photo, json.dumps(options))
    assert (done.returncode, done.stderr) == (0, "")
    files = [bytes.fromhex(data) for data in json.loads(done.stdout)]
    for own, data in zip(options, files, strict=True):
        target = {"target": lj.Bytes(own["target"])} if "target" in own else {}
        model = {"model": lj.load_model(own["model"])} if "model" in own else {}
        assert lj.encode(photo, **{**own, **target, **model}) == data
    assert len(set(files)) == len(files)
    for flags, wanted in (
        (["--quality", 60], files[0]),
        (["--model", TABLES, "--quantization", "search"], files[3]),
    ):
        output = tmp_path / "x.jpg"
        done = run_light(light, COMMAND, photo, "-o", output, "--force", *flags)
        assert (done.returncode, done.stderr) == (0, "")
        assert output.read_bytes() == wanted


@pytest.mark.slow
def test_verbose_leaves_lpips_out(light, photo, tmp_path):
    done = run_light(light, COMMAND, photo, "-o", tmp_path / "x.jpg", "--verbose")
    assert done.returncode == 0
    (note,) = done.stderr.splitlines()
    assert note.startswith("MS-SSIM is not defined below 161 px")
    line, _ = done.stdout.splitlines()  # and the summary
    assert "SSIMULACRA2 " in line and "PSNR " in line and "LPIPS" not in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--model", "ATTENTION"], "ljpeg_attention.py"),
        (["--model", "CHECKPOINT"], "model.ckpt"),
        (["--model", "ENTROPY", "--refine_steps", "3"], "--refine_steps"),
        (["--device", "cpu"], "--device cpu"),
    ],
)
def test_what_needs_a_clone_says_so(
    light, photo, tmp_path, tables_in_checkpoint, flags, reason
):
    places = {
        "ATTENTION": ATTENTION,
        "CHECKPOINT": tables_in_checkpoint,
        "ENTROPY": EXAMPLES / "tables_entropy_mse" / "lambda_0001",
    }
    flags = [places.get(flag, flag) for flag in flags]
    done = run_light(light, COMMAND, photo, "-o", tmp_path / "x.jpg", *flags)
    assert_asks_for_tensorflow(done, reason)
    assert "clone" in done.stderr
    if flags[0] == "--model" and len(flags) == 2:
        code = """
            import sys
            import learned_jpeg as lj
            photo, folder = sys.argv[1:]
            try:
                lj.encode(photo, model=lj.load_model(folder))
            except lj.UserError as error:
                print(error)
        """
        told = run_light(light, code, photo, flags[1])
        assert told.stdout in done.stderr and told.stdout.count("\n") == 1
