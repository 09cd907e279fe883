"""The state of a project and copies of it, with the real git."""

import shutil
import sys
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.experiments.project import Project, open_project

from .projects import add_start_weights, commit, run, start_git

pytestmark = pytest.mark.usefixtures("own_dvc_settings")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").touch()
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / "params.yaml").write_text("loss: dice\n")
    (root / "train.py").write_text("train()\n")
    start_git(root)
    commit(root)
    return root


def state(root: Path) -> str:
    return open_project(root).snapshot().state


# State


def test_the_state_is_that_of_the_commit_and_of_the_source(root: Path) -> None:
    before = state(root)
    assert state(root) == before
    (root / "train.py").write_text("train(more=True)\n")
    changed = state(root)
    commit(root)
    assert len({before, changed, state(root)}) == 3


def test_untracked_start_weights_change_the_state(root: Path) -> None:
    add_start_weights(root)
    before = state(root)
    (root / "models/initial/spec.json").write_text('{"canvas": 128}')
    assert state(root) != before


def test_outputs_of_the_pipeline_and_parameters_do_not_change_the_state(root: Path) -> None:
    names = ("reports/scores.csv", "dvc.lock", "data/phantom/dvc.lock")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("schema: '2.0'\n")
    commit(root)
    before = state(root)
    for name in (*names, "params.yaml"):
        (root / name).write_text("schema: '2.0'\nstages: {}\n")
    (root / "notes.txt").touch()
    assert state(root) == before


def test_a_snapshot_does_not_change_the_index(root: Path) -> None:
    (root / "train.py").write_text("train(more=True)\n")
    (root / "new.py").touch()
    run(root, "git", "add", "new.py")
    before = run(root, "git", "status", "--porcelain")
    assert before == "A  new.py\n M train.py\n"
    state(root)
    assert run(root, "git", "status", "--porcelain") == before


def test_the_parameters_of_the_last_preparation_are_read(root: Path) -> None:
    project = open_project(root)
    assert project.locked("prepare") == {}
    (root / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    params:\n      params.yaml:\n"
        "        dataset: ward\n        prepare: {canvas: 64}\n"
    )
    assert project.locked("prepare") == {"dataset": "ward", "prepare": {"canvas": 64}}
    (root / "dvc.lock").write_text("schema: [")
    assert project.locked("prepare") == {}


def test_experiments_are_listed_and_scored_from_references_of_git(root: Path) -> None:
    project = open_project(root)
    (root / "reports").mkdir()
    (root / "reports/scores.csv").write_text("case,dice\n")
    commit(root)
    base = project.snapshot().commit
    for name in (f"{base[:2]}/{base[2:]}/cv-1", "stash", "exec/EXEC_HEAD"):
        run(root, "git", "update-ref", f"refs/exps/{name}", "HEAD")
    assert project.finished() == {"cv-1": f"refs/exps/{base[:2]}/{base[2:]}/cv-1"}
    assert project.scores("cv-1") == "case,dice"


# Copies; each starts DVC once, for the path of its cache


def test_a_copy_has_the_content_of_the_snapshot(root: Path, tmp_path: Path) -> None:
    (root / "old.py").touch()
    add_start_weights(root)
    (root / "old.py").unlink()
    (root / "new.py").touch()
    run(root, "git", "add", "new.py")
    (root / "train.py").write_text("train(more=True)\n")
    (root / "untracked.txt").touch()
    # As in a submodule, and in a bare repository with worktrees.
    run(root, "git", "config", "core.worktree", str(root))
    (root / ".dvc/config.local").write_text(
        "[cache]\n    dir = elsewhere\n['remote \"lab\"']\n    password = a%b\n"
    )
    project = open_project(root)
    snapshot = project.snapshot()
    (root / "train.py").write_text("edited after the snapshot")
    copy = project.copy(tmp_path / "copy", commit=snapshot.commit, tree=snapshot.tree)
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith(".git/")} == {
        ".dvc/.gitignore", ".dvc/config", ".dvc/config.local", "models/initial/README.md",
        "models/initial/spec.json", "new.py", "params.yaml", "train.py",
    }  # fmt: skip
    assert (copy / "train.py").read_text() == "train(more=True)\n"
    assert run(copy, "git", "rev-parse", "HEAD") == run(root, "git", "rev-parse", "HEAD")
    assert run(copy, "git", "config", "user.email") == "thorax@example.org\n"
    config = (copy / ".dvc/config.local").read_text()
    assert f"dir = {root / '.dvc/elsewhere'}\n" in config
    assert "['remote \"lab\"']\npassword = a%b\n" in config


