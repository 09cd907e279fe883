"""The same voxels have the same position in the patient in all formats."""

from collections.abc import Callable
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from thorax.common.errors import InputError
from thorax.io import Scan, mask_file
from thorax.io.dicom_segmentation import write_segmentation

SaveSeries = Callable[..., Path]
HU = (np.arange(3 * 4 * 5) * 7 - 1000).astype(np.int16).reshape(3, 4, 5)
AFFINE = np.array(
    [[0.7, 0, 0, -1.4 - 2 * 0.7], [0, 0.8, 0, -1.6 - 3 * 0.8], [0, 0, 2.5, 30], [0, 0, 0, 1]]
)
"""Affine of the series that `save_series` writes."""
SIDEWAYS = np.array([[0, 0, 2.5, 30], [0.7, 0, 0, 5], [0, -0.8, 0, 9], [0, 0, 0, 1.0]])
"""Stored axes that run to the front, to the feet and to the right."""


def save_itk(path: Path, stored: np.ndarray, affine: np.ndarray, *, compressed: bool) -> Path:
    """Write stored voxels with an affine in RAS+ by SimpleITK."""
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), compressed)
    return path


@pytest.fixture(params=["dicom", "scan.nii.gz", "scan.nrrd", "scan.nhdr", "scan.mha", "scan.mhd"])
def ct(request: pytest.FixtureRequest, tmp_path: Path, save_series: SaveSeries) -> Path:
    """Return the same voxels in each of the formats."""
    path = tmp_path / request.param
    if request.param == "dicom":
        return save_series("dicom", HU)
    if request.param.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(HU, AFFINE), path)
        return path
    return save_itk(path, HU, AFFINE, compressed=True)


def write_mask(path: Path, scan: Scan, canonical: np.ndarray) -> Path:
    planes = np.moveaxis(canonical, 2, 0)
    with mask_file(path, scan) as writer:
        for start, stop in scan.spans(2):
            writer.write(start, planes[start:stop])
    return path


def test_every_format_gives_the_same_voxels_at_the_same_positions(ct: Path) -> None:
    scan = Scan(ct)
    assert scan.grid.shape == HU.shape
    np.testing.assert_allclose(scan.grid.affine, AFFINE, atol=1e-5)
    assert scan.voxels().dtype == np.int16
    np.testing.assert_array_equal(scan.voxels(), HU)
    slabs = dict(scan.slabs(2))
    np.testing.assert_array_equal(
        np.concatenate([slabs[start] for start in sorted(slabs)]), np.moveaxis(HU, 2, 0)
    )
    assert scan.notes == ()


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz", "mask.nrrd", "mask.mha"])
def test_a_mask_of_any_format_has_the_grid_of_a_scan_of_any_format(
    ct: Path, tmp_path: Path, name: str
) -> None:
    scan = Scan(ct)
    mask = Scan(write_mask(tmp_path / "out" / name, scan, HU > 0))
    assert mask.grid.matches(scan.grid, tolerance_mm=1e-4)
    assert mask.voxels().dtype == np.uint8
    np.testing.assert_array_equal(mask.voxels(), HU > 0)
    np.testing.assert_allclose(mask.stored_affine, scan.stored_affine, atol=1e-4)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32, np.float64])
def test_itk_files_of_any_order_and_type_are_read_as_nibabel_reads_the_affine(
    tmp_path: Path, name: str, compressed: bool, kind: type
) -> None:
    stored = (HU.transpose(1, 2, 0) % 251).astype(kind)
    scan = Scan(save_itk(tmp_path / name, stored, SIDEWAYS, compressed=compressed))
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(stored.astype(float), SIDEWAYS))
    np.testing.assert_allclose(scan.grid.affine, expected.affine, atol=1e-9)
    assert scan.voxels().dtype == kind
    np.testing.assert_array_equal(scan.voxels(), expected.get_fdata())


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_itk_reads_the_same_geometry_of_mask_and_scan(tmp_path: Path, suffix: str) -> None:
    stored = HU.transpose(1, 2, 0)
    source = save_itk(tmp_path / f"ct{suffix}", stored, SIDEWAYS, compressed=False)
    canonical = Scan(source).voxels() > 0
    path = write_mask(tmp_path / f"mask{suffix}", Scan(source), canonical)
    scan, mask = SimpleITK.ReadImage(str(source)), SimpleITK.ReadImage(str(path))
    assert scan.GetSize() == mask.GetSize()
    for getter in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(scan, getter)(), getattr(mask, getter)(), atol=1e-12)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask).T, stored > 0)


