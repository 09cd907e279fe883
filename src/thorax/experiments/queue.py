"""DVC's experiment queue, and git's part in it; the only module here that starts processes.

What changes the queue goes through the `dvc` command in a process of its own; the state is read
through DVC's Python interface, which costs milliseconds where a command costs seconds of the cores
that a training wants.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.executor.base import ExecutorInfo

from thorax.common import machine
from thorax.common.errors import InputError
from thorax.common.params import read_yaml
from thorax.experiments.runs import Run

Status = Literal["Queued", "Running", "Failed", "Success"]

_SCORES = "reports/scores.csv"

_PARAMS = "params.yaml"

_IRRELEVANT = (_PARAMS, "reports", "*dvc.lock")
"""Changes that need no new digest: parameters have their own, the rest is made by the pipeline."""

_START = "models/initial"
"""Start weights are put there by hand; DVC leaves files that git does not know out of its copy."""

_TAIL_BYTES = 16_384

_THREADS = (machine.THREADS, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """What DVC's queue holds under a name.

    Args:
        status: In DVC's words. A task stays ``Running`` when its worker is killed.
        revision: Of the stash commit that DVC made of it.
        log: What it prints; None until it starts.
    """

    status: Status
    revision: str
    log: Path | None


class ExperimentQueue:
    """The queue of one project; see `open_queue`.

    Args:
        root: Top folder of the project.
        repo: The project, as DVC sees it.
    """

    def __init__(self, root: Path, repo: Repo) -> None:
        self._root, self._queue = root, repo.experiments.celery_queue

    def state(self) -> str:
        """Digest of what results depend on besides parameters.

        That is the commit, changes since, and start weights. Data are known by their `.dvc` files:
        what was changed in place counts after `dvc add`.
        """
        apart = [f":(exclude){pattern}" for pattern in _IRRELEVANT]
        changes = _git(self._root, "diff", "HEAD", "--binary", "--no-ext-diff", "--", ".", *apart)
        commit = _git(self._root, "rev-parse", "HEAD")
        digest = hashlib.sha256(f"{commit}\0{changes}".encode())
        for name in self._untracked_start():
            content = hashlib.sha256((self._root / name).read_bytes()).hexdigest()
            digest.update(f"\0{name}\0{content}".encode())
        return digest.hexdigest()

    def locked(self, stage: str) -> dict[str, Any]:
        """The parameters with which a stage was run last; none if it never was."""
        with suppress(OSError, InputError, KeyError, TypeError):
            return dict(read_yaml(self._root / "dvc.lock")["stages"][stage]["params"][_PARAMS])
        return {}

    def finished(self) -> dict[str, str]:
        """Git references of all experiments that are there, by name."""
        names = _git(self._root, "for-each-ref", "--format=%(refname)", "refs/exps").split()
        return {name.rpartition("/")[2]: name for name in names if name.count("/") == 4}

    def scores(self, name: str) -> str:
        """The `scores.csv` of a finished experiment."""
        return _git(self._root, "show", f"{self.finished()[name]}:./{_SCORES}")

    def tasks(self) -> dict[str, Task]:
        """All that is in the queue, by name."""
        try:
            return {one["name"]: self._task(one["rev"], one["status"]) for one in self._status()}
        except DvcException as error:
            raise InputError(f"DVC's queue cannot be read: {error}") from error

    def in_work(self) -> set[str] | None:
        """Revisions that living workers are at; None when no worker lives.

        Their processes tell. The workers themselves stop answering once nothing waits any more,
        though they are still at something, and what is asked of them can break them off.
        """
        workers = list(self._workers())
        if not workers:
            return None
        found = [_revisions(worker) for worker in workers]
        if not all(found):
            # Before and after a run, a worker is at it without a process for it.
            tasks = self.tasks().values()
            found.append({task.revision for task in tasks if task.status == "Running"})
        return set().union(*found)

    def add(self, run: Run) -> None:
        """Queue a run.

        Raises:
            InputError: DVC refuses.
        """
        settings = [word for override in run.overrides for word in ("--set-param", override)]
        settings += [word for name in self._untracked_start() for word in ("--copy-paths", name)]
        # DVC stashes the changes in the workspace and brings them back: nothing may come between.
        with _uninterrupted():
            self._dvc("exp", "run", "--queue", "--name", run.name, *settings)

    def start(self, jobs: int) -> None:
        """Start workers, up to so many, that share the cores; they end when the queue is empty."""
        self._dvc("queue", "start", "--jobs", str(jobs), quiet=True, jobs=jobs)

    def drop(self, names: Collection[str]) -> None:
        """Take tasks off the queue that wait, failed or lost their worker, and what they left."""
        tasks = {name: task for name, task in self.tasks().items() if name in names}
        for name, task in tasks.items():
            if task.status == "Running":
                self._give_up(name, task)
            self._remove_copy(task)
        if tasks:
            self._queue.remove(list(tasks))

    def interrupt(self, names: Sequence[str]) -> bool:
        """Stop running tasks as Ctrl-C would; False if one could not be reached yet."""
        try:
            self._dvc("queue", "kill", *names)
        except InputError:
            return False
        return True

    def last_words(self, name: str, lines: int = 4) -> list[str]:
        """The end of the log of a task, or of the workers' where the task has none."""
        task = self.tasks().get(name)
        folder = self._root / ".dvc/tmp/exps/celery"
        logs = [task.log] if task and task.log else sorted(folder.glob("*.out"))
        ends = [line for log in logs for line in tail(log)]
        return list(dict.fromkeys(ends[-2 * lines :]))[-lines:] or ["it left no log"]

    def _workers(self) -> Iterator[psutil.Process]:
        """All workers of this project, by the names that DVC gives them."""
        project = hashlib.sha256(self._queue.wdir.encode()).hexdigest()[:6]
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "queue-worker" in words and any(w.startswith(f"dvc-exp-{project}-") for w in words):
                yield process

    def _untracked_start(self) -> list[str]:
        names = _git(self._root, "ls-files", "--others", "-z", "--", _START).split("\0")
        return sorted(filter(None, names))

    def _status(self) -> list[dict[str, Any]]:
        return [one for one in self._queue.status() if one["name"]]

    def _task(self, revision: str, status: Status) -> Task:
        process = self._queue.proc.get(revision)
        return Task(status, revision, Path(process.stdout) if process else None)

    def _give_up(self, name: str, task: Task) -> None:
        """Make a failed task of one whose worker was killed."""
        if process := self._queue.proc.get(task.revision):
            _kill_orphan(process.pid, task.revision)
            # Without this DVC would send a signal to whatever has the process id by now.
            process.returncode = -1
            self._queue.proc[task.revision] = process
        self._queue.kill([name])

    def _remove_copy(self, task: Task) -> None:
        """Remove the copy of the project that a killed worker left."""
        with suppress(OSError, ValueError):
            info = ExecutorInfo.load_json(self._queue.get_infofile_path(task.revision))
            copy = Path(info.root_dir).resolve()
            copy.relative_to((self._root / ".dvc/tmp/exps").resolve())
            shutil.rmtree(copy, ignore_errors=True)

    def _dvc(self, *arguments: str, quiet: bool = False, jobs: int = 1) -> None:
        # Workers inherit, and keep open, what they print to: a pipe would never end.
        where = subprocess.DEVNULL if quiet else subprocess.PIPE
        answer = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self._root,
            env={**share(jobs), **_environment()},
            stdin=subprocess.DEVNULL,
            stdout=where,
            stderr=where,
            text=True,
            check=False,
            start_new_session=True,
        )
        if answer.returncode:
            said = _reason(answer.stderr or "")
            raise InputError(f"`dvc {' '.join(arguments)}` must succeed, but DVC says: {said}")


