"""Readers are chosen by content, and folders of DICOM are told from folders of scans."""

from pathlib import Path

import pytest

from thorax.io import Scan, holds_dicom

ELEMENTS = b"\x08\0\x05\0CS\x80\0" + bytes(136)
"""144 bytes that begin as DICOM without a preamble, or as the voxels 8, 5, 21315, 128, 0 …."""

HEADER = """NDims = 3
DimSize = 6 4 3
ElementType = MET_SHORT
ElementDataFile = a.raw
"""


@pytest.mark.parametrize(("header", "is_dicom"), [("a.mhd", False), ("a.txt", True)])
def test_voxels_next_to_their_header_are_not_dicom(
    tmp_path: Path, header: str, is_dicom: bool
) -> None:
    (tmp_path / "a.raw").write_bytes(ELEMENTS)
    (tmp_path / header).write_text(HEADER)
    assert holds_dicom(tmp_path) is is_dicom


def test_dicom_next_to_a_header_is_found_by_its_preamble(tmp_path: Path) -> None:
    (tmp_path / "a.mhd").write_text(HEADER)
    (tmp_path / "b.raw").write_bytes(bytes(128) + b"DICM")
    assert holds_dicom(tmp_path)


def test_voxels_that_begin_with_8_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"\x08\0" + 71 * b"\x18\0")
    (tmp_path / "a.mhd").write_text(HEADER)
    assert not holds_dicom(tmp_path)
    assert sorted(set(Scan(tmp_path / "a.mhd").voxels().ravel().tolist())) == [8, 24]
