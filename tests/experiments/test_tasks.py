"""Tasks as local processes without DVC: the command is a short script."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from thorax.experiments.tasks import LocalProcesses, Task, log_tail, share_cores, started_names
from thorax.pipeline.paths import checkpoints


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Return a task that prints a line and then sleeps for as many seconds as its override."""
    script = (
        "import os, sys, time\nprint('threads', os.environ.get('OMP_NUM_THREADS'), flush=True)\n"
        "time.sleep(float(sys.argv[1]))\nsys.exit(3)"
    )
    monkeypatch.setattr(
        Task, "command", lambda self: [sys.executable, "-c", script, self.overrides[0]]
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Task("cv-1", ("0",), str(tmp_path), "c0", "t0")


def wait_for(task: Task, runner: LocalProcesses) -> int:
    for _ in range(500):
        if (status := runner.poll(task)) is not None:
            return status
        time.sleep(0.02)
    raise AssertionError("the task did not end")


def test_a_task_ends_with_its_status_and_leaves_its_log(task: Task) -> None:
    runner = LocalProcesses(1)
    runner.start(task)
    assert wait_for(task, runner) == 3
    runner.stop()
    assert log_tail(task.log) == ["threads None"]
    assert started_names(Path(task.root)) == ["cv-1"]


def test_several_tasks_share_the_cores(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.common.machine.cores", lambda: 8)
    assert set(share_cores(3).values()) == {"2"}
    runner = LocalProcesses(3)
    runner.start(task)
    wait_for(task, runner)
    assert log_tail(task.log) == ["threads 2"]


def test_a_share_of_the_cores_that_the_user_sets_is_kept(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    runner = LocalProcesses(2)
    runner.start(task)
    wait_for(task, runner)
    assert log_tail(task.log) == ["threads 7"]


def test_stopped_tasks_have_ended(task: Task) -> None:
    runner = LocalProcesses(1)
    sleeping = Task("cv-2", ("60",), task.root, "c0", "t0")
    earlier = psutil.Process().children()
    runner.start(sleeping)
    assert runner.poll(sleeping) is None
    (process,) = set(psutil.Process().children()) - set(earlier)
    assert os.getsid(process.pid) == process.pid
    runner.stop()
    assert not process.is_running()


def test_checkpoints_of_a_training_in_a_copy_are_those_of_the_project(task: Task) -> None:
    assert checkpoints(task.folder / "project") == Path(task.root) / "models/checkpoints"


def test_a_project_without_tasks_has_no_names(tmp_path: Path) -> None:
    assert started_names(tmp_path) == []


# Logs


def test_the_tail_of_a_log_has_the_last_state_of_progress_bars(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\n\r 10%\r 20%\r\ntwo \xff\n")
    assert log_tail(log) == ["one", "20%", "two \ufffd"]


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nsecond\nthird\n")
    assert log_tail(log, size=10) == ["ond", "third"]


def test_a_log_that_does_not_exist_has_no_lines(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "log") == []
