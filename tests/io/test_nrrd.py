"""NRRD files of every type and encoding, and damaged ones."""

import bz2
import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from thorax.common.errors import InputError
from thorax.io import Scan

VALUES = np.arange(24).reshape(2, 3, 4)
"""One value per voxel; they fit in 8 bits."""

GEOMETRY = (
    "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,2)\n"
    "space origin: (0,0,5)\n"
)


def write(path: Path, content: bytes, **changes: str) -> Path:
    """Write a file; changed fields are replaced, and empty ones left out."""
    fields = {
        "type": "short",
        "dimension": "3",
        "sizes": "2 3 4",
        "endian": "little",
        "encoding": "raw",
    } | changes
    lines = [f"{name}: {value}\n" for name, value in fields.items() if value]
    path.write_bytes(("NRRD0005\n" + "".join(lines) + GEOMETRY).encode() + b"\n" + content)
    return path


def canonical(path: Path) -> np.ndarray:
    """Return the voxels in the order of the file."""
    return Scan(path).voxels()[::-1, ::-1]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("signed char", "i1"),
        ("uint8_t", "u1"),
        ("unsigned short", "u2"),
        ("short int", "i2"),
        ("int", "i4"),
        ("unsigned int", "u4"),
        ("long long", "i8"),
        ("uint64", "u8"),
        ("float", "f4"),
        ("double", "f8"),
    ],
)
def test_every_type_is_read_in_both_byte_orders(
    tmp_path: Path, name: str, dtype: str, order: str
) -> None:
    stored = VALUES.astype(("<" if order == "little" else ">") + dtype)
    path = write(tmp_path / "a.nrrd", stored.tobytes("F"), type=name, endian=order)
    voxels = canonical(path)
    assert voxels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(voxels, VALUES)


RAW = VALUES.astype("<i2").tobytes("F")
TEXT = " ".join(map(str, VALUES.ravel("F"))).encode()


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("raw", RAW),
        ("gzip", gzip.compress(RAW)),
        ("gz", gzip.compress(RAW[:7]) + gzip.compress(RAW[7:])),
        ("bzip2", bz2.compress(RAW)),
        ("hex", RAW.hex().encode()),
        ("ascii", TEXT.replace(b" ", b"\n")),
        ("txt", TEXT),
    ],
    ids=["raw", "gzip", "gz", "bzip2", "hex", "ascii", "txt"],
)
def test_every_encoding_is_read_and_checked(tmp_path: Path, encoding: str, content: bytes) -> None:
    path = tmp_path / "a.nrrd"
    np.testing.assert_array_equal(canonical(write(path, content, encoding=encoding)), VALUES)
    with pytest.raises(InputError, match=r"a\.nrrd is cut short or damaged|cannot be read"):
        canonical(write(path, content[:-4], encoding=encoding))


def test_text_and_bytes_have_no_byte_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", TEXT, encoding="ascii", endian="")
    np.testing.assert_array_equal(canonical(path), VALUES)
    content = VALUES.astype("u1").tobytes("F")
    path = write(tmp_path / "a.nrrd", content, type="uchar", endian="")
    np.testing.assert_array_equal(canonical(path), VALUES)


def test_lines_and_bytes_before_the_voxels_are_skipped(tmp_path: Path) -> None:
    skipped = {"line skip": "2", "byte skip": "3"}
    path = tmp_path / "a.nrrd"
    for content, encoding in ((b"abc" + RAW, "raw"), (gzip.compress(b"abc" + RAW), "gzip")):
        write(path, b"a line\nanother\n" + content, encoding=encoding, **skipped)
        np.testing.assert_array_equal(canonical(path), VALUES)
    write(path, b"anything" + RAW, **{"byte skip": "-1"})
    np.testing.assert_array_equal(canonical(path), VALUES)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_lines_may_end_as_on_windows(tmp_path: Path, ends: bytes) -> None:
    path = write(tmp_path / "a.nrrd", b"")
    path.write_bytes(path.read_bytes().replace(b"\n", ends) + RAW)
    np.testing.assert_array_equal(canonical(path), VALUES)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("space", ["RAS", "LAS", "LPS", "left-posterior-superior"])
