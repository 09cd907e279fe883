"""Commands of git: outputs, exit status and time limit."""

import sys
from pathlib import Path

import pytest

from thorax.common.project import git_or_empty, try_git


@pytest.fixture
def sleeping_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace git by a program that takes ten minutes."""
    program = tmp_path / "git"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for git is a script")
def test_git_is_stopped_after_the_time_limit(sleeping_git: Path) -> None:
    answer = try_git(sleeping_git, "status", limit_s=0.2)
    assert (answer.returncode, answer.stderr) == (124, "git took more than 0.2 s")
    assert git_or_empty(sleeping_git, "status", limit_s=0.2) == ""


def test_an_error_of_git_is_an_exit_status_and_an_empty_output(tmp_path: Path) -> None:
    assert try_git(tmp_path, "no-such-command").returncode == 1
    assert git_or_empty(tmp_path, "no-such-command") == ""
    assert git_or_empty(tmp_path, "--version").startswith("git version ")
