"""The real DVC and git on workers of Dask, which are separate processes in another folder."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ..dask_clusters import running_scheduler
from .projects import commit, run
from .test_execution import (
    SWEEP,
    finish,
    make_project,
    processes_in,
    start,
    starts,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_dvc_settings")]

THREE = ("sweep", "-S", "loss=bce,dice,focal")


@pytest.fixture(autouse=True)
def _source_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))


@pytest.fixture
def project(tmp_path: Path, notes: Path) -> Path:
    return make_project(tmp_path / "repository", notes)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Start a scheduler and two workers; return the address."""
    (tmp_path / "elsewhere").mkdir()
    with running_scheduler() as (_, found):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", found, "--nthreads", "1"]
        workers = [
            subprocess.Popen(command, cwd=tmp_path / "elsewhere", stderr=subprocess.DEVNULL)
            for _ in range(2)
        ]
        yield found
        for process in workers:
            process.terminate()
            process.wait()


def wait_for_two_starts(notes: Path) -> None:
    """Wait for up to five minutes: processes of Dask and DVC start at the same time."""
    for _ in range(5):
        with suppress(AssertionError):
            return wait_until(lambda: (notes / "starts").exists() and len(starts(notes)) == 2)
    raise AssertionError("the runs did not start")


def workers_of(project: Path) -> list[psutil.Process]:
    """Return the worker processes that execute runs of a project."""
    return [
        psutil.Process(process.ppid())
        for process in psutil.process_iter(["cmdline"])
        if "thorax.experiments.execution" in (process.info["cmdline"] or ())
        and str(project) in process.info["cmdline"][-1]
    ]


@pytest.mark.parametrize("hardlink_lock", ["false", "true"])
def test_runs_on_workers_give_the_results_of_a_local_sweep(
    project: Path, notes: Path, address: str, hardlink_lock: str
) -> None:
    run(project, sys.executable, "-m", "dvc", "config", "core.hardlink_lock", hardlink_lock)
    commit(project)
    out, err = finish(start(project, *THREE, "--cluster", address))
    assert starts(notes) == ["bce 0", "dice 0", "focal 0"]
    assert err.count(" runs on tcp://127.0.0.1:") == 3
    assert (notes / "threads").read_text() == "1"
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        line.split()[:2] for line in finish(start(project, *THREE))[0].splitlines()[1:]
    ]
    assert processes_in(project) == []


def test_a_run_whose_worker_is_killed_is_started_again(
    project: Path, notes: Path, address: str
) -> None:
    (notes / "slow").touch()
    sweep = start(project, *SWEEP, "--cluster", address)
    wait_for_two_starts(notes)
    (notes / "slow").unlink()
    for worker in workers_of(project):
        worker.kill()
    _, err = finish(sweep)
    assert starts(notes) == ["bce 0", "bce 0", "dice 0", "dice 0"]
    assert err.count("ended unexpectedly; sweep-") == 2
    assert "failed" not in err
    assert (notes / "interrupted").exists()
    assert processes_in(project) == []


def test_workers_stop_the_runs_of_a_command_that_was_killed(
    project: Path, notes: Path, address: str
) -> None:
    (notes / "slow").touch()
    sweep = start(project, *SWEEP, "--cluster", address)
    wait_for_two_starts(notes)
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    (notes / "slow").unlink()
    wait_until(lambda: processes_in(project) == [])
    assert (notes / "interrupted").exists()
    _, err = finish(start(project, *SWEEP, "--cluster", address))
    assert "2 runs, 0 of them finished already" in err


def test_ctrl_c_stops_the_runs_on_workers(project: Path, notes: Path, address: str) -> None:
    (notes / "slow").touch()
    sweep = start(project, *SWEEP, "--cluster", address)
    wait_for_two_starts(notes)
    sweep.send_signal(signal.SIGINT)
    _, err = finish(sweep, status=130)
    assert err.endswith("stopped; the same command resumes\n")
    assert processes_in(project) == []
