"""The root of the project, and the public commands of git and DVC run in it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError, require_packages

Answer = subprocess.CompletedProcess[str]


def project_root(folder: Path) -> Path:
    """The top folder of the DVC project that contains a folder; the folder itself without one."""
    top = folder.resolve()
    return next((path for path in (top, *top.parents) if (path / ".dvc").is_dir()), top)


def git(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, rule: str = ""
) -> str:
    """Run git and return its output without the last line break.

    Args:
        folder: Working directory.
        arguments: Command and options of git.
        environment: Variables to add.
        rule: Start of the message of an error.

    Raises:
        InputError: Git fails; the message gives the rule and git's reason.
    """
    rule = rule or f"`git {arguments[0]}` must succeed"
    return _checked(try_git(folder, *arguments, environment=environment), rule).removesuffix("\n")


def try_git(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> Answer:
    """Run git; the caller looks at the exit status, 127 if git is not installed.

    Args:
        folder: Working directory.
        arguments: Command and options of git.
        environment: Variables to add.
        limit_s: Seconds after which git is stopped, with exit status 124; None: no limit.
    """
    command = ["git", *arguments]
    try:
        return _run(command, folder, environment or {}, limit_s=limit_s)
    except FileNotFoundError:
        return Answer(command, 127, "", "git is not installed")
    except subprocess.TimeoutExpired:
        return Answer(command, 124, "", f"git took more than {limit_s} s")


def git_or_empty(folder: Path, *arguments: str, limit_s: float | None = None) -> str:
    """Output of git; empty if it fails, or takes more than `limit_s` seconds."""
    answer = try_git(folder, *arguments, limit_s=limit_s)
    return "" if answer.returncode else answer.stdout


def dvc(folder: Path, *arguments: str) -> str:
    """Run DVC and return its output.

    Raises:
        InputError: DVC fails; the message gives DVC's reason.
    """
    require_packages(f"`dvc {arguments[0]}`", "dvc")
    command = [sys.executable, "-m", "dvc", *arguments]
    answer = _run(command, folder, {**dvc_environment(), "PYTHONUTF8": "1"})
    return _checked(answer, f"`dvc {arguments[0]}` must succeed")


def dvc_json(folder: Path, *arguments: str) -> Any:
    """Run a DVC command that prints JSON and return the parsed output."""
    return json.loads(dvc(folder, *arguments))


def dvc_environment() -> dict[str, str]:
    """Environment for DVC and its stages, which start `python` by name, in any shell."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": path}


def _run(
    command: list[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    limit_s: float | None = None,
) -> Answer:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        encoding="utf-8-sig",
        errors="replace",
        timeout=limit_s,
    )


def _checked(answer: Answer, rule: str) -> str:
    if answer.returncode:
        program = "DVC" if "dvc" in answer.args else "git"
        raise InputError(f"{rule}, but {program} reports: {error_line(answer.stderr)}")
    return answer.stdout


def error_line(output: str) -> str:
    r"""Take the line of an output that is marked as an error, or the last line.

    Example:
        >>> error_line("Reading\nERROR: no such file\nSee the docs\n")
        'no such file'
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["nothing"]
    marked = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return marked[0] if marked else lines[-1]
