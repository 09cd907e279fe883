"""One run as a task, and runners that execute tasks, here as local processes.

`thorax.experiments.cluster` starts the same command (`Task.command`) on the workers of a cluster.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from thorax.common import machine

_MODULE = "thorax.experiments.execution"
_FOLDER = ".dvc/tmp/exps/thorax"
"""Trainings below `.dvc/tmp/exps` keep their checkpoints in the project itself."""
THREAD_VARIABLES = (machine.THREADS, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that limit the threads of a run."""


@dataclass(frozen=True)
class Task:
    """Everything needed to execute one run.

    Args:
        name: Name of the experiment.
        overrides: As for `dvc exp run -S`.
        root: Absolute path of the project.
        commit: Commit that the experiment starts from.
        tree: Git object with the content of the project.
    """

    name: str
    overrides: tuple[str, ...]
    root: str
    commit: str
    tree: str

    @property
    def folder(self) -> Path:
        """Folder with the lock, the log and, while the task runs, its copy of the project."""
        return Path(self.root) / _FOLDER / self.name

    @property
    def log(self) -> Path:
        """File with the output of the run."""
        return self.folder / "log"

    def command(self) -> list[str]:
        """Command that executes the task and exits with status 0 once it has a result."""
        return [sys.executable, "-m", _MODULE, json.dumps(asdict(self))]


class TaskRunner(Protocol):
    """Executes tasks."""

    def start(self, task: Task) -> None:
        """Start a task without waiting for it."""

    def poll(self, task: Task) -> int | None:
        """Return the exit status of a task; None while it waits or runs."""

    def stop(self) -> None:
        """Stop all running tasks and wait for their end."""


class LocalProcesses:
    """Executes each task as a local process, which stops when this process ends.

    Args:
        jobs: Number of tasks at a time, which share the cores.
    """

    def __init__(self, jobs: int) -> None:
        self._environment = {**share_cores(jobs), **os.environ}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, task: Task) -> None:
        """Start a task in a new process session, which Ctrl-C in the terminal does not reach."""
        task.folder.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            self._processes[task.name] = subprocess.Popen(
                task.command(),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def poll(self, task: Task) -> int | None:
        """Return the exit status of a task; None while it runs."""
        return self._processes[task.name].poll()

    def stop(self) -> None:
        """Stop all tasks and wait for their end."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()


def started_names(root: Path) -> list[str]:
    """Names of all tasks of a project that were ever started."""
    return sorted(path.name for path in (root / _FOLDER).glob("*"))


def share_cores(jobs: int) -> dict[str, str]:
    """Environment variables that limit each of several runs to its share of the cores.

    Two trainings that both use all cores slow each other down in every layer.

    Example:
        >>> share_cores(1)
        {}
    """
    if jobs == 1:
        return {}
    return dict.fromkeys(THREAD_VARIABLES, str(max(1, machine.cores() // jobs)))


def log_tail(log: Path, *, size: int = 16_384) -> list[str]:
    """Return the last non-empty lines of a log; of a progress bar, its last state.

    Args:
        log: File; no lines if it cannot be read.
        size: Number of bytes to read at its end.
    """
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - size))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    lines = (line.rstrip().rpartition("\r")[2].strip() for line in text.split("\n"))
    return [line for line in lines if line]
