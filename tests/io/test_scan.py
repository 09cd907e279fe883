"""Reading scans and writing masks keeps the position of every voxel in the patient."""

import gzip
import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel import orientations

from thorax.common.errors import InputError
from thorax.io import Scan, case_name, check_name, mask_file, write_volume

SaveNifti = Callable[..., Path]

CANONICAL = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
"""Every voxel has a different value."""
AFFINE = np.array([[0.7, 0, 0, -90], [0, 0.8, 0, -80], [0, 0, 2.5, 30], [0, 0, 0, 1]])

ORDERS = [
    np.column_stack([axes, flips])
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([1, -1], repeat=3)
]
"""All 48 axis orders and directions of a stored volume."""


def axis_codes(order: np.ndarray) -> str:
    return "".join(orientations.ornt2axcodes(order))


@pytest.fixture(params=ORDERS, ids=axis_codes)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a file of the canonical voxels, stored in one of the 48 orders."""
    to_file = orientations.ornt_transform(ORDERS[0], request.param)
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(CANONICAL, AFFINE).as_reoriented(to_file), path)
    return path


def write_mask(path: Path, scan: Scan, canonical: np.ndarray, *, size: int = 3) -> None:
    """Write canonical voxels as a prediction does: slab by slab in file order."""
    planes = np.moveaxis(canonical, 2, 0)
    with mask_file(path, scan) as writer:
        for start, stop in scan.spans(size):
            writer.write(start, planes[start:stop])


def write_half_of_mask(path: Path, scan: Scan) -> None:
    with mask_file(path, scan) as writer:
        writer.write(0, np.zeros((2, 2, 3)))
        raise KeyboardInterrupt


# Reading


def test_there_are_48_different_orders() -> None:
    assert len({axis_codes(order) for order in ORDERS}) == 48


def test_planes_are_canonical_for_any_axis_order(stored: Path) -> None:
    scan = Scan(stored)
    assert scan.grid.shape == (2, 3, 4)
    np.testing.assert_allclose(scan.grid.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(scan.voxels(), CANONICAL)
    np.testing.assert_array_equal(scan.planes(1, 3), np.moveaxis(CANONICAL, 2, 0)[1:3])


def test_spacing_and_affines_are_those_of_canonical_and_stored_axes(save_nifti: SaveNifti) -> None:
    image = nibabel.Nifti1Image(CANONICAL, AFFINE)
    image = image.as_reoriented(orientations.axcodes2ornt("SRA"))
    scan = Scan(save_nifti("scan.nii", image.dataobj, image.affine))
    assert scan.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(scan.stored_affine, image.affine, atol=1e-5)
    assert not np.allclose(scan.affine, scan.stored_affine)
    assert axis_codes(scan.orientation) == axis_codes(orientations.io_orientation(image.affine))


def test_slabs_contain_every_plane_once(stored: Path) -> None:
    planes = np.full((4, 2, 3), -1)
    for start, slab in Scan(stored).slabs(3):
        assert (planes[start : start + len(slab)] == -1).all()
        planes[start : start + len(slab)] = slab
    np.testing.assert_array_equal(planes, np.moveaxis(CANONICAL, 2, 0))


@pytest.mark.parametrize(("order", "spans"), [("LPS", [(0, 3), (3, 4)]), ("RAI", [(1, 4), (0, 1)])])
def test_slabs_come_in_the_order_of_the_file(
    save_nifti: SaveNifti, order: str, spans: list[tuple[int, int]]
) -> None:
    """Seeking backwards in a gzip file decompresses it again from its start."""
    image = nibabel.Nifti1Image(CANONICAL, AFFINE).as_reoriented(orientations.axcodes2ornt(order))
    scan = Scan(save_nifti("scan.nii.gz", image.dataobj, image.affine))
    assert scan.spans(3) == spans
    assert [start for start, _ in scan.slabs(3)] == [start for start, _ in spans]


@pytest.mark.parametrize("seed", range(8))
def test_oblique_and_sheared_scans_agree_with_the_closest_canonical_of_nibabel(
    save_nifti: SaveNifti, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3] = draw.normal(size=(3, 4))
    path = save_nifti("scan.nii.gz", CANONICAL, affine)
    expected = nibabel.as_closest_canonical(nibabel.load(path))
    scan = Scan(path)
    np.testing.assert_array_equal(scan.voxels(), np.asanyarray(expected.dataobj))
    np.testing.assert_allclose(scan.grid.affine, expected.affine)


@pytest.mark.parametrize("shape", [(3, 2, 1), (1, 1, 1), (1, 5, 2)], ids=str)
def test_scans_of_one_plane_and_planes_of_one_voxel_are_read(
    save_nifti: SaveNifti, shape: tuple[int, int, int]
) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    scan = Scan(save_nifti("scan.nii", voxels))
    assert scan.grid.shape == shape
    np.testing.assert_array_equal(scan.voxels(), voxels)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_keep_the_type_that_they_are_stored_in(save_nifti: SaveNifti, kind: type) -> None:
    voxels = Scan(save_nifti("scan.nii.gz", CANONICAL.astype(kind))).voxels()
    assert voxels.dtype == kind
    np.testing.assert_array_equal(voxels, CANONICAL)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_voxels_follow_the_header_if_it_states_an_offset_of_0(tmp_path: Path, kind: type) -> None:
    """The header itself would be read as voxels otherwise."""
    path = tmp_path / "scan.nii"
    nibabel.save(kind(CANONICAL, AFFINE), path)
    raw = bytearray(path.read_bytes())
    at = slice(108, 112) if kind is nibabel.Nifti1Image else slice(168, 176)
    assert any(raw[at])
    raw[at] = bytes(at.stop - at.start)
    path.write_bytes(raw)
    np.testing.assert_array_equal(Scan(path).voxels(), CANONICAL)


def test_slope_and_intercept_are_applied(save_nifti: SaveNifti) -> None:
    """HU = 2 · stored value - 1024."""
    path = save_nifti("scan.nii", CANONICAL.astype(np.uint16))
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()
    path.write_bytes(raw)
    np.testing.assert_allclose(Scan(path).voxels(), CANONICAL * 2.0 - 1024.0)


def test_big_endian_files_are_read(save_nifti: SaveNifti) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    path = save_nifti("scan.nii.gz", CANONICAL, header=header)
    assert gzip.decompress(path.read_bytes())[:4] == b"\0\0\x01\x5c"
    np.testing.assert_array_equal(Scan(path).voxels(), CANONICAL)


# Bad files


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no file .*scan\.nii\.gz$"):
        Scan(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan"])
@pytest.mark.parametrize("content", [b"", b"not an image" * 200], ids=["empty", "text"])
def test_other_content_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is not a NIfTI image, or its header is damaged"):
        Scan(tmp_path / name)


NOISE = np.random.default_rng(0).integers(-1000, 1000, (64, 64, 41)).astype(np.int16)
"""Larger than the read buffer, and incompressible."""


@pytest.fixture(params=["LPI", "RAS", "SPR"])
def large(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a gzip file with uncompressed content and a checksum at its end."""
    turn = orientations.axcodes2ornt(request.param)
    image = nibabel.Nifti1Image(NOISE, np.eye(4)).as_reoriented(turn)
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=0))
    return path


