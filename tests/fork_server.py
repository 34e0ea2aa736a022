"""Starts of Python in milliseconds: a process that has loaded modules forks for each.

A child stands for a new process where the modules that the server has loaded, such as
numba, are not what is tested. Everything else is loaded anew.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Ended(NamedTuple):
    """The status and the output of code that has run."""

    returncode: int
    stdout: str
    stderr: str


class ForkServer:
    """A process that runs code in children of its own; a context."""

    def __init__(self, preparation, *, path=(ROOT,), cwd=ROOT):
        """Starts it.

        Args:
          preparation: code that it runs once.
          path: folders, as PYTHONPATH.
          cwd: its current folder.
        """
        self._process = subprocess.Popen(
            [sys.executable, __file__, preparation],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.communicate()

    def run(self, code, *argv, path=(), environment=()):
        """Runs code with sys.argv[1:]; with more folders and variables; `Ended`."""
        return self._run(
            {
                "code": code,
                "argv": ["-c", *map(str, argv)],
                "path": list(map(str, path)),
                "environment": dict(environment),
            }
        )

    def run_script(self, script, *argv):
        """Runs a script, or the module that follows a `-m`, with its arguments."""
        words = [*map(str, (script, *argv))]
        return self._run({"code": None, "argv": words, "path": [], "environment": {}})

    def _run(self, job):
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Ended(*json.loads(self._process.stdout.readline()))


def _serve(preparation):
    exec(preparation, {})
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


def _run(job):
    """Runs a job in a child; returns its (status, stdout, stderr)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            status = _status_of(job)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return status, *texts


def _status_of(job):
    """Runs the code of a job in this process; returns its exit status."""
    os.environ.update(job["environment"])
    tempfile.tempdir = None  # found anew
    sys.path[:0] = job["path"]
    sys.argv = job["argv"]
    try:
        if job["code"] is not None:
            exec(job["code"], {"__name__": "__main__"})
        elif sys.argv[0] == "-m":
            del sys.argv[0]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file
    _serve(sys.argv[1])
