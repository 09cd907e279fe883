"""Cases at a git revision, and the cases that changed between two versions."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from thorax.cli import main
from thorax.common.errors import InputError
from thorax.datasets import versions
from thorax.datasets.versions import (
    CaseChange,
    CaseList,
    DatasetDiff,
    Version,
    check_names,
    diff_datasets,
    find_version,
    list_cases,
)

FOLDERS = [f"DVC_{name}_DIR" for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")]
SPEC = "regions: {lung: [1]}\n"
STAGE = "stages: {make: {cmd: make, outs: [scans, masks]}}\n"
TRACKED = ("data/ward/scans", "data/ward/masks", "data/whole")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def run(root: Path, *command: str) -> str:
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def commit(root: Path, tag: str) -> None:
    run(root, "git", "add", ".")
    run(root, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", tag)
    run(root, "git", "tag", tag)


def track(root: Path, tag: str) -> None:
    run(root, sys.executable, "-m", "dvc", "add", "--quiet", *TRACKED)
    commit(root, tag)


def dvc_digest(root: Path, part: str) -> str:
    """Return the digest of a folder that DVC itself recorded."""
    content = yaml.safe_load((root / f"data/ward/{part}.dvc").read_text())
    return str(content["outs"][0]["md5"])


def write_lock(root: Path, parts: Mapping[str, str]) -> None:
    deps = [{"path": f"data/ward/{part}", "md5": digest} for part, digest in parts.items()]
    lock = {"stages": {"evaluate": {"deps": deps}, "prepare": {"deps": []}}}
    write(root, {"dvc.lock": yaml.safe_dump(lock)})


@dataclass(frozen=True)
class Project:
    """A project in a folder of a git repository: two commits, and a change since."""

    root: Path
    first: Version
    second: Version
    now: Version
    committed: Mapping[str, DatasetDiff]
    uncommitted: Mapping[str, DatasetDiff]


@pytest.fixture(autouse=True)
def _own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / "dvc" / name))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    top = tmp_path_factory.mktemp("versions")
    root = top / "work space"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in FOLDERS:
            patch.setenv(name, str(top.parent / "dvc" / name))
        run(top, "git", "init", "--quiet", ".")
        run(root, sys.executable, "-m", "dvc", "init", "--quiet", "--subdir")
        write_first(root)
        track(root, "v1")
        write_second(root)
        track(root, "v2")
        write(root, {"data/ward/scans/a.nii.gz": "scanned again"})
        first, second, now = (find_version(root / "data", name) for name in ("v1", "v2", None))
        names = check_names((), [first, now])
        committed = diff_datasets(names, first, second)
        return Project(root, first, second, now, committed, diff_datasets(names, second, now))


def write_first(root: Path) -> None:
    for part in ("scans", "masks"):
        for case in ("a", "b", "c", "d"):
            write(root, {f"data/ward/{part}/{case}.nii.gz": f"{part} {case}"})
        write(root, {f"data/whole/{part}/w.nii": part})
    write(root, {"data/ward/dataset.yaml": SPEC, "data/ward/scans/README": "no case"})
    write(root, {"data/whole/dataset.yaml": SPEC})
    write(root, {"data/plain/dataset.yaml": SPEC, "data/plain/.gitignore": "/scans\n/masks\n"})
    write(root, {"data/plain/scans/x.nii": "x", "data/plain/masks/x.nii": "X"})
    write(root, {"data/made/dataset.yaml": SPEC, "data/made/dvc.yaml": STAGE})


def write_second(root: Path) -> None:
    """Draw b again, rename c to e, remove d, add f and the scan alone of größe."""
    ward = root / "data/ward"
    write_lock(root, {"masks": dvc_digest(root, "masks")})
    write(ward, {"masks/b.nii.gz": "drawn again", "scans/größe.nii": "scan alone"})
    for part in ("scans", "masks"):
        (ward / part / "c.nii.gz").rename(ward / part / "e.nii.gz")
        (ward / part / "d.nii.gz").unlink()
        write(ward, {f"{part}/f.nii.gz": f"{part} f"})
    write(ward, {"dataset.yaml": "regions: {lung: [1, 2]}\ntitle: Ward\n"})
    write(root, {"data/whole/dataset.yaml": SPEC + "title: Whole\n"})


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Path:
    """Return a copy of the project that a test may change."""
    return Path(shutil.copytree(project.root.parent, tmp_path / "copied")) / project.root.name


def diff_ward(root: Path, old: str, new: str | None) -> DatasetDiff:
    return diff_datasets(["ward"], find_version(root, old), find_version(root, new))["ward"]


# A project


def test_cases_are_compared_between_commits(project: Project) -> None:
    ward = project.committed["ward"]
    assert ward.changes == (
        CaseChange("b", "changed", ("mask",)),
        CaseChange("d", "removed"),
        CaseChange("e", "renamed", before="c"),
        CaseChange("f", "added"),
        CaseChange("größe", "changed", ("scan added",)),
    )
    assert ward.spec == ("regions", "title")
    assert (ward.notes, ward.unknown) == ((), ())


def test_uncommitted_changes_are_listed(project: Project) -> None:
    changes = (CaseChange("a", "changed", ("scan",)),)
    assert project.uncommitted["ward"] == DatasetDiff(changes, (), (), ())


def test_a_case_has_the_digests_of_its_scan_and_mask(project: Project) -> None:
    cases = list_cases("ward", project.first).cases
    assert cases == {c: {"scan": md5(f"scans {c}"), "mask": md5(f"masks {c}")} for c in "abcd"}


def test_a_folder_has_the_digest_that_dvc_recorded(project: Project) -> None:
    ward = list_cases("ward", project.second)
    assert ward.cases["größe"] == {"scan": md5("scan alone"), "mask": ""}
    assert ward.folders == {
        f"data/ward/{part}": dvc_digest(project.root, part) for part in ("scans", "masks")
    }
    assert ward.made_metrics is False, "dvc.lock has the masks of v1"


def test_metrics_are_attributed_by_dvc_lock(project: Project, copied: Path) -> None:
    assert list_cases("whole", project.second).made_metrics is None
    write_lock(copied, {part: dvc_digest(copied, part) for part in ("scans", "masks")})
    commit(copied, "v3")
    assert list_cases("ward", find_version(copied, "v3")).made_metrics is True


def test_a_dataset_tracked_as_a_whole_is_compared(project: Project) -> None:
    assert project.committed["whole"] == DatasetDiff((), ("contents",), (), ())
    assert list_cases("whole", project.first).cases == {
        "w": {"scan": md5("scans"), "mask": md5("masks")}
    }


def test_a_stage_that_has_not_run_leaves_no_case_and_no_note(project: Project) -> None:
    assert project.uncommitted["made"] == DatasetDiff((), (), (), ())
    made = list_cases("made", project.first)
    assert (made.cases, made.notes) == ({}, ())


def test_files_that_dvc_does_not_track_are_reported(project: Project) -> None:
    plain = project.uncommitted["plain"]
    assert (plain.changes, plain.unknown) == ((), ("scans", "masks"))
    note = (
        f"DVC does not track data/plain/scans at v2 ({project.second.commit[:7]}), so its files "
        "are unknown; `dvc add data/plain/scans` tracks them from now on"
    )
    assert plain.notes[0] == list_cases("plain", project.second).notes[0] == note


def test_if_a_list_of_files_is_lost_the_other_part_is_compared(copied: Path) -> None:
    digest = dvc_digest(copied, "scans")
    (copied / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    ward = diff_ward(copied, "v1", "v2")
    assert ward.unknown == ("scans",)
    assert CaseChange("b", "changed", ("mask",)) in ward.changes
    assert CaseChange("d", "removed") in ward.changes
    (note,) = ward.notes
    assert note.startswith("data/ward/scans differs between v1 (")
    assert note.endswith(
        "but a list of its files is neither in the cache nor on the remote; run `dvc push "
        "--all-commits` where it exists, then `dvc fetch --all-commits` here"
    )
    ward = list_cases("ward", find_version(copied, "v2"))
    assert (ward.cases, ward.made_metrics) == ({}, None)
    (note,) = ward.notes
    assert note.startswith("`dvc ls` must succeed, but DVC reports: ")
    assert digest[2:] in note
    assert note.endswith(
        "; if a list of files is missing, run `dvc push --all-commits` where it exists, then "
        "`dvc fetch --all-commits` here"
    )


def test_scans_that_are_not_pulled_are_not_removed_cases(copied: Path) -> None:
    shutil.rmtree(copied / "data/ward/scans")
    ward = diff_ward(copied, "v2", None)
    assert (ward.changes, ward.unknown) == ((), ("scans",))
    assert ward.notes == (
        "data/ward/scans is not in the workspace; run `dvc pull`, or give HEAD as REV2",
    )


def test_a_removed_dataset_lost_all_of_its_cases(copied: Path) -> None:
    shutil.rmtree(copied / "data/ward")
    ward = diff_ward(copied, "v2", None)
    assert [change.case for change in ward.changes] == ["a", "b", "e", "f", "größe"]
    assert {change.kind for change in ward.changes[:4]} == {"removed"}
    assert ward.changes[4].parts == ("scan removed",)
    assert (ward.spec, ward.notes) == ((), ())


def test_an_experiment_is_a_revision(copied: Path) -> None:
    digest = run(copied, "git", "rev-parse", "v1").strip()
    run(copied, "git", "update-ref", "refs/exps/ab/cdef/trial", digest)
    assert find_version(copied, "trial").commit == digest
    run(copied, "git", "update-ref", "refs/exps/cd/efab/trial", "v2")
    with pytest.raises(InputError, match="one commit, branch, tag or experiment"):
        find_version(copied, "trial")


@pytest.mark.parametrize("revision", ["v3", "", "--all"])
def test_a_revision_that_does_not_exist_is_refused(project: Project, revision: str) -> None:
    with pytest.raises(InputError, match=rf"a revision must be one commit, .* got `{revision}`"):
        find_version(project.root, revision)


def test_a_project_without_git_has_no_revisions(copied: Path) -> None:
    shutil.rmtree(copied.parent / ".git")
    with pytest.raises(InputError, match="of a project under git, got `HEAD`"):
        find_version(copied, "HEAD")


def test_outside_of_a_project_the_error_gives_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run this in a folder with `\.dvc`, got /"):
        find_version(tmp_path, "HEAD")


def test_a_dataset_that_does_not_exist_is_refused(project: Project) -> None:
    assert check_names((), [project.now]) == ["made", "plain", "ward", "whole"]
    with pytest.raises(InputError) as rejection:
        check_names(["wards"], [project.first, project.now])
    assert str(rejection.value) == "a dataset must be one of made, plain, ward, whole, got `wards`"


# Reports of DVC written by hand

OLD, NEW = (
    Version(
        Path(),
        revision,
        digest,
        frozenset(f"data/ward/{name}" for name in ("dataset.yaml", "scans.dvc", "masks.dvc")),
    )
    for revision, digest in (("v1", "0123456789"), ("v2", "abcdef0123"))
)


@pytest.fixture
def dvc_reports(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the report of `dvc diff` that tests fill."""
    report: dict[str, Any] = {}
    monkeypatch.setattr(versions, "dvc_json", lambda *_: report)
    return report


