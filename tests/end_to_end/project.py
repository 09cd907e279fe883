"""A copy of this project in which tests may do as they like."""

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
    """A project that nothing outside its folder changes.

    Args:
        root: Its top folder.
        log: What its first `dvc repro` printed.
    """

    root: Path
    log: str = ""

    def run(self, *command: str) -> str:
        """Run a command in the project and return all that it printed; it must succeed."""
        answer = subprocess.run(
            command,
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout
        return answer.stdout

    def dvc(self, *arguments: str) -> str:
        """Run dvc and return all that it printed; it must succeed."""
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def start(self, module: str) -> subprocess.Popen[str]:
        """Start a stage without dvc, and go on while it runs."""
        command, here = [sys.executable, "-m", module], self._environment()
        return subprocess.Popen(command, cwd=self.root, env=here, stderr=subprocess.PIPE, text=True)

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
        """Return the content of files by their path; every pattern must find some."""
        paths = {pattern: sorted(self.root.glob(pattern)) for pattern in patterns}
        assert all(paths.values()), paths
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for found in paths.values()
            for path in found
        }

    def _environment(self) -> dict[str, str]:
        beside = self.root.with_name("dvc")
        return {
            **os.environ,
            **{f"DVC_{name}_DIR": str(beside / name) for name in DVC_FOLDERS},
            "DVC_NO_ANALYTICS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "src"),
        }


def copy_of_the_working_tree(root: Path) -> Project:
    """Copy all that git does not ignore, changes too, and put it under git again."""
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
