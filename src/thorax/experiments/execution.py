"""Execute one task: `python -m thorax.experiments.execution TASK`.

The task runs `dvc exp run` in its own clone of the project, then stores the experiment in the
project. SIGTERM or the end of the parent process stops it: a training receives SIGINT first, then
SIGKILL. A task that was stopped, killed or failed is executed again by the same command.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from thorax.common.errors import InputError, in_one_line
from thorax.common.files import lock_file
from thorax.common.project import dvc_environment
from thorax.experiments.project import Project
from thorax.experiments.tasks import Task
from thorax.training.launch import VARIABLES

_GRACE_S = 30
_PR_SET_PDEATHSIG = 1


def execute(task: Task) -> int:
    """Run an experiment unless it has a result; wait if another process runs it.

    Returns:
        Exit status: 0 if the experiment has a result.

    Raises:
        InputError: The project cannot be copied, or the experiment cannot be stored.
    """
    project, copy = Project(Path(task.root)), task.folder / "project"
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / "lock").open("wb") as lock:
        lock_file(lock.fileno(), wait=True)
        if task.name in project.finished():
            return 0
        _print_to(task.log)
        _remove(copy)
        try:
            workspace = project.copy(copy, commit=task.commit, tree=task.tree)
            status = _run(task, workspace)
            if status == 0:
                project.collect(copy, task.name, commit=task.commit)
            return status
        finally:
            _remove(copy)


def _run(task: Task, workspace: Path) -> int:
    settings = [word for override in task.overrides for word in ("--set-param", override)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "exp", "run", "--name", task.name, *settings],
        cwd=workspace,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        raise


def _environment() -> dict[str, str]:
    """Environment of a run, which trains in one process.

    Workers of a Dask cluster may be the tasks of one step of SLURM or of Open MPI.
    """
    return {name: value for name, value in dvc_environment().items() if name not in VARIABLES}


def _remove(copy: Path) -> None:
    """Kill all processes that still run in a copy of the project, and delete it."""
    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # A user's shell in the copy has a terminal; it is not killed.
            if Path(process.cwd()).is_relative_to(copy) and not process.terminal():
                process.kill()
                killed.append(process)
    psutil.wait_procs(killed, timeout=_GRACE_S)
    shutil.rmtree(copy, ignore_errors=True)


def _print_to(log: Path) -> None:
    """Send all output of this process and of its children to a new log."""
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), sys.stdout.fileno())
        os.dup2(stream.fileno(), sys.stderr.fileno())


def _main() -> int:
    # Background processes of a shell ignore SIGINT, and their children inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        with in_one_line():
            return execute(Task(**json.loads(sys.argv[1])))
    except InputError as error:
        sys.exit(f"thorax: {error}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(_main())
