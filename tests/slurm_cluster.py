"""SLURM itself on this machine: a controller and two nodes, on the loopback alone."""

import contextlib
import datetime
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.paths import ROOT

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "scontrol")
NODES = ("n1", "n2")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
START_SECONDS, STOP_SECONDS, JOB_SECONDS = 120, 60, 600

_CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0
KillWait=5
ReturnToService=2
NodeName=DEFAULT CPUs=2 RealMemory=64000
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Why SLURM cannot run here, or None."""
    missing = [name for name in PROGRAMS if not _program(name)]
    if missing:
        packages = "slurmctld slurmd slurm-client munge"
        return f"no {', '.join(missing)} here; apt-get install {packages}"
    return "slurmd needs to be root" if os.geteuid() else None


def _program(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class Cluster:
    """A running SLURM; as a context it ends with all that it started."""

    def __init__(self):
        # Not pytest's folder: the path of a socket has to be short.
        self._folder = Path(tempfile.mkdtemp(prefix="slurm_"))
        self._daemons = []
        self.environment = {**os.environ, "SLURM_CONF": f"{self._folder}/slurm.conf"}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        if self._daemons:
            self._cancel_all()
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(STOP_SECONDS)
            daemon.kill()
            daemon.wait()
        shutil.rmtree(self._folder)

    def _start(self):
        self._folder.chmod(0o755)
        (self._folder / "state").mkdir()
        key = self._folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        host = socket.gethostname().partition(".")[0]
        text = _CONFIGURATION.format(
            host=host, folder=self._folder, ports=_free_ports(3)
        )
        (self._folder / "slurm.conf").write_text(text)
        munge_files = ("key-file=munge.key", "socket=munge.socket")
        munge_files += ("log-file=munged.log", "pid-file=munged.pid")
        munge_files += ("seed-file=munged.seed",)
        options = [f"--{f.replace('=', f'={self._folder}/')}" for f in munge_files]
        self._run_daemon("munged", "--foreground", "--force", *options)
        wait_until((self._folder / "munge.socket").exists, START_SECONDS, self.logs)
        self._run_daemon("slurmctld", "-D", "-c")
        for node in NODES:
            self._run_daemon("slurmd", "-D", "-N", node, "-d", _program("slurmstepd"))
        wait_until(self._is_up, START_SECONDS, self.logs)

    def _run_daemon(self, name, *options):
        self._daemons.append(
            subprocess.Popen(
                [_program(name), *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _is_up(self):
        done = self._call("sinfo", "--noheader", "--Node", "--format=%T")
        return done.stdout.split() == ["idle"] * len(NODES)

    def _cancel_all(self):
        self._call("scancel", "--user=root")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._listed(), STOP_SECONDS, self.logs)

    def _listed(self):
        return self._call("squeue", "--noheader").stdout

    def _call(self, name, *words):
        command = [_program(name), *map(str, words)]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, cwd=ROOT
        )

    def call(self, name, *words):
        """Returns the output of a command of SLURM, which has to succeed."""
        done = self._call(name, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def submit(self, *words, **environment):
        """Calls sbatch in the project's folder; the number of the job."""
        others = {name: str(value) for name, value in environment.items()}
        done = subprocess.run(
            [_program("sbatch"), "--parsable", *map(str, words)],
            env={**self.environment, **others},
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def states(self, job):
        """dict from each task, such as `7_0`, to its state."""
        words = ("--noheader", "--array", "--states=all", "--format=%i %T")
        lines = self.call("squeue", *words, f"--jobs={job}").splitlines()
        return dict(line.split() for line in lines)

    def wait_for(self, job, *states, seconds=JOB_SECONDS):
        """Waits until each task is in one of the states; returns their states."""
        states = states or ENDED

        def arrived():
            found = self.states(job)
            return found if set(found.values()) <= set(states) else None

        return wait_until(arrived, seconds, self.logs)

    def start_again(self, job):
        """Has a job that was put back run in some seconds, not in two minutes."""
        # Not at once: a node refuses what is as old as the kill, to the second.
        start = datetime.datetime.now() + datetime.timedelta(seconds=3)

        def runs():
            # Again and again: the two minutes are set when its processes have ended.
            time_of_start = f"StartTime={start:%Y-%m-%dT%H:%M:%S}"
            self._call("scontrol", "update", f"JobId={job}", time_of_start)
            return set(self.states(job).values()) == {"RUNNING"}

        wait_until(runs, JOB_SECONDS, self.logs)

    def logs(self):
        """The ends of the logs, for a failure."""
        texts = (
            f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}"
            for path in sorted(self._folder.glob("*.log"))
        )
        return "\n".join(texts)


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(condition, seconds, explain):
    """The first value of `condition()` that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)
    return value
