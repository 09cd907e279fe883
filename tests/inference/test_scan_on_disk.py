"""Which files on disk belong to a scan."""

from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.inference.inputs import ScanTask, check_overwrite
from thorax.inference.scan_on_disk import files_of_scan, scan_stamp

from ..structure_sets import save_ct, save_structure_set


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Return a folder of a DICOM series, with files that do not belong to it."""
    for name in ("IM1", "IM2", "more/IM3"):
        write(tmp_path / "anna" / name, bytes(128) + b"DICM")
    for name in (".DS_Store", ".cache/IM4", "copy.nii.gz", "more/notes.json", "masks/a.dcm"):
        write(tmp_path / "anna" / name)
    return tmp_path / "anna"


def write(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def names(scan: Path, mask: Path, folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in files_of_scan(scan, mask))


@pytest.mark.parametrize("mask", ["masks/a.nii.gz", "more/../masks/a.nii.gz"])
def test_masks_and_hidden_files_are_not_of_a_series(series: Path, mask: str) -> None:
    assert names(series, series / mask, series) == ["IM1", "IM2", "more/IM3"]


def test_a_mask_next_to_the_slices_is_not_of_the_series(series: Path) -> None:
    write(series / "lungs.dcm")
    expected = ["IM1", "IM2", "masks/a.dcm", "more/IM3"]
    assert names(series, series / "lungs.dcm", series) == expected


def test_one_file_of_a_series_stands_for_those_of_its_folder(series: Path) -> None:
    mask = series.parent / "out/a.nii.gz"
    assert names(series / "IM1", mask, series) == ["IM1", "IM2"]
    write(series / "DICOMDIR", bytes(128) + b"DICM")
    assert "more/IM3" in names(series / "DICOMDIR", mask, series)


def test_scans_of_other_formats_are_their_own_files(series: Path) -> None:
    assert names(series / "copy.nii.gz", series / "masks/a.nii.gz", series) == ["copy.nii.gz"]
    assert names(series / "gone.nii.gz", series / "masks/a.nii.gz", series) == []


def test_a_longer_series_has_another_stamp(series: Path) -> None:
    mask = series / "masks/anna.nii.gz"
    before = [scan_stamp(scan, mask) for scan in (series, series / "IM1")]
    write(mask)
    assert [scan_stamp(scan, mask) for scan in (series, series / "IM1")] == before
    write(series / "IM9", bytes(128) + b"DICM")
    after = [scan_stamp(scan, mask) for scan in (series, series / "IM1")]
    assert all(old != new for old, new in zip(before, after, strict=True))


# Masks that would replace a scan


@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_mask_cannot_replace_a_slice_of_its_scan(tmp_path: Path, named: str) -> None:
    series = save_ct(tmp_path / "ct")
    first, second, *_ = sorted(series.iterdir())
    scan = series if named == "folder" else first
    with pytest.raises(InputError) as error:
        check_overwrite(ScanTask("ct", scan, second), [second], force=True)
    assert str(error.value) == (
        f"a mask cannot replace its scan, got {second}, which is one of its files; choose another "
        "file name"
    )


def test_a_mask_cannot_replace_the_voxels_of_its_scan(tmp_path: Path) -> None:
    (tmp_path / "a.mhd").write_text("NDims = 3\nElementDataFile = voxels.nrrd\n")
    voxels = tmp_path / "voxels.nrrd"
    voxels.write_bytes(b"12")
    with pytest.raises(InputError, match="a mask cannot replace its scan"):
        check_overwrite(ScanTask("a", tmp_path / "a.mhd", voxels), [voxels], force=True)


def test_an_older_mask_in_the_folder_of_the_series_can_be_replaced(tmp_path: Path) -> None:
    series = save_ct(tmp_path / "ct")
    mask = save_structure_set(series / "lungs.rtss.dcm", {"lung": [[0, 0, 30, 1, 0, 30, 1, 1, 30]]})
    check_overwrite(ScanTask("ct", series, mask), [mask], force=True)
    other = series / "copy.nii.gz"
    other.write_bytes(b"x")
    check_overwrite(ScanTask("ct", series, other), [other], force=True)
