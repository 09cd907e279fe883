"""What goes wrong around `dvc repro`; `tests/faults/run.py` tries far more of it."""

import os
import signal
import subprocess
import sys

from .project import Project

REPRO = [sys.executable, "-m", "dvc", "repro", "predict"]


def begin(project: Project) -> subprocess.Popen[str]:
    """Start predicting, and return once the stage runs."""
    running = subprocess.Popen(
        REPRO,
        cwd=project.root,
        env=project._environment(),
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


def test_of_two_at_once_one_is_right_and_the_other_says_why_not(project: Project) -> None:
    project.set({"predict.bits": 16})
    with begin(project) as first:
        second = subprocess.run(
            REPRO, cwd=project.root, env=project._environment(), capture_output=True, check=False
        )
        first.communicate()
    assert second.returncode != 0
    assert b"busy" in second.stderr
    assert b"Traceback" not in second.stderr
    assert first.returncode == 0
    assert "up to date" in project.dvc("repro", "predict")


def test_a_killed_repro_leaves_no_lock_and_comes_to_the_same(
    project: Project, finished: Project
) -> None:
    project.set({"predict.bits": 16})
    with begin(project) as killed:
        os.killpg(killed.pid, signal.SIGKILL)
    project.set({"predict.bits": 8})
    project.dvc("repro", "predict")
    for pattern in ("data/predictions/*.*", "data/predictions/probabilities/*"):
        assert project.bytes_of(pattern) == finished.bytes_of(pattern)
