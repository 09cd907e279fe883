"""Cases of the datasets at a git revision, and the cases that changed between two versions.

DVC lists files with MD5 digests of their bytes (`dvc diff`, `dvc ls`); git tracks `dataset.yaml`
and `dvc.lock`. Compressing a file again changes its bytes, so its case counts as changed.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from thorax.common.errors import InputError
from thorax.common.params import parse_yaml
from thorax.common.project import dvc_json, git_or_empty
from thorax.datasets.dataset import PARTS, SPEC
from thorax.io import case_name

_FETCH = "`dvc push --all-commits` where it exists, then `dvc fetch --all-commits` here"


@dataclass(frozen=True)
class Version:
    """A project at a git revision, or as it is in the workspace.

    Args:
        root: Top folder of the project, with ``.dvc``.
        revision: Commit, branch, tag or experiment, as the user gave it; empty for the workspace.
        commit: Digest of its commit; empty for the workspace.
        paths: Files in ``data`` that git tracks at the revision, or that are in the workspace.
    """

    root: Path
    revision: str
    commit: str
    paths: frozenset[str]

    def __str__(self) -> str:
        """Revision with its short commit, such as `v1 (c7469d8)`."""
        if not self.commit:
            return "the workspace"
        short = self.commit[:7]
        return short if self.commit.startswith(self.revision) else f"{self.revision} ({short})"

    @property
    def place(self) -> str:
        """Text such as `at v1 (c7469d8)`, or `in the workspace`."""
        return f"at {self}" if self.commit else f"in {self}"

    @property
    def datasets(self) -> set[str]:
        """Names of the datasets: folders with a `dataset.yaml`, or with a `.dvc` file."""
        paths = [Path(path) for path in self.paths]
        specs = {path.parent.name for path in paths if path.match(f"data/*/{SPEC}")}
        return specs | {path.stem for path in paths if path.match("data/?*.dvc")}

    def tracks(self, name: str, part: str) -> bool:
        """Return whether DVC tracks the scans or the masks of a dataset."""
        files = (f"data/{name}.dvc", f"data/{name}/dvc.yaml", f"data/{name}/{part}.dvc")
        return not self.paths.isdisjoint(files)

    def has_files(self, name: str) -> bool:
        """Return whether DVC tracks files of a dataset, or the workspace has any."""
        folder = self.root / "data" / name
        return any(self.tracks(name, part) or (folder / part).exists() for part in PARTS)

    def text(self, path: str) -> str:
        """Return the text of a file at the revision; empty if there is none."""
        if self.commit:
            return git_or_empty(self.root, "show", f"{self.commit}:./{path}")
        file = self.root / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


@dataclass(frozen=True)
class CaseChange:
    """Change of a case between two versions.

    Args:
        case: Name of the case; the new name if it was renamed.
        kind: ``renamed`` if a new case has the files of a removed case.
        parts: Files of a changed case: ``scan``, ``scan added``, ``scan removed``, ``mask`` ….
        before: Old name of a renamed case.
    """

    case: str
    kind: Literal["added", "removed", "changed", "renamed"]
    parts: tuple[str, ...] = ()
    before: str = ""


@dataclass(frozen=True)
class DatasetDiff:
    """Difference between two versions of a dataset.

    Args:
        changes: Sorted by case.
        spec: Changed keys of `dataset.yaml`; ``contents`` if the keys are unknown.
        unknown: Parts that could not be compared, of ``scans`` and ``masks``.
        notes: The reason for each of these parts, with a remedy.
    """

    changes: tuple[CaseChange, ...]
    spec: tuple[str, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CaseList:
    """Cases of a dataset at a revision.

    Args:
        cases: Case → ``scan`` and ``mask`` → MD5 digest of the file; empty where there is none.
        folders: Folder of the scans and of the masks → its digest, as in `dvc.lock`; empty where
            DVC tracks no files.
        made_metrics: True if `reports/metrics.json` of the revision was computed from these files,
            according to its `dvc.lock`; None if it was computed from another dataset.
        notes: Reasons why files are unknown, with a remedy.
    """

    cases: Mapping[str, Mapping[str, str]]
    folders: Mapping[str, str]
    made_metrics: bool | None
    notes: tuple[str, ...]


def find_version(folder: Path, revision: str | None) -> Version:
    """Find a revision of the project that a folder belongs to.

    Args:
        folder: Any folder of the project.
        revision: Commit, branch, tag or experiment; None for the workspace.

    Raises:
        InputError: The folder is not in a DVC project, or there is no such revision.
    """
    top = folder.resolve()
    root = next((place for place in (top, *top.parents) if (place / ".dvc").is_dir()), None)
    if root is None:
        raise InputError(f"a DVC project is needed; run this in a folder with `.dvc`, got {top}")
    if revision is None:
        places = (*root.glob("data/*"), *root.glob("data/*/*"))
        paths = frozenset(place.relative_to(root).as_posix() for place in places)
        return Version(root, "", "", paths)
    commit = _commit(root, revision)
    listing = git_or_empty(root, "ls-tree", "-r", "-z", "--name-only", commit, "data/")
    return Version(root, revision, commit, frozenset(filter(None, listing.split("\0"))))


def check_names(names: Collection[str], versions: Sequence[Version]) -> list[str]:
    """Return the chosen datasets, sorted; all that have files if none is chosen.

    Raises:
        InputError: No version has a dataset of this name.
    """
    datasets = sorted(set().union(*(version.datasets for version in versions)))
    for name in names:
        if name not in datasets:
            raise InputError(
                f"a dataset must be one of {', '.join(datasets) or 'none (there is none)'}, "
                f"got `{name}`"
            )
    if names:
        return [name for name in datasets if name in names]
    return [name for name in datasets if any(version.has_files(name) for version in versions)]


def diff_datasets(names: Collection[str], old: Version, new: Version) -> dict[str, DatasetDiff]:
    """Compare datasets of two versions, by name.

    If the scans or the masks cannot be compared, a note states the reason, and cases are compared
    by the other part.

    Raises:
        InputError: DVC cannot read the project.
    """
    commits = filter(None, (old.commit, new.commit))
    report = dvc_json(old.root, "diff", "--json", "--show-hash", "--hide-missing", *commits)
    files = _changed_files(report)
    return {name: _diff(name, (old, new), files) for name in names}


def list_cases(name: str, version: Version) -> CaseList:
    """List the cases of a dataset whose files DVC tracks at a revision."""
    try:
        files = _tracked_files(name, version)
    except InputError as error:
        return CaseList({}, {}, None, (f"{error}; if a list of files is missing, run {_FETCH}",))
    folders = [f"data/{name}/{part}" for part in PARTS]
    scans, masks = (_by_case(files, folder) for folder in folders)
    digests = {folder: _folder_digest(files, folder) for folder in folders}
    used = {path: digest for path, digest in _used(version).items() if path in digests}
    return CaseList(
        {
            case: {"scan": scans.get(case, ""), "mask": masks.get(case, "")}
            for case in sorted({*scans, *masks})
        },
        digests,
        used == digests if used else None,
        tuple(filter(None, (_untracked(name, part, version) for part in PARTS))),
    )


def _tracked_files(name: str, version: Version) -> dict[str, str]:
    """Return path → digest of the files of a dataset that DVC tracks."""
    # With `--rev`, DVC expects paths relative to the top folder of the git repository.
    folder = git_or_empty(version.root, "rev-parse", "--show-prefix").strip() + f"data/{name}"
    options = ("--dvc-only", "--recursive", "--show-hash", "--json", "--rev", version.commit)
    entries = dvc_json(version.root, "ls", *options, ".", folder)
    return {f"data/{name}/{entry['path']}": entry["md5"] for entry in entries if entry["md5"]}


def _diff(
    name: str, versions: tuple[Version, Version], files: tuple[dict[str, str], dict[str, str]]
) -> DatasetDiff:
    notes = {part: _note(name, part, versions, files) for part in PARTS}
    comparable = [part for part in PARTS if not notes[part]]
    before, after = (
        {part.removesuffix("s"): _by_case(side, f"data/{name}/{part}") for part in comparable}
        for side in files
    )
    return DatasetDiff(
        tuple(sorted(_changes(before, after), key=lambda change: change.case)),
        _spec_keys(f"data/{name}/{SPEC}", versions, files),
        tuple(part for part in PARTS if notes[part]),
        tuple(filter(None, notes.values())),
    )


def _changed_files(report: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return path → digest of the changed files, before and after; folders end with a slash."""
    before, after = {}, {}
    for kind, entries in report.items():
        for entry in entries:
            path, digest = (
                value if isinstance(value, dict) else {"old": value, "new": value}
                for value in (entry["path"], entry["hash"])
            )
            if kind != "added":
                before[path["old"]] = digest["old"]
            if kind != "deleted":
                after[path["new"]] = digest["new"]
    return before, after


