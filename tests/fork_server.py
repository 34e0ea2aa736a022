"""Starts of Python in milliseconds: a process that has loaded modules forks for each.

A child stands for a new process where the modules that the server has loaded, such as
numba, are not what is tested. Everything else is loaded anew.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from typing import NamedTuple

from tests.paths import ROOT


class Ended(NamedTuple):
    """The status and the output of code that has run."""

    returncode: int
    stdout: str
    stderr: str


class ForkServer:
    """A process that runs code in children of its own; a context."""

    def __init__(self, preparation):
        """Starts it; it runs the code of a preparation."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", preparation],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.communicate()

    def run(self, code, *, path=(), environment=()):
        """Runs code with folders before sys.path, and with more variables; `Ended`."""
        job = {"code": code, "path": list(path), "environment": dict(environment)}
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
            os._exit(_status_of(job))
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
    status = 1
    try:
        exec(job["code"], {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    return status


if __name__ == "__main__":
    _serve(sys.argv[1])
