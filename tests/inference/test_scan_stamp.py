"""Which files on disk belong to a scan."""

from pathlib import Path

import pytest

from thorax.inference.scan_stamp import files_of_scan, scan_stamp


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
