"""Versions of datasets: which cases there are at a revision, and what came, went or changed since.

A case is told by its name, and its scan and mask by digests of their bytes, as DVC keeps them; so
that a file which was only written again, with other bytes for the same voxels, has changed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from thorax.common.errors import InputError
from thorax.common.params import parse_yaml
from thorax.datasets.dataset import PARTS, SPEC
from thorax.io import case_name

State = Literal["here", "tracked", "lost", "untracked", "none"]

Kind = Literal["added", "removed", "changed", "renamed"]

WORKSPACE = ""
"""Stands for the files as they are now, where a revision is asked for."""


@dataclass(frozen=True)
class Folder:
    """The scans or the masks of a dataset.

    Args:
        state: ``here``, in the workspace; ``tracked``; ``lost``: tracked, but neither the cache nor
            a remote gave the list of its files; ``untracked``; ``none``: there are no files yet.
        digest: Of the whole, as in `dvc.lock`; empty if not known.
        files: Case → digest (MD5) of its file; empty if not known.
    """

    state: State
    digest: str
    files: Mapping[str, str]

    @property
    def known(self) -> bool:
        """Whether ``files`` are all that there are."""
        return self.state not in ("lost", "untracked")


@dataclass(frozen=True)
class DatasetVersion:
    """A dataset at a revision.

    Args:
        meaning: What its `dataset.yaml` says.
        scans: Its scans.
        masks: Its masks.
        used: Part → digest of what the figures come from, as `dvc.lock` of that revision says.
    """

    meaning: Mapping[str, Any]
    scans: Folder
    masks: Folder
    used: Mapping[str, str]

    def folder(self, part: str) -> Folder:
        """The part of that name: ``scans`` or ``masks``."""
        return self.scans if part == "scans" else self.masks

    @property
    def cases(self) -> dict[str, tuple[str, ...]]:
        """Case → digests of its scan and its mask, sorted; empty where there is none."""
        return _cases({part: self.folder(part) for part in PARTS})

    @property
    def made_figures(self) -> bool | None:
        """Whether the figures of the revision come from these files; None: not from the dataset."""
        if not self.used:
            return None
        return all(self.folder(part).digest == digest for part, digest in self.used.items())


_NOTHING = Folder("none", "", {})

_ABSENT = DatasetVersion({}, _NOTHING, _NOTHING, {})


@dataclass(frozen=True)
class Version:
    """All datasets of a project at a revision.

    Args:
        revision: As the user named it; empty for the workspace.
        commit: The digest that it stands for; empty for the workspace.
        datasets: By name.
    """

    revision: str
    commit: str
    datasets: Mapping[str, DatasetVersion]

    def __str__(self) -> str:
        """What to call it."""
        if self.revision == WORKSPACE:
            return "the workspace"
        short = self.commit[:7]
        return short if self.commit.startswith(self.revision) else f"{self.revision} ({short})"

    @property
    def place(self) -> str:
        """The same with its preposition."""
        return f"in {self}" if self.revision == WORKSPACE else f"at {self}"

    def dataset(self, name: str) -> DatasetVersion:
        """The dataset of that name; one without files if there is none."""
        return self.datasets.get(name, _ABSENT)


@dataclass(frozen=True)
class Change:
    """What became of a case.

    Args:
        case: Its name, the new one if it has two.
        kind: ``renamed`` where another name has the same bytes.
        parts: Which of ``scan`` and ``mask`` changed; empty for other kinds.
        before: The old name of a renamed case.
    """

    case: str
    kind: Kind
    parts: tuple[str, ...] = ()
    before: str = ""


@dataclass(frozen=True)
class DatasetDiff:
    """How two versions of a dataset differ.

    Args:
        dataset: Its name.
        changes: Sorted by case.
        meaning: Keys of `dataset.yaml` that say something else.
        same: How many cases are as they were.
        unknown: Which of ``scans`` and ``masks`` could not be compared.
        notes: What could not be compared, and what to do about it.
    """

    dataset: str
    changes: tuple[Change, ...]
    meaning: tuple[str, ...]
    same: int
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def read_versions(folder: Path, revisions: Sequence[str]) -> list[Version]:
    """What is known of the datasets of a project, at each revision.

    Args:
        folder: In the project.
        revisions: Commits, branches, tags, experiments, or `WORKSPACE`.

    Raises:
        InputError: The folder is in no project that DVC knows, or a revision does not exist.
    """
    answer = subprocess.run(
        [sys.executable, "-m", "thorax.datasets.dvc_digests", *revisions],
        cwd=_project(folder),
        env={**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(
            f"thorax.datasets.dvc_digests ended with {answer.returncode}:\n{answer.stderr}"
        )
    told = json.loads(answer.stdout)
    if "refused" in told:
        raise InputError(told["refused"])
    return [_version(name, one) for name, one in zip(revisions, told["versions"], strict=True)]


def check_names(names: Collection[str], versions: Sequence[Version]) -> list[str]:
    """The datasets to speak of, sorted: those named, or all.

    Raises:
        InputError: A name is that of no dataset in any of the versions.
    """
    there = sorted(set().union(*(version.datasets for version in versions)))
    for name in names:
        if name not in there:
            raise InputError(
                f"a dataset must be one of {', '.join(there) or 'none, for there is none'}, "
                f"got `{name}`"
            )
    return [name for name in there if not names or name in names]


def diff_dataset(name: str, old: Version, new: Version) -> DatasetDiff:
    """How a dataset differs between two versions.

    Scans that are not known at one of the versions are told of in a note, and so are masks; then
    cases are compared by the other part alone.
    """
    before, after = old.dataset(name), new.dataset(name)
    pairs = {part: _alike(before.folder(part), after.folder(part)) for part in PARTS}
    known = {part: pair for part, pair in pairs.items() if all(folder.known for folder in pair)}
    was, has = (_cases({part: pair[side] for part, pair in known.items()}) for side in (0, 1))
    changes = _changes(was, has, [part.removesuffix("s") for part in known])
    keys = {*before.meaning, *after.meaning} if before.meaning and after.meaning else set()
    return DatasetDiff(
        name,
        tuple(sorted(changes, key=lambda change: change.case)),
        tuple(sorted(key for key in keys if before.meaning.get(key) != after.meaning.get(key))),
        sum(was.get(case) == digests for case, digests in has.items()),
        tuple(part for part in PARTS if part not in known),
        tuple(_notes(name, old, new)),
    )


def notes_on(name: str, version: Version) -> list[str]:
    """What is not known of a dataset, and what to do about it."""
    folders = {part: version.dataset(name).folder(part) for part in PARTS}
    return [
        note
        for part, folder in folders.items()
        if (note := _note(f"data/{name}/{part}", folder, version))
    ]


def _note(path: str, folder: Folder, version: Version) -> str:
    here = version.revision == WORKSPACE
    if folder.state == "lost":
        return (
            f"the list of the files of {path} {version.place} is not in the cache, and no remote "
            "gave it; `dvc push --all-commits` where it is, then `dvc fetch --all-commits` here"
        )
    if folder.state == "untracked" and here:
        return f"{path} is not in the workspace, and DVC does not track it"
    if folder.state == "untracked":
        return (
            f"{path} is not tracked {version.place}, so its files then are not known; "
            f"`dvc add {path}` tracks them from now on"
        )
    if folder.state == "tracked" and here:
        return f"{path} is not in the workspace, what DVC has of it counts; `dvc pull` brings it"
    return ""


def _project(folder: Path) -> Path:
    top = folder.resolve()
    for place in (top, *top.parents):
        if (place / ".dvc").is_dir():
            return place
    raise InputError(
        "versions are told of a project that DVC knows: run this in a folder that holds `.dvc`, "
        f"got {top}"
    )


def _version(revision: str, told: Mapping[str, Any]) -> Version:
    datasets = {
        name: DatasetVersion(
            _meaning(one["spec"]), _folder(one["scans"]), _folder(one["masks"]), one["used"]
        )
        for name, one in told["datasets"].items()
    }
    return Version(revision, told["commit"], datasets)


def _meaning(text: str) -> dict[str, Any]:
    try:
        content = parse_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        content = text
    if content is None:
        return {}
    return content if isinstance(content, dict) else {SPEC: content}


def _folder(told: Mapping[str, Any]) -> Folder:
    top = {path: digest for path, digest in told["files"].items() if "/" not in path}
    named = {case_name(Path(path)): digest for path, digest in top.items()}
    files = {case: digest for case, digest in named.items() if case is not None}
    return Folder(told["state"], told["digest"], files)


def _alike(before: Folder, after: Folder) -> tuple[Folder, Folder]:
    """Both, or one of them twice where the digests say that they are the same."""
    if before.digest and before.digest == after.digest:
        known = before if before.known else replace(after, state="tracked")
        return known, known
    return before, after


def _cases(folders: Mapping[str, Folder]) -> dict[str, tuple[str, ...]]:
    """Case → digests of its files in these folders, sorted; empty where there is none."""
    files = [folder.files for folder in folders.values()]
    return {case: tuple(of.get(case, "") for of in files) for case in sorted(set().union(*files))}


def _changes(
    was: Mapping[str, tuple[str, ...]], has: Mapping[str, tuple[str, ...]], parts: Sequence[str]
) -> Iterator[Change]:
    went = [case for case in was if case not in has]
    for case in (case for case in has if case not in was):
        before = next((old for old in went if was[old] == has[case]), "")
        if before:
            went.remove(before)
        yield Change(case, "renamed" if before else "added", before=before)
    yield from (Change(case, "removed") for case in went)
    for case in (case for case in was if case in has):
        pairs = zip(parts, was[case], has[case], strict=True)
        if changed := tuple(part for part, old, new in pairs if old != new):
            yield Change(case, "changed", changed)


def _notes(name: str, old: Version, new: Version) -> Iterator[str]:
    for part in PARTS:
        before, after = (version.dataset(name).folder(part) for version in (old, new))
        path = f"data/{name}/{part}"
        if (
            before.digest
            and before.digest == after.digest
            and "here" in (before.state, after.state)
        ):
            continue
        notes = [_note(path, before, old), _note(path, after, new)]
        differs = before.digest and after.digest and before.digest != after.digest
        why = f"{path} differs, in which cases is not known: " if differs else ""
        for note, folder in zip(notes, (before, after), strict=True):
            if note:
                yield f"{'' if folder.known else why}{note}"
