"""A SLURM cluster on this machine, without systemd.

munged, slurmctld and one slurmd per node run in the foreground on loopback, with their own
configuration, key, ports, state and logs in a temporary folder. A node has as many CPUs as its
definition says; the machine may have fewer. A supervisor stops all
processes at the end, also if the process that started them was killed.
"""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

Condition = Callable[[], bool]

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
         "PREEMPTED", "REVOKED", "TIMEOUT")  # fmt: skip
SUPERVISOR = Path(__file__).with_name("supervisor.py")
PAUSE_S, QUERY_S, PATIENCE_S = 0.05, 0.3, 60

CONFIGURATION = """\
ClusterName=thorax
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# cred_expire is the time that a requeued job waits, too.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,defer
MpiDefault=none
ReturnToService=2
KillWait=3
MinJobAge=3600
JobRequeue=1
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmError(RuntimeError):
    """A command of SLURM failed, or a daemon did not start."""


def missing_programs() -> list[str]:
    """Return the daemons that are not installed."""
    return [name for name in DAEMONS if shutil.which(name, path=PATH) is None]


@dataclass(frozen=True)
class Slurm:
    """A running cluster.

    Args:
        folder: Its configuration, state and logs.
        nodes: Names of its nodes.
    """

    folder: Path
    nodes: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment with which the commands of SLURM use this cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        return kept | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def run(self, *command: str | Path) -> str:
        """Run a command of SLURM and return its output."""
        answer = subprocess.run(
            [str(word) for word in command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise SlurmError(f"{' '.join(map(str, command))}: {answer.stderr.strip()}")
        return answer.stdout

    def submit(self, *arguments: str | Path) -> str:
        """Submit a job with `sbatch`, and return its number."""
        return self.run("sbatch", "--parsable", *arguments).strip()

    def states(self, job: str) -> dict[str, str]:
        """Return the state of a job, or of each task of an array by its number `JOB_TASK`."""
        lines = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
        records = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
        return {_number(record): record["JobState"] for record in records if "JobId" in record}

    def wait(self, job: str, *, patience_s: float = 10 * PATIENCE_S) -> dict[str, str]:
        """Wait until a job, or all tasks of an array, have ended, and return their states."""
        wait_for(
            lambda: all(state in ENDED for state in self.states(job).values()),
            f"job {job} is {self.states(job)}",
            patience_s=patience_s,
            pause_s=QUERY_S,
        )
        return self.states(job)

    def processes(self, job: str) -> list[psutil.Process]:
        """Return the processes of a running job, or of a running task of an array."""
        number = self.run("squeue", "--noheader", "--format=%A", f"--jobs={job}").strip()
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                if environment.get("SLURM_JOB_ID") == number and self._has(environment):
                    found.append(process)
        return found

    def _has(self, environment: Mapping[str, str]) -> bool:
        return environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]

    def restarts(self, job: str) -> int:
        """Return the number of times that a job was requeued."""
        return int(self.run("scontrol", "show", "job", job).partition("Restarts=")[2].split()[0])


def _number(record: dict[str, str]) -> str:
    """Return the number of a job, or of a task of an array."""
    task = record.get("ArrayTaskId")
    return f"{record['ArrayJobId']}_{task}" if task else record["JobId"]


def wait_for(
    condition: Condition, problem: str, *, patience_s: float = PATIENCE_S, pause_s: float = PAUSE_S
) -> None:
    """Wait until a condition is true.

    Raises:
        SlurmError: It is false for too long.
    """
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise SlurmError(f"after {patience_s} s, {problem}")
        time.sleep(pause_s)


@contextmanager
def running_slurm(*, nodes: int = 1, cpus: int = 4) -> Iterator[Slurm]:
    """Start a cluster, and stop it with all its jobs at the end.

    Args:
        nodes: Number of nodes; all of them are this machine.
        cpus: CPUs of each node, as many as jobs of one CPU that run at once.

    Raises:
        SlurmError: A daemon does not start; the message ends with its log.
    """
    # A path of a socket has at most 107 characters: the folders of pytest are too long.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o711)  # as munged demands for its socket
    slurm = Slurm(folder, tuple(f"node{number}" for number in range(1, nodes + 1)))
    _configure(slurm, cpus)
    with subprocess.Popen(
        [sys.executable, SUPERVISOR, folder],
        env=slurm.environment,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests alone
    ) as supervisor:
        _start(slurm, supervisor)
        yield slurm


def _configure(slurm: Slurm, cpus: int) -> None:
    """Write the key of munge and the configuration of SLURM."""
    folder, host = slurm.folder, socket.gethostname().partition(".")[0]
    port, *others = _free_ports(1 + len(slurm.nodes))
    nodes = (
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
        "RealMemory=65536 State=UNKNOWN"
        for node, port in zip(slurm.nodes, others, strict=True)
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    (folder / "state").mkdir()
    for node in slurm.nodes:
        (folder / "spool" / node).mkdir(parents=True)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            host=host,
            port=port,
            user=getpass.getuser(),
            nodes="\n".join(nodes),
        )
    )


def _free_ports(count: int) -> list[int]:
    """Return ports that no process uses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _start(slurm: Slurm, supervisor: subprocess.Popen[bytes]) -> None:
    """Start the daemons in turn, and wait until all nodes are idle."""
    folder, stream = slurm.folder, supervisor.stdin
    assert stream is not None

    def start(name: str, *arguments: str) -> None:
        stream.write(json.dumps([shutil.which(name, path=PATH), *arguments]).encode() + b"\n")
        stream.flush()

    start(
        "munged", "--foreground",
        f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed",
        f"--log-file={folder}/munge.log",
    )  # fmt: skip
    try:
        wait_for((folder / "munge.socket").exists, "munged does not answer")
        start("slurmctld", "-D", "-i")
        for node in slurm.nodes:
            start("slurmd", "-D", "-N", node)
        wait_for(lambda: _is_ready(slurm), "the nodes are not idle")
    except SlurmError as error:
        logs = sorted(folder.glob("*.log"))
        ends = (f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)
        raise SlurmError("\n".join([f"SLURM cannot be started: {error}", *ends])) from None


def _is_ready(slurm: Slurm) -> bool:
    with suppress(SlurmError):
        states = slurm.run("sinfo", "--noheader", "--Node", "--format=%t").split()
        return states == ["idle"] * len(slurm.nodes)
    return False
