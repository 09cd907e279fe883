"""Structure sets and segmentations, placed on the slices of a scan."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.sr.coding import Code
from pydicom.uid import DeflatedExplicitVRLittleEndian

from thorax.common.errors import InputError
from thorax.io import Scan
from thorax.io.dicom_objects.read_masks import (
    find_series,
    kind_of,
    open_rois,
    open_series,
    read_on_own_grid,
    read_regions,
)

from ...structure_sets import HEIGHTS_MM, points_mm, save_ct, save_structure_set

SQUARE = [(1.5, 2.5), (5.5, 2.5), (5.5, 7.5), (1.5, 7.5)]
HOLE = [(2.5, 3.5), (4.5, 3.5), (4.5, 5.5), (2.5, 5.5)]


def box(left: int, right: int, top: int, bottom: int) -> NDArray[np.bool_]:
    """Return a slice of `save_ct` with columns ``left..right`` of rows ``top..bottom``."""
    mask = np.zeros((10, 12), dtype=bool)
    mask[top : bottom + 1, left : right + 1] = True
    return mask


WHOLE, EMPTY = box(2, 5, 3, 7), box(0, -1, 0, -1)
RING = WHOLE & ~box(3, 4, 4, 5)


def slices(mask: Scan) -> list[NDArray[np.uint8]]:
    """Label values by slice, shape ``(rows, columns)``, from foot to head, as DICOM has them."""
    return [plane[::-1, ::-1].T for plane in np.moveaxis(mask.voxels(), 2, 0)]


def read(path: Path, scan: Path | Scan, regions: Mapping[str, Sequence[str]] | None = None) -> Scan:
    file = open_rois(path)
    target = scan if isinstance(scan, Scan) else open_series(scan, file)
    return read_regions(file, regions or {"lung": ["Lung"]}, target)


def assert_slices(mask: Scan, expected: Sequence[NDArray[np.bool_]]) -> None:
    for plane, wanted in zip(slices(mask), expected, strict=True):
        np.testing.assert_array_equal(plane > 0, wanted)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    return save_ct(tmp_path / "ct")


@pytest.fixture
def rtss(tmp_path: Path) -> Path:
    return tmp_path / "rtss.dcm"


def test_contours_are_placed_by_their_height(ct: Path, rtss: Path) -> None:
    save_structure_set(
        rtss, {"Lung": [points_mm(SQUARE, 32.5), points_mm(SQUARE, 37.5), points_mm(HOLE, 37.5)]}
    )
    mask = read(rtss, ct)
    assert_slices(mask, [EMPTY, WHOLE, EMPTY, RING])
    assert mask.grid.matches(Scan(ct).grid)
    assert mask.notes == ()
    assert mask.warnings == ("Lung: 1 slice without a contour between others",)


def test_contours_between_slices_belong_to_the_nearest(ct: Path, rtss: Path) -> None:
    heights = (31.0, 33.7, 35.0)
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, height) for height in heights]})
    mask = read(rtss, ct)
    assert_slices(mask, [WHOLE, WHOLE, WHOLE, EMPTY])
    assert mask.warnings == ()


def test_of_planes_closer_than_slices_the_nearest_is_used(ct: Path, rtss: Path) -> None:
    """Contours of two planes are not combined: the even-odd rule would remove both."""
    contours = [points_mm(SQUARE, 30.0), points_mm(SQUARE, 30.8), points_mm(HOLE, 30.8)]
    save_structure_set(rtss, {"Lung": contours})
    assert_slices(read(rtss, ct), [WHOLE, EMPTY, EMPTY, EMPTY])


def test_contours_outside_of_the_scan_are_counted(ct: Path, rtss: Path) -> None:
    beyond = [(8.5, 3.5), (30, 3.5), (30, 5.5), (8.5, 5.5)]
    save_structure_set(
        rtss,
        {
            "Lung": [
                points_mm(SQUARE, 30.0),
                points_mm(beyond, 30.0),
                points_mm(SQUARE, 20.0),
                points_mm(SQUARE, 39.0),
            ]
        },
    )
    mask = read(rtss, ct)
    assert_slices(mask, [WHOLE | box(9, 11, 4, 5), EMPTY, EMPTY, EMPTY])
    assert mask.warnings == (
        "Lung: 2 contours left out, outside of the slices",
        "Lung: 1 contour cut off at the edge of the slices",
    )


def test_open_contours_and_points_are_left_out(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    structure_set = pydicom.dcmread(rtss)
    contours = structure_set.ROIContourSequence[0].ContourSequence
    for kind in ("POINT", "OPEN_PLANAR"):
        contours.append(pydicom.Dataset())
        contours[-1].ContourGeometricType = kind
        contours[-1].ContourData = points_mm([(8, 8)], 32.5)
    structure_set.save_as(rtss)
    mask = read(rtss, ct)
    assert_slices(mask, [WHOLE, EMPTY, EMPTY, EMPTY])
    assert mask.notes == ("Lung: open contours and points left out: 2",)


def test_a_repeated_contour_is_no_hole(ct: Path, rtss: Path) -> None:
    """Also if it begins elsewhere, turns the other way, or repeats its first point."""
    others = [SQUARE[2:] + SQUARE[:2], SQUARE[::-1], [*SQUARE, SQUARE[0]]]
    contours = [points_mm(points, 30.0) for points in (SQUARE, HOLE, *others, HOLE)]
    save_structure_set(rtss, {"Lung": contours})
    mask = read(rtss, ct)
    assert_slices(mask, [RING, EMPTY, EMPTY, EMPTY])
    assert mask.notes == ("Lung: repeated contours left out: 4",)


@pytest.mark.parametrize("is_absent", [False, True])
def test_a_contour_without_points_is_ignored(ct: Path, rtss: Path, is_absent: bool) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0), []]})
    if is_absent:
        structure_set = pydicom.dcmread(rtss)
        del structure_set.ROIContourSequence[0].ContourSequence[1].ContourData
        structure_set.save_as(rtss)
    mask = read(rtss, ct)
    assert_slices(mask, [WHOLE, EMPTY, EMPTY, EMPTY])
    assert mask.notes == mask.warnings == ()


def test_contours_padded_with_nul(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    structure_set = pydicom.dcmread(rtss)
    contour = structure_set.ROIContourSequence[0].ContourSequence[0]
    text = "\\".join(map(str, contour.ContourData)).encode()
    tag = pydicom.tag.Tag("ContourData")
    text += b"\0" * (2 - len(text) % 2)
    contour[tag] = RawDataElement(tag, "DS", len(text), text, 0, True, True)
    structure_set.save_as(rtss)
    assert_slices(read(rtss, ct), [WHOLE, EMPTY, EMPTY, EMPTY])


def test_overlapping_contours_are_reported(ct: Path, rtss: Path) -> None:
    """A hole, a neighbour with a common border, and contours elsewhere do not overlap."""
    neighbour = [(x + 4, y) for x, y in SQUARE]
    separate = [(2, 1), (5, 1), (5, 2), (2, 2)]
    shifted = [(x + 2, y) for x, y in SQUARE]
    contours = [points_mm(points, 30.0) for points in (SQUARE, HOLE, neighbour, separate)]
    contours += [points_mm(points, 32.5) for points in (SQUARE, shifted)]
    save_structure_set(rtss, {"Lung": contours})
    mask = read(rtss, ct)
    assert_slices(
        mask, [RING | box(6, 9, 3, 7) | box(2, 5, 1, 2), WHOLE ^ box(4, 7, 3, 7)] + [EMPTY] * 2
    )
    assert mask.warnings == (
        "Lung: contours overlap on 1 slice; what they have in common was read as a hole",
    )


def test_a_tilted_series(tmp_path: Path, rtss: Path) -> None:
    """Each slice is 0.8 mm, one row, further back than the one below."""
    ct = save_ct(tmp_path / "tilted", shift_mm=0.8)
    contours = [points_mm(SQUARE, height, 0.8 * k) for k, height in enumerate(HEIGHTS_MM)]
    save_structure_set(rtss, {"Lung": contours})
    assert_slices(read(rtss, ct), [WHOLE] * 4)


def test_slices_at_uneven_distances_have_their_own_positions(tmp_path: Path, rtss: Path) -> None:
    """A slice is missing: positions by the affine would be wrong above the gap."""
    heights = (30.0, 32.5, 35.0, 37.5, 40.0, 45.0, 47.5, 50.0, 52.5, 55.0, 57.5)
    ct = save_ct(tmp_path / "gap", heights_mm=heights)
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 45.0), points_mm(SQUARE, 57.5)]})
    expected = [EMPTY] * 11
    expected[5] = expected[10] = WHOLE
    assert_slices(read(rtss, ct), expected)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_contours_on_a_volume_in_any_axis_order(
    tmp_path: Path, rtss: Path, axes: tuple[int, int, int]
) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 32.5), points_mm(HOLE, 32.5)]})
    # Columns run to the left, rows to the back.
    affine = np.diag([-0.7, -0.8, 2.5, 1.0])
    affine[:3, 3] = 4.0, 20.0, 30.0
    moved = affine[:, [*axes, 3]]
    shape = tuple(np.array((12, 10, 4))[[*axes]])
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.int16), moved), tmp_path / "ct.nii")
    mask = read(rtss, Scan(tmp_path / "ct.nii"))
    assert_slices(mask, [EMPTY, RING, EMPTY, EMPTY])
    np.testing.assert_allclose(mask.stored_affine, moved)


def test_regions_may_overlap(ct: Path, rtss: Path) -> None:
    save_structure_set(
        rtss,
        {
            "Lung_L": [points_mm(SQUARE, 30.0)],
            "Lung_R": [points_mm([(7.5, 2.5), (9.5, 2.5), (9.5, 4.5), (7.5, 4.5)], 30.0)],
            "Lesion": [points_mm(HOLE, 30.0)],
        },
    )
    mask = read(rtss, ct, {"lung": ["Lung_L", "Lung_R"], "infection": ["Lesion"]})
    expected = 1 * (WHOLE | box(8, 9, 3, 4)) + 2 * box(3, 4, 4, 5)
    np.testing.assert_array_equal(slices(mask)[0], expected)


@pytest.mark.parametrize("text", ["Lung, left", "LUNG, LEFT", "2"])
def test_a_region_of_interest_is_found_by_name_or_number(ct: Path, rtss: Path, text: str) -> None:
    save_structure_set(rtss, {"2b": [], "Lung, left": [points_mm(SQUARE, 30.0)]})
    names = text.split(",") if text == "Lung, left" else [text]
    assert_slices(read(rtss, ct, {"lung": names}), [WHOLE, EMPTY, EMPTY, EMPTY])


def test_an_exact_name_comes_before_one_in_another_case(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"lung": [points_mm(HOLE, 30.0)], "Lung": [points_mm(SQUARE, 30.0)]})
    assert_slices(read(rtss, ct), [WHOLE, EMPTY, EMPTY, EMPTY])
    with pytest.raises(InputError, match=r"has 2 named 'LUNG'; name one by its number, 1 and 2"):
        read(rtss, ct, {"lung": ["LUNG"]})


def test_a_missing_name_is_an_error_that_lists_the_names(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"Lung_L": [points_mm(SQUARE, 30.0)], "Heart": []})
    with pytest.raises(InputError, match=r"no region of interest 'Lung' in .* it has 'Lung_L' and"):
        read(rtss, ct)


def test_contours_of_another_direction_are_refused(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"Lung": [[0, 0, 30, 5, 0, 30, 5, 0, 40, 0, 0, 40]]})
    with pytest.raises(InputError, match=r"at an angle of 90° to those of"):
        read(rtss, ct)


@pytest.mark.parametrize(
    ("rois", "message"),
    [
        ({"Lung": []}, "must have closed contours"),
        ({"Lung": [[1.0, 2.0]]}, "the contours of .* cannot be read"),
    ],
)
def test_damaged_structure_sets(
    rtss: Path, rois: dict[str, list[list[float]]], message: str
) -> None:
    save_structure_set(rtss, rois)
    with pytest.raises(InputError, match=message):
        open_rois(rtss)


def test_the_referenced_series_is_read(tmp_path: Path, rtss: Path) -> None:
    save_ct(tmp_path / "patient" / "thin", heights_mm=np.arange(30, 35, 0.5).tolist())
    for path in (tmp_path / "patient" / "thin").iterdir():
        other = pydicom.dcmread(path)
        other.SeriesInstanceUID, other.SeriesNumber = "1.2.3.5", 5
        other.save_as(path)
    save_ct(tmp_path / "patient" / "thick")
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    scan = open_series(tmp_path / "patient", open_rois(rtss))
    assert scan.grid.shape == (12, 10, 4)
    assert not [warning for warning in scan.warnings if "refer to" in warning]


@pytest.mark.parametrize("modality", ["PT", "CT"])
def test_of_several_referenced_series_the_best_is_read(
    tmp_path: Path, rtss: Path, modality: str
) -> None:
    """The other one comes first by its identifier."""
    save_ct(tmp_path / "patient" / "ct")
    other = {"SeriesInstanceUID": "1.2.3.1", "SeriesNumber": 5, "Modality": modality}
    save_ct(tmp_path / "patient" / "other", heights_mm=(30.0, 36.0), **other)
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 32.5)]})
    structure_set = pydicom.dcmread(rtss)
    study = structure_set.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence.append(pydicom.Dataset())
    study.RTReferencedSeriesSequence[1].SeriesInstanceUID = "1.2.3.1"
    structure_set.save_as(rtss)
    mask = read(rtss, tmp_path / "patient")
    assert_slices(mask, [EMPTY, WHOLE, EMPTY, EMPTY])
    assert not [warning for warning in mask.warnings if "refer to" in warning]


def test_a_missing_series_is_replaced_with_a_warning(tmp_path: Path, rtss: Path) -> None:
    ct = save_ct(tmp_path / "ct", SeriesInstanceUID="1.2.99")
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    mask = read(rtss, ct)
    assert mask.warnings[0].startswith("the series that the contours or segments refer to is not")


def test_kinds_of_files(ct: Path, rtss: Path, tmp_path: Path) -> None:
    save_structure_set(rtss, {"Lung": []})
    (tmp_path / "notes.txt").write_text("no DICOM")
    assert kind_of(rtss) == "RTSTRUCT"
    assert kind_of(next(ct.iterdir())) == "CT"
    assert kind_of(tmp_path / "notes.txt") == ""
    assert find_series(ct) in set(ct.iterdir())
    assert find_series(tmp_path) is None
    with pytest.raises(InputError, match="must be a DICOM structure set or segmentation"):
        open_rois(next(ct.iterdir()))


# Segmentations


SEGMENTS = {"Lung": WHOLE, "Lesion": box(3, 4, 4, 5)}


def save_segmentation(
    path: Path, ct: Path, kind: str = "BINARY", *, value: float = 1.0, empty: tuple[int, ...] = ()
) -> Path:
    """Write `SEGMENTS` on all slices but the empty ones, with highdicom."""
    sources = sorted(map(pydicom.dcmread, ct.iterdir()), key=lambda s: s.ImagePositionPatient[2])
    frames = np.zeros((len(sources), 10, 12, 2), float)
    for index, mask in enumerate(SEGMENTS.values()):
        frames[..., index] = mask * value
    frames[[*empty]] = 0
    for source in sources:
        source.SliceThickness = 2.5
    organ = Code("91772007", "SCT", "Organ")
    segmentation = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=frames if kind == "FRACTIONAL" else frames.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(number, name, organ, organ, "MANUAL")
            for number, name in enumerate(SEGMENTS, start=1)
        ],
        series_instance_uid="1.2.3.9",
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)
    return path


REGIONS = {"lung": ["Lung"], "infection": ["lesion"]}
NESTED = 1 * WHOLE + 2 * box(3, 4, 4, 5)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("BINARY", 1, NESTED), ("FRACTIONAL", 0.6, NESTED), ("FRACTIONAL", 0.4, 0 * NESTED)],
)
def test_segments_are_placed_by_the_positions_of_their_frames(
    ct: Path, tmp_path: Path, kind: str, value: float, expected: NDArray[np.int64]
) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct, kind, value=value, empty=(2,))
    mask = read(path, ct, REGIONS)
    for index, plane in enumerate(slices(mask)):
        np.testing.assert_array_equal(plane, expected if index != 2 else 0 * expected)
    assert kind_of(path) == "SEG"
    assert mask.warnings == ()
    assert bool(mask.notes) == (kind == "FRACTIONAL")


def test_segments_on_a_volume(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    scan = Scan(ct)
    nibabel.save(nibabel.Nifti1Image(scan.voxels(), scan.affine), tmp_path / "ct.nii")
    for plane in slices(read(path, Scan(tmp_path / "ct.nii"), REGIONS)):
        np.testing.assert_array_equal(plane, NESTED)


def test_frames_outside_of_the_scan_are_counted(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    short = save_ct(tmp_path / "short", heights_mm=HEIGHTS_MM[:3])
    mask = read(path, short, {"lung": ["Lung"]})
    assert_slices(mask, [WHOLE] * 3)
    assert mask.warnings == (
        f"more slices of the same series are in {ct}; name the folder above to read them as one "
        "scan",
        "Lung: 1 frame left out, outside of the slices",
    )


THIN_MM = (30.0, 31.0, 32.0, 33.0, 34.0, 35.0)


def test_frames_between_thicker_slices_do_not_enlarge_the_mask(tmp_path: Path) -> None:
    """Frames of 31 and 34 mm are nearest to 30 and 35 mm, which have empty frames of their own."""
    thin = save_ct(tmp_path / "thin", heights_mm=THIN_MM)
    thick = save_ct(tmp_path / "thick", heights_mm=(30.0, 35.0))
    path = save_segmentation(tmp_path / "seg.dcm", thin, empty=(0, 2, 3, 5))
    mask = read(path, thick)
    assert_slices(mask, [EMPTY, EMPTY])
    assert mask.notes == ("Lung: 2 frames left out, between the slices",)
    path = save_segmentation(tmp_path / "seg.dcm", thin, empty=(1, 2, 3, 4, 5))
    assert_slices(read(path, thick), [WHOLE, EMPTY])


def test_slices_without_a_frame_are_stated(tmp_path: Path) -> None:
    thin = save_ct(tmp_path / "thin", heights_mm=THIN_MM)
    thick = save_ct(tmp_path / "thick", heights_mm=(30.0, 32.5, 35.0))
    mask = read(save_segmentation(tmp_path / "seg.dcm", thick), thin)
    assert_slices(mask, [WHOLE, EMPTY, WHOLE, EMPTY, EMPTY, WHOLE])
    assert mask.warnings[-1] == (
        "Lung: its frames are 2.5 mm apart, but slices 1 mm: slices between frames are empty"
    )


def test_segments_of_another_pixel_size_are_refused(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    other = save_ct(tmp_path / "other", PixelSpacing=[0.4, 0.35])
    with pytest.raises(InputError, match="a segmentation must have the pixels of its scan"):
        read(path, other, REGIONS)
    affine = Scan(ct).affine.copy()
    affine[0, 3] += 0.3
    shifted = nibabel.Nifti1Image(np.zeros((12, 10, 4), np.int16), affine)
    nibabel.save(shifted, tmp_path / "shifted.nii")
    with pytest.raises(InputError, match="have another size, direction or position"):
        read(path, Scan(tmp_path / "shifted.nii"), REGIONS)


def test_segmentations_have_a_grid_of_their_own(ct: Path, tmp_path: Path) -> None:
    """The frames of both are on the grid, also where one of them is empty."""
    files = [
        open_rois(save_segmentation(tmp_path / f"{index}.dcm", ct, empty=empty))
        for index, empty in enumerate([(0, 2), (3,)])
    ]
    first, second = read_on_own_grid(files, [{"a": ["Lung"]}, {"a": ["Lesion"]}])
    assert_slices(first, [EMPTY, WHOLE, EMPTY, WHOLE])
    assert_slices(second, [box(3, 4, 4, 5)] * 3 + [EMPTY])
    assert first.grid.matches(Scan(ct).grid)
    assert second.grid.matches(first.grid)


def save_measures(path: Path, **measures: float | None) -> None:
    """Change attributes of the pixel measures of a segmentation; None removes one."""
    segmentation = pydicom.dcmread(path)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for name, value in measures.items():
        setattr(shared.PixelMeasuresSequence[0], name, value)
        if value is None:
            delattr(shared.PixelMeasuresSequence[0], name)
    segmentation.save_as(path)


def test_a_distance_of_frames_with_a_sign(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    save_measures(path, SpacingBetweenSlices=-2.5)
    (mask,) = read_on_own_grid([open_rois(path)], [{"a": ["Lung"]}])
    assert mask.grid.matches(Scan(ct).grid)


def test_a_single_frame_is_as_thick_as_its_slice(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct, empty=(0, 1, 3))
    save_measures(path, SpacingBetweenSlices=None, SliceThickness=4.0)
    (mask,) = read_on_own_grid([open_rois(path)], [{"a": ["Lung"]}])
    assert mask.grid.shape == (12, 10, 1)
    assert mask.spacing_mm == pytest.approx((0.7, 0.8, 4.0))


def test_contours_have_no_grid_of_their_own(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    with pytest.raises(
        InputError, match=r"contours need the grid of their scan, but .* give --scan"
    ):
        read_on_own_grid([open_rois(rtss)], [{"a": ["Lung"]}])


def test_a_damaged_segmentation(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    damaged = pydicom.dcmread(path)
    del damaged.SharedFunctionalGroupsSequence
    damaged.save_as(path)
    with pytest.raises(InputError, match=r"the segments of .* cannot be read: their names"):
        open_rois(path)


def save_random_segments(path: Path, ct: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Write random segments with the headers of `save_segmentation`; pixels are packed here.

    Returns:
        Frames of both segments, shape ``(2, slices, rows, columns)``, as highdicom orders them:
        from head to foot.
    """
    save_segmentation(path, ct)
    segmentation = pydicom.dcmread(path)
    frames = np.random.default_rng(0).integers(0, 2, (2, 4, *shape)).astype(np.uint8)
    segmentation.Rows, segmentation.Columns = shape
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    segmentation.PixelData = packed + b"\0" * (len(packed) % 2)
    segmentation.save_as(path)
    return frames


