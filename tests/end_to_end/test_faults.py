"""Two runs at once and killed runs of DVC; `tests/faults/run.py` tries more faults."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from .project import Project

pytestmark = pytest.mark.slow

REPRO = [sys.executable, "-m", "dvc", "repro", "predict"]


def begin(project: Project) -> subprocess.Popen[str]:
    """Start `dvc repro predict` and return when the stage runs."""
    running = subprocess.Popen(
        REPRO,
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout
    for line in running.stdout:
        if "Running stage 'predict'" in line:
            return running
    raise AssertionError("the stage did not run")


@contextmanager
def paused(run: subprocess.Popen[str]) -> Iterator[None]:
    """Stop a run within its stage, so that it cannot end meanwhile."""
    while not psutil.Process(run.pid).children(recursive=True):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(run.pid, signal.SIGCONT)


def test_of_two_runs_at_once_one_succeeds_and_the_other_reports_the_lock(project: Project) -> None:
    project.set({"predict.bits": 16})
    with begin(project) as first:
        with paused(first):
            second = subprocess.run(
                REPRO, cwd=project.root, env=project.environment(), capture_output=True, check=False
            )
        first.communicate()
    assert second.returncode != 0
    assert b"busy" in second.stderr
    assert b"Traceback" not in second.stderr
    assert first.returncode == 0
    assert "up to date" in project.dvc("repro", "predict")


def test_a_killed_repro_leaves_no_lock_and_gives_the_same_masks(
    project: Project, finished: Project
) -> None:
    project.set({"predict.bits": 16})
    with begin(project) as killed:
        os.killpg(killed.pid, signal.SIGKILL)
    project.set({"predict.bits": 8})
    project.dvc("repro", "predict")
    for pattern in ("data/predictions/*.*", "data/predictions/probabilities/*"):
        assert project.bytes_of(pattern) == finished.bytes_of(pattern)
