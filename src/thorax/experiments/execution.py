"""Execute one task: `python -m thorax.experiments.execution [--stop-at-eof] TASK`.

The task runs `dvc exp run` in its own clone of the project, then stores the experiment in the
project. SIGTERM stops it, and so does the end of standard input with ``--stop-at-eof``: the training
receives SIGINT first, then SIGKILL. Whatever ends a task, the same command executes it again.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil

from thorax.errors import InputError, in_one_line
from thorax.experiments.project import Project, dvc_environment
from thorax.experiments.tasks import STOP_AT_EOF, Task

_GRACE_S = 30.0
_POLL_S = 0.5
_STOPPED = 130


def main(arguments: Sequence[str]) -> int:
    """Execute the task that is given as JSON in the last argument; return the exit status."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Processes that a shell starts in the background ignore SIGINT, and so would a training.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if STOP_AT_EOF in arguments:
        Thread(target=_wait_for_eof, args=(stop,), daemon=True).start()
    task = Task(**json.loads(arguments[-1]))
    try:
        with in_one_line():
            return execute(task, stop)
    except InputError as error:
        sys.exit(f"thorax: {error}")


def execute(task: Task, stop: Event) -> int:
    """Run an experiment, unless it has a result; wait first while another process runs it.

    Args:
        task: To execute.
        stop: Set to stop the run.

    Returns:
        Exit status: 0 if the experiment has a result.

    Raises:
        InputError: The project cannot be copied, or the experiment cannot be stored.
    """
    project, copy = Project(Path(task.root)), task.folder / "project"
    with _locked(task.folder, stop) as acquired:
        if not acquired:
            return _STOPPED
        if task.name in project.finished():
            return 0
        _print_to(task.log)
        _remove(copy)
        try:
            workspace = project.copy(copy, commit=task.commit, tree=task.tree)
            status = _run(task, workspace, stop)
            if status == 0:
                project.collect(copy, task.name, commit=task.commit)
            return status
        finally:
            _remove(copy)


def _run(task: Task, workspace: Path, stop: Event) -> int:
    settings = [word for override in task.overrides for word in ("--set-param", override)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "exp", "run", "--name", task.name, *settings],
        cwd=workspace,
        env=dvc_environment(),
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    while process.poll() is None:
        if stop.wait(_POLL_S):
            return _interrupt(process)
    return process.returncode


def _interrupt(process: subprocess.Popen[bytes]) -> int:
    """Stop a process group: as Ctrl-C does, and by force where that takes too long."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return _STOPPED


@contextmanager
def _locked(folder: Path, stop: Event) -> Iterator[bool]:
    """Hold the lock of a task; false if the task is stopped before it gets the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if stop.wait(_POLL_S):
                yield False
                return
        yield True


def _remove(copy: Path) -> None:
    """Remove a copy of the project, and kill what still runs in it after a task was killed."""
    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # A shell in which somebody looks at the copy has a terminal.
            if Path(process.cwd()).is_relative_to(copy) and not process.terminal():
                process.kill()
                killed.append(process)
    psutil.wait_procs(killed, timeout=_GRACE_S)
    shutil.rmtree(copy, ignore_errors=True)


def _print_to(log: Path) -> None:
    """Send all output of this process and its children to a new log."""
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), sys.stdout.fileno())
        os.dup2(stream.fileno(), sys.stderr.fileno())


def _wait_for_eof(stop: Event) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