@pytest.mark.parametrize("kept", [0.1, 0.6, 0.999], ids="{:.1%} of it".format)
def test_a_truncated_gzip_is_refused_when_all_planes_are_read(large: Path, kept: float) -> None:
    whole = large.read_bytes()
    large.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"scan\.nii\.gz is cut short or damaged; copy it again"):
        list(Scan(large).slabs())


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(lambda size: size // 2, id="a voxel"),
        pytest.param(lambda size: size - 30, id="the last voxels"),
        pytest.param(lambda size: size - 8, id="the checksum"),
        pytest.param(lambda size: size - 1, id="the length"),
    ],
)
def test_a_flipped_bit_in_a_gzip_is_detected_when_all_planes_are_read(
    large: Path, at: Callable[[int], int]
) -> None:
    damaged = bytearray(large.read_bytes())
    damaged[at(len(damaged))] ^= 1
    large.write_bytes(damaged)
    with pytest.raises(InputError, match=r"scan\.nii\.gz is cut short or damaged; copy it again"):
        list(Scan(large).slabs())


def test_an_intact_gzip_is_read_twice_and_in_any_order(large: Path) -> None:
    scan = Scan(large)
    planes = np.moveaxis(NOISE, 2, 0)
    for start, stop in ((30, 41), (0, 41), (0, 10), (40, 41), (20, 30)):
        np.testing.assert_array_equal(scan.planes(start, stop), planes[start:stop])


