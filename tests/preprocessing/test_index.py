"""The index of the records: saving, loading, and verifying digests."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.imaging.overlap import Overlap
from thorax.preprocessing.index import (
    RecordEntry,
    RecordIndex,
    load_index,
    save_index,
    verify_records,
)


def entry(case: str, content: bytes = b"") -> RecordEntry:
    return RecordEntry(
        case=case,
        patient=case[0],
        site="north" if case == "b1" else "",
        planes=3,
        scan_sha256="5" * 64,
        mask_sha256="a" * 64,
        intensity="-1250,250" if case == "b1" else "hu",
        record_sha256=hashlib.sha256(content).hexdigest(),
        ceiling={"lung": Overlap(1, 2, 3), "infection": Overlap()},
    )


@pytest.fixture
def index() -> RecordIndex:
    return RecordIndex(
        format_version=1,
        dataset="chests",
        canvas=128,
        crop="body",
        regions={"lung": (1, 2), "infection": (2,)},
        ignored=(7,),
        records=(entry("a1", b"one"), entry("b1", b"two")),
    )


@pytest.fixture
def records(tmp_path: Path) -> Path:
    (tmp_path / "a1.tfrecord").write_bytes(b"one")
    (tmp_path / "b1.tfrecord").write_bytes(b"two")
    return tmp_path


class Name(str):
    """A text that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        return str(self) == other


def test_an_entry_is_found_without_a_search(index: RecordIndex) -> None:
    """Copies make a training of thousands of records, each of which is looked up."""
    records = tuple(replace(index.records[0], case=f"case_{number:03d}") for number in range(500))
    copies = tuple(replace(record, case=f"{record.case}_copy000") for record in records)
    name = Name("case_499_copy000")
    assert replace(index, records=records, additional=copies).entry(name) == copies[-1]
    assert name.compared < 10


def test_a_saved_index_is_loaded_unchanged(tmp_path: Path, index: RecordIndex) -> None:
    index.entry("a1")
    save_index(tmp_path / "records", index)
    loaded = load_index(tmp_path / "records")
    assert loaded == index
    assert loaded.records[0].ceiling["lung"].dice == pytest.approx(0.4)


def test_the_file_is_json_with_one_value_per_line(tmp_path: Path, index: RecordIndex) -> None:
    save_index(tmp_path, index)
    text = (tmp_path / "index.json").read_text()
    content = json.loads(text)
    assert content["regions"] == {"lung": [1, 2], "infection": [2]}
    assert [record["site"] for record in content["records"]] == ["", "north"]
    assert content["records"][1]["intensity"] == "-1250,250"
    assert content["records"][0]["ceiling"]["lung"] == {"both": 1, "truth": 2, "predicted": 3}
    assert ' "canvas": 128,\n' in text
    assert text.endswith("}\n")


def test_an_entry_is_looked_up_by_case(index: RecordIndex) -> None:
    assert index.entry("b1").patient == "b"
    with pytest.raises(
        InputError, match="there is no record of case `c1`; run `dvc repro prepare`"
    ):
        index.entry("c1")


def test_the_digest_depends_on_records_and_their_order(index: RecordIndex) -> None:
    digests = {index.digest(cases) for cases in (["a1"], ["b1"], ["a1", "b1"], ["b1", "a1"], [])}
    assert len(digests) == 5
    with pytest.raises(InputError, match="no record of case `c1`"):
        index.digest(["a1", "c1"])


def test_a_missing_index_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*index\.json; run `dvc repro prepare`"):
        load_index(tmp_path)


def test_a_folder_that_is_a_file_has_no_index(records: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*index\.json; run `dvc repro prepare`"):
        load_index(records / "a1.tfrecord")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"dataset": "chests", "can', id="cut short"),
        pytest.param(b"{}", id="keys missing"),
        pytest.param(b"\xff\xfe", id="not text"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(
        InputError,
        match=r"index\.json is damaged or of an older format; run `dvc repro -sf prepare",
    ):
        load_index(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("canvas", "wide"), ("crop", "lung"), ("records", {}), ("colour", "red")]
)
def test_an_index_with_wrong_values_or_keys_is_refused(
    tmp_path: Path, index: RecordIndex, key: str, value: object
) -> None:
    save_index(tmp_path, index)
    content = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        load_index(tmp_path)


def test_an_index_without_sites_is_refused(tmp_path: Path, index: RecordIndex) -> None:
    save_index(tmp_path, index)
    content = json.loads((tmp_path / "index.json").read_text())
    del content["records"][0]["site"]
    (tmp_path / "index.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError,
        match=r"index\.json is damaged or of an older format; run `dvc repro -sf prepare",
    ):
        load_index(tmp_path)


def test_an_index_with_the_old_key_of_the_version_is_refused(
    tmp_path: Path, index: RecordIndex
) -> None:
    save_index(tmp_path, index)
    content = json.loads((tmp_path / "index.json").read_text())
    assert content["format_version"] == 1
    content["form"] = content.pop("format_version")
    (tmp_path / "index.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"index\.json is damaged or of an older format; run"):
        load_index(tmp_path)


def test_verify_returns_the_paths_in_the_order_of_the_entries(
    records: Path, index: RecordIndex
) -> None:
    backwards = list(reversed(index.records))
    assert verify_records(records, backwards) == [records / "b1.tfrecord", records / "a1.tfrecord"]


@pytest.mark.parametrize("content", [None, b"", b"tw", b"tvo", b"twoo"])
def test_verify_names_the_changed_record(
    records: Path, index: RecordIndex, content: bytes | None
) -> None:
    changed = records / "b1.tfrecord"
    changed.unlink()
    if content is not None:
        changed.write_bytes(content)
    with pytest.raises(InputError, match=r"record .*b1\.tfrecord is missing, cut short or damaged"):
        verify_records(records, index.records)
    verify_records(records, index.records[:1])


def test_the_digest_of_a_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none cannot be read: No such file or directory"):
        file_sha256(tmp_path / "none")
    with pytest.raises(InputError, match=f"{tmp_path} cannot be read: Is a directory"):
        file_sha256(tmp_path)
