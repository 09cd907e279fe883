"""The manifest of a batch: log, tables and locks."""

import csv
import fcntl
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.parts import Part
from thorax.inference.manifest.row import DONE, FAILED, STARTED, ManifestRow
from thorax.inference.manifest.table import manifest_csv
from thorax.models.spec import ExpectedDice

LOG = ".manifest.jsonl"
FILES = ["manifest.csv", "manifest.json", "timings.csv"]


def row(case: str, status: str = DONE, **fields: Any) -> ManifestRow:
    return ManifestRow(case, status, f"in/{case}.nii", f"/out/{case}.nii", "abc", "auto", **fields)


FULL = row(
    "anna",
    seconds=12.5,
    intensity="hu",
    volumes_ml={"lung": 4210.5, "infection": 31.25},
    certainty={"lung": 0.98, "infection": None},
    quality_warnings=("lung: one", "infection: two"),
    warnings=("a component was removed",),
)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines() if line]


def read_table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def written(folder: Path, *rows: ManifestRow) -> list[dict[str, str]]:
    manifest = Manifest(folder)
    for one_row in rows:
        manifest.add(one_row)
    manifest.write()
    return read_table((folder / "manifest.csv").read_text(encoding="utf-8-sig"))


# During the batch


def test_a_row_is_written_at_once(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()
    for count, case in enumerate(("anna", "ben"), start=1):
        manifest.add(row(case, STARTED))
        logged = lines(tmp_path / "out" / "deep")
        assert len(logged) == count
        assert logged[-1]["case"] == case
        assert logged[-1]["status"] == "started"


def test_the_rows_of_a_killed_batch_are_read(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(replace(FULL, status=STARTED))
    manifest.add(FULL)
    manifest.add(row("ben", STARTED))
    assert Manifest(tmp_path).rows == {"anna": FULL, "ben": row("ben", STARTED)}


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_an_incomplete_last_line_is_ignored(tmp_path: Path, kept: int) -> None:
    Manifest(tmp_path).add(FULL)
    whole = (tmp_path / LOG).read_bytes()
    Manifest(tmp_path).add(row("ben"))
    cut = (tmp_path / LOG).read_bytes()[len(whole) :].strip()[:kept]
    (tmp_path / LOG).write_bytes(whole.rstrip() + b"\n" + cut)
    resumed = Manifest(tmp_path)
    assert resumed.rows == {"anna": FULL}
    resumed.add(row("carl"))
    assert Manifest(tmp_path).rows == {"anna": FULL, "carl": row("carl")}


@pytest.mark.parametrize(
    "junk", [b"\x00" * 40, b"\xff\xfe", b"5", b"{}", b'{"case": "ben"}', b"[]"]
)
def test_damaged_lines_are_ignored(tmp_path: Path, junk: bytes) -> None:
    Manifest(tmp_path).add(FULL)
    with (tmp_path / LOG).open("ab") as stream:
        stream.write(b"\n" + junk + b"\n")
    assert Manifest(tmp_path).rows == {"anna": FULL}


def test_adding_a_row_appends_to_the_log(tmp_path: Path) -> None:
    """The cost does not grow with the number of rows."""
    manifest = Manifest(tmp_path)
    manifest.add(row("case-000"))
    before, number = (tmp_path / LOG).read_bytes(), (tmp_path / LOG).stat().st_ino
    line_size = len(before)
    for count in range(1, 300):
        manifest.add(row(f"case-{count:03}"))
        assert (tmp_path / LOG).stat().st_size == line_size * (count + 1)
    assert (tmp_path / LOG).stat().st_ino == number
    assert (tmp_path / LOG).read_bytes().startswith(before)
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


def test_the_last_row_of_a_case_is_kept(tmp_path: Path) -> None:
    rows = written(tmp_path, row("anna", STARTED), row("anna", FAILED, error="no"), row("anna"))
    assert [(line["case"], line["status"], line["error"]) for line in rows] == [
        ("anna", "done", "")
    ]


# At the end


def test_the_tables_replace_the_log(tmp_path: Path) -> None:
    written(tmp_path, FULL)
    assert sorted(os.listdir(tmp_path)) == FILES  # noqa: PTH208
    assert Manifest(tmp_path).rows == {"anna": FULL}


def test_a_second_batch_adds_to_the_first(tmp_path: Path) -> None:
    written(tmp_path, row("ben"), row("anna", FAILED, error="cut short"))
    rows = written(tmp_path, row("anna"), row("carl"))
    assert [(line["case"], line["status"]) for line in rows] == [
        ("anna", "done"),
        ("ben", "done"),
        ("carl", "done"),
    ]


def test_failed_cases_come_first_then_quality_warnings_then_names(tmp_path: Path) -> None:
    rows = written(
        tmp_path,
        row("b"),
        row("a"),
        row("z", quality_warnings=("one", "two")),
        row("y", quality_warnings=("one",)),
        row("x", FAILED, error="no"),
        row("c", STARTED),
    )
    assert [line["case"] for line in rows] == ["c", "x", "z", "y", "a", "b"]
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert [line["case"] for line in content] == ["c", "x", "z", "y", "a", "b"]


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.json"])
def test_tables_are_replaced_atomically(tmp_path: Path, name: str) -> None:
    """A program that has the old file open can read it to its end."""
    written(tmp_path, row("anna"))
    old = (tmp_path / name).read_text()
    os.link(tmp_path / name, tmp_path / "old")
    written(tmp_path, row("ben"))
    assert (tmp_path / "old").read_text() == old
    assert "ben" in (tmp_path / name).read_text()


def test_rows_of_another_batch_are_read_when_the_lock_is_taken(tmp_path: Path) -> None:
    second = Manifest(tmp_path)
    written(tmp_path, row("anna"))
    with second.exclusive():
        assert list(second.rows) == ["anna"]


def test_the_lock_is_on_the_current_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another batch ends and removes the log just after this one opened it."""
    manifest, lock, first = Manifest(tmp_path), fcntl.flock, [True]

    def late(stream: Any, how: int) -> None:
        if first:
            first.clear()
            (tmp_path / LOG).unlink()
        lock(stream, how)

    monkeypatch.setattr("thorax.common.files.fcntl.flock", late)
    with (
        manifest.exclusive(),
        pytest.raises(InputError, match="another `thorax predict` is writing to"),
        Manifest(tmp_path).exclusive(),
    ):
        pass


def test_parts_that_start_at_once_do_not_take_each_other_for_a_whole_batch(tmp_path: Path) -> None:
    """Each part looks for a lock on the log that a killed batch has left."""
    (tmp_path / LOG).touch()
    with (tmp_path / LOG).open("rb") as other_part:
        fcntl.flock(other_part, fcntl.LOCK_SH)
        with Manifest(tmp_path, Part(1, 2)).exclusive():
            pass


HOLD = """
import fcntl, sys
stream = open(sys.argv[1], "a")
fcntl.lockf(stream, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_nfs_shows_the_lock_of_another_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS, flock locks bytes as lockf does, which needs a writable file for LOCK_EX."""
    monkeypatch.setattr("thorax.common.files.fcntl.flock", fcntl.lockf)
    command = [sys.executable, "-c", HOLD, tmp_path / LOG]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with (
            pytest.raises(InputError, match="another `thorax predict` is writing to"),
            Manifest(tmp_path, Part(1, 2)).exclusive(),
        ):
            pass
        other.communicate()


def test_without_locks_the_log_is_not_open_when_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no `fcntl`, and cannot remove an open file."""

    def is_open(path: Path) -> bool:
        links = Path("/proc/self/fd").iterdir()
        return any(os.path.realpath(link) == str(path) for link in links)

    manifest = Manifest(tmp_path)
    with manifest.exclusive():
        assert is_open(tmp_path / LOG)
    monkeypatch.setattr("thorax.common.files._HAS_LOCKS", False)
    with manifest.exclusive():
        assert (tmp_path / LOG).exists()
        assert not is_open(tmp_path / LOG)
        manifest.add(FULL)
        manifest.write()
    assert Manifest(tmp_path).rows == {"anna": FULL}


# Manifests of version 0.1


def with_old_name(content: dict[str, Any]) -> dict[str, Any]:
    return {"doubts" if key == "quality_warnings" else key: value for key, value in content.items()}


def test_manifests_of_version_0_1_are_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps([with_old_name(asdict(FULL))]))
    (tmp_path / LOG).write_text(json.dumps(with_old_name(asdict(replace(FULL, case="ben")))))
    assert Manifest(tmp_path).rows == {"anna": FULL, "ben": replace(FULL, case="ben")}


# The CSV


def test_columns_of_the_csv() -> None:
    assert manifest_csv([FULL]) == (
        "case,status,lung_ml,lung_certainty,infection_ml,infection_certainty,"
        "quality_warnings,warnings,error,intensity,model,scan,mask\n"
        "anna,done,4210.5,0.98,31.25,,lung: one; infection: two,"
        "a component was removed,,hu,abc,in/anna.nii,/out/anna.nii\n"
    )


def test_the_expected_dice_has_a_column_if_a_row_has_it() -> None:
    expected = row(
        "anna", certainty={"lung": 0.9}, expected_dice={"lung": ExpectedDice(0.95, 0.9, 1.0)}
    )
    assert manifest_csv([expected, row("ben", FAILED)]).splitlines() == [
        "case,status,lung_ml,lung_certainty,lung_expected_dice,quality_warnings,warnings,"
        "error,intensity,model,scan,mask",
        "anna,done,,0.9,0.95,,,,,abc,in/anna.nii,/out/anna.nii",
        "ben,failed,,,,,,,,abc,in/ben.nii,/out/ben.nii",
    ]


def test_the_expected_dice_is_read_with_its_interval(tmp_path: Path) -> None:
    expected = row("anna", expected_dice={"lung": ExpectedDice(0.95, 0.9, 1.0)})
    written(tmp_path, expected)
    assert Manifest(tmp_path).rows["anna"] == expected


def test_numbers_have_six_digits() -> None:
    (cells,) = read_table(manifest_csv([row("anna", volumes_ml={"lung": 14006.849999999997})]))
    assert cells["lung_ml"] == "14006.8"


def test_a_table_without_rows_has_columns() -> None:
    assert manifest_csv([]) == (
        "case,status,quality_warnings,warnings,error,intensity,model,scan,mask\n"
    )


@pytest.mark.parametrize(
    ("error", "cell"),
    [
        ("a, b", "a, b"),
        ('say "no"', 'say "no"'),
        ("one; two", "one; two"),
        ("first\nsecond", "first second"),
        ("first\r\n  second\rthird\n", "first second third"),
        ("first\u2028second", "first second"),
    ],
)
def test_a_cell_is_one_line(error: str, cell: str) -> None:
    failed = row("anna", FAILED, error=error, warnings=(error, "more"), quality_warnings=(error,))
    text = manifest_csv([failed, row("ben")])
    assert len(text.splitlines()) == 3
    anna, ben = read_table(text)
    assert (anna["error"], anna["quality_warnings"], anna["mask"]) == (cell, cell, "/out/anna.nii")
    assert anna["warnings"].replace(" ;", ";") == f"{cell}; more"
    assert ben["error"] == ""


def test_the_json_keeps_line_breaks(tmp_path: Path) -> None:
    written(tmp_path, row("anna", FAILED, error="first\nsecond"))
    assert json.loads((tmp_path / "manifest.json").read_text())[0]["error"] == "first\nsecond"


def test_rows_may_differ_in_their_regions() -> None:
    """For instance if a folder is segmented by two models, one after the other."""
    first = row("anna", volumes_ml={"lung": 1.0}, certainty={"lung": 0.5})
    second = row("ben", volumes_ml={"left": 2.0, "lung": 3.0}, certainty={"left": 0.25})
    failed = row("carl", FAILED, error="no")
    names = ["lung_ml", "lung_certainty", "left_ml", "left_certainty"]
    assert [
        [line[name] for name in names] for line in read_table(manifest_csv([failed, first, second]))
    ] == [
        ["", "", "", ""],
        ["1", "0.5", "", ""],
        ["3", "", "2", "0.25"],
    ]


def test_names_in_other_scripts_have_a_byte_order_mark(tmp_path: Path) -> None:
    written(tmp_path, row("anna"))
    assert (tmp_path / "manifest.csv").read_bytes().startswith(b"case,status")
    rows = written(tmp_path, row("胸 Ł"))
    assert (tmp_path / "manifest.csv").read_bytes().startswith(b"\xef\xbb\xbfcase,status")
    assert [line["case"] for line in rows] == ["anna", "胸 Ł"]
    assert list(Manifest(tmp_path).rows) == ["anna", "胸 Ł"]


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    """Files from old archives may have such names."""
    name = os.fsdecode(b"M\xfcller")
    rows = written(tmp_path, row(name))
    assert rows[0]["case"] == "M\\udcfcller"
    assert list(Manifest(tmp_path).rows) == [name]


# NaN


def test_nan_is_never_written(tmp_path: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    with_nan = row("anna", volumes_ml={"a": nan, "b": 1.0}, certainty={"a": infinite, "b": nan})
    manifest = Manifest(tmp_path)
    manifest.add(with_nan)
    expected = replace(with_nan, volumes_ml={"b": 1.0}, certainty={"a": None, "b": None})
    assert Manifest(tmp_path).rows == manifest.rows == {"anna": expected}
    manifest.write()
    for name in ("manifest.json", "manifest.csv"):
        text = (tmp_path / name).read_text()
        assert "nan" not in text.lower()
        assert "inf" not in text.lower()
    assert Manifest(tmp_path).rows == {"anna": expected}


# Existing files


FOREIGN = {
    "cut short": '[{"case": "anna", "sta',
    "empty": "",
    "not UTF-8": b"\xff\xfe\x00",
    "of a web page": '{"name": "Viewer", "icons": []}',
    "a list of others": '[{"id": 1}]',
    "of a later version": json.dumps([asdict(FULL) | {"mood": "good"}]),
    "of another type": json.dumps([asdict(FULL) | {"volumes_ml": 3}]),
    "without a case": json.dumps([asdict(FULL) | {"case": None}]),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_damaged_or_foreign_manifest_is_rejected_and_kept(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "manifest.json"
    before = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(before)
    with pytest.raises(InputError) as error:
        Manifest(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path} cannot be read as a manifest (")
    assert message.endswith("); rename it, or choose another folder")
    assert "\n" not in message
    assert path.read_bytes() == before
    assert [line.name for line in tmp_path.iterdir()] == ["manifest.json"]


def test_the_problem_of_a_manifest_is_reported(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(FOREIGN["of a later version"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(unknown key `0\.mood`\)"):
        Manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(InputError, match=r"\(it is damaged, or not JSON\)"):
        Manifest(tmp_path)


def test_an_unreadable_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.mkdir()
    with pytest.raises(InputError) as error:
        Manifest(tmp_path)
    assert str(error.value) == f"{path} cannot be read: Is a directory; choose another folder"


@pytest.mark.parametrize("content", ["scan,mask\na.nii,b.nii\n", "case;status", ""])
def test_a_table_that_is_not_a_manifest_is_not_overwritten(tmp_path: Path, content: str) -> None:
    """For instance the table of scans and masks that is the input of the batch."""
    path = tmp_path / "manifest.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        Manifest(tmp_path)
    assert str(error.value) == (
        f"{path} is not a manifest and would be overwritten; rename it, or choose another folder"
    )
    assert path.read_text() == content


def test_a_manifest_that_a_spreadsheet_saved_is_overwritten(tmp_path: Path) -> None:
    """The JSON file next to it shows that it is a manifest."""
    written(tmp_path, FULL)
    (tmp_path / "manifest.csv").write_text("case;status;my notes\n")
    assert [line["case"] for line in written(tmp_path, row("ben"))] == ["anna", "ben"]


# Folders that cannot be written


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("I am no folder")
    manifest = Manifest(tmp_path / below)
    for call in (lambda: manifest.add(FULL), manifest.write):
        with pytest.raises(
            InputError, match=rf"^cannot write {tmp_path}/{below}/.*choose a folder"
        ):
            call()
    assert (tmp_path / "file").read_text() == "I am no folder"


def test_the_log_is_kept_if_a_table_cannot_be_written(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(FULL)
    (tmp_path / "manifest.csv").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*manifest\.csv: a folder has that name"):
        manifest.write()
    (tmp_path / "manifest.csv").rmdir()
    assert Manifest(tmp_path).rows == {"anna": FULL}