def test_the_headers_of_masks_state_the_grid_of_the_scan(tmp_path: Path) -> None:
    """By hand: the first two axes of NRRD and MetaImage have the opposite sign of RAS+."""
    affine = np.array([[0, 0, 2.5, 30], [0.75, 0, 0, 5], [0, -0.5, 0, 9], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(HU.transpose(1, 2, 0), affine), tmp_path / "ct.nii")
    scan = Scan(tmp_path / "ct.nii")
    zeros = np.zeros(scan.grid.shape, np.uint8)
    nrrd = write_mask(tmp_path / "mask.nrrd", scan, zeros).read_bytes()
    assert b"\nspace directions: (0.0,-0.75,0.0) (0.0,0.0,-0.5) (-2.5,0.0,0.0)\n" in nrrd
    assert b"\nspace origin: (-30.0,-5.0,9.0)\n\n\x1f\x8b" in nrrd
    meta = write_mask(tmp_path / "mask.mha", scan, zeros).read_bytes()
    assert b"\nOffset = -30.0 -5.0 9.0\nElementSpacing = 0.75 0.5 2.5\n" in meta
    assert b"\nDimSize = 4 5 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n\x78" in meta


def test_probabilities_are_scaled_in_formats_without_a_scale(
    save_series: SaveSeries, tmp_path: Path
) -> None:
    scan = Scan(save_series("ct", np.zeros((1, 1, 3))))
    with mask_file(tmp_path / "lung.nrrd", scan, scale=1 / 255) as writer:
        writer.write(0, np.array([[[0]], [[51]], [[255]]]))
    assert Scan(tmp_path / "lung.nrrd").voxels().ravel() == pytest.approx([0.0, 0.2, 1.0])


def test_equal_masks_are_equal_files(save_series: SaveSeries, tmp_path: Path) -> None:
    scan = Scan(save_series("ct", HU))
    for suffix in (".nrrd", ".mha"):
        content = write_mask(tmp_path / f"a{suffix}", scan, HU > 0).read_bytes()
        assert content == write_mask(tmp_path / f"b{suffix}", scan, HU > 0).read_bytes()


@pytest.mark.parametrize("name", ["mask.nii", "mask.nrrd", "mask.mha"])
def test_a_mask_of_a_dicom_scan_contains_no_patient_data(
    save_series: SaveSeries, tmp_path: Path, names_nobody: Callable[[object], None], name: str
) -> None:
    names_nobody(write_mask(tmp_path / name, Scan(save_series("ct", HU)), HU > 0).read_bytes())


def tilted(index: int, slice_: pydicom.Dataset) -> None:
    slice_.ImagePositionPatient = [1.4, 1.6 - 0.5 * index, 30 + 2.5 * index]


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd", "mask.mha"])
def test_a_mask_of_a_tilted_scan_is_sheared_with_it(
    save_series: SaveSeries, tmp_path: Path, name: str
) -> None:
    scan = Scan(save_series("ct", HU, change=tilted))
    mask = Scan(write_mask(tmp_path / name, scan, HU > 0))
    assert mask.grid.matches(scan.grid, tolerance_mm=1e-4)
    np.testing.assert_array_equal(mask.voxels(), HU > 0)


def test_a_nifti_mask_of_an_orthogonal_scan_has_sform_and_qform_in_mm(
    save_series: SaveSeries, tmp_path: Path
) -> None:
    scan = Scan(save_series("ct", HU))
    header = nibabel.load(write_mask(tmp_path / "mask.nii", scan, HU > 0)).header
    for form in (header.get_sform(coded=True), header.get_qform(coded=True)):
        np.testing.assert_allclose(form[0], scan.stored_affine, atol=1e-5)
        assert form[1] == 1
    assert header.get_xyzt_units()[0] == "mm"


# Bad files


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("content", [b"", b"not an image" * 200], ids=["empty", "text"])
def test_other_content_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    name = "NRRD" if suffix.startswith(".n") else "MetaImage"
    with pytest.raises(InputError, match=rf"is not a {name} image, or its header is damaged$"):
        Scan(path)
    with pytest.raises(InputError, match=r"^there is no file .*nowhere"):
        Scan(tmp_path / f"nowhere{suffix}")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_image_that_is_cut_short_is_refused(
    tmp_path: Path, suffix: str, compressed: bool
) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (16, 16, 16)).astype(np.int16)
    path = save_itk(tmp_path / f"scan{suffix}", noise, AFFINE, compressed=compressed)
    path.write_bytes(path.read_bytes()[:-99])
    with pytest.raises(InputError, match=rf"scan\{suffix} is cut short or damaged; copy it"):
        Scan(path).voxels()


def test_an_image_in_colour_is_refused(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((2, 2, 2, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mha"))
    with pytest.raises(InputError, match=r"one number per voxel, but .*scan\.mha has 3; save it"):
        Scan(tmp_path / "scan.mha")


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4, 5)], ids=["2D", "4D"])
def test_an_image_that_is_not_3d_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros(shape, np.int16), isVector=False)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.nrrd"))
    with pytest.raises(InputError, match=r"a scan must be 3D, but .*scan\.nrrd has shape \("):
        Scan(tmp_path / "scan.nrrd")


