"""Converting a dataset to records: only changed cases are written again."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.datasets.dataset import Dataset, load_dataset
from thorax.imaging.overlap import Overlap
from thorax.preprocessing.index import RecordIndex, load_index, verify_records
from thorax.preprocessing.prepare import prepare
from thorax.preprocessing.records import read_record

SaveNifti = Callable[..., Path]
Prepare = Callable[..., RecordIndex]

CASES = ["anna-1", "anna-2", "ben-1"]


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use threads, because starting processes takes a second."""
    monkeypatch.setattr("thorax.common.parallel.worker_pool", ThreadPoolExecutor)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def run(study: Path, records: Path, in_threads: None) -> Prepare:
    """Return a function that prepares the current state of the study."""

    def run(*, canvas: int = 8, crop: str = "none") -> RecordIndex:
        return prepare(load_dataset(study), records, canvas=canvas, crop=crop, workers=2)

    return run


@pytest.fixture
def snapshot(records: Path) -> Callable[[], dict[str, tuple[int, bytes]]]:
    """Return a function that returns time of writing and content of each record."""

    def snapshot() -> dict[str, tuple[int, bytes]]:
        return {
            path.stem: (path.stat().st_mtime_ns, path.read_bytes())
            for path in records.glob("*.tfrecord")
        }

    return snapshot


Snapshot = Callable[[], dict[str, tuple[int, bytes]]]


