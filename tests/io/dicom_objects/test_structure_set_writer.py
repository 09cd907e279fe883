"""Structure sets written by the project."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io import Scan, check_mask_format, write_dicom_masks
from thorax.io.dicom_objects.read_masks import open_rois, read_regions

from ...structure_sets import HEIGHTS_MM, save_ct

VALIDATOR = shutil.which("dciodvfy")


def ring() -> NDArray[np.bool_]:
    """Return a ring with an island, and a pixel that touches it at a corner; rows, columns."""
    mask = np.zeros((10, 12), dtype=bool)
    mask[1:8, 2:9] = True
    mask[2:7, 3:8] = False
    mask[4, 5] = True
    mask[8, 9] = True
    return mask


def stored_masks(scan: Scan) -> NDArray[np.bool_]:
    """Return canonical planes of two regions: the ring in slices 1 and 3, and an L in slice 0."""
    masks = np.zeros((2, 4, 10, 12), dtype=bool)
    masks[0, [1, 3]] = ring()
    masks[1, 0, 2:6, 3:5] = masks[1, 0, 5, 3:9] = True
    return canonical(masks)


def canonical(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Turn slices of rows and columns to planes of x and y."""
    return masks.transpose(0, 1, 3, 2)[:, :, ::-1, ::-1]


@pytest.mark.parametrize("shift_mm", [0.0, 0.9], ids=["straight", "tilted"])
def test_masks_are_read_back_unchanged(tmp_path: Path, shift_mm: float) -> None:
    scan = Scan(save_ct(tmp_path / "ct", shift_mm=shift_mm))
    masks = stored_masks(scan)
    path = tmp_path / "mask.rtss.dcm"
    write_dicom_masks(path, scan, masks, ["lung", "infection"])
    read = read_regions(open_rois(path), {"a": ["lung"], "b": ["infection"]}, scan)
    np.testing.assert_array_equal(np.moveaxis(read.voxels(), 2, 0), masks[0] * 1 + masks[1] * 2)
    assert read.warnings == ("lung: 1 slice without a contour between others",)


def test_contours_and_references(tmp_path: Path) -> None:
    ct = save_ct(tmp_path / "ct")
    scan = Scan(ct)
    pixel = np.zeros((1, 4, 10, 12), dtype=bool)
    pixel[0, 2, 3, 5] = True
    write_dicom_masks(tmp_path / "a.rtss.dcm", scan, canonical(pixel), ["lung"])
    header = pydicom.dcmread(tmp_path / "a.rtss.dcm")
    (contour,) = header.ROIContourSequence[0].ContourSequence
    assert contour.ContourGeometricType == "CLOSED_PLANAR"
    assert contour.NumberOfContourPoints == 4
    corners = np.array(contour.ContourData, float).reshape(-1, 3)
    # The pixel in column 5 and row 3, with 0.02 pixels less on each side.
    assert corners.min(axis=0) == pytest.approx([-4 + 0.7 * 4.52, -20 + 0.8 * 2.52, 35.0])
    assert corners.max(axis=0) == pytest.approx([-4 + 0.7 * 5.48, -20 + 0.8 * 3.48, 35.0])
    slices = {s.SOPInstanceUID: s for s in map(pydicom.dcmread, ct.iterdir())}
    source = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
    assert source.ImagePositionPatient[2] == HEIGHTS_MM[2]
    series = header.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    (series,) = series.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.3.4"
    images = {item.ReferencedSOPInstanceUID for item in series.ContourImageSequence}
    assert images == set(slices)
    assert header.PatientID == "4711-X", "the standard demands the patient of the series"
    assert header.FrameOfReferenceUID == "1.2.4"
    assert header.SeriesInstanceUID != "1.2.3.4"


def test_a_hole_is_a_keyhole(tmp_path: Path) -> None:
    scan = Scan(save_ct(tmp_path / "ct"))
    write_dicom_masks(tmp_path / "a.rtss.dcm", scan, stored_masks(scan)[:1], ["lung"])
    header = pydicom.dcmread(tmp_path / "a.rtss.dcm")
    contours = header.ROIContourSequence[0].ContourSequence
    # The ring, its island, and the pixel at its corner, on two slices.
    assert len(contours) == 6


def test_an_empty_region_has_no_contours(tmp_path: Path) -> None:
    scan = Scan(save_ct(tmp_path / "ct"))
    masks = stored_masks(scan)
    masks[1] = False
    write_dicom_masks(tmp_path / "a.rtss.dcm", scan, masks, ["lung", "infection"])
    header = pydicom.dcmread(tmp_path / "a.rtss.dcm")
    assert [roi.ROIName for roi in header.StructureSetROISequence] == ["lung", "infection"]
    assert "ContourSequence" not in header.ROIContourSequence[1]
    types = [item.RTROIInterpretedType for item in header.RTROIObservationsSequence]
    assert types == ["ORGAN", ""]


def test_a_scan_without_identifiers_is_refused_without_patient_data(
    tmp_path: Path, names_nobody: Callable[[object], None]
) -> None:
    scan = Scan(save_ct(tmp_path / "ct", FrameOfReferenceUID=None))
    with pytest.raises(InputError, match=r"lack FrameOfReferenceUID \(4 slices\)") as caught:
        check_mask_format(tmp_path / "a.rtss.dcm", scan)
    names_nobody(caught.value)
    check_mask_format(tmp_path / "a.nii.gz", scan)


def test_slices_with_one_identifier_are_refused(tmp_path: Path) -> None:
    scan = Scan(save_ct(tmp_path / "ct", SOPInstanceUID="1.2.3.4.5"))
    with pytest.raises(InputError, match=r"a different SOPInstanceUID in each slice, but 4 slices"):
        check_mask_format(tmp_path / "a.dcm", scan)


@pytest.mark.skipif(not VALIDATOR, reason="dciodvfy of dicom3tools is not installed")
@pytest.mark.parametrize(
    ("name", "all_frames"), [("a.rtss.dcm", False), ("a.dcm", False), ("a.dcm", True)]
)
def test_a_validator_has_no_remarks(tmp_path: Path, name: str, all_frames: bool) -> None:
    ct = save_ct(tmp_path / "ct", SliceThickness=2.5, PositionReferenceIndicator="")
    scan = Scan(ct)
    write_dicom_masks(
        tmp_path / name, scan, stored_masks(scan), ["lung", "infection"], all_frames=all_frames
    )
    result = subprocess.run(
        [str(VALIDATOR), str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    assert lines == ["RTStructureSet" if "rtss" in name else "Segmentation"]


@pytest.mark.parametrize("name", ["mask.rtss.dcm", "mask.dcm"])
@pytest.mark.parametrize(
    ("encoding", "patient"),
    [("ISO_IR 100", "M\u00fcller^Jo"), ("ISO_IR 144", "\u0418\u0432\u0430\u043d"), (None, "DOE")],
)
def test_names_in_any_script(tmp_path: Path, name: str, encoding: str | None, patient: str) -> None:
    """Also if the encoding of the series lacks them; the name of the patient stays."""
    texts = ["\u80ba", "\u611f\u67d3", "L\u00e4sion"]
    tags = {"SpecificCharacterSet": encoding} if encoding else {}
    scan = Scan(save_ct(tmp_path / "ct", **tags, PatientName=patient))
    masks = canonical(np.ones((3, 4, 10, 12), dtype=bool))
    write_dicom_masks(tmp_path / name, scan, masks, texts)
    assert [roi.name for roi in open_rois(tmp_path / name).names] == texts
    assert pydicom.dcmread(tmp_path / name).PatientName == patient