def test_a_truncated_file_without_gzip_is_refused_in_one_line(save_nifti: SaveNifti) -> None:
    path = save_nifti("scan.nii", CANONICAL)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"scan\.nii is cut short or damaged") as caught:
        Scan(path).voxels()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2), (4, 4, 4, 1, 2)], ids=["2D", "4D", "5D"])
def test_a_scan_is_3d(save_nifti: SaveNifti, shape: tuple[int, ...]) -> None:
    path = save_nifti("scan.nii", np.zeros(shape, np.int16))
    with pytest.raises(InputError, match=r"a scan must be 3D, but .*scan\.nii has shape \(4, 4"):
        Scan(path)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        pytest.param([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours", id="RGB"),
        pytest.param(np.complex64, "complex64", id="complex"),
    ],
)
def test_a_scan_has_one_number_per_voxel(
    save_nifti: SaveNifti, kind: type | list[tuple[str, str]], named: str
) -> None:
    path = save_nifti("scan.nii", np.zeros((4, 4, 4), kind))
    with pytest.raises(InputError, match=rf"one number per voxel, but .*scan\.nii has {named}"):
        Scan(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["RAS", "SAR"])
def test_nan_and_infinite_voxels_are_refused_with_their_planes(
    save_nifti: SaveNifti, order: str, value: float
) -> None:
    voxels = CANONICAL.astype(np.float32)
    voxels[1, 2, 3] = value
    image = nibabel.Nifti1Image(voxels, AFFINE).as_reoriented(orientations.axcodes2ornt(order))
    scan = Scan(save_nifti("scan.nii", image.dataobj, image.affine))
    assert np.isfinite(scan.planes(0, 3)).all()
    with pytest.raises(InputError, match=r"NaN or infinite voxels in planes 2\.\.3; replace them"):
        scan.planes(2, 4)


@pytest.mark.parametrize("order", ["RAS", "LPI", "SAR"])
def test_nan_and_infinite_voxels_are_replaced_and_noted_on_request(
    save_nifti: SaveNifti, order: str
) -> None:
    voxels = CANONICAL.astype(np.float32)
    voxels[1, 2, 3], voxels[0, 0, 3], voxels[0, 1, 1] = np.nan, np.inf, -np.inf
    image = nibabel.Nifti1Image(voxels, AFFINE).as_reoriented(orientations.axcodes2ornt(order))
    scan = Scan(save_nifti("scan.nii", image.dataobj, image.affine), nan=-1024.0)
    assert scan.notes == ()
    expected = CANONICAL.astype(np.float32)
    expected[1, 2, 3] = expected[0, 0, 3] = expected[0, 1, 1] = -1024
    for _ in range(2):
        np.testing.assert_array_equal(scan.voxels(), expected)
    assert scan.notes == ("NaN or infinite voxels in 2 of 4 planes were read as -1024",)


def test_nan_and_infinite_voxels_are_kept_as_nan_on_request(save_nifti: SaveNifti) -> None:
    voxels = CANONICAL.astype(np.float32)
    voxels[1, 2, 3], voxels[0, 0, 3], voxels[0, 1, 1] = np.nan, np.inf, -np.inf
    scan = Scan(save_nifti("scan.nii", voxels), nan=np.nan)
    read = scan.voxels()
    assert np.argwhere(np.isnan(read)).tolist() == [[0, 0, 3], [0, 1, 1], [1, 2, 3]]
    assert not np.isinf(read).any()
    assert scan.notes == ("NaN or infinite voxels in 2 of 4 planes were read as air",)


