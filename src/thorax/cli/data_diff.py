"""`thorax data diff` and `thorax data cases`: the cases of datasets at git revisions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thorax.cli.options import JSON, echo

if TYPE_CHECKING:
    from thorax.datasets.versions import CaseChange, CaseList, DatasetDiff, Version

_DATASETS = click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="Name of a dataset under data/. Repeatable.  [default: all]",
)
_METRICS = {
    True: "reports/metrics.json was computed from these files",
    False: "reports/metrics.json was computed from other files; `dvc repro` updates it",
    None: "reports/metrics.json was computed from another dataset",
}


@click.command()
@click.argument("old", default="HEAD", metavar="[REV]")
@click.argument("new", required=False, metavar="[REV2]")
@_DATASETS
@JSON
def diff(old: str, new: str | None, datasets: tuple[str, ...], as_json: bool) -> None:
    """List the cases that changed since REV.

    REV and REV2 are commits, branches, tags or experiments. REV is HEAD by default; it is compared
    with REV2, by default with the files in the workspace. One line per case: + added, - removed,
    > renamed, ~ changed, with the changed files: scan, mask or both. Files are compared by their
    bytes, with `dvc diff`.

    \b
    Example:
      thorax data diff                    # changes that are not committed
      thorax data diff v1 v2 --dataset study
    """
    from thorax.datasets.versions import check_names, diff_datasets, find_version

    versions = [find_version(Path(), revision) for revision in (old, new)]
    diffs = diff_datasets(check_names(datasets, versions), *versions)
    if as_json:
        before, after = map(_version_json, versions)
        contents = {name: asdict(dataset) for name, dataset in diffs.items()}
        echo(json.dumps({"from": before, "to": after, "datasets": contents}, indent=2))
        return
    for name, dataset in diffs.items():
        _print_notes(dataset.notes)
        echo(f"{name}, from {versions[0]} to {versions[1]}: {_counts(dataset)}")
        for change in dataset.changes:
            echo(_line(change))
        if dataset.spec:
            echo(f"~ dataset.yaml  {', '.join(dataset.spec)}")
    if not diffs:
        echo("there are no datasets", err=True)


@click.command()
@click.argument("revision", default="HEAD", metavar="[REV]")
@_DATASETS
@JSON
def cases(revision: str, datasets: tuple[str, ...], as_json: bool) -> None:
    """List the cases at REV with the digests of their files.

    REV is a commit, branch, tag or experiment, HEAD by default. The first line of a dataset reports
    whether reports/metrics.json at REV was computed from these files, according to its dvc.lock.

    \b
    Example:
      thorax data cases v1 --dataset study
    """
    from thorax.datasets.versions import check_names, find_version, list_cases

    version = find_version(Path(), revision)
    lists = {name: list_cases(name, version) for name in check_names(datasets, [version])}
    if as_json:
        contents = {name: asdict(dataset) for name, dataset in lists.items()}
        echo(json.dumps({**_version_json(version), "datasets": contents}, indent=2))
        return
    for name, dataset in lists.items():
        _print_notes(dataset.notes)
        echo(f"{name} {version.place}: {_summary(dataset)}")
        width = max(map(len, dataset.cases), default=0)
        for case, digests in dataset.cases.items():
            columns = (digest or "-" * 32 for digest in digests.values())
            echo("  ".join((case.ljust(width), *columns)))


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        echo(f"Note: {note}", err=True)


def _counts(diff: "DatasetDiff") -> str:
    """Return text such as `1 renamed, 2 changed`."""
    kinds = [change.kind for change in diff.changes]
    counts = {kind: kinds.count(kind) for kind in ("added", "removed", "renamed", "changed")}
    parts = [f"{count} {kind}" for kind, count in counts.items() if count]
    if not parts and not diff.unknown:
        parts = ["no case changed"]
    unknown = [f"{' and '.join(diff.unknown)} not compared"] if diff.unknown else []
    return ", ".join((*parts, *unknown))


def _summary(dataset: "CaseList") -> str:
    from thorax.common.text import counted

    count = len(dataset.cases)
    if dataset.notes and not count:
        return "cases unknown"
    return f"{counted(count, 'case')}; {_METRICS[dataset.made_metrics]}"


def _line(change: "CaseChange") -> str:
    if change.kind == "renamed":
        return f"> {change.case}  was {change.before}"
    mark = {"added": "+", "removed": "-", "changed": "~"}[change.kind]
    return f"{mark} {'  '.join(filter(None, (change.case, ', '.join(change.parts))))}"


def _version_json(version: "Version") -> dict[str, str]:
    return {"revision": version.revision or "workspace", "commit": version.commit}
