"""Runs as processes of Dask workers, without DVC: the command is a short script."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from thorax.experiments.cluster import ClusterProcesses
from thorax.experiments.tasks import Task, log_tail

from ..dask_clusters import Opened, local_cluster

SCRIPT = """
import os, sys, time
print('threads', os.environ['OMP_NUM_THREADS'], flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(
        Task, "command", lambda self: [sys.executable, "-c", SCRIPT, *self.overrides]
    )
    monkeypatch.setattr("thorax.experiments.cluster._NOTICE_S", 0.1)
    with local_cluster(2) as opened:
        yield opened


def task(root: Path, name: str, seconds: str = "0", status: str = "0") -> Task:
    return Task(name, (seconds, status), str(root), "c0", "t0")


def wait_for(run: Task, runner: ClusterProcesses) -> int:
    for _ in range(500):
        if (status := runner.poll(run)) is not None:
            return status
        time.sleep(0.02)
    raise AssertionError("the task did not end")


def started(runner: ClusterProcesses, *runs: Task) -> list[psutil.Process]:
    """Wait until the processes of tasks have started."""
    for _ in range(500):
        assert {runner.poll(run) for run in runs} == {None}
        found = [child for child in psutil.Process().children() if SCRIPT in child.cmdline()]
        if len(found) == len(runs) and all(map(log_tail, (run.log for run in runs))):
            return found
        time.sleep(0.02)
    raise AssertionError("the tasks did not start")


def test_tasks_end_with_their_status_and_leave_their_log(opened: Opened, tmp_path: Path) -> None:
    runner = ClusterProcesses(opened.cluster, 3)
    runs = [task(tmp_path, "a"), task(tmp_path, "b", status="3"), task(tmp_path, "c")]
    for run in runs:
        runner.start(run)
    assert [wait_for(run, runner) for run in runs] == [0, 3, 0]
    runner.stop()
    assert log_tail(runs[1].log) == ["threads 1"]
    assert sorted(note.split(" runs on ")[0] for note in opened.notes) == ["a", "b", "c"]


def test_stopped_tasks_have_ended(opened: Opened, tmp_path: Path) -> None:
    runner = ClusterProcesses(opened.cluster, 2)
    runs = [task(tmp_path, "a", "60"), task(tmp_path, "b", "60")]
    for run in runs:
        runner.start(run)
    processes = started(runner, *runs)
    runner.stop()
    assert not any(process.is_running() for process in processes)


def test_a_task_whose_worker_leaves_is_started_again(opened: Opened, tmp_path: Path) -> None:
    runner = ClusterProcesses(opened.cluster, 1)
    run = task(tmp_path, "a", "2")
    runner.start(run)
    (process,) = started(runner, run)
    address = opened.notes[0].rpartition(" ")[2]
    opened.cluster.client.retire_workers([address])
    assert wait_for(run, runner) == 0
    runner.stop()
    assert not process.is_running()
    assert opened.notes[1] == f"worker {address} left the cluster; a is started again"
    assert opened.notes[2].startswith("a runs on inproc://")
    assert len(log_tail(run.log)) == 2