def rewritten(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(case for case in after if after[case][0] != before.get(case, (None,))[0])


# Records and index


def test_one_record_per_case_and_an_index_are_written(run: Prepare, records: Path) -> None:
    index = run()
    names = sorted(path.name for path in records.iterdir())
    assert names == [*(f"{case}.tfrecord" for case in CASES), "index.json"]
    assert [entry.case for entry in index.records] == CASES
    assert [entry.patient for entry in index.records] == ["anna", "anna", "ben"]
    assert [entry.site for entry in index.records] == ["", "", ""]
    assert (index.dataset, index.canvas, index.crop) == ("chests", 8, "none")
    assert index.regions == {"lung": (1, 2), "infection": (2,)}
    assert load_index(records) == index
    verify_records(records, index.records)


def test_a_record_contains_the_case_on_the_canvas(run: Prepare, records: Path) -> None:
    """The 8×6 voxels of the study are on 8×8 pixels with one column of air on each side."""
    index = run()
    record = read_record(records / "ben-1.tfrecord")
    air, body, out = -998, 40, -1024
    row = [out, air, *[air] * 4, air, out]
    assert record.planes.shape == (3, 8, 8)
    assert record.planes[0, 0].tolist() == row
    assert record.planes[0, 2].tolist() == [out, air, body, body, body, body, air, out]
    assert record.fractions.shape == (3, 8, 8, 2)
    assert record.fractions[2, 4:6, 2:4, 1].tolist() == [[255, 255], [255, 255]]
    assert np.count_nonzero(record.fractions[..., 1]) == 4
    assert index.entry("ben-1").planes == 3
    assert index.entry("ben-1").ceiling == {
        "lung": Overlap(28, 28, 28),
        "infection": Overlap(4, 4, 4),
    }


def test_processes_write_the_same_records_and_print_to_stderr_only(
    dataset: Dataset, tmp_path: Path, run: Prepare, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    sequential = run()
    monkeypatch.undo()
    capfd.readouterr()
    assert prepare(dataset, tmp_path / "parallel", canvas=8, crop="none", workers=2) == sequential
    out, err = capfd.readouterr()
    assert out == ""
    assert "prepare: 100%" in err


# Updates


def test_unchanged_records_are_kept(run: Prepare, snapshot: Snapshot) -> None:
    index, before = run(), snapshot()
    assert run() == index
    assert snapshot() == before


def test_only_the_case_with_a_changed_scan_is_rewritten(
    run: Prepare, snapshot: Snapshot, save_nifti: SaveNifti
) -> None:
    index, before = run(), snapshot()
    save_nifti("chests/scans/anna-2.nii.gz", np.zeros((8, 6, 3), np.int16))
    changed = run()
    assert rewritten(before, snapshot()) == ["anna-2"]
    assert changed.entry("anna-2").record_sha256 != index.entry("anna-2").record_sha256
    assert changed.entry("ben-1") == index.entry("ben-1")


def test_only_the_case_with_a_changed_mask_is_rewritten(
    run: Prepare, snapshot: Snapshot, save_nifti: SaveNifti
) -> None:
    run()
    before = snapshot()
    save_nifti("chests/masks/ben-1.nii.gz", np.ones((8, 6, 3), np.uint8))
    assert run().entry("ben-1").ceiling["lung"].truth == 8 * 6 * 3
    assert rewritten(before, snapshot()) == ["ben-1"]


@pytest.mark.parametrize("damage", [None, b"cut short"], ids=["missing", "changed"])
def test_a_record_that_differs_from_the_index_is_rewritten(
    run: Prepare, snapshot: Snapshot, records: Path, damage: bytes | None
) -> None:
    run()
    before = snapshot()
    (records / "anna-1.tfrecord").unlink()
    if damage is not None:
        (records / "anna-1.tfrecord").write_bytes(damage)
    run()
    assert rewritten(before, snapshot()) == ["anna-1"]
    assert {case: content for case, (_, content) in snapshot().items()} == {
        case: content for case, (_, content) in before.items()
    }


@pytest.mark.parametrize("settings", [{"canvas": 16}, {"crop": "body"}], ids=["canvas", "crop"])
def test_changed_settings_rewrite_all_records(
    run: Prepare, snapshot: Snapshot, settings: dict[str, Any]
) -> None:
    run()
    before = snapshot()
    run(**settings)
    assert rewritten(before, snapshot()) == CASES


@pytest.mark.parametrize(
    ("old", "new", "cases"),
    [
        pytest.param("infection: [2]", "disease: [2]", CASES, id="regions"),
        pytest.param("patient:", "ignored: [7]\npatient:", CASES, id="ignored labels"),
        pytest.param(
            "patient:",
            "intensity: {ben*: [-1250, 250], '*': hu}\npatient:",
            ["ben-1"],
            id="intensity",
        ),
    ],
)
def test_changes_of_the_dataset_rewrite_the_affected_records(
    run: Prepare, snapshot: Snapshot, study: Path, old: str, new: str, cases: list[str]
) -> None:
    spec = (study / "dataset.yaml").read_text()
    assert old in spec
    run()
    before = snapshot()
    (study / "dataset.yaml").write_text(spec.replace(old, new))
    run()
    assert rewritten(before, snapshot()) == cases


@pytest.mark.parametrize(
    ("new", "patients", "sites"),
    [
        pytest.param("'(ann|ben)'", ["ann", "ann", "ben"], ["", "", ""], id="patients"),
        pytest.param(
            "'([a-z]+)-'\nsite: .*-(.)", ["anna", "anna", "ben"], ["1", "2", "1"], id="sites"
        ),
    ],
)
def test_new_patients_and_sites_change_the_index_only(
    run: Prepare, snapshot: Snapshot, study: Path, new: str, patients: list[str], sites: list[str]
) -> None:
    run()
    before = snapshot()
    spec = (study / "dataset.yaml").read_text()
    assert "'([a-z]+)-'" in spec
    (study / "dataset.yaml").write_text(spec.replace("'([a-z]+)-'", new))
    index = run()
    assert [entry.patient for entry in index.records] == patients
    assert [entry.site for entry in index.records] == sites
    assert snapshot() == before


def test_the_record_of_a_removed_case_is_deleted(
    run: Prepare, snapshot: Snapshot, study: Path
) -> None:
    run()
    before = snapshot()
    for folder in ("scans", "masks"):
        (study / folder / "anna-1.nii.gz").unlink()
    index = run()
    assert [entry.case for entry in index.records] == ["anna-2", "ben-1"]
    del before["anna-1"]
    assert snapshot() == before


def test_other_files_are_kept(run: Prepare, records: Path) -> None:
    records.mkdir()
    (records / "split.json").write_text("{}")
    run()
    assert (records / "split.json").read_text() == "{}"


@pytest.mark.parametrize(
    "outdate",
    [
        pytest.param(lambda content: content["records"][0].pop("site"), id="without sites"),
        pytest.param(
            lambda content: content.update(form=content.pop("format_version")), id="old version key"
        ),
        pytest.param(lambda content: content.update(format_version=0), id="old version"),
    ],
)
def test_an_index_of_an_older_format_rewrites_all_records(
    run: Prepare, snapshot: Snapshot, records: Path, outdate: Callable[[dict[str, Any]], object]
) -> None:
    index = run()
    before = snapshot()
    content = json.loads((records / "index.json").read_text())
    outdate(content)
    (records / "index.json").write_text(json.dumps(content))
    assert run() == index
    assert rewritten(before, snapshot()) == CASES


# Errors


@pytest.mark.parametrize(
    ("file", "voxels", "affine", "message"),
    [
        pytest.param(
            "masks",
            np.zeros((8, 6, 4), np.uint8),
            None,
            "a mask must have the shape of its scan",
            id="shape",
        ),
        pytest.param(
            "masks",
            np.zeros((8, 6, 3), np.uint8),
            np.eye(4),
            "a mask must have the affine of its scan",
            id="affine",
        ),
        pytest.param(
            "masks",
            np.full((8, 6, 3), 9, np.uint8),
            None,
            r"label values \[9\] belong to no region",
            id="9",
        ),
        pytest.param(
            "scans", np.full((8, 6, 3), np.nan), None, "has NaN or infinite voxels", id="NaN"
        ),
        pytest.param("scans", np.zeros((8, 6, 3, 2), np.int16), None, "a scan must be 3D", id="4D"),
    ],
)
def test_a_case_that_cannot_be_prepared_is_named(
    run: Prepare,
    save_nifti: SaveNifti,
    file: str,
    voxels: np.ndarray,
    affine: np.ndarray | None,
    message: str,
) -> None:
    save_nifti(f"chests/{file}/anna-2.nii.gz", voxels, affine)
    with pytest.raises(InputError, match=f"^case `anna-2`: .*{message}"):
        run()


def test_a_failure_keeps_the_old_records_and_their_index(
    run: Prepare, snapshot: Snapshot, study: Path, records: Path
) -> None:
    run()
    before, index = snapshot(), (records / "index.json").read_bytes()
    (study / "scans" / "ben-1.nii.gz").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"^case `ben-1`: .*ben-1\.nii\.gz is not a NIfTI image"):
        run()
    assert snapshot() == before
    assert (records / "index.json").read_bytes() == index


def test_an_error_in_a_process_is_raised(study: Path, records: Path) -> None:
    (study / "scans" / "ben-1.nii.gz").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"^case `ben-1`: .*is not a NIfTI image"):
        prepare(load_dataset(study), records, canvas=8, crop="none", workers=1)