@pytest.mark.parametrize("shape", [(9, 11), (5, 7), (10, 12), (1, 3)])
def test_frames_that_begin_within_a_byte(ct: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    frames = save_random_segments(tmp_path / "seg.dcm", ct, shape)
    other = save_ct(tmp_path / "other", hu=np.full((4, *shape), 40))
    mask = read(tmp_path / "seg.dcm", other, REGIONS)
    np.testing.assert_array_equal(slices(mask)[::-1], frames[0] + 2 * frames[1])


@pytest.mark.parametrize("missing", [2, 60, 90])
def test_a_segmentation_that_is_cut_short(ct: Path, tmp_path: Path, missing: int) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    segmentation = pydicom.dcmread(path)
    segmentation.PixelData = segmentation.PixelData[:-missing]
    segmentation.save_as(path)
    save_segmentation(tmp_path / "cut.dcm", ct)
    content = (tmp_path / "cut.dcm").read_bytes()
    end = content.index(pydicom.dcmread(tmp_path / "cut.dcm").PixelData) + 120
    (tmp_path / "cut.dcm").write_bytes(content[: end - missing])
    for file in (path, tmp_path / "cut.dcm"):
        with pytest.raises(InputError, match=r"the pixels of .* cannot be read: the file is cut"):
            read(file, ct, REGIONS)


def deflate(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, implicit_vr=False)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_deflated_segmentation(ct: Path, tmp_path: Path, kind: str) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct, kind)
    deflate(path)
    assert kind_of(path) == "SEG"
    np.testing.assert_array_equal(slices(read(path, ct, REGIONS)), [NESTED] * 4)


