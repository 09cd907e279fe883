"""Which cases there are at a revision, and what changed between two."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from thorax.cli import main
from thorax.common.errors import InputError
from thorax.datasets import dvc_digests as digests
from thorax.datasets import versions
from thorax.datasets.versions import (
    WORKSPACE,
    Change,
    DatasetVersion,
    Folder,
    State,
    Version,
    check_names,
    diff_dataset,
    notes_on,
    read_versions,
)

FOLDERS = [f"DVC_{name}_DIR" for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")]
SPEC = "regions: {lung: [1]}\n"
STAGE = "stages: {make: {cmd: make, outs: [scans, masks]}}\n"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def run(root: Path, *command: str) -> None:
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def track(root: Path, tag: str) -> None:
    targets = ["data/ward/scans", "data/ward/masks"]
    run(root, sys.executable, "-m", "dvc", "add", "--quiet", *targets)
    run(root, "git", "add", ".")
    run(root, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", tag)
    run(root, "git", "tag", tag)


def digest_of(root: Path, part: str) -> str:
    """What DVC itself wrote down."""
    content = yaml.safe_load((root / f"data/ward/{part}.dvc").read_text())
    return str(content["outs"][0]["md5"])


@dataclass(frozen=True)
class Told:
    """What was read of a project."""

    root: Path
    first: Version
    second: Version
    now: Version


@pytest.fixture(autouse=True)
def _own_dvc_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / "dvc" / name))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Return a project in a folder of a git repository: two commits, and a change since."""
    top = tmp_path_factory.mktemp("versions")
    root = top / "work space"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in FOLDERS:
            patch.setenv(name, str(top / "dvc" / name))
        run(top, "git", "init", "--quiet", ".")
        run(root, sys.executable, "-m", "dvc", "init", "--quiet", "--subdir")
        for part in ("scans", "masks"):
            for case in ("a", "b", "c", "d"):
                write(root, {f"data/ward/{part}/{case}.nii.gz": f"{part} {case}"})
        write(root, {"data/ward/dataset.yaml": SPEC, "data/ward/scans/README": "no case"})
        write(root, {"data/plain/dataset.yaml": SPEC, "data/plain/.gitignore": "/scans\n/masks\n"})
        write(root, {"data/plain/scans/x.nii": "x", "data/plain/masks/x.nii": "X"})
        write(root, {"data/small/dataset.yaml": SPEC, "data/small/scans/größe.nii": "in git"})
        write(root, {"data/made/dataset.yaml": SPEC, "data/made/dvc.yaml": STAGE})
        track(root, "v1")
        scans = root / "data/ward/scans"
        write(root, {"data/ward/masks/b.nii.gz": "drawn again", "data/ward/scans/f.nii.gz": "f"})
        for part in ("scans", "masks"):
            (scans / f"../{part}/c.nii.gz").rename(scans / f"../{part}/e.nii.gz")
            (scans / f"../{part}/d.nii.gz").unlink()
        deps = [{"path": "data/ward/masks", "md5": digest_of(root, "masks")}]
        lock = {"stages": {"evaluate": {"deps": deps}, "prepare": {"deps": []}}}
        write(root, {"data/ward/dataset.yaml": "regions: {lung: [1, 2]}\ntitle: Ward\n"})
        write(root, {"dvc.lock": yaml.safe_dump(lock)})
        track(root, "v2")
        write(root, {"data/ward/scans/a.nii.gz": "scanned again"})
        return Told(root, *read_versions(root / "data", ["v1", "v2", WORKSPACE]))


@pytest.fixture
def copied(told: Told, tmp_path: Path) -> Path:
    """Return a project of one's own."""
    return Path(shutil.copytree(told.root.parent, tmp_path / "copied")) / told.root.name


# A project


def test_a_case_has_the_digests_of_its_scan_and_mask(told: Told) -> None:
    cases = told.first.dataset("ward").cases
    assert cases == {case: (md5(f"scans {case}"), md5(f"masks {case}")) for case in "abcd"}
    assert told.now.dataset("ward").cases["a"] == (md5("scanned again"), md5("masks a"))
    assert told.second.dataset("ward").cases["f"] == (md5("f"), "")


def test_a_folder_has_the_digest_that_dvc_writes_down(told: Told) -> None:
    for version in (told.second, told.now):
        assert version.dataset("ward").masks.digest == digest_of(told.root, "masks")
    assert told.second.dataset("ward").scans.digest == digest_of(told.root, "scans")
    assert told.now.dataset("ward").scans.digest != digest_of(told.root, "scans")


def test_each_case_that_came_went_or_changed_is_told(told: Told) -> None:
    found = diff_dataset("ward", told.first, told.second)
    assert found.changes == (
        Change("b", "changed", ("mask",)),
        Change("d", "removed"),
        Change("e", "renamed", before="c"),
        Change("f", "added"),
    )
    assert found.same == 1
    assert found.meaning == ("regions", "title")
    assert (found.notes, found.unknown) == ((), ())


