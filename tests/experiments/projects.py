"""Small projects under git, and under DVC where a test needs it."""

import subprocess
from pathlib import Path


def run(root: Path, *command: str) -> str:
    return subprocess.check_output(command, cwd=root, text=True)


def start_git(root: Path) -> None:
    run(root, "git", "init", "--quiet")
    run(root, "git", "config", "user.name", "thorax")
    run(root, "git", "config", "user.email", "thorax@example.org")


def commit(root: Path) -> None:
    run(root, "git", "add", ".")
    run(root, "git", "commit", "--quiet", "--message", "Start")


def add_start_weights(root: Path) -> None:
    """Add a folder that git tracks, with a file that git does not track."""
    (root / "models/initial").mkdir(parents=True)
    (root / "models/initial/README.md").touch()
    commit(root)
    (root / "models/initial/spec.json").write_text("{}")
