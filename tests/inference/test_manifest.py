"""The manifest of a batch: there as it goes, whole at the end."""

import csv
import fcntl
import io
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.inference.manifest import DONE, FAILED, STARTED, Manifest, Row, table_of
from thorax.models.spec import ExpectedDice

LOG = ".manifest.jsonl"


def row(case: str, status: str = DONE, **known: Any) -> Row:
    return Row(case, status, f"in/{case}.nii", f"out/{case}.nii", "abc", "auto", **known)


FULL = row(
    "anna",
    seconds=12.5,
    intensity="hu",
    volumes_ml={"lung": 4210.5, "infection": 31.25},
    certainty={"lung": 0.98, "infection": None},
    quality=("lung: one", "infection: two"),
    warnings=("a piece was removed",),
)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines() if line]


def read_table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def written(folder: Path, *rows: Row) -> list[dict[str, str]]:
    manifest = Manifest(folder)
    for each in rows:
        manifest.add(each)
    manifest.write()
    return read_table((folder / "manifest.csv").read_text(encoding="utf-8-sig"))


# As it goes


def test_a_line_is_there_as_soon_as_a_row_was_added(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()
    for count, case in enumerate(("anna", "ben"), start=1):
        manifest.add(row(case, STARTED))
        told = lines(tmp_path / "out" / "deep")
        assert len(told) == count
        assert told[-1]["case"] == case
        assert told[-1]["status"] == "started"


def test_a_batch_that_was_killed_is_known_again(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(replace(FULL, status=STARTED))
    manifest.add(FULL)
    manifest.add(row("ben", STARTED))
    assert Manifest(tmp_path).rows == {"anna": FULL, "ben": row("ben", STARTED)}


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_last_line_that_was_cut_is_forgotten_and_spoils_no_other(
    tmp_path: Path, kept: int
) -> None:
    Manifest(tmp_path).add(FULL)
    whole = (tmp_path / LOG).read_bytes()
    Manifest(tmp_path).add(row("ben"))
    cut = (tmp_path / LOG).read_bytes()[len(whole) :].strip()[:kept]
    (tmp_path / LOG).write_bytes(whole.rstrip() + b"\n" + cut)
    again = Manifest(tmp_path)
    assert again.rows == {"anna": FULL}
    again.add(row("carl"))
    assert Manifest(tmp_path).rows == {"anna": FULL, "carl": row("carl")}


@pytest.mark.parametrize(
    "junk", [b"\x00" * 40, b"\xff\xfe", b"5", b"{}", b'{"case": "ben"}', b"[]"]
)
def test_lines_that_a_crash_left_are_forgotten(tmp_path: Path, junk: bytes) -> None:
    Manifest(tmp_path).add(FULL)
    with (tmp_path / LOG).open("ab") as stream:
        stream.write(b"\n" + junk + b"\n")
    assert Manifest(tmp_path).rows == {"anna": FULL}


def test_adding_a_row_writes_that_row_alone(tmp_path: Path) -> None:
    """What it costs does not grow with the rows before it: the file is only ever appended to."""
    manifest = Manifest(tmp_path)
    manifest.add(row("case-000"))
    before, number = (tmp_path / LOG).read_bytes(), (tmp_path / LOG).stat().st_ino
    each = len(before)
    for count in range(1, 300):
        manifest.add(row(f"case-{count:03}"))
        assert (tmp_path / LOG).stat().st_size == each * (count + 1)
    assert (tmp_path / LOG).stat().st_ino == number
    assert (tmp_path / LOG).read_bytes().startswith(before)
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


def test_the_last_row_of_a_case_counts(tmp_path: Path) -> None:
    rows = written(tmp_path, row("anna", STARTED), row("anna", FAILED, error="no"), row("anna"))
    assert [(each["case"], each["status"], each["error"]) for each in rows] == [
        ("anna", "done", "")
    ]


# At the end


def test_the_log_becomes_the_tables(tmp_path: Path) -> None:
    written(tmp_path, FULL)
    assert sorted(os.listdir(tmp_path)) == ["manifest.csv", "manifest.json"]  # noqa: PTH208
    assert Manifest(tmp_path).rows == {"anna": FULL}


def test_a_second_batch_adds_to_the_first(tmp_path: Path) -> None:
    written(tmp_path, row("ben"), row("anna", FAILED, error="cut short"))
    rows = written(tmp_path, row("anna"), row("carl"))
    assert [(each["case"], each["status"]) for each in rows] == [
        ("anna", "done"),
        ("ben", "done"),
        ("carl", "done"),
    ]


def test_failed_cases_come_first_then_doubts_then_names(tmp_path: Path) -> None:
    rows = written(
        tmp_path,
        row("b"),
        row("a"),
        row("z", quality=("one", "two")),
        row("y", quality=("one",)),
        row("x", FAILED, error="no"),
        row("c", STARTED),
    )
    assert [each["case"] for each in rows] == ["c", "x", "z", "y", "a", "b"]
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert [each["case"] for each in content] == ["c", "x", "z", "y", "a", "b"]


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.json"])
def test_tables_are_replaced_as_a_whole(tmp_path: Path, name: str) -> None:
    """Who reads the old one meanwhile reads it to its end: it is another file."""
    written(tmp_path, row("anna"))
    old = (tmp_path / name).read_text()
    os.link(tmp_path / name, tmp_path / "old")
    written(tmp_path, row("ben"))
    assert (tmp_path / "old").read_text() == old
    assert "ben" in (tmp_path / name).read_text()


def test_what_another_batch_wrote_meanwhile_is_known(tmp_path: Path) -> None:
    second = Manifest(tmp_path)
    written(tmp_path, row("anna"))
    with second.alone():
        assert list(second.rows) == ["anna"]


def test_a_lock_is_on_the_log_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another batch removes the log, its last act, just after this one opened it."""
    manifest, lock, first = Manifest(tmp_path), fcntl.flock, [True]

    def late(stream: Any, how: int) -> None:
        if first:
            first.clear()
            (tmp_path / LOG).unlink()
        lock(stream, how)

    monkeypatch.setattr("thorax.inference.manifest.fcntl.flock", late)
    with (
        manifest.alone(),
        pytest.raises(InputError, match="another batch is at work"),
        Manifest(tmp_path).alone(),
    ):
        pass


# The CSV


def test_the_columns_of_a_row() -> None:
    assert table_of([FULL]) == (
        "case,status,seconds,lung_ml,lung_certainty,infection_ml,infection_certainty,doubts,"
        "warnings,error,intensity,model,scan,mask\n"
        "anna,done,12.5,4210.5,0.98,31.25,,lung: one; infection: two,"
        "a piece was removed,,hu,abc,in/anna.nii,out/anna.nii\n"
    )


def test_the_dice_to_expect_has_a_column_where_it_is_known() -> None:
    known = row(
        "anna", certainty={"lung": 0.9}, expected_dice={"lung": ExpectedDice(0.95, 0.9, 1.0)}
    )
    assert table_of([known, row("ben", FAILED)]).splitlines() == [
        "case,status,seconds,lung_ml,lung_certainty,lung_expected_dice,doubts,warnings,error,"
        "intensity,model,scan,mask",
        "anna,done,0,,0.9,0.95,,,,,abc,in/anna.nii,out/anna.nii",
        "ben,failed,0,,,,,,,,abc,in/ben.nii,out/ben.nii",
    ]


def test_the_dice_to_expect_comes_back_with_its_range(tmp_path: Path) -> None:
    told = row("anna", expected_dice={"lung": ExpectedDice(0.95, 0.9, 1.0)})
    written(tmp_path, told)
    assert Manifest(tmp_path).rows["anna"] == told


def test_figures_have_six_digits() -> None:
    (cells,) = read_table(table_of([row("anna", volumes_ml={"lung": 14006.849999999997})]))
    assert cells["lung_ml"] == "14006.8"


def test_a_table_without_rows_has_columns() -> None:
    assert table_of([]) == ("case,status,seconds,doubts,warnings,error,intensity,model,scan,mask\n")


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
def test_a_cell_is_one_line_whatever_it_says(error: str, cell: str) -> None:
    told = row("anna", FAILED, error=error, warnings=(error, "more"), quality=(error,))
    text = table_of([told, row("ben")])
    assert len(text.splitlines()) == 3
    anna, ben = read_table(text)
    assert (anna["error"], anna["quality_warnings"], anna["mask"]) == (cell, cell, "out/anna.nii")
    assert anna["warnings"].replace(" ;", ";") == f"{cell}; more"
    assert ben["error"] == ""


def test_the_json_keeps_errors_as_they_are(tmp_path: Path) -> None:
    written(tmp_path, row("anna", FAILED, error="first\nsecond"))
    assert json.loads((tmp_path / "manifest.json").read_text())[0]["error"] == "first\nsecond"


def test_rows_may_differ_in_their_regions() -> None:
    """As they do when a folder is segmented by one model, and later by another."""
    one = row("anna", volumes_ml={"lung": 1.0}, certainty={"lung": 0.5})
    other = row("ben", volumes_ml={"left": 2.0, "lung": 3.0}, certainty={"left": 0.25})
    failed = row("carl", FAILED, error="no")
    names = ["lung_ml", "lung_certainty", "left_ml", "left_certainty"]
    assert [
        [each[name] for name in names] for each in read_table(table_of([failed, one, other]))
    ] == [
        ["", "", "", ""],
        ["1", "0.5", "", ""],
        ["3", "", "2", "0.25"],
    ]


def test_names_in_other_scripts_are_marked_for_spreadsheets(tmp_path: Path) -> None:
    written(tmp_path, row("anna"))
    assert (tmp_path / "manifest.csv").read_bytes().startswith(b"case,status")
    rows = written(tmp_path, row("胸 Ł"))
    assert (tmp_path / "manifest.csv").read_bytes().startswith(b"\xef\xbb\xbfcase,status")
    assert [each["case"] for each in rows] == ["anna", "胸 Ł"]
    assert list(Manifest(tmp_path).rows) == ["anna", "胸 Ł"]


def test_names_that_are_no_text_stop_no_table(tmp_path: Path) -> None:
    """Files unpacked from old archives have names that are not in UTF-8."""
    name = os.fsdecode(b"M\xfcller")
    rows = written(tmp_path, row(name))
    assert rows[0]["case"] == "M\\udcfcller"
    assert list(Manifest(tmp_path).rows) == [name]


# Figures that are none


def test_nan_is_written_nowhere(tmp_path: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    told = row("anna", volumes_ml={"a": nan, "b": 1.0}, certainty={"a": infinite, "b": nan})
    manifest = Manifest(tmp_path)
    manifest.add(told)
    expected = replace(told, volumes_ml={"b": 1.0}, certainty={"a": None, "b": None})
    assert Manifest(tmp_path).rows == manifest.rows == {"anna": expected}
    manifest.write()
    for name in ("manifest.json", "manifest.csv"):
        text = (tmp_path / name).read_text()
        assert "nan" not in text.lower()
        assert "inf" not in text.lower()
    assert Manifest(tmp_path).rows == {"anna": expected}


# What is there already


FOREIGN = {
    "cut short": '[{"case": "anna", "sta',
    "empty": "",
    "not UTF-8": b"\xff\xfe\x00",
    "of a web page": '{"name": "Viewer", "icons": []}',
    "a list of others": '[{"id": 1}]',
    "of a later form": json.dumps([asdict(FULL) | {"mood": "good"}]),
    "of another type": json.dumps([asdict(FULL) | {"volumes_ml": 3}]),
    "without a case": json.dumps([asdict(FULL) | {"case": None}]),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_damaged_or_foreign_manifest_is_refused_and_left(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "manifest.json"
    before = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(before)
    with pytest.raises(InputError) as error:
        Manifest(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path} cannot be read as the manifest of a batch (")
    assert message.endswith("); rename it, or choose another folder")
    assert "\n" not in message
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.json"]


def test_what_is_wrong_with_a_manifest_is_said(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(FOREIGN["of a later form"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(unknown key `0\.mood`\)"):
        Manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[")
    with pytest.raises(InputError, match=r"\(it is damaged, or no JSON\)"):
        Manifest(tmp_path)


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.mkdir()
    with pytest.raises(InputError) as error:
        Manifest(tmp_path)
    assert str(error.value) == f"{path} cannot be read: Is a directory; choose another folder"


@pytest.mark.parametrize("content", ["scan,mask\na.nii,b.nii\n", "case;status", ""])
def test_a_table_of_somebody_else_is_not_written_over(tmp_path: Path, content: str) -> None:
    """Such as the pairs of scan and mask that the batch itself was started with."""
    path = tmp_path / "manifest.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        Manifest(tmp_path)
    assert str(error.value) == (
        f"{path} is no manifest of this program and would be written over; rename it, or choose "
        "another folder"
    )
    assert path.read_text() == content


def test_a_table_that_a_spreadsheet_saved_is_written_anew(tmp_path: Path) -> None:
    """It is told by the JSON beside it."""
    written(tmp_path, FULL)
    (tmp_path / "manifest.csv").write_text("case;status;my notes\n")
    assert [each["case"] for each in written(tmp_path, row("ben"))] == ["anna", "ben"]


# What cannot be written


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


def test_tables_that_cannot_be_written_leave_the_log(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add(FULL)
    (tmp_path / "manifest.csv").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*manifest\.csv: a folder has that name"):
        manifest.write()
    (tmp_path / "manifest.csv").rmdir()
    assert Manifest(tmp_path).rows == {"anna": FULL}