def test_planes_that_were_not_read_are_not_noted(save_nifti: SaveNifti) -> None:
    voxels = CANONICAL.astype(np.float32)
    voxels[1, 2, 3] = np.nan
    scan = Scan(save_nifti("scan.nii", voxels), nan=0.0)
    scan.planes(0, 3)
    assert scan.notes == ()


def test_a_series_can_only_be_selected_for_dicom(save_nifti: SaveNifti) -> None:
    with pytest.raises(
        InputError, match=r"`series` selects a DICOM series, but .*scan\.nii is not"
    ):
        Scan(save_nifti("scan.nii", CANONICAL), series=3)


@pytest.mark.parametrize("length", [0, -2])
def test_a_scan_has_voxels(save_nifti: SaveNifti, length: int) -> None:
    path = save_nifti("scan.nii", CANONICAL)
    raw = bytearray(path.read_bytes())
    raw[42:44] = np.int16(length).tobytes()
    path.write_bytes(raw)
    with pytest.raises(InputError, match=rf"scan\.nii .*shape \({length}, 3, 4\)"):
        Scan(path)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_scan_states_the_position_of_its_voxels(save_nifti: SaveNifti, value: float) -> None:
    path = save_nifti("scan.nii", CANONICAL)
    raw = bytearray(path.read_bytes())
    raw[280:284] = np.float32(value).tobytes()
    path.write_bytes(raw)
    with pytest.raises(
        InputError, match=r"must state the position of its voxels, but .*scan\.nii does not"
    ):
        Scan(path)


@pytest.fixture
def deep(save_nifti: SaveNifti) -> Scan:
    """Return a scan of 512 planes, 4 MB; 16 planes of it are 128 KB."""
    return Scan(save_nifti("scan.nii.gz", np.zeros((64, 64, 512), np.int16)))


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Return a function that returns the peak of allocated bytes since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_reading_slabs_keeps_a_part_of_the_scan_in_memory(
    deep: Scan, peak: Callable[[], int]
) -> None:
    assert sum(len(planes) for _, planes in deep.slabs()) == 512
    assert peak() < 2_000_000


# Writing


def test_a_mask_has_the_grid_of_its_scan_in_any_axis_order(stored: Path, tmp_path: Path) -> None:
    scan = Scan(stored)
    write_mask(tmp_path / "mask.nii.gz", scan, CANONICAL)
    source, mask = nibabel.load(stored), nibabel.load(tmp_path / "mask.nii.gz")
    assert mask.shape == source.shape
    np.testing.assert_array_equal(mask.affine, source.affine)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), np.asanyarray(source.dataobj))
    np.testing.assert_array_equal(Scan(tmp_path / "mask.nii.gz").voxels(), CANONICAL)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_a_mask_is_8_bit_labels(save_nifti: SaveNifti, tmp_path: Path, name: str) -> None:
    write_mask(tmp_path / name, Scan(save_nifti("scan.nii.gz", CANONICAL)), CANONICAL > 11)
    mask = nibabel.load(tmp_path / name)
    assert mask.get_data_dtype() == np.uint8
    assert np.asanyarray(mask.dataobj).dtype == np.uint8
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), CANONICAL > 11)