def _changes(
    old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]
) -> Iterator[CaseChange]:
    """Yield the changed cases, from part → case → digest of changed files."""
    before, after = _digests(old), _digests(new)
    removed = {case: files for case, files in before.items() if case not in after and all(files)}
    added = {case: files for case, files in after.items() if case not in before and all(files)}
    for case in (before.keys() | after.keys()) - removed.keys() - added.keys():
        pairs = ((part, old[part].get(case, ""), new[part].get(case, "")) for part in old)
        if parts := tuple(_part(*pair) for pair in pairs if pair[1] != pair[2]):
            yield CaseChange(case, "changed", parts)
    for case, files in added.items():
        name = next((name for name, others in removed.items() if others == files), "")
        removed.pop(name, None)
        yield CaseChange(case, "renamed" if name else "added", before=name)
    yield from (CaseChange(case, "removed") for case in removed)


def _part(part: str, old: str, new: str) -> str:
    return part if old and new else f"{part} {'removed' if old else 'added'}"


def _digests(files: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return case → digests of its files in all parts, sorted; empty digests for missing files."""
    cases = sorted(set().union(*files.values()))
    return {case: tuple(part.get(case, "") for part in files.values()) for case in cases}


def _by_case(files: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return case → digest of its file in a folder."""
    inside = {path: digest for path, digest in files.items() if Path(path).parent == Path(folder)}
    named = {case_name(Path(path)): digest for path, digest in inside.items()}
    return {case: digest for case, digest in named.items() if case is not None}


def _folder_digest(files: Mapping[str, str], folder: str) -> str:
    """Return the MD5 digest of a folder, computed as DVC does from the list of its files."""
    inside = [path for path in sorted(files) if path.startswith(f"{folder}/")]
    entries = [{"md5": files[path], "relpath": path[len(folder) + 1 :]} for path in inside]
    digest = hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False)
    return f"{digest.hexdigest()}.dir" if entries else ""