def test_an_nrrd_without_a_space_is_read_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "scan.nrrd"
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 3 4 5\nspacings: 1 1 2\n"
    header += "encoding: raw\nendian: little\n\n"
    path.write_bytes(header.encode() + HU.tobytes(order="F"))
    scan = Scan(path)
    np.testing.assert_array_equal(scan.voxels(), HU[::-1, ::-1])
    (warning,) = scan.warnings
    assert warning.startswith("the file does not state its orientation")


# DICOM segmentations


def regions() -> np.ndarray:
    """Return two regions that overlap, shape ``(2, N, X, Y)``."""
    planes = np.moveaxis(HU, 2, 0)
    return np.stack([planes > -800, planes % 2 == 0])


@pytest.mark.parametrize("change", [lambda index, slice_: None, tilted], ids=["straight", "tilted"])
def test_a_segmentation_is_on_the_slices_of_its_series(
    save_series: SaveSeries, tmp_path: Path, change: Callable[..., object]
) -> None:
    folder = save_series("ct", HU, change=change)
    write_segmentation(tmp_path / "seg.dcm", Scan(folder), regions(), ["lung", "infection"])
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    sources = [pydicom.dcmread(path) for path in folder.iterdir()]
    instances = [source.SOPInstanceUID for source in sources]
    frames = segmentation.get_pixels_by_source_instance(instances)
    for source, frame in zip(sources, frames, strict=True):
        hu = source.pixel_array.astype(int) - 1024
        np.testing.assert_array_equal(frame[..., 0], hu > -800)
        np.testing.assert_array_equal(frame[..., 1], hu % 2 == 0)
    segments = segmentation.SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == ["lung", "infection"]
    types = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    assert [code.CodeMeaning for code in types] == ["Lung", "Lesion"]
    assert segmentation.PatientID == "4711-X", "the standard demands the patient of the series"
    assert segmentation.SeriesInstanceUID != "1.2.3.4"
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == pytest.approx(2.5)


def test_a_segmentation_needs_a_dicom_scan(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(HU, AFFINE), tmp_path / "ct.nii")
    with pytest.raises(InputError, match=r"needs a DICOM scan, but .*ct\.nii is not DICOM; write"):
        write_segmentation(tmp_path / "seg.dcm", Scan(tmp_path / "ct.nii"), regions(), "ab")


def test_a_segmentation_file_ends_in_dcm(save_series: SaveSeries, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a DICOM segmentation must end in \.dcm, got .*seg\.nii"):
        write_segmentation(tmp_path / "seg.nii", Scan(save_series("ct", HU)), regions(), "ab")


def test_a_segmentation_needs_a_name_for_each_mask(save_series: SaveSeries, tmp_path: Path) -> None:
    scan = Scan(save_series("ct", HU))
    with pytest.raises(ValueError, match=r"`masks` must have shape \(1, 5, 3, 4\), got \(2, 5, 3"):
        write_segmentation(tmp_path / "seg.dcm", scan, regions(), ["lung"])


def test_a_missing_study_is_reported_without_patient_data(
    save_series: SaveSeries, tmp_path: Path, names_nobody: Callable[[object], None]
) -> None:
    scan = Scan(save_series("ct", HU, StudyInstanceUID=None))
    with pytest.raises(
        InputError, match=r"a DICOM segmentation must repeat .* lack StudyInstanceUID \(5 slices\)"
    ) as caught:
        write_segmentation(tmp_path / "seg.dcm", scan, regions(), ["lung", "bone"])
    names_nobody(str(caught.value).replace(str(scan.path), ""))
    assert not (tmp_path / "seg.dcm").exists()


# Real scans


def test_a_real_series_has_the_right_orientation(real_scans: Path) -> None:
    scan = Scan(real_scans / "dicom-small")
    assert scan.grid.shape == (100, 100, 47)
    assert scan.grid.spacing_mm == pytest.approx((5, 5, 6))
    assert scan.notes == ()
    assert_upright(scan)


def test_a_real_nrrd_has_the_right_orientation(real_scans: Path) -> None:
    scan = Scan(real_scans / "cip" / "ct-64.nrrd")
    assert scan.grid.shape == (64, 64, 79)
    assert scan.grid.spacing_mm == pytest.approx((4.17, 4.17, 3.99), abs=0.01)
    assert_upright(scan)
    mask = Scan(real_scans / "cip" / "wholeLung-64.nrrd")
    assert mask.grid.matches(scan.grid)
    assert scan.voxels()[mask.voxels() > 0].mean() == pytest.approx(-800, abs=80)


def assert_upright(scan: Scan) -> None:
    """Check that bone (the spine) is behind the lungs, and soft tissue below them."""
    hu = scan.voxels()
    assert hu.min() >= -1024
    body = np.argwhere(hu > -300).mean(axis=0)
    assert np.argwhere(hu > 250).mean(axis=0)[1] < body[1]
    depth = hu.shape[2]
    solid = (hu > -300).mean(axis=(0, 1))
    assert solid[: depth // 8].mean() > solid[depth // 3 : depth // 2].mean()