def entry(path: str, digest: Any) -> dict[str, Any]:
    return {"path": f"data/ward/{path}", "hash": digest}


def both(case: str, scan: str, mask: str = "m") -> list[dict[str, Any]]:
    return [entry(f"scans/{case}.nii", scan), entry(f"masks/{case}.nii", mask)]


def changes() -> tuple[CaseChange, ...]:
    return diff_datasets(["ward"], OLD, NEW)["ward"].changes


def test_swapped_names_are_two_changes(dvc_reports: dict[str, Any]) -> None:
    dvc_reports["modified"] = [
        entry("scans/a.nii", {"old": "1", "new": "2"}),
        entry("scans/b.nii", {"old": "2", "new": "1"}),
    ]
    assert changes() == (
        CaseChange("a", "changed", ("scan",)),
        CaseChange("b", "changed", ("scan",)),
    )


def test_each_copy_of_a_scan_is_renamed_once(dvc_reports: dict[str, Any]) -> None:
    dvc_reports["deleted"] = [*both("a", "1"), *both("b", "1")]
    dvc_reports["added"] = [*both("c", "1"), *both("d", "1"), *both("e", "1")]
    assert changes() == (
        CaseChange("c", "renamed", before="a"),
        CaseChange("d", "renamed", before="b"),
        CaseChange("e", "added"),
    )