def test_what_is_not_yet_tracked_again_has_changed_too(told: Told) -> None:
    found = diff_dataset("ward", told.second, told.now)
    assert found.changes == (Change("a", "changed", ("scan",)),)
    assert (found.same, found.meaning) == (3, ())


def test_figures_come_from_what_dvc_lock_says(told: Told) -> None:
    assert told.first.dataset("ward").made_figures is None
    assert told.second.dataset("ward").made_figures is False, "the lock has the masks of v1"
    assert told.second.dataset("plain").made_figures is None


def test_files_that_lie_in_git_are_known_too(told: Told) -> None:
    assert told.first.dataset("small").cases == {"größe": (md5("in git"), "")}


def test_what_no_stage_has_made_has_no_cases_and_no_note(told: Told) -> None:
    assert told.now.dataset("made").scans == Folder("none", "", {})
    assert diff_dataset("made", told.first, told.now).notes == ()


def test_files_that_are_not_tracked_are_told_of(told: Told) -> None:
    assert told.now.dataset("plain").cases == {"x": (md5("x"), md5("X"))}
    found = diff_dataset("plain", told.second, told.now)
    assert (found.changes, found.unknown) == ((), ("scans", "masks"))
    commit = told.second.commit[:7]
    assert found.notes[0] == (
        f"data/plain/scans is not tracked at v2 ({commit}), so its files then are not known; "
        "`dvc add data/plain/scans` tracks them from now on"
    )


def test_where_the_list_of_files_is_lost_the_other_part_is_compared(
    told: Told, copied: Path
) -> None:
    digest = told.first.dataset("ward").scans.digest
    (copied / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    first, second = read_versions(copied, ["v1", "v2"])
    found = diff_dataset("ward", first, second)
    assert found.unknown == ("scans",)
    assert Change("b", "changed", ("mask",)) in found.changes
    assert found.notes == (
        "data/ward/scans differs, in which cases is not known: the list of the files of "
        f"data/ward/scans at v1 ({first.commit[:7]}) is not in the cache, and no remote gave it; "
        "`dvc push --all-commits` where it is, then `dvc fetch --all-commits` here",
    )


def test_where_scans_are_not_pulled_what_is_tracked_counts(copied: Path) -> None:
    shutil.rmtree(copied / "data/ward/scans")
    second, now = read_versions(copied, ["v2", WORKSPACE])
    found = diff_dataset("ward", second, now)
    assert (found.changes, found.same) == ((), 4)
    assert found.notes == (
        "data/ward/scans is not in the workspace, what DVC has of it counts; `dvc pull` brings it",
    )


def test_a_revision_that_does_not_exist_is_refused(told: Told) -> None:
    with pytest.raises(InputError, match=r"a revision must be a commit, branch, .* 'v3'"):
        read_versions(told.root, ["v3"])


def test_a_project_without_git_has_no_revisions(copied: Path) -> None:
    shutil.rmtree(copied.parent / ".git")
    with (copied / ".dvc/config").open("a") as config:
        config.write("[core]\n    no_scm = true\n")
    with pytest.raises(InputError, match=r"the project is not under git$"):
        read_versions(copied, ["HEAD"])


def test_outside_of_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run this in a folder that holds `\.dvc`, got /"):
        read_versions(tmp_path, ["HEAD"])


def test_what_dvc_lacks_for_a_remote_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(root: Path, revision: str) -> None:
        raise ImportError("s3 is supported, but requires 'dvc-s3' to be installed\n")

    monkeypatch.setattr(digests, "read_version", read)
    digests.main(Path(), ["HEAD"])
    refused = "DVC cannot read the project: s3 is supported, but requires 'dvc-s3' to be installed"
    assert json.loads(capsys.readouterr().out) == {"refused": refused}


def test_a_dataset_that_is_not_there_is_refused(told: Told) -> None:
    assert check_names((), [told.now]) == ["made", "plain", "small", "ward"]
    with pytest.raises(InputError) as refused:
        check_names(["wards"], [told.first, told.now])
    assert str(refused.value) == ("a dataset must be one of made, plain, small, ward, got `wards`")


# Versions written down by hand


def version(
    revision: str, scans: dict[str, str], *, state: State = "tracked", digest: str = ""
) -> Version:
    """A dataset whose masks never change."""
    masks = Folder("tracked" if revision else "here", "", dict.fromkeys(scans, "m"))
    dataset = DatasetVersion({"regions": {}}, Folder(state, digest, scans), masks, {})
    return Version(revision, "0123456789", {"ward": dataset})


def changes(was: dict[str, str], has: dict[str, str]) -> tuple[Change, ...]:
    return diff_dataset("ward", version("a", was), version("b", has)).changes


def test_names_that_were_swapped_are_two_changes() -> None:
    swapped = changes({"a": "1", "b": "2"}, {"a": "2", "b": "1"})
    assert swapped == (Change("a", "changed", ("scan",)), Change("b", "changed", ("scan",)))


def test_two_copies_of_one_scan_are_renamed_once_each() -> None:
    assert changes({"a": "1", "b": "1"}, {"c": "1", "d": "1", "e": "1"}) == (
        Change("c", "renamed", before="a"),
        Change("d", "renamed", before="b"),
        Change("e", "added"),
    )


def test_another_name_and_another_scan_is_another_case() -> None:
    assert changes({"a": "1"}, {"b": "2"}) == (Change("a", "removed"), Change("b", "added"))


def test_a_list_that_is_lost_is_not_needed_where_the_digests_agree() -> None:
    lost = version("a", {}, state="lost", digest="1.dir")
    here = version(WORKSPACE, {"x": "1"}, state="here", digest="1.dir")
    found = diff_dataset("ward", lost, here)
    assert (found.unknown, found.notes) == ((), ())


def test_a_dataset_that_is_gone_lost_all_of_its_cases() -> None:
    gone = Version("b", "", {})
    found = diff_dataset("ward", version("a", {"x": "1"}), gone)
    assert (found.changes, found.meaning) == ((Change("x", "removed"),), ())


def test_a_version_is_called_as_the_user_named_it() -> None:
    assert str(Version("v1", "0123456789", {})) == "v1 (0123456)"
    assert str(Version("01234", "0123456789", {})) == "0123456"
    assert str(Version(WORKSPACE, "", {})) == "the workspace"
    assert notes_on("ward", Version("v1", "", {})) == []


# The commands


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "v1": version("v1", {"a": "1" * 32, "bb": "2" * 32, "old": "3" * 32}),
        "v2": version("v2", {"a": "1" * 32, "bb": "4" * 32, "new": "3" * 32, "z": "5" * 32}),
        "lost": version("lost", {}, state="lost", digest="1.dir"),
    }
    monkeypatch.setattr(
        versions, "read_versions", lambda _, revisions: [known[name] for name in revisions]
    )


