"""Public bug reports about the pipeline and DVC: experiments, folds and optional datasets."""

from pathlib import Path

import pytest

from ..experiments.projects import commit, run, start_git
from ..experiments.test_execution import SWEEP, fill, finish, start


@pytest.fixture(autouse=True)
def _own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for folder in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{folder}_DIR", str(tmp_path / "dvc" / folder))


# Two runs for each
@pytest.mark.slow
@pytest.mark.parametrize("worktree", [False, True], ids=["clone", "worktree"])
def test_runs_of_a_clone_of_depth_1_have_results(tmp_path: Path, worktree: bool) -> None:
    """dvc#6822, #7547: in a clone of depth 1 all runs failed, after the training or at once."""
    notes, origin, project = (tmp_path / name for name in ("notes", "origin", "project"))
    notes.mkdir()
    origin.mkdir()
    start_git(origin)
    fill(origin, notes)
    (origin / "README.md").touch()
    commit(origin)
    run(tmp_path, "git", "clone", "--quiet", "--depth", "1", origin.as_uri(), "project")
    if worktree:
        run(project, "git", "worktree", "add", "--quiet", str(tmp_path / "worktree"))
        project = tmp_path / "worktree"
    run(project, "git", "config", "user.name", "thorax")
    run(project, "git", "config", "user.email", "thorax@example.org")
    with (project / "score.py").open("a") as source:
        source.write("print('uncommitted')\n")
    assert run(project, "git", "rev-list", "--count", "HEAD") == "1\n"
    out, _ = finish(start(project, *SWEEP))
    assert out == "mean Dice by region\nloss    lung\nbce   0.3000\ndice  0.4000\n"
    assert run(project, "git", "rev-parse", "--is-shallow-repository") == "true\n"
