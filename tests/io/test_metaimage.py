"""MetaImage files of every type and encoding, and damaged ones."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from thorax.common.errors import InputError
from thorax.io import Scan

VALUES = np.arange(24).reshape(2, 3, 4)
"""One value per voxel; they fit in 8 bits."""

RAW = VALUES.astype("<i2").tobytes("F")


def write(path: Path, content: bytes, **changes: str) -> Path:
    """Write a file; changed fields are replaced, and empty ones left out."""
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 5",
        "ElementSpacing": "1 1 2",
        "DimSize": "2 3 4",
        "ElementType": "MET_SHORT",
    } | changes
    last = fields.pop("ElementDataFile", "LOCAL")
    lines = [f"{name} = {value}\n" for name, value in fields.items() if value]
    path.write_bytes("".join([*lines, f"ElementDataFile = {last}\n"]).encode() + content)
    return path


def canonical(path: Path) -> np.ndarray:
    """Return the voxels in the order of the file."""
    return Scan(path).voxels()[::-1, ::-1]


@pytest.mark.parametrize("field", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("CHAR", "i1"),
        ("UCHAR", "u1"),
        ("USHORT", "u2"),
        ("SHORT", "i2"),
        ("INT", "i4"),
        ("UINT", "u4"),
        ("LONG", "i4"),
        ("ULONG", "u4"),
        ("LONG_LONG", "i8"),
        ("ULONG_LONG", "u8"),
        ("FLOAT", "f4"),
        ("DOUBLE", "f8"),
    ],
)
def test_every_type_is_read_in_both_byte_orders(
    tmp_path: Path, name: str, dtype: str, big: bool, field: str
) -> None:
    stored = VALUES.astype((">" if big else "<") + dtype).tobytes("F")
    path = write(tmp_path / "a.mha", stored, ElementType=f"MET_{name}", **{field: str(big)})
    voxels = canonical(path)
    assert voxels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(voxels, VALUES)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).T, VALUES)


@pytest.mark.parametrize(
    ("changes", "content"),
    [
        ({}, RAW),
        ({"CompressedData": "True"}, zlib.compress(RAW)),
        ({"CompressedData": "True"}, gzip.compress(RAW)),
        ({"BinaryData": "False"}, " ".join(map(str, VALUES.ravel("F"))).encode()),
    ],
    ids=["raw", "zlib", "gzip", "text"],
)
def test_every_encoding_is_read_and_checked(
    tmp_path: Path, changes: dict[str, str], content: bytes
) -> None:
    path = tmp_path / "a.mha"
    np.testing.assert_array_equal(canonical(write(path, content, **changes)), VALUES)
    with pytest.raises(InputError, match=r"a\.mha is cut short or damaged"):
        canonical(write(path, content[:-6], **changes))


def test_a_flipped_bit_in_compressed_voxels_is_detected(tmp_path: Path) -> None:
    content = bytearray(zlib.compress(RAW, 0))
    content[20] ^= 1
    path = write(tmp_path / "a.mha", bytes(content), CompressedData="True")
    with pytest.raises(InputError, match=r"a\.mha is cut short or damaged"):
        canonical(path)


def test_more_voxels_than_declared_are_damage_if_compressed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha", zlib.compress(RAW + bytes(999)), CompressedData="True")
    with pytest.raises(InputError, match=r"a\.mha is cut short or damaged"):
        canonical(path)


@pytest.mark.parametrize(("size", "before"), [("4", 4), ("-1", 9)])
def test_bytes_before_the_voxels_are_skipped(tmp_path: Path, size: str, before: int) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(before) + RAW)
    path = write(tmp_path / "a.mhd", b"", HeaderSize=size, ElementDataFile="a.raw")
    np.testing.assert_array_equal(canonical(path), VALUES)


@pytest.mark.parametrize("matrix", ["TransformMatrix", "Rotation", "Orientation"])
@pytest.mark.parametrize("origin", ["Offset", "Position", "Origin"])
@pytest.mark.parametrize("spacing", ["ElementSpacing", "ElementSize"])
def test_fields_with_several_names_are_read_as_itk_reads_them(
    tmp_path: Path, matrix: str, origin: str, spacing: str
) -> None:
    plain = dict.fromkeys(("TransformMatrix", "Offset", "ElementSpacing"), "")
    changed = {matrix: "0 1 0 0 0 1 1 0 0", origin: "1 2 3", spacing: "0.7 0.8 2.5"}
    path = write(tmp_path / "a.mha", RAW, **plain | changed)
    image = SimpleITK.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    scan = Scan(path)
    np.testing.assert_allclose(scan.stored_affine, np.diag([-1, -1, 1, 1]) @ lps)
    assert scan.stored_affine[:, 0].tolist() == [0, -0.7, 0, 0], "the first axis is along y"
    assert scan.warnings == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ElementType": "MET_OTHER"}, r"a known `ElementType`, but .* has 'MET_OTHER'; save"),
        ({"ElementType": ""}, r"a known `ElementType`, but .*a\.mha lacks it; save"),
        ({"NDims": ""}, "is not a MetaImage image"),
        ({"NDims": "99"}, "is not a MetaImage image"),
        ({"NDims": "2"}, "is not a MetaImage image"),
        ({"DimSize": "2 3 0"}, "is not a MetaImage image"),
        ({"DimSize": "2 3 4 4"}, "is not a MetaImage image"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, "is not a MetaImage image"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 0"}, "must state the position of its voxels"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 nan"}, "must state the position of its voxels"),
        ({"ElementSpacing": "1 1 0"}, "must state the position of its voxels"),
        ({"Offset": "1 1"}, "is not a MetaImage image"),
        ({"HeaderSize": "-2"}, "is not a MetaImage image"),
        ({"CompressedDataSize": "9" * 30}, "is cut short or damaged"),
        ({"ElementNumberOfChannels": "3"}, r"one number per voxel, but .*a\.mha has 3; save it"),
        ({"no separator\nName": "a"}, "is not a MetaImage image"),
        ({"Offset ": "1 2 3"}, "is not a MetaImage image"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scan(write(tmp_path / "a.mha", RAW, **changes))


def test_an_intensity_scale_that_is_not_applied_has_a_warning(tmp_path: Path) -> None:
    """ITK does not apply it either."""
    scale = {
        "ElementToIntensityFunctionSlope": "2",
        "ElementToIntensityFunctionOffset": "-1024",
    }
    scan = Scan(write(tmp_path / "a.mha", RAW, **scale))
    np.testing.assert_array_equal(scan.voxels()[::-1, ::-1], VALUES)
    assert [warning.partition(";")[0] for warning in scan.warnings] == [
        "the header states an intensity slope of 2",
        "the header states an intensity offset of -1024",
    ]
    plain = dict(zip(scale, ("1", "0"), strict=True))
    assert Scan(write(tmp_path / "a.mha", RAW, **plain)).warnings == ()
