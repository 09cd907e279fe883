"""Data under DVC: push, clone, pull, and a changed scan."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from .project import Project

pytestmark = pytest.mark.slow

CASES = ("ward_1", "ward_2")
REGIONS = ("--region", "lung=1,2,3", "--region", "infection=3")


@pytest.fixture(scope="module")
def clone(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a clone of a project with a second dataset, after `dvc pull`."""
    top = tmp_path_factory.mktemp("versions")
    origin = Project(Path(shutil.copytree(finished.root, top / "origin/project", symlinks=True)))
    for part in ("scans", "masks"):
        (top / "ward" / part).mkdir(parents=True)
        for number, name in enumerate(CASES):
            source = origin.root / f"data/phantom/{part}/phantom_{number:03d}.nii.gz"
            shutil.copy(source, top / "ward" / part / f"{name}.nii.gz")
    origin.run("thorax", "data", "add", str(top / "ward"), "--name", "ward", *REGIONS)
    origin.dvc("remote", "add", "--default", "store", str(top / "store"))
    origin.commit("Add the ward")
    origin.dvc("push")
    origin.run("git", "clone", "--quiet", ".", str(top / "clone/project"))
    clone = Project(top / "clone/project")
    clone.dvc("pull")
    return clone


def test_a_pulled_clone_is_up_to_date(clone: Project) -> None:
    log = clone.dvc("repro")
    assert "Data and pipelines are up to date." in log
    assert "Running stage" not in log
    assert clone.run("git", "status", "--porcelain") == ""
    assert "ward, from HEAD" in clone.run("thorax", "data", "diff")
    cases = clone.run("thorax", "data", "cases", "HEAD", "--dataset", "phantom")
    assert "5 cases; reports/metrics.json was computed from these files" in cases


def test_only_the_changed_scan_is_prepared_again(clone: Project, tmp_path: Path) -> None:
    project = Project(Path(shutil.copytree(clone.root, tmp_path / "project", symlinks=True)))
    project.set({"dataset": "ward", "split.fold": "none"})
    project.dvc("repro", "prepare")
    before = project.bytes_of("data/records/*.tfrecord")
    times = {name: (project.root / name).stat().st_mtime_ns for name in before}
    _darken(project.root / "data/ward/scans/ward_2.nii.gz")
    diff = project.run("thorax", "data", "diff", "HEAD", "--dataset", "ward").splitlines()
    project.dvc("repro", "prepare")
    after = project.bytes_of("data/records/*.tfrecord")
    unchanged, changed_record = "data/records/ward_1.tfrecord", "data/records/ward_2.tfrecord"
    assert list(after) == list(before) == [unchanged, changed_record]
    assert after[unchanged] == before[unchanged]
    assert (project.root / unchanged).stat().st_mtime_ns == times[unchanged]
    assert after[changed_record] != before[changed_record]
    assert diff[0].endswith("to the workspace: 1 changed")
    assert diff[1:] == ["~ ward_2  scan"]
    assert project.run("thorax", "data", "diff", "HEAD", "--dataset", "ward").splitlines() == diff


def _darken(path: Path) -> None:
    """Subtract 100 HU from the soft tissue of a scan."""
    scan = nibabel.load(path)
    voxels = np.asarray(scan.dataobj).copy()
    voxels[voxels > -100] -= 100
    nibabel.save(nibabel.Nifti1Image(voxels, scan.affine, scan.header), path)