def test_oblique_files_have_the_geometry_that_itk_reads(
    tmp_path: Path, space: str, seed: int
) -> None:
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    columns = (turned * [0.7, 0.8, 2.5]).T
    vectors = " ".join(f"({','.join(map(str, column))})" for column in columns)
    path = write(tmp_path / "a.nrrd", RAW)
    content = path.read_bytes().replace(b"(1,0,0) (0,1,0) (0,0,2)", vectors.encode())
    content = content.replace(b"left-posterior-superior", space.encode())
    path.write_bytes(content.replace(b"(0,0,5)", b"(1,-2,3)"))
    image = SimpleITK.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    expected = np.diag([-1, -1, 1, 1]) @ lps
    np.testing.assert_allclose(Scan(path).stored_affine, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "block"}, r"must state a known `type`, but .* has 'block'; save"),
        ({"type": ""}, r"must state a known `type`, but .*a\.nrrd lacks it; save"),
        ({"dimension": "4"}, "is not a NRRD image"),
        ({"dimension": "3.5"}, "is not a NRRD image"),
        ({"sizes": "2 3 -4"}, "is not a NRRD image"),
        ({"sizes": "2 3 nan"}, "is not a NRRD image"),
        ({"sizes": "2 3"}, "is not a NRRD image"),
        ({"sizes": "2 3 4\nsizes: 4 3 2"}, "is not a NRRD image"),
        ({"endian": ""}, r"must state a known `endian`, but .*a\.nrrd lacks it; save"),
        ({"encoding": "zip"}, r"must state a known `encoding`, but .* has 'zip'; save"),
        ({"byte skip": "-2"}, "is not a NRRD image"),
        ({"line skip": "99"}, "is cut short or damaged"),
        ({"spacings": "1 1 x"}, "is not a NRRD image"),
        ({"no colon\ntype": "short"}, "is not a NRRD image"),
        ({"kinds": "vector domain domain"}, None),
    ],
)
def test_damaged_headers_are_refused(
    tmp_path: Path, changes: dict[str, str], message: str | None
) -> None:
    path = write(tmp_path / "a.nrrd", RAW, **changes)
    if message is None:
        # The directions decide, not the kinds.
        np.testing.assert_array_equal(canonical(path), VALUES)
        return
    with pytest.raises(InputError, match=message):
        Scan(path)


@pytest.mark.parametrize(
    ("sizes", "directions"),
    [("3 2 3 4", "none (1,0,0) (0,1,0) (0,0,2)"), ("2 3 4 5", "(1,0,0) (0,1,0) (0,0,2) none")],
)
def test_several_numbers_per_voxel_are_refused(tmp_path: Path, sizes: str, directions: str) -> None:
    content = np.zeros(120, "<i2").tobytes()
    path = write(tmp_path / "a.nrrd", content, dimension="4", sizes=sizes)
    path.write_bytes(path.read_bytes().replace(b"(1,0,0) (0,1,0) (0,0,2)", directions.encode()))
    with pytest.raises(InputError, match=r"one number per voxel, but .*a\.nrrd has [35]; save it"):
        Scan(path)


def test_other_units_have_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", RAW, **{"space units": '"m" "m" "m"'})
    assert Scan(path).warnings == (
        "the header gives lengths in m, but they were read as mm: check the volumes",
    )
    path = write(tmp_path / "a.nrrd", RAW, **{"space units": '"mm" "mm" "mm"'})
    assert Scan(path).warnings == ()


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_slabs_keep_a_part_of_the_scan_in_memory(tmp_path: Path, encoding: str) -> None:
    voxels = np.zeros((64, 64, 512), "<i2").tobytes()
    content = voxels if encoding == "raw" else gzip.compress(voxels)
    path = write(tmp_path / "a.nrrd", content, sizes="64 64 512", encoding=encoding)
    tracemalloc.start()
    try:
        assert sum(len(planes) for _, planes in Scan(path).slabs()) == 512
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_slabs_are_read_in_any_order_and_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", gzip.compress(RAW), encoding="gzip")
    scan = Scan(path)
    planes = np.moveaxis(VALUES[::-1, ::-1], 2, 0)
    for start, stop in ((2, 4), (0, 1), (1, 3), (0, 4), (3, 4), (0, 2)):
        np.testing.assert_array_equal(scan.planes(start, stop), planes[start:stop])


@pytest.mark.parametrize(
    ("sizes", "directions", "kinds"),
    [
        ("3 4 2", "", "RGB-color domain domain"),
        ("3 4 2", "none (1,0,0) (0,1,0)", "RGB-color domain domain"),
        ("4 2 3", "(1,0,0) (0,1,0) none", ""),
    ],
)
def test_a_plane_in_colour_is_no_volume(
    tmp_path: Path, sizes: str, directions: str, kinds: str
) -> None:
    fields = f"type: uchar\ndimension: 3\nsizes: {sizes}\nencoding: raw\n"
    fields += f"space: LPS\nspace directions: {directions}\n" if directions else ""
    fields += f"kinds: {kinds}\n" if kinds else ""
    (tmp_path / "a.nrrd").write_bytes(f"NRRD0004\n{fields}\n".encode() + bytes(24))
    with pytest.raises(InputError, match=r"must have one number per voxel, but .* has 3"):
        Scan(tmp_path / "a.nrrd")