@pytest.mark.usefixtures("by_hand")
def test_a_difference_is_a_line_a_case_and_counts() -> None:
    answer = CliRunner().invoke(main, ["data", "diff", "v1", "v2"])
    assert answer.exit_code == 0
    assert answer.stderr == ""
    assert answer.stdout.splitlines() == [
        "ward, from v1 (0123456) to v2 (0123456): 1 added, 1 renamed, 1 changed, 1 the same",
        "~ bb  scan",
        "> new  was old",
        "+ z",
    ]


@pytest.mark.usefixtures("by_hand")
def test_a_difference_as_json() -> None:
    told = json.loads(CliRunner().invoke(main, ["data", "diff", "v1", "v2", "--json"]).stdout)
    assert told["from"] == {"revision": "v1", "commit": "0123456789"}
    ward = told["datasets"]["ward"]
    assert ward["same"] == 1
    assert ward["changes"][0] == {"case": "bb", "kind": "changed", "parts": ["scan"], "before": ""}


@pytest.mark.usefixtures("by_hand")
def test_nothing_changed_is_said_so_and_so_is_what_is_not_known() -> None:
    same = CliRunner().invoke(main, ["data", "diff", "v1", "v1"]).stdout
    assert same == "ward, from v1 (0123456) to v1 (0123456): no case changed, 3 the same\n"
    lost = CliRunner().invoke(main, ["data", "diff", "lost", "v1"])
    assert lost.stdout.startswith("ward, from lost (0123456) to v1 (0123456): 3 added, scans not")
    assert lost.stderr.startswith("note: the list of the files of data/ward/scans at lost ")
    assert lost.exit_code == 0


@pytest.mark.usefixtures("by_hand")
def test_cases_are_listed_with_their_digests() -> None:
    told = CliRunner().invoke(main, ["data", "cases", "v1"]).stdout.splitlines()
    assert told == [
        "ward at v1 (0123456): 3 cases; no figure there comes from it",
        f"a    {'1' * 32}  m",
        f"bb   {'2' * 32}  m",
        f"old  {'3' * 32}  m",
    ]
    as_json = json.loads(CliRunner().invoke(main, ["data", "cases", "v1", "--json"]).stdout)
    assert as_json["datasets"]["ward"]["cases"]["bb"] == {"scan": "2" * 32, "mask": "m"}


def test_a_difference_is_told_in_a_process_of_its_own(told: Told) -> None:
    """DVC neither speaks nor is it imported here."""
    code = (
        "import sys; from thorax.cli import main\n"
        "try: main(['data', 'diff', 'v2', '--dataset', 'ward'])\n"
        "finally: print(sorted({'dvc', 'keras'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=told.root,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stderr == ""
    first, second, last = answer.stdout.splitlines()
    assert (
        first == f"ward, from v2 ({told.second.commit[:7]}) to the workspace: 1 changed, 3 the same"
    )
    assert (second, last) == ("~ a  scan", "[]")