def test_another_name_and_another_scan_is_another_case(dvc_reports: dict[str, Any]) -> None:
    dvc_reports["deleted"] = both("a", "1")
    dvc_reports["added"] = both("b", "2")
    assert changes() == (CaseChange("a", "removed"), CaseChange("b", "added"))


def test_a_renamed_mask_alone_changes_two_cases(dvc_reports: dict[str, Any]) -> None:
    names = {"old": "data/ward/masks/a.nii", "new": "data/ward/masks/b.nii"}
    dvc_reports["renamed"] = [{"path": names, "hash": "1"}]
    assert changes() == (
        CaseChange("a", "changed", ("mask removed",)),
        CaseChange("b", "changed", ("mask added",)),
    )


def test_another_suffix_for_the_same_bytes_is_no_change(dvc_reports: dict[str, Any]) -> None:
    names = {"old": "data/ward/scans/a.nii", "new": "data/ward/scans/a.nii.gz"}
    dvc_reports["renamed"] = [{"path": names, "hash": "1"}]
    assert changes() == ()


def test_a_case_that_moved_to_another_dataset_is_removed_here(dvc_reports: dict[str, Any]) -> None:
    dvc_reports["renamed"] = [
        {"path": {"old": f"data/ward/{part}/a.nii", "new": f"data/icu/{part}/a.nii"}, "hash": "1"}
        for part in ("scans", "masks")
    ]
    assert changes() == (CaseChange("a", "removed"),)