def test_a_folder_that_cannot_be_written_is_named(run: Prepare, records: Path) -> None:
    records.write_text("I am no folder")
    with pytest.raises(InputError, match=r"cannot write .*records.*; choose a folder that can be"):
        run()


def test_a_scan_of_one_plane_is_prepared(
    run: Prepare, study: Path, records: Path, save_nifti: SaveNifti
) -> None:
    shutil.rmtree(study / "scans")
    shutil.rmtree(study / "masks")
    save_nifti("chests/scans/one-1.nii", np.zeros((5, 7, 1), np.int16))
    save_nifti("chests/masks/one-1.nii", np.zeros((5, 7, 1), np.uint8))
    index = run()
    assert read_record(records / "one-1.tfrecord").planes.shape == (1, 8, 8)
    assert index.entry("one-1").ceiling["lung"] == Overlap(0, 0, 0)


def test_masks_in_another_axis_order_are_aligned_with_their_scan(
    run: Prepare, study: Path, records: Path
) -> None:
    run()
    expected = read_record(records / "ben-1.tfrecord").fractions
    path = study / "masks" / "ben-1.nii.gz"
    image = nibabel.load(path)
    order = nibabel.orientations.axcodes2ornt("PIL")
    nibabel.save(image.as_reoriented(order), path)
    run()
    np.testing.assert_array_equal(read_record(records / "ben-1.tfrecord").fractions, expected)


def test_a_record_has_this_digest(
    tmp_path: Path, save_nifti: SaveNifti, run: Prepare, study: Path
) -> None:
    """All averages are whole HU, so rounding does not depend on the machine.

    If this fails, trainings on the same scans give other networks than before: lock the pipeline
    again and say so in the changelog.
    """
    shutil.rmtree(study / "scans")
    shutil.rmtree(study / "masks")
    blocks = np.kron(np.arange(16 * 16 * 3).reshape(16, 16, 3), np.ones((2, 2, 1)))
    save_nifti("chests/scans/anna-1.nii.gz", blocks.astype(np.int16))
    save_nifti("chests/masks/anna-1.nii.gz", (blocks % 3).astype(np.uint8))
    entry = run(canvas=16).records[0]
    assert entry.record_sha256 == "2ef3140f07a6dd7db04a1c9c3ad24f83acfca6f3854fd37467ee690f2af462c3"