@contextmanager
def open_queue(root: Path) -> Iterator[ExperimentQueue]:
    """Open the queue of a project.

    Raises:
        InputError: The folder is no DVC project under git, or has no commit yet.
    """
    if not (root / ".dvc").is_dir() or not (root / _PARAMS).is_file():
        raise InputError(
            "runs are queued in the top folder of a project, one with .dvc and params.yaml, "
            f"got {root.resolve()}"
        )
    _git(root, "rev-parse", "--git-dir", rule="DVC's experiments need a project under git")
    _git(root, "rev-parse", "--verify", "HEAD", rule="runs start from a commit; make a first one")
    with Repo(str(root)) as repo:
        yield ExperimentQueue(root, repo)


def share(jobs: int) -> dict[str, str]:
    """Variables that keep each of several runs to its share of the cores.

    Two trainings that both take all cores wait for each other at every layer. What the environment
    says already is the user's and stays.

    Example:
        >>> share(1)
        {}
    """
    if jobs == 1:
        return {}
    return dict.fromkeys(_THREADS, str(max(1, machine.cores() // jobs)))


def tail(log: Path) -> list[str]:
    """The last lines of a log that are not empty; a progress bar counts with its last state."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    lines = (line.rstrip().rpartition("\r")[2].strip() for line in text.split("\n"))
    return [line for line in lines if line]


def _revisions(worker: psutil.Process) -> set[str]:
    """What a worker has processes for; each names its file, ``<revision>.run``."""
    found: set[str] = set()
    with suppress(psutil.Error):
        for process in worker.children():
            with suppress(psutil.Error):
                words = map(Path, process.cmdline())
                found |= {word.stem for word in words if word.suffix == ".run"}
    return found


def _kill_orphan(process: int, revision: str) -> None:
    """Kill what a killed worker left running; it would train beside the run that follows."""
    with suppress(psutil.Error):
        found = psutil.Process(process)
        if any(revision in word for word in found.cmdline()):
            for one in [*found.children(recursive=True), found]:
                one.kill()


def _git(root: Path, *arguments: str, rule: str = "") -> str:
    answer = subprocess.run(
        ["git", *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if answer.returncode:
        said = _reason(answer.stderr.decode(errors="replace"))
        raise InputError(f"{rule or f'`git {arguments[0]}` must succeed'}, but git says: {said}")
    return answer.stdout.decode(errors="replace")


def _environment() -> dict[str, str]:
    # Workers start `dvc` and `python` by name, also where the environment was not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": path}


def _reason(answer: str) -> str:
    """The line of an answer that tells why, or the last if none is marked."""
    lines = [line.strip() for line in answer.splitlines() if line.strip()] or ["nothing"]
    marked = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return marked[0] if marked else lines[-1]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the body is through."""
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            raise KeyboardInterrupt