def test_files_that_are_no_cases_do_not_count(dvc_reports: dict[str, Any]) -> None:
    dvc_reports["added"] = [
        entry("scans/", "1.dir"),
        entry("scans/README", "2"),
        entry("scans/old/a.nii", "3"),
        {"path": "data/records/a.nii", "hash": "4"},
    ]
    assert diff_datasets(["ward"], OLD, NEW)["ward"] == DatasetDiff((), (), (), ())


@pytest.mark.usefixtures("dvc_reports")
def test_a_spec_that_is_no_mapping_differs_in_its_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"v1": "regions: [", "v2": "regions: [["}
    monkeypatch.setattr(Version, "text", lambda self, _: texts[self.revision])
    assert diff_datasets(["ward"], OLD, NEW)["ward"].spec == ("contents",)
    assert diff_datasets(["ward"], OLD, OLD)["ward"].spec == ()


def test_an_error_of_dvc_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = (
        "WARNING: something else\n"
        "ERROR: unexpected error - s3 is supported, but requires 'dvc-s3' to be installed\n\n"
        "Having any troubles?\n"
    )
    answer = subprocess.CompletedProcess(("dvc",), 255, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(InputError) as rejection:
        diff_datasets(["ward"], OLD, NEW)
    assert str(rejection.value) == (
        "`dvc diff` must succeed, but DVC reports: unexpected error - s3 is supported, but "
        "requires 'dvc-s3' to be installed"
    )


def test_a_version_is_named_as_the_user_gave_it() -> None:
    assert str(OLD) == "v1 (0123456)"
    assert str(Version(Path(), "01234", "0123456789", frozenset())) == "0123456"
    assert Version(Path(), "", "", frozenset()).place == "in the workspace"


# The commands


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = (
        CaseChange("bb", "changed", ("scan", "mask added")),
        CaseChange("new", "renamed", before="old"),
        CaseChange("z", "added"),
    )
    diffs = {
        "v2": DatasetDiff(changed, ("regions", "title"), (), ()),
        "v1": DatasetDiff((), (), (), ()),
    }
    lost = DatasetDiff((), (), ("scans",), ("the list is lost",))
    cases = {"a": {"scan": "1" * 32, "mask": "2" * 32}, "bb": {"scan": "3" * 32, "mask": ""}}
    monkeypatch.setattr(
        versions, "find_version", lambda _, name: OLD if name == "v1" else NEW if name else None
    )
    monkeypatch.setattr(versions, "check_names", lambda names, _: list(names) or ["ward"])
    monkeypatch.setattr(
        versions,
        "diff_datasets",
        lambda names, _, new: {n: lost if n == "lost" else diffs[new.revision] for n in names},
    )
    monkeypatch.setattr(
        versions,
        "list_cases",
        lambda name, _: CaseList(
            {} if name == "lost" else cases,
            {"data/ward/scans": "4.dir"},
            {"ward": True, "icu": False}.get(name),
            ("a note",),
        ),
    )


@pytest.mark.usefixtures("by_hand")
def test_a_difference_is_printed_as_one_line_per_case() -> None:
    answer = CliRunner().invoke(main, ["data", "diff", "v1", "v2"])
    assert answer.exit_code == 0
    assert answer.stderr == ""
    assert answer.stdout.splitlines() == [
        "ward, from v1 (0123456) to v2 (abcdef0): 1 added, 1 renamed, 1 changed",
        "~ bb  scan, mask added",
        "> new  was old",
        "+ z",
        "~ dataset.yaml  regions, title",
    ]


@pytest.mark.usefixtures("by_hand")
def test_a_difference_as_json() -> None:
    answer = CliRunner().invoke(main, ["data", "diff", "v1", "v2", "--json"])
    content = json.loads(answer.stdout)
    assert content["from"] == {"revision": "v1", "commit": "0123456789"}
    ward = content["datasets"]["ward"]
    assert set(ward) == {"changes", "spec", "unknown", "notes"}
    assert ward["changes"][1] == {"case": "new", "kind": "renamed", "parts": [], "before": "old"}


@pytest.mark.usefixtures("by_hand")
def test_datasets_without_changes_and_with_unknown_files_are_printed() -> None:
    command = ["data", "diff", "v1", "v1", "--dataset", "ward", "--dataset", "lost"]
    answer = CliRunner().invoke(main, command)
    assert answer.stdout.splitlines() == [
        "ward, from v1 (0123456) to v1 (0123456): no case changed",
        "lost, from v1 (0123456) to v1 (0123456): scans not compared",
    ]
    assert answer.stderr == "Note: the list is lost\n"
    assert answer.exit_code == 0


@pytest.mark.usefixtures("by_hand")
def test_a_project_without_datasets_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "check_names", lambda *_: [])
    answer = CliRunner().invoke(main, ["data", "diff", "v1", "v2"])
    assert (answer.stdout, answer.stderr) == ("", "there are no datasets\n")