def test_an_experiment_of_a_copy_is_stored_in_the_project(root: Path, tmp_path: Path) -> None:
    # A hook of the project, such as the one of `dvc install`, is not for experiments.
    hook = root / "hooks/pre-push"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    run(root, "git", "config", "core.hooksPath", str(hook.parent))
    project = open_project(root)
    base = project.snapshot().commit
    run(tmp_path, "git", "clone", "--quiet", str(root), "copy")
    copy = tmp_path / "copy"
    run(copy, "git", "config", "core.hooksPath", str(hook.parent))
    run(copy, "git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/cv-1", "HEAD")
    project.collect(copy, "cv-1", commit=base)
    assert list(project.finished()) == ["cv-1"]


# Rejections


def rejection(root: Path) -> str:
    with pytest.raises(InputError) as rejected:
        open_project(root)
    return str(rejected.value)


def test_a_folder_that_is_no_project_is_rejected(tmp_path: Path) -> None:
    rule = "runs must start in the top folder of a project, with .dvc and params.yaml, got "
    assert rejection(tmp_path) == f"{rule}{tmp_path}"


def test_a_project_without_git_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").touch()
    assert rejection(tmp_path).startswith(
        "DVC's experiments need a project under git, but git reports"
    )


def test_a_project_without_a_commit_is_rejected(tmp_path: Path) -> None:
    start_git(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").touch()
    assert rejection(tmp_path).startswith(
        "runs start from a commit; make a first one, but git reports"
    )


def add_data(root: Path, *, tracked: str) -> Path:
    """Commit a dataset with one scan, of which DVC tracks a folder; return the scan."""
    scan = root / "data/ward/scans/a.nii"
    scan.parent.mkdir(parents=True)
    scan.write_text("first")
    run(root, sys.executable, "-m", "dvc", "add", "--quiet", tracked)
    commit(root)
    return scan


# DVC is started five times
@pytest.mark.slow
def test_data_that_changed_since_they_were_added_are_rejected(root: Path) -> None:
    scan = add_data(root, tracked="data/ward/scans")
    project = Project(root)
    project.check_data({"other"})
    project.check_data({"ward"})
    scan.write_text("second")
    with pytest.raises(InputError) as rejected:
        project.check_data({"ward"})
    assert str(rejected.value) == (
        "runs use data as of `dvc add`, but data/ward/scans changed since; run "
        "`dvc add data/ward/scans`"
    )
    scan.write_text("first")
    shutil.rmtree(root / ".dvc/cache")
    with pytest.raises(InputError) as rejected:
        project.check_data({"ward"})
    assert str(rejected.value) == (
        "runs use data in the cache of DVC, but data/ward/scans is not there; run `dvc pull "
        "data/ward/scans`, or `dvc add data/ward/scans` where the files are"
    )


# DVC is started three times
@pytest.mark.slow
def test_a_changed_dataset_that_dvc_tracks_as_a_folder_is_rejected(root: Path) -> None:
    scan = add_data(root, tracked="data/ward")
    project = Project(root)
    project.check_data({"ward"})
    scan.write_text("second")
    with pytest.raises(InputError, match=r"but data/ward changed since; run `dvc add data/ward`$"):
        project.check_data({"ward"})
