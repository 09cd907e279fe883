"""`thorax predict --cluster` with a Dask cluster whose workers are jobs of SLURM."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .batches import jobs, results, write_cluster
from .conftest import SCANS
from .slurm import Slurm, wait_for

pytestmark = pytest.mark.cluster

pytest.importorskip("dask_jobqueue")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """Return the settings of two workers."""
    return write_cluster(tmp_path)


def start(slurm: Slurm, log: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Start `thorax` on the node where users log in."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "thorax.cli", *map(str, arguments)],
            env=slurm.environment,
            stdout=stream,
            stderr=stream,
        )


def test_workers_of_slurm_give_the_masks_and_the_manifest_of_one_process(
    slurm: Slurm, scans: Path, cluster: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    log, masks = tmp_path / "log", tmp_path / "masks"
    with start(slurm, log, "predict", scans, masks, "--cluster", cluster) as running:
        assert running.wait() == 1  # one scan is damaged
    assert f"{SCANS - 1} done, 1 failed" in log.read_text()
    assert results(masks) == expected
    wait_for(lambda: not jobs(slurm), "the jobs of the workers have not ended")


def kill(slurm: Slurm, job: str) -> None:
    slurm.run("scancel", "--signal=KILL", "--full", job)


def cancel(slurm: Slurm, job: str) -> None:
    slurm.run("scancel", job)


@pytest.mark.parametrize("stop", [kill, cancel])
def test_the_job_of_a_worker_that_ends_is_replaced(
    slurm: Slurm,
    scans: Path,
    cluster: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    stop: Callable[[Slurm, str], None],
) -> None:
    log, masks = tmp_path / "log", tmp_path / "masks"
    with start(slurm, log, "predict", scans, masks, "--cluster", cluster) as running:
        wait_for(
            lambda: len(list(masks.glob("[0-9]*.nii.gz"))) >= 2 or running.poll() is not None,
            "there are not two masks",
        )
        workers = jobs(slurm)
        stop(slurm, workers[0])
        before = {path: path.stat().st_mtime_ns for path in masks.glob("[0-9]*.nii.gz")}
        assert running.wait() == 1
    assert 2 <= len(before) < SCANS - 1
    assert f"{SCANS - 1} done, 1 failed" in log.read_text()
    assert results(masks) == expected
    written_twice = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert len(written_twice) <= 1  # the one whose end the worker could not report any more
