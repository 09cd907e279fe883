"""Data under DVC: pushed, cloned elsewhere and pulled, and one scan changed."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from .project import Project

CASES = ("ward_1", "ward_2")
REGIONS = ("--region", "lung=1,2,3", "--region", "infection=3")


@pytest.fixture(scope="module")
def elsewhere(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a clone of a project with a study of its own, and the data that it was pushed."""
    top = tmp_path_factory.mktemp("versions")
    here = Project(Path(shutil.copytree(finished.root, top / "here/project", symlinks=True)))
    for part in ("scans", "masks"):
        (top / "ward" / part).mkdir(parents=True)
        for number, name in enumerate(CASES):
            source = here.root / f"data/phantom/{part}/phantom_{number:03d}.nii.gz"
            shutil.copy(source, top / "ward" / part / f"{name}.nii.gz")
    here.run("thorax", "data", "add", str(top / "ward"), "--name", "ward", *REGIONS)
    here.dvc("remote", "add", "--default", "store", str(top / "store"))
    here.commit("Add the ward")
    here.dvc("push")
    here.run("git", "clone", "--quiet", ".", str(top / "elsewhere/project"))
    clone = Project(top / "elsewhere/project")
    # Nothing has been fetched for data/covid19, so that there is nothing to pull.
    clone.dvc("pull", "--allow-missing")
    return clone


def test_what_was_pulled_elsewhere_is_up_to_date(elsewhere: Project) -> None:
    log = elsewhere.dvc("repro")
    assert "Data and pipelines are up to date." in log
    assert "Running stage" not in log
    assert elsewhere.run("git", "status", "--porcelain") == ""
    assert "ward, from HEAD" in elsewhere.run("thorax", "data", "diff")
    cases = elsewhere.run("thorax", "data", "cases", "HEAD", "--dataset", "phantom")
    assert "5 cases; reports/metrics.json was made from these files" in cases


def test_one_changed_scan_is_prepared_again_alone(elsewhere: Project, tmp_path: Path) -> None:
    project = Project(Path(shutil.copytree(elsewhere.root, tmp_path / "project", symlinks=True)))
    project.set({"dataset": "ward"})
    project.dvc("repro", "prepare")
    before = project.bytes_of("data/records/*.tfrecord")
    times = {name: (project.root / name).stat().st_mtime_ns for name in before}
    _darken(project.root / "data/ward/scans/ward_2.nii.gz")
    changed = project.run("thorax", "data", "diff", "HEAD", "--dataset", "ward").splitlines()
    project.dvc("repro", "prepare")
    after = project.bytes_of("data/records/*.tfrecord")
    kept, again = "data/records/ward_1.tfrecord", "data/records/ward_2.tfrecord"
    assert list(after) == list(before) == [kept, again]
    assert after[kept] == before[kept]
    assert (project.root / kept).stat().st_mtime_ns == times[kept]
    assert after[again] != before[again]
    assert changed[0].endswith("to the workspace: 1 changed")
    assert changed[1:] == ["~ ward_2  scan"]
    still = project.run("thorax", "data", "diff", "HEAD", "--dataset", "ward").splitlines()
    assert still == changed


def _darken(path: Path) -> None:
    """Make soft tissue in the middle of a scan 100 HU darker."""
    scan = nibabel.load(path)
    voxels = np.asarray(scan.dataobj).copy()
    voxels[voxels > -100] -= 100
    nibabel.save(nibabel.Nifti1Image(voxels, scan.affine, scan.header), path)
