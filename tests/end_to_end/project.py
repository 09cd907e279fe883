"""A copy of this project that tests may change."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SMALL = {
    "phantom.cases": 5,
    "prepare.canvas": 32,
    "network.width": 4,
    "network.depth": 2,
    "train.context": 1,
    "train.epochs": 10,
    "train.batch": 8,
}
"""Changes to `params.yaml` with which the whole pipeline takes a minute."""
DVC_FOLDERS = ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")


@dataclass(frozen=True)
class Project:
    """A project that is isolated from the settings and caches of the user.

    Args:
        root: Its top folder.
        log: Output of its first `dvc repro`.
    """

    root: Path
    log: str = ""

    def run(self, *command: str) -> str:
        """Run a command in the project, require success, and return its output."""
        result = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def dvc(self, *arguments: str) -> str:
        """Run DVC, require success, and return its output."""
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def start(self, module: str) -> subprocess.Popen[str]:
        """Start a stage without DVC and without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=self.root,
            env=self.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )

    def set(self, changes: dict[str, Any]) -> None:
        """Change `params.yaml`; keys are as for `dvc exp run -S`."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *sections, last = key.split(".")
            inner = params
            for section in sections:
                inner = inner[section]
            inner[last] = value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def commit(self, message: str) -> None:
        """Commit all files to git."""
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", message)

    def bytes_of(self, *patterns: str) -> dict[str, bytes]:
        """Return path → content of files; every pattern must match a file."""
        paths = {pattern: sorted(self.root.glob(pattern)) for pattern in patterns}
        assert all(paths.values()), paths
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for matches in paths.values()
            for path in matches
        }

    def environment(self) -> dict[str, str]:
        """Return the environment for commands in the project."""
        settings = self.root.with_name("dvc")
        return {
            **os.environ,
            **{f"DVC_{name}_DIR": str(settings / name) for name in DVC_FOLDERS},
            "DVC_NO_ANALYTICS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "src"),
        }


def copy_of_the_working_tree(root: Path) -> Project:
    """Copy all files that git does not ignore, with changes, to a new repository."""
    names = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    project = Project(root)
    project.run("git", "init", "--quiet", ".")
    project.run("git", "config", "user.name", "thorax")
    project.run("git", "config", "user.email", "thorax@example.org")
    return project
