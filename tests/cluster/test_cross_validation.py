"""`thorax cross-validate --cluster` with a Dask cluster whose workers are jobs of SLURM."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..end_to_end.project import SMALL, Project, copy_of_the_working_tree
from .batches import jobs, write_cluster
from .slurm import Slurm, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

pytest.importorskip("dask_jobqueue")

COMMAND = (
    "thorax", "cross-validate", "--csv", "folds.csv",
    "-S", "split.folds=2", "-S", "train.epochs=4", "-S", "network.width=2",
)  # fmt: skip
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), "1")
"""The last digits of a training depend on the number of threads; a worker has one."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a small dataset and its records."""
    project = copy_of_the_working_tree(tmp_path / "project")
    project.set(SMALL)
    project.commit("Start small")
    project.dvc("repro", "prepare")
    return project


def test_a_preempted_fold_goes_on_and_the_scores_are_those_of_a_serial_run(
    slurm: Slurm, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = Project(Path(shutil.copytree(project.root, tmp_path / "serial", symlinks=True)))
    for name, value in (slurm.environment | ONE_THREAD).items():
        monkeypatch.setenv(name, value)
    serial.run(*COMMAND)

    settings, log = write_cluster(tmp_path), tmp_path / "log"
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            [*COMMAND, "--cluster", settings],
            cwd=project.root,
            env=project.environment(),
            stdout=stream,
            stderr=stream,
        ) as running,
    ):
        wait_for(
            lambda: "epoch 2/4" in log.read_text() or running.poll() is not None,
            "no fold has trained an epoch",
            patience_s=600,
        )
        for job in jobs(slurm):
            slurm.run("scontrol", "requeue", job)
        assert running.wait() == 0, log.read_text()
    assert "left the cluster" in log.read_text()
    logs = "".join(path.read_text() for path in project.root.glob(".dvc/tmp/exps/thorax/*/log"))
    assert "resuming after epoch" in logs
    scores = (project.root / "folds.csv").read_bytes()
    assert scores == (serial.root / "folds.csv").read_bytes()
    assert os.linesep.encode() in scores
