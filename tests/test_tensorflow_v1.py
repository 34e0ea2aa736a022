"""TensorFlow's start: late, silent unless asked, and never silent about a failure."""

import os
import subprocess
import sys

import pytest

from tests.paths import ROOT


def run(code, package=None, **environment):
    """(status, stdout, stderr) of Python code, with a stand-in for TensorFlow."""
    environment = {k: str(v) for k, v in environment.items()}
    inherited = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    paths = [str(package or ""), str(ROOT)]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def package(tmp_path):
    """A folder with a `tensorflow` that writes to descriptor 2 as it loads."""

    def make(last_line="session = 7"):
        inner = tmp_path / "tensorflow" / "compat" / "v1"
        inner.mkdir(parents=True)
        (tmp_path / "tensorflow" / "__init__.py").write_text("")
        (tmp_path / "tensorflow" / "compat" / "__init__.py").write_text("")
        noise = "import os\nos.write(2, b'no GPU\\n')\n"
        (inner / "__init__.py").write_text(noise + last_line)
        return tmp_path

    return make


def test_the_first_name_loads_it_and_the_next_ones_do_not(package):
    code = (
        "import sys, tensorflow_v1 as tf\n"
        "print('tensorflow' in sys.modules, hasattr(tf, '__wrapped__'))\n"
        "print('tensorflow' in sys.modules)\n"
        "print(tf.session, sys.modules.pop('tensorflow.compat.v1').session)\n"
        "print(tf.session)"
    )
    status, out, _ = run(code, package())
    assert status == 0
    assert out.split() == ["False", "False", "False", "7", "7", "7"]


def test_its_messages_are_held_back(package):
    code = "import sys, tensorflow_v1 as tf\ntf.session\nprint('mine', file=sys.stderr)"
    assert run(code, package()) == (0, "", "mine\n")


def test_its_messages_are_shown_to_who_asks(package):
    code = "import tensorflow_v1 as tf\ntf.session"
    _, _, shown = run(code, package(), TF_CPP_MIN_LOG_LEVEL=0)
    assert shown == "no GPU\n"


def test_its_messages_are_shown_if_it_fails_to_load(package):
    code = "import tensorflow_v1 as tf\ntf.session"
    status, _, shown = run(code, package("raise ImportError('a library is missing')"))
    assert status == 1
    assert "no GPU" in shown and shown.rstrip().endswith("a library is missing")


def test_the_real_one_is_silent():
    code = (
        "import tensorflow_v1 as tf\n"
        "with tf.Graph().as_default(), tf.Session() as session:\n"
        "    print(session.run(tf.constant(3) + 4))"
    )
    assert run(code) == (0, "7\n", "")