def test_a_deflated_structure_set(ct: Path, rtss: Path) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    deflate(rtss)
    assert_slices(read(rtss, ct), [WHOLE, EMPTY, EMPTY, EMPTY])


def test_a_damaged_deflated_structure_set(rtss: Path) -> None:
    save_structure_set(rtss, {"Lung": [points_mm(SQUARE, 30.0)]})
    deflate(rtss)
    rtss.write_bytes(rtss.read_bytes()[:-40])
    with pytest.raises(InputError, match="must be a DICOM structure set or segmentation"):
        open_rois(rtss)


def test_frames_without_a_position(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    segmentation = pydicom.dcmread(path)
    del segmentation.PerFrameFunctionalGroupsSequence[-1]
    segmentation.save_as(path)
    with pytest.raises(InputError, match=r"the segments of .* positions or sizes are missing"):
        open_rois(path)


def test_frames_of_several_directions(ct: Path, tmp_path: Path) -> None:
    path = save_segmentation(tmp_path / "seg.dcm", ct)
    segmentation = pydicom.dcmread(path)
    for index, group in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        plane = pydicom.Dataset()
        plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if index < 4 else [0, 1, 0, 0, 0, -1]
        group.PlaneOrientationSequence = [plane]
    del segmentation.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    segmentation.save_as(path)
    with pytest.raises(InputError, match="frames of a segmentation must have one direction"):
        open_rois(path)
