"""What is known of the files of all datasets, at revisions and in the workspace, as DVC tells it.

`python -m thorax.datasets.dvc_digests REVISION …` prints it as JSON; an empty revision stands for
the workspace. `thorax.datasets.versions` runs it as a separate process, so that DVC's logging and
warnings stay out of the caller's.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import NoSCM, RevError
from dvc_data.hashfile.hash import hash_file
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_data.index import DataIndexDirError

PARTS = ("scans", "masks")

_MADE = ("records", "predictions")

_LOST = (DataIndexDirError, FileNotFoundError)


def read_version(root: Path, revision: str) -> dict[str, Any]:
    """What is known of the datasets of a project at a revision.

    Nothing but lists of files is fetched from a remote, and that only where the cache lacks them.

    Args:
        root: The project: the folder that holds ``.dvc``; the current one.
        revision: A commit, branch, tag or experiment; empty for the workspace.

    Returns:
        ``commit``, empty for the workspace, and ``datasets``, by name. Each has ``spec``, the text
        of its `dataset.yaml`; ``used``, the digests of the folders that the figures come from, as
        `dvc.lock` says; and for ``scans`` and ``masks`` the ``digest`` of the folder as `dvc.lock`
        would have it, those of its ``files`` by path, and the ``state``: ``here``, in the
        workspace; ``tracked``; ``lost``, tracked, but there is no list of files; ``untracked``; or
        ``none``, where no stage has made it yet.

    Raises:
        DvcException: There is no such revision, or DVC cannot read the project.
    """
    repo = Repo(str(root))
    if revision and isinstance(repo.scm, NoSCM):
        raise RevError("the project is not under git")
    with repo.switch(revision or "workspace") as commit:
        files = DVCFileSystem(repo)
        used = _used(_text(files, "dvc.lock"))
        return {
            "commit": commit if revision else "",
            "datasets": {
                name: _dataset(files, name, used=used, workspace=None if revision else root)
                for name in _names(files)
            },
        }


def _dataset(
    files: Any, name: str, *, used: dict[str, str], workspace: Path | None
) -> dict[str, Any]:
    folders = {part: f"data/{name}/{part}" for part in PARTS}
    here = _in_workspace(workspace, files, folders) if workspace else {}
    return {
        "spec": _text(files, f"data/{name}/dataset.yaml"),
        "used": {part: used[folder] for part, folder in folders.items() if folder in used},
        **{part: here.get(part) or _tracked(files, folders[part]) for part in PARTS},
    }


def _names(files: Any) -> list[str]:
    """Folders under ``data`` that are datasets, those too that DVC tracks as a whole."""
    if not files.isdir("data"):
        return []
    found = {Path(one["name"]).name for one in files.ls("data", detail=True) if _is_folder(one)}
    kept = (name for name in found.difference(_MADE) if not name.startswith("."))
    specs = (".dvc", "/dataset.yaml")
    return sorted(name for name in kept if any(files.exists(f"data/{name}{end}") for end in specs))


def _is_folder(info: dict[str, Any]) -> bool:
    return info["type"] == "directory"


def _text(files: Any, path: str) -> str:
    """The text of a file; empty if it cannot be had."""
    try:
        return files.cat_file(path).decode("utf-8", "replace")
    except _LOST:
        return ""


def _used(lock: str) -> dict[str, str]:
    """Folder → digest, of all that the figures are worked out from, as a `dvc.lock` says."""
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    deps = stages.get("evaluate", {}).get("deps", ())
    return {dep["path"]: dep["md5"] for dep in deps if "md5" in dep}


def _in_workspace(root: Path, files: Any, folders: dict[str, str]) -> dict[str, Any]:
    """The folders that are there, with the digests of what they hold now.

    DVC keeps a table of digests by path, size and time, so that only new files are read.
    """
    repo = files.repo
    found = {}
    for part, folder in folders.items():
        top = root / folder
        if top.is_dir():
            paths = sorted(map(Path, repo.dvcignore.find(repo.fs, str(top))))
            digests = {path.relative_to(top).as_posix(): _digest(path, repo) for path in paths}
            found[part] = _known(digests) | {"state": "here"}
    return found


def _digest(path: Path, repo: Any) -> str:
    _, digest = hash_file(str(path), repo.fs, "md5", state=repo.state)
    return str(digest.value)


def _tracked(files: Any, folder: str) -> dict[str, Any]:
    """A folder as DVC, or else git, has it at this revision."""
    try:
        inside = files.find(folder, detail=True)
    except DataIndexDirError:
        return {"state": "lost", "digest": _recorded(files, folder), "files": {}}
    if files.isdir(folder):
        start = len(folder) + 1
        return _known({path[start:]: _of_file(files, path, inside[path]) for path in inside})
    # DVC shows what no stage has made yet as a file.
    return {"state": "none" if inside else "untracked", "digest": "", "files": {}}


def _recorded(files: Any, folder: str) -> str:
    """Digest of a folder as DVC has it; empty where it only has that of the dataset as a whole."""
    try:
        return str(files.info(folder)["dvc_info"]["md5"])
    except (KeyError, *_LOST):
        return ""


def _of_file(files: Any, path: str, info: dict[str, Any]) -> str:
    known = info.get("dvc_info", {}).get("md5")
    return known or hashlib.md5(files.cat_file(path), usedforsecurity=False).hexdigest()


def _known(digests: dict[str, str]) -> dict[str, Any]:
    tree = Tree()
    for path, digest in digests.items():
        tree.add(tuple(path.split("/")), None, HashInfo("md5", digest))
    tree.digest()
    return {"state": "tracked", "digest": tree.hash_info.value, "files": digests}


def main(root: Path, revisions: list[str]) -> None:
    """Print what is known at each revision, or why nothing is."""
    try:
        answer: dict[str, Any] = {"versions": [read_version(root, name) for name in revisions]}
    except RevError as error:
        answer = {"refused": f"a revision must be a commit, branch, tag or experiment: {error}"}
    except (DvcException, ImportError) as error:
        # Remotes are asked for modules of their own, such as dvc-s3.
        answer = {"refused": f"DVC cannot read the project: {' '.join(str(error).split())}"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(Path.cwd(), sys.argv[1:])
