"""A project under git and DVC: its state, its finished experiments, and clones to run them in.

Only public commands of git and DVC are used. Each run gets a clone: running or killing it does not
change the files, the index or the stash of the project itself.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from thorax.common.errors import InputError
from thorax.common.params import read_yaml
from thorax.common.project import dvc, dvc_json, git

_REPORTS = "reports"
_PARAMS = "params.yaml"
_IRRELEVANT = (_PARAMS, _REPORTS, "*dvc.lock")
"""Files that the digest ignores: parameters have their own; the pipeline writes the others."""
_INITIAL = "models/initial"
"""Initial weights are copied there by the user; git does not track them."""


@dataclass(frozen=True)
class Snapshot:
    """The content of a project at one time.

    Args:
        commit: HEAD.
        tree: Git object with all tracked files, with uncommitted changes, and initial weights.
        state: Digest of everything except parameters that results depend on.
    """

    commit: str
    tree: str
    state: str


@dataclass(frozen=True)
class Project:
    """A DVC project under git; see `open_project`.

    Args:
        root: Top folder of the project.
    """

    root: Path

    def snapshot(self) -> Snapshot:
        """Store the current content as a git object without changing the index of the project."""
        index = Path(self._git("rev-parse", "--path-format=absolute", "--git-path", "index"))
        untracked = self._git("ls-files", "--others", "-z", "--", _INITIAL).split("\0")
        with TemporaryDirectory() as folder:
            environment = {"GIT_INDEX_FILE": str(shutil.copy(index, folder))}
            self._git("add", "--update", ":/", environment=environment)
            if weights := list(filter(None, untracked)):
                self._git("add", "--force", "--", *weights, environment=environment)
            tree = self._git("write-tree", environment=environment)
        commit = self._git("rev-parse", "HEAD")
        excluded = [f":(exclude){pattern}" for pattern in _IRRELEVANT]
        changes = self._git(
            "diff", "--raw", "--no-abbrev", "--no-renames", commit, tree, "--", ".", *excluded
        )
        return Snapshot(commit, tree, hashlib.sha256(f"{commit}\0{changes}".encode()).hexdigest())

    def locked(self, stage: str) -> dict[str, Any]:
        """Parameters of the last run of a stage according to `dvc.lock`; empty without one."""
        with suppress(OSError, InputError, KeyError, TypeError):
            return dict(read_yaml(self.root / "dvc.lock")["stages"][stage]["params"][_PARAMS])
        return {}

    def files(self, tree: str) -> list[str]:
        """List the files of the project in a git tree, as paths relative to its top folder."""
        return self._git("ls-tree", "-r", "-z", "--name-only", tree, ".").split("\0")

    def check_data(self, datasets: Iterable[str]) -> None:
        """Check that the data match their `.dvc` files: runs use the versions in these files.

        Raises:
            InputError: Files were changed after `dvc add`, or are not in the cache.
        """
        # DVC tracks the parts of a dataset, or its whole folder.
        paths = [f":(literal)data/{name}{end}" for name in datasets for end in ("", ".dvc")]
        tracked = self._git("ls-files", "-z", "--", *paths).split("\0")
        files = [name for name in tracked if name.endswith(".dvc")]
        status = dvc_json(self.root, "status", "--json", *files) if files else {}
        if names := _with_status("modified", status):
            raise InputError(
                f"runs use data as of `dvc add`, but {names} changed since; run `dvc add {names}`"
            )
        if names := _with_status("not in cache", status):
            raise InputError(
                f"runs use data in the cache of DVC, but {names} is not there; run `dvc pull "
                f"{names}`, or `dvc add {names}` where the files are"
            )

    def finished(self) -> dict[str, str]:
        """Git references of all finished experiments by name."""
        names = self._git("for-each-ref", "--format=%(refname)", "refs/exps").split()
        return {name.rpartition("/")[2]: name for name in names if name.count("/") == 4}

    def scores(self, name: str, *, table: str = "scores.csv") -> str:
        """Read a table of the reports of a finished experiment."""
        return self._git("show", f"{self.finished()[name]}:./{_REPORTS}/{table}")

    def copy(self, target: Path, *, commit: str, tree: str) -> Path:
        """Clone the project with the content of a snapshot; the clone uses the same DVC cache.

        Returns:
            The top folder of the copied project; a subfolder of `target` if the project is a
            subfolder of its repository.
        """
        repository, prefix = self._git("rev-parse", "--show-toplevel", "--show-prefix").split("\n")
        common = self._git("rev-parse", "--path-format=absolute", "--git-common-dir")
        git(self.root, "clone", "--quiet", "--no-checkout", repository, str(target))
        # A clone of a shallow repository lacks the snapshot, which no commit refers to; one of its
        # worktrees lacks the list of commits without parents, too.
        (target / ".git/objects/info/alternates").write_text(f"{common}/objects\n")
        with suppress(FileNotFoundError):
            shutil.copy(Path(common, "shallow"), target / ".git")
        # Use author, filters and remotes of the project.
        config_file = shutil.copy(Path(common, "config"), target / ".git/config")
        # The configurations of a bare repository with worktrees and of a submodule have these.
        git(target.parent, "config", "--file", str(config_file), "core.bare", "false")
        with suppress(InputError):
            git(target.parent, "config", "--file", str(config_file), "--unset-all", "core.worktree")
        git(target, "update-ref", "--no-deref", "HEAD", commit)
        git(target, "read-tree", "--reset", "-u", tree)
        config = ConfigParser(interpolation=None, strict=False)
        config.read([self.root / ".dvc/config.local"], encoding="utf-8")
        config.read_dict({"cache": {"dir": dvc(self.root, "cache", "dir").strip()}})
        with (target / prefix / ".dvc/config.local").open("w", encoding="utf-8") as stream:
            config.write(stream)
        return target / prefix

    def collect(self, copy: Path, name: str, *, commit: str) -> None:
        """Push a finished experiment from a clone to the project."""
        reference = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
        repository = self._git("rev-parse", "--show-toplevel")
        git(copy, "push", "--quiet", "--no-verify", repository, f"{reference}:{reference}")

    def _git(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        return git(self.root, *arguments, environment=environment)


def open_project(root: Path) -> Project:
    """Open the project in a folder.

    Raises:
        InputError: The folder is not a DVC project under git, or git has no commit.
    """
    if not (root / ".dvc").is_dir() or not (root / _PARAMS).is_file():
        raise InputError(
            "runs must start in the top folder of a project, with .dvc and params.yaml, "
            f"got {root.resolve()}"
        )
    git(root, "rev-parse", "--git-dir", rule="DVC's experiments need a project under git")
    git(root, "rev-parse", "--verify", "HEAD", rule="runs start from a commit; make a first one")
    return Project(root.resolve())


def _with_status(state: str, status: Mapping[str, Any]) -> str:
    """Return the paths whose `.dvc` file has an output in a state of `dvc status`."""
    changes = {
        file: [entry["changed outs"] for entry in entries if "changed outs" in entry]
        for file, entries in status.items()
    }
    return " ".join(
        file.removesuffix(".dvc")
        for file, outputs in changes.items()
        if any(state in output.values() for output in outputs)
    )