def moved(shift_mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += shift_mm
    return affine


@pytest.mark.parametrize(
    ("sform", "qform"),
    [
        pytest.param((AFFINE, 1), (AFFINE, 1), id="scanner, both"),
        pytest.param((AFFINE, 2), (moved(5), 1), id="sform aligned to another position"),
        pytest.param((None, 0), (AFFINE, 1), id="qform only"),
        pytest.param((AFFINE, 4), (None, 0), id="sform only"),
        pytest.param((None, 0), (None, 0), id="neither"),
    ],
)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_mask_has_the_sform_qform_and_units_of_its_scan(
    tmp_path: Path, kind: type, sform: tuple, qform: tuple
) -> None:
    image = kind(CANONICAL, AFFINE)
    image.set_qform(*qform)
    image.set_sform(*sform)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "scan.nii")
    write_mask(tmp_path / "mask.nii", Scan(tmp_path / "scan.nii"), CANONICAL)
    source, mask = nibabel.load(tmp_path / "scan.nii"), nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-5)
    np.testing.assert_allclose(mask.header.get_zooms(), source.header.get_zooms())
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    for form in ("get_sform", "get_qform"):
        expected, code = getattr(source.header, form)(coded=True)
        written, written_code = getattr(mask.header, form)(coded=True)
        assert written_code == code
        assert (written is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(written, expected, atol=1e-5)


@pytest.mark.parametrize("value", [3.0, np.nan, np.inf])
def test_a_mask_of_a_scan_with_a_damaged_qform_has_its_sform(tmp_path: Path, value: float) -> None:
    image = nibabel.Nifti1Image(CANONICAL, AFFINE)
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    image.header["quatern_b"] = value
    nibabel.save(image, tmp_path / "scan.nii")
    write_mask(tmp_path / "mask.nii", Scan(tmp_path / "scan.nii"), CANONICAL)
    mask = nibabel.load(tmp_path / "mask.nii")
    assert (mask.header["sform_code"], mask.header["qform_code"]) == (1, 0)
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(mask.header.get_zooms(), image.header.get_zooms())


def test_a_mask_has_the_grid_of_a_scan_of_another_format(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(CANONICAL, AFFINE.astype(np.float32)), tmp_path / "scan.mgz")
    write_mask(tmp_path / "mask.nii", Scan(tmp_path / "scan.mgz"), CANONICAL)
    mask = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), CANONICAL)


@pytest.fixture
def named_patient(save_nifti: SaveNifti) -> Path:
    """Return a scan with the name of the patient in every text field of its header."""
    header = nibabel.Nifti1Header()
    for field in ("descrip", "db_name", "aux_file", "intent_name"):
        header[field] = b"DOE^JOHN"
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"DOE^JOHN"))
    path = save_nifti("scan.nii", CANONICAL, header=header)
    assert path.read_bytes().count(b"DOE^JOHN") == 5
    return path


