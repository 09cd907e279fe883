"""A zip is read without being unpacked, and its entries are checked."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.io import Scan
from thorax.io.dicom import files as dicom_files

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
