"""DICOM files are read from folders, CDs and zips, which are not unpacked, and checked."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from thorax.common.errors import InputError
from thorax.io import Scan
from thorax.io.dicom import files as dicom_files

from ..conftest import enhanced

SaveSeries = Callable[..., Path]
HU = np.arange(3 * 4 * 5).reshape(3, 4, 5)


@pytest.fixture
def packed(save_series: SaveSeries, zip_folder: Callable[[Path], Path]) -> Path:
    """Return a zip of a series of five slices and a text."""
    folder = save_series("study/deeper/ct", HU)
    (folder / "README.txt").write_text("hello")
    return zip_folder(folder.parents[1])


def test_a_zip_is_read_as_the_folder_in_it(packed: Path) -> None:
    before = sorted(packed.parent.rglob("*"))
    scan = Scan(packed)
    np.testing.assert_array_equal(scan.voxels(), HU)
    np.testing.assert_array_equal(scan.planes(3, 4)[0], HU[:, :, 3])
    assert scan.notes == ()
    assert sorted(packed.parent.rglob("*")) == before, "the zip must not be unpacked"


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil.dcm", "C:\\evil.dcm", "..\\evil.dcm"]
)
def test_a_zip_with_a_path_outside_of_its_folder_is_refused(packed: Path, name: str) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(
        InputError, match=r"packed\.zip contains a file with a path outside of its folder"
    ):
        Scan(packed)


def test_a_zip_of_too_many_bytes_is_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_files, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match=r"must unpack to at most 1e-06 GB, but .*packed\.zip"):
        Scan(packed)


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_too_many_files_are_refused(
    packed: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(dicom_files, "MAX_FILES", 5)
    path = packed if kind == "zip" else packed.parent / "study"
    with pytest.raises(
        InputError, match=r"among at most 5 files, but .* contains 6; give the folder"
    ):
        Scan(path)


def test_an_encrypted_zip_is_refused(packed: Path) -> None:
    raw = bytearray(packed.read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(raw)
    with pytest.raises(InputError, match=r"packed\.zip is encrypted; unpack it"):
        Scan(packed)


def test_a_file_that_is_not_a_zip_is_refused(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:300])
    with pytest.raises(
        InputError, match=r"packed\.zip is not a zip file, or its header is damaged"
    ):
        Scan(packed)


def test_a_missing_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no file .*ct\.zip$"):
        Scan(tmp_path / "ct.zip")


def test_a_zip_without_dicom_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(InputError, match=r"there is no DICOM image in .*ct\.zip; give the folder"):
        Scan(tmp_path / "ct.zip")


# Zips in zips


def nested(path: Path, levels: int) -> Path:
    """Pack a zip into another one, several times."""
    for level in range(levels):
        outer = path.parent / f"outer{level}.zip"
        with zipfile.ZipFile(outer, "w") as archive:
            archive.write(path, f"patient/{path.name}")
            archive.writestr("readme.txt", "hello")
        path = outer
    return path


def test_zips_in_a_zip_are_read(packed: Path) -> None:
    np.testing.assert_array_equal(Scan(nested(packed, 2)).voxels(), HU)


def test_series_in_several_inner_zips_are_one_study(packed: Path) -> None:
    """An archive packs each series separately; the longest one is read."""
    outer = packed.parent / "study.zip"
    with zipfile.ZipFile(packed) as inner:
        first = next(name for name in inner.namelist() if name.endswith(".dcm"))
        slice_ = pydicom.dcmread(io.BytesIO(inner.read(first)))
    slice_.SeriesInstanceUID, slice_.SeriesNumber = "1.2.8", 8
    slice_.save_as(packed.parent / "8.dcm")
    with zipfile.ZipFile(packed.parent / "8.zip", "w") as archive:
        archive.write(packed.parent / "8.dcm", "8.dcm")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(packed.parent / "8.zip", "8.zip")
        archive.write(packed, "4.zip")
    scan = Scan(outer)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert "left out series 8" in scan.notes[0]


def test_too_many_levels_of_zips_are_refused(packed: Path) -> None:
    with pytest.raises(InputError, match=r"zips may be nested up to 3 levels, but .* is deeper"):
        Scan(nested(packed, 3))


def test_a_damaged_inner_zip_is_refused(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"outer0\.zip is cut short or damaged; copy it again"):
        Scan(nested(packed, 1))


# CDs


@pytest.mark.parametrize("name", [".", "DICOMDIR"])
def test_a_cd_is_read_from_its_folder_or_its_dicomdir(save_series: SaveSeries, name: str) -> None:
    """Files of a CD have no suffix, and lie next to the programs of a viewer."""
    disc = save_series("cd/DICOM/ST1/SE1", HU).parents[2]
    for path in list(disc.rglob("*.dcm")):
        path.rename(path.with_suffix(""))
    (disc / "VIEWER").mkdir()
    (disc / "VIEWER" / "viewer.exe").write_bytes(b"MZ" + bytes(500))
    (disc / "AUTORUN.INF").write_text("[autorun]")
    directory = pydicom.Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    directory.FileSetID, directory.DirectoryRecordSequence = "CD", []
    directory.save_as(disc / "DICOMDIR", enforce_file_format=True)
    scan = Scan(disc / name)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ()


# Deflated files


def deflate(folder: Path) -> Path:
    """Write the files of a folder with a deflated data set."""
    for path in folder.iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        slice_.save_as(path, enforce_file_format=True)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_deflated_files_are_read(
    save_series: SaveSeries, zip_folder: Callable[[Path], Path], zipped: bool
) -> None:
    folder = deflate(save_series("ct", HU))
    scan = Scan(zip_folder(folder) if zipped else folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.notes == ()


def test_a_deflated_file_that_is_cut_short_is_counted(save_series: SaveSeries) -> None:
    folder = deflate(save_series("ct", HU))
    content = (folder / "4-000.dcm").read_bytes()
    (folder / "4-000.dcm").write_bytes(content[:-40])
    with pytest.raises(InputError, match="lacks 1 of 5: 1 file left out with a damaged header"):
        Scan(folder)


def test_a_deflated_file_that_unpacks_to_too_many_bytes_is_not_unpacked(
    save_series: SaveSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deflate(save_series("ct", HU))
    monkeypatch.setattr(dicom_files, "MAX_ENTRY_BYTES", 100)
    with pytest.raises(InputError, match=r"there is no DICOM image in .*ct"):
        Scan(folder)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("deflated", [False, True])
def test_the_frames_of_a_file_are_decompressed_once(
    save_series: SaveSeries,
    zip_folder: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    *,
    zipped: bool,
    deflated: bool,
) -> None:
    """Each pass reads one plane at a time, like the slabs of a large scan."""
    source = save_series("ct", HU)
    folder = source.parent / "enhanced"
    enhanced(source, folder / "1.dcm", [0, 1, 2, 3, 4])
    if deflated:
        deflate(folder)
    scan = Scan(zip_folder(folder) if zipped else folder)
    reads = []
    read = dicom_files.DicomFile.read

    def counted(file: dicom_files.DicomFile) -> bytes:
        if not file.plain:
            reads.append(file.name)
        return read(file)

    monkeypatch.setattr(dicom_files.DicomFile, "read", counted)
    for passes in (1, 2):
        planes = [scan.planes(index, index + 1)[0] for index in range(5)]
        np.testing.assert_array_equal(planes, np.moveaxis(HU, 2, 0))
        # A deflated file in a zip is decompressed from both.
        assert len(reads) == passes * (zipped + deflated)