def _used(version: Version) -> dict[str, str]:
    """Read from `dvc.lock` path → digest of the files that the metrics were computed from."""
    stages = (yaml.safe_load(version.text("dvc.lock")) or {}).get("stages", {})
    deps = stages.get("evaluate", {}).get("deps", ())
    return {dep["path"]: dep["md5"] for dep in deps if "md5" in dep}


def _spec_keys(
    path: str, versions: Sequence[Version], files: Sequence[Mapping[str, str]]
) -> tuple[str, ...]:
    if all(path in side for side in files):
        return ("contents",)
    before, after = (_spec(version.text(path)) for version in versions)
    keys = {*before, *after} if before and after else ()
    return tuple(sorted(key for key in keys if before.get(key) != after.get(key)))


def _spec(text: str) -> dict[str, Any]:
    try:
        content = parse_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        content = text
    if content is None:
        return {}
    return content if isinstance(content, dict) else {"contents": content}


def _note(
    name: str, part: str, versions: Sequence[Version], files: Sequence[Mapping[str, str]]
) -> str:
    """Return why a part of a dataset cannot be compared, with a remedy; empty if it can be."""
    (old, new), folder = versions, f"data/{name}/{part}"
    if untracked := next(filter(None, (_untracked(name, part, v) for v in versions)), ""):
        return untracked
    changed = {path for side in files for path in side}
    top = next((top for top in (f"data/{name}/", f"{folder}/") if top in changed), "")
    if not top:
        return ""
    missing = not new.commit and top not in files[1] and new.tracks(name, part)
    if missing and not (new.root / folder).exists():
        return f"{folder} is not in the workspace; run `dvc pull`, or give HEAD as REV2"
    if not any(path.startswith(top) for path in changed - {top}):
        return (
            f"{folder} differs between {old} and {new}, but a list of its files is neither in the "
            f"cache nor on the remote; run {_FETCH}"
        )
    return ""


def _untracked(name: str, part: str, version: Version) -> str:
    if name not in version.datasets or version.tracks(name, part):
        return ""
    folder = f"data/{name}/{part}"
    return (
        f"DVC does not track {folder} {version.place}, so its files are unknown; "
        f"`dvc add {folder}` tracks them from now on"
    )


def _commit(root: Path, revision: str) -> str:
    commit = git_or_empty(
        root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"
    )
    experiments = f"refs/exps/*/*/{revision}"
    commits = (
        commit or git_or_empty(root, "for-each-ref", "--format=%(objectname)", experiments)
    ).split()
    if len(commits) != 1:
        raise InputError(
            "a revision must be one commit, branch, tag or experiment of a project under git, "
            f"got `{revision}`"
        )
    return commits[0]
