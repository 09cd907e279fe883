"""Which cases datasets have at a revision, and what came, went or changed between two."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.options import echo

if TYPE_CHECKING:
    from thorax.datasets.versions import Change, DatasetDiff, DatasetVersion, Version

_DATASETS = click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="A folder under data/; may be given again. Unless given, all.",
)

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")


@click.command()
@click.argument("old", default="HEAD", metavar="[REV]")
@click.argument("new", default="", metavar="[REV2]")
@_DATASETS
@_JSON
def diff(old: str, new: str, datasets: tuple[str, ...], as_json: bool) -> None:
    """Tell which cases came, went or changed since REV.

    REV is a commit, branch, tag or experiment, HEAD unless given; REV2 is what it is held against:
    the workspace unless given. A line a case: + came, - went, > has another name now, ~ changed,
    with what did: scan, mask or both. Files are told apart by their bytes.

    \b
    Example:
      thorax data diff                    # what is not committed
      thorax data diff v1 v2 --dataset study
    """
    from thorax.datasets.versions import check_names, diff_dataset, read_versions

    versions = read_versions(Path(), [old, new])
    names = check_names(datasets, versions)
    found = [diff_dataset(name, versions[0], versions[1]) for name in names]
    if as_json:
        echo(json.dumps(_diff_json(found, versions), indent=2))
        return
    shown = [
        one for one in found if datasets or one.changes or one.meaning or one.notes or one.same
    ]
    for one in shown:
        _print_notes(one.notes)
        echo(f"{one.dataset}, from {versions[0]} to {versions[1]}: {_counts(one)}")
        for line in (*map(_line, one.changes), *_meaning_line(one)):
            echo(line)
    if not shown:
        echo("there are no datasets with files", err=True)


@click.command()
@click.argument("revision", default="", metavar="[REV]")
@_DATASETS
@_JSON
def cases(revision: str, datasets: tuple[str, ...], as_json: bool) -> None:
    """List the cases at REV with the digests of their scans and masks.

    REV is a commit, branch, tag or experiment; unless given, the files in the workspace count.
    Digests are MD5, as DVC has them. Also said is whether the figures at REV come from these files,
    by what dvc.lock says there.

    \b
    Example:
      thorax data cases v1 --dataset study
    """
    from thorax.datasets.versions import check_names, notes_on, read_versions

    (version,) = read_versions(Path(), [revision])
    names = check_names(datasets, [version])
    if as_json:
        echo(json.dumps(_cases_json(version, names), indent=2))
        return
    for name in names:
        dataset = version.dataset(name)
        if datasets or dataset.cases or dataset.made_figures is not None:
            _print_notes(notes_on(name, version))
            echo(f"{name} {version.place}: {_size(dataset)}; {_origin(dataset)}")
            _print_cases(dataset)


def _print_notes(notes: "tuple[str, ...] | list[str]") -> None:
    for note in notes:
        echo(f"note: {note}", err=True)


def _counts(diff: "DatasetDiff") -> str:
    """Such as `1 changed, 2 the same`."""
    kinds = [change.kind for change in diff.changes]
    counts = {kind: kinds.count(kind) for kind in ("added", "removed", "renamed", "changed")}
    told = [f"{count} {kind}" for kind, count in counts.items() if count]
    if not told and not diff.unknown:
        told = ["no case changed"]
    same = [f"{diff.same} the same"] if diff.same else []
    unknown = [f"{' and '.join(diff.unknown)} not known"] if diff.unknown else []
    return ", ".join((*told, *same, *unknown))


def _line(change: "Change") -> str:
    if change.kind == "renamed":
        return f"> {change.case}  was {change.before}"
    mark = {"added": "+", "removed": "-", "changed": "~"}[change.kind]
    return f"{mark} {'  '.join(filter(None, (change.case, ', '.join(change.parts))))}"


def _meaning_line(diff: "DatasetDiff") -> list[str]:
    return [f"~ dataset.yaml  {', '.join(diff.meaning)}"] if diff.meaning else []


def _size(dataset: "DatasetVersion") -> str:
    known = any(dataset.folder(part).known for part in ("scans", "masks"))
    count = len(dataset.cases)
    return f"{count} case{'' if count == 1 else 's'}" if known else "cases not known"


def _origin(dataset: "DatasetVersion") -> str:
    told = {
        True: "the figures there come from these",
        False: "the figures there come from other files of it; `dvc repro` makes them anew",
        None: "no figure there comes from it",
    }
    return told[dataset.made_figures]


def _print_cases(dataset: "DatasetVersion") -> None:
    width = max(map(len, dataset.cases), default=0)
    for case, digests in dataset.cases.items():
        echo("  ".join((case.ljust(width), *(digest or "-" * 32 for digest in digests))))


def _diff_json(found: "list[DatasetDiff]", versions: "list[Version]") -> dict[str, Any]:
    described = {one.dataset: asdict(one) for one in found}
    for one in described.values():
        del one["dataset"]
    old, new = map(_version_json, versions)
    return {"from": old, "to": new, "datasets": described}


def _cases_json(version: "Version", names: list[str]) -> dict[str, Any]:
    from thorax.datasets.versions import notes_on

    datasets = {name: version.dataset(name) for name in names}
    described = {
        name: {
            "figures_come_from_these": dataset.made_figures,
            "scans": dataset.scans.digest,
            "masks": dataset.masks.digest,
            "cases": {
                case: {"scan": scan, "mask": mask} for case, (scan, mask) in dataset.cases.items()
            },
            "notes": notes_on(name, version),
        }
        for name, dataset in datasets.items()
    }
    return {**_version_json(version), "datasets": described}


def _version_json(version: "Version") -> dict[str, str]:
    return {"revision": version.revision or "workspace", "commit": version.commit}
