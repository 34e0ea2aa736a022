"""Importing `learned_jpeg` changes nothing of the program that imports it."""

import json
import os
import subprocess
import sys

from tests.paths import ROOT

# Changes its process, so that only the commands import it.
PROCESS = "learned_jpeg.common.process"
COMMANDS = (PROCESS, "learned_jpeg.commands.main")

CODE = """
import gc, importlib, json, locale, logging, os, pkgutil, signal, sys, threading
import warnings
import numpy, PIL.Image, PIL.ImageFile

def state():
    loggers = {
        name: (logger.level, logger.propagate, logger.disabled, len(logger.handlers))
        for name in ("root", "PIL", "PIL.Image", "numpy")
        for logger in [logging.getLogger(None if name == "root" else name)]
    }
    return {
        "environment": dict(os.environ),
        "working folder": os.getcwd(),
        "umask": (mask := os.umask(0), os.umask(mask))[0],
        "limit of Pillow": PIL.Image.MAX_IMAGE_PIXELS,
        "truncated images": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        "warning filters": [repr(filter) for filter in warnings.filters],
        "showwarning": id(warnings.showwarning),
        "exception hooks": [id(sys.excepthook), id(threading.excepthook)],
        "streams": [id(sys.stdout), id(sys.stderr), sys.stdout.errors],
        "garbage collection": [gc.isenabled(), gc.get_threshold()],
        "loggers": [loggers, logging.root.manager.disable, logging.lastResort.level],
        "signals": {s.name: repr(signal.getsignal(s)) for s in signal.Signals},
        "numpy errors": numpy.geterr(),
        "numpy print options": repr(numpy.get_printoptions()),
        "numpy random numbers": numpy.random.get_state()[1].tolist(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": sorted(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else [],
        "recursion limit": sys.getrecursionlimit(),
        "locale": locale.setlocale(locale.LC_ALL),
        "search path": sys.path,
    }

before = state()
import learned_jpeg
found = ["learned_jpeg"]
for module in pkgutil.walk_packages(learned_jpeg.__path__, "learned_jpeg."):
    if module.name not in EXCEPTED:
        importlib.import_module(module.name)
        found.append(module.name)
after = state()
changed = [name for name in before if before[name] != after[name]]
json.dump([found, changed, PROCESS in sys.modules], open(sys.argv[1], "w"))
"""


def changes(folder, excepted):
    """(modules that are imported, what has changed, whether `PROCESS` is loaded)."""
    code = CODE.replace("EXCEPTED", repr(excepted)).replace("PROCESS", repr(PROCESS))
    variables = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "found.json"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return json.loads((folder / "found.json").read_text())


def test_importing_every_module_changes_nothing(tmp_path):
    found, changed, is_command = changes(tmp_path, COMMANDS)
    assert changed == []
    assert not is_command
    files = list((ROOT / "learned_jpeg").rglob("*.py"))
    assert len(found) == len(files) - len(COMMANDS)


def test_what_a_command_changes_is_seen(tmp_path):
    _, changed, is_command = changes(tmp_path, ())
    assert is_command
    expected = {"environment", "warning filters", "exception hooks", "loggers"}
    assert set(changed) == expected