@pytest.mark.usefixtures("by_hand")
def test_cases_are_listed_with_their_digests() -> None:
    answer = CliRunner().invoke(main, ["data", "cases", "v1"])
    assert answer.stdout.splitlines() == [
        "ward at v1 (0123456): 2 cases; reports/metrics.json was computed from these files",
        f"a   {'1' * 32}  {'2' * 32}",
        f"bb  {'3' * 32}  {'-' * 32}",
    ]
    assert answer.stderr == "Note: a note\n"
    as_json = json.loads(CliRunner().invoke(main, ["data", "cases", "v1", "--json"]).stdout)
    assert as_json["revision"] == "v1"
    assert as_json["datasets"]["ward"]["cases"]["bb"] == {"scan": "3" * 32, "mask": ""}
    assert as_json["datasets"]["ward"]["made_metrics"] is True


@pytest.mark.usefixtures("by_hand")
def test_metrics_of_other_files_and_lost_lists_are_reported() -> None:
    names = ("icu", "none", "lost")
    command = ["data", "cases", *(f"--dataset={name}" for name in names)]
    lines = CliRunner().invoke(main, command).stdout.splitlines()
    assert lines[0].endswith(
        "reports/metrics.json was computed from other files; `dvc repro` updates it"
    )
    assert lines[3].endswith("2 cases; reports/metrics.json was computed from another dataset")
    assert lines[6:] == ["lost at v2 (abcdef0): cases unknown"]


def test_dvc_runs_in_another_process(project: Project) -> None:
    """DVC prints nothing and is not imported, and names need no UTF-8 locale."""
    code = (
        "import sys; from thorax.cli import main\n"
        "try: main(['data', 'diff', 'v1', '--dataset', 'ward', '--json'])\n"
        "finally: print(sorted({'dvc', 'keras'} & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stderr == "[]\n"
    content = json.loads(answer.stdout)
    assert content["to"] == {"revision": "workspace", "commit": ""}
    cases = [change["case"] for change in content["datasets"]["ward"]["changes"]]
    assert cases == ["a", "b", "d", "e", "f", "größe"]