def test_a_mask_contains_no_patient_name(named_patient: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.nii", Scan(named_patient), CANONICAL)
    written = (tmp_path / "mask.nii").read_bytes()
    assert b"DOE" not in written
    assert len(written) == 352 + CANONICAL.size


def test_equal_masks_are_equal_files(save_nifti: SaveNifti, tmp_path: Path) -> None:
    scan = Scan(save_nifti("scan.nii.gz", CANONICAL))
    write_mask(tmp_path / "a.nii.gz", scan, CANONICAL)
    write_mask(tmp_path / "b.nii.gz", scan, CANONICAL, size=1)
    written = (tmp_path / "a.nii.gz").read_bytes()
    assert written == (tmp_path / "b.nii.gz").read_bytes()
    assert written[3:8] == bytes(5), "gzip must keep neither name nor time"


def test_planes_within_a_box_are_written_with_zeros_around_it(stored: Path, tmp_path: Path) -> None:
    scan = Scan(stored)
    values = np.arange(1, 9).reshape(4, 1, 2)  # 4 planes, the box has 1 voxel along x, 2 along y
    with mask_file(tmp_path / "mask.nii", scan) as writer:
        for start, stop in scan.spans(3):
            writer.write(start, values[start:stop], (slice(1, 2), slice(0, 2)))
    written = Scan(tmp_path / "mask.nii")
    assert axis_codes(written.orientation) == axis_codes(scan.orientation)
    assert written.voxels()[0].tolist() == [[0, 0, 0, 0]] * 3
    assert written.voxels()[1].tolist() == [[1, 3, 5, 7], [2, 4, 6, 8], [0, 0, 0, 0]]


def test_probabilities_are_stored_in_8_bits_and_read_back_as_shares(
    save_nifti: SaveNifti, tmp_path: Path
) -> None:
    scan = Scan(save_nifti("scan.nii", np.zeros((1, 1, 3), np.int16)))
    with mask_file(tmp_path / "lung.nii", scan, scale=1 / 255) as writer:
        writer.write(0, np.array([[[0]], [[51]], [[255]]]))
    stored = nibabel.load(tmp_path / "lung.nii").get_fdata()
    assert stored.ravel() == pytest.approx([0.0, 0.2, 1.0])


def test_writing_slabs_keeps_a_part_of_the_mask_in_memory(
    deep: Scan, tmp_path: Path, peak: Callable[[], int]
) -> None:
    with mask_file(tmp_path / "mask.nii", deep) as writer:
        for start, stop in deep.spans():
            writer.write(start, np.zeros((stop - start, 64, 64), np.uint8))
    assert (tmp_path / "mask.nii").stat().st_size == 352 + 64 * 64 * 512
    assert peak() < 1_000_000


@pytest.mark.parametrize("order", ["RAS", "SAR"])
def test_a_failure_while_writing_keeps_the_old_mask(
    save_nifti: SaveNifti, tmp_path: Path, order: str
) -> None:
    image = nibabel.Nifti1Image(CANONICAL, AFFINE)
    image = image.as_reoriented(orientations.axcodes2ornt(order))
    scan = Scan(save_nifti("scan.nii", image.dataobj, image.affine))
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "mask.nii.gz"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half_of_mask(path, scan)
    assert [file.read_text() for file in path.parent.iterdir()] == ["old"]


def test_a_mask_can_only_be_written_to_a_folder(save_nifti: SaveNifti, tmp_path: Path) -> None:
    path = save_nifti("scan.nii", CANONICAL)
    with (
        pytest.raises(InputError, match=r"cannot write .*mask\.nii.*; choose a folder that can be"),
        mask_file(path / "mask.nii", Scan(path)),
    ):
        pytest.fail("nothing must be predicted for a file that cannot be written")


@pytest.mark.parametrize("name", ["mask", "mask.mhd", "mask.gz", "mask.nii.zip"])
def test_a_mask_file_is_named_for_its_format(
    save_nifti: SaveNifti, tmp_path: Path, name: str
) -> None:
    scan = Scan(save_nifti("scan.nii", CANONICAL))
    with pytest.raises(InputError, match=rf"a mask file must end in .*, got .*{name}"):
        check_name(tmp_path / name)
    with (
        pytest.raises(InputError, match=rf"must end in .* \.nrrd or \.mha, got .*{name}"),
        mask_file(tmp_path / name, scan),
    ):
        pytest.fail("nothing must be predicted for a file that cannot be written")


@pytest.mark.parametrize("name", ["ct.nii", "deeper/ct.nii.gz"])
def test_a_volume_is_written_unchanged(tmp_path: Path, name: str) -> None:
    write_volume(tmp_path / name, CANONICAL, AFFINE)
    written = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), CANONICAL)
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-5)
    assert written.header.get_xyzt_units()[0] == "mm"


def test_a_volume_is_nifti(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.nii or \.nii\.gz, got .*ct\.nrrd"):
        write_volume(tmp_path / "ct.nrrd", CANONICAL, AFFINE)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("S1-101.nii.gz", "S1-101"),
        ("a.b.nii", "a.b"),
        ("a.nii.nii.gz", "a.nii"),
        ("README.md", None),
        ("a.gz", None),
        (".part-x-a.nii.gz", None),
        ("._a.nii.gz", None),
    ],
)
def test_the_name_of_a_case_is_its_file_without_the_suffix(file: str, name: str | None) -> None:
    assert case_name(Path("scans") / file) == name


@pytest.mark.parametrize(
    ("side", "planes"), [(1, 16), (512, 16), (1024, 4), (2048, 1), (4096, 1)], ids=str
)
def test_slabs_of_large_planes_have_fewer(side: int, planes: int) -> None:
    voxels = np.broadcast_to(np.int16(0), (side, side, 32))
    scan = Scan.in_memory(voxels, np.eye(4), name="scan")
    assert scan.spans()[:2] == [(0, planes), (planes, 2 * planes)]
    assert scan.spans(8)[:2] == [(0, 8), (8, 16)]
