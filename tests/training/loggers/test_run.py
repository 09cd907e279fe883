"""Description of a training: parameters, name and git revision."""

import subprocess
from pathlib import Path

import pytest

from thorax.training.loggers.run import describe_run, git_revision

from ...settings import DEFAULTS


def test_all_parameters_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    run = describe_run(
        DEFAULTS,
        records_sha256="0f",
        checkpoint=Path("models/checkpoints/1234567890abcdef.npz"),
        folder=Path("reports"),
    )
    assert run.name == "phantom-lean-12345678"
    assert run.parameters["seed"] == "0"
    assert run.parameters["split.test"] == "[]"
    assert run.parameters["evaluate.tolerance_mm.lung"] == "1.0"
    assert run.parameters["losses.region_weights"] == "{}"
    assert len(run.parameters) > 80
    assert run.tags["records_sha256"] == "0f"
    assert run.tags["checkpoint"] == "1234567890abcdef"
    assert run.state == "models/checkpoints/1234567890abcdef"


def test_an_experiment_of_dvc_names_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "bold-lung")
    run = describe_run(DEFAULTS, records_sha256="", checkpoint=Path("a.npz"), folder=Path())
    assert run.name == "bold-lung"


def test_the_revision_says_whether_files_were_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        command = ["git", *settings, *arguments]
        ended = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    assert git_revision(tmp_path) == ""
    git("init", "--quiet")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "a")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert len(commit) == 40
    assert git_revision(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == f"{commit}-dirty"


def test_without_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision() == ""
