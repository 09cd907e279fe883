"""DICOM series as in public bug reports: all slices are read, or the reason is named.

Each test starts with the reports. Every slice of `HU` has its own values, so that a lost, repeated
or exchanged slice changes the voxels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from thorax.common.errors import InputError
from thorax.io import Scan

from ..io.conftest import enhanced

SaveSeries = Callable[..., Path]
HU = (np.arange(3 * 4 * 20) * 8 - 1000).astype(np.int16).reshape(3, 4, 20)


def add(folder: Path, source: Path, name: str) -> None:
    """Move the files of another folder into a folder."""
    for path in source.iterdir():
        path.rename(folder / f"{name}-{path.name}")


# Identity: pytrip#292, highdicom#41, rt-utils#122


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["the same", "empty", "a word", "pairs"])
def test_slices_with_one_sop_instance_uid_are_not_copies(save_series: SaveSeries, uid: str) -> None:
    """pytrip#292, highdicom#41, rt-utils#122: anonymisers write equal or empty UIDs."""
    uids = {"the same": "1.2.3.4.5", "empty": "", "a word": "ANONYMIZED"}

    def change(index: int, header: pydicom.Dataset) -> None:
        header.SOPInstanceUID = uids.get(uid, f"1.2.3.4.{index // 2}")

    scan = Scan(save_series("ct", HU, change=change))
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert (scan.warnings, scan.notes) == ((), ())


# Acquisitions: monai-deploy-app-sdk#535, rt-utils#122, Slicer#4872


@pytest.mark.parametrize(("shared", "added"), [(1, 2), (3, 0), (3, 2)])
def test_acquisitions_that_share_positions_are_one_volume(
    save_series: SaveSeries, shared: int, added: int
) -> None:
    """monai-deploy-app-sdk#535: two acquisitions of one series overlap by a few slices."""
    first, last = 10, 10 + shared

    def number(index: int, header: pydicom.Dataset) -> None:
        header.AcquisitionNumber = 2 if index < first else 3

    def again(index: int, header: pydicom.Dataset) -> bool:
        header.AcquisitionNumber = 2
        return first <= index < last

    folder = save_series("ct", HU, change=number)
    add(folder, save_series("overlap", HU + added, change=again), "again")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels()[:, :, :first], HU[:, :, :first])
    np.testing.assert_allclose(scan.voxels(), HU, atol=added)
    if added:
        assert scan.warnings == (
            f"{shared} more slices of the series repeat one of its 20 positions with other "
            "pixels; the first slice of each position was read",
        )
    else:
        assert (scan.warnings, scan.notes) == ((), (f"copies of slices left out: {shared}",))


@pytest.mark.parametrize("copied", [[3, 12], list(range(20))], ids=["two", "all"])
def test_slices_sent_again_with_new_uids_are_copies(
    save_series: SaveSeries, copied: list[int]
) -> None:
    """rt-utils#122: an archive sends slices again, with a new UID but the same pixels."""
    folder = save_series("ct", HU)
    add(folder, save_series("again", HU, change=lambda index, _: index in copied), "again")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert (scan.warnings, scan.notes) == ((), (f"copies of slices left out: {len(copied)}",))


def test_an_acquisition_number_for_each_slice_is_no_separate_volume(
    save_series: SaveSeries,
) -> None:
    """Slicer#4872: scanners in step-and-shoot mode count each slice as an acquisition."""

    def change(index: int, header: pydicom.Dataset) -> None:
        header.AcquisitionNumber = index

    np.testing.assert_array_equal(Scan(save_series("ct", HU, change=change)).voxels(), HU)


def test_phases_are_separate_volumes(save_series: SaveSeries) -> None:
    """Most positions of the phases of a 4D scan coincide: the first is read, and this is noted."""
    folder = save_series("ct", HU, TemporalPositionIdentifier=1)
    for phase in (2, 3):
        add(folder, save_series("p", HU + phase, TemporalPositionIdentifier=phase), str(phase))
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    (note,) = scan.notes
    assert note.startswith("the series has 3 volumes at the same positions")


# Selection: vtk-dicom#98, picai_prep#39, Slicer#5055


def test_the_original_axial_series_is_read_before_longer_reformats(save_series: SaveSeries) -> None:
    """vtk-dicom#98, picai_prep#39: a coronal reformat has more slices than the axial series."""
    folder = save_series("study", HU)
    reformat: dict[str, Any] = {
        "SeriesInstanceUID": "1.9",
        "SeriesNumber": 601,
        "ImageType": ["DERIVED", "SECONDARY", "MPR"],
    }
    longer = np.zeros((3, 4, 50), np.int16)

    def coronal(index: int, header: pydicom.Dataset) -> None:
        header.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        header.ImagePositionPatient = [0, 0.8 * index, 100]

    save_series("study", longer, change=coronal, **reformat)
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.notes == (
        "read series 4 (CT, 20 slices of 3×4, 0.7×0.8×2.5 mm); "
        "left out series 601 (CT, 50 slices of 3×4, 0.7×0.8×0.8 mm)",
    )


def test_a_derived_axial_series_is_read_if_there_is_no_other(save_series: SaveSeries) -> None:
    folder = save_series("study", HU, ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    np.testing.assert_array_equal(Scan(folder).voxels(), HU)


@pytest.mark.parametrize(
    ("sharp", "soft"), [("B70f", "B30f"), ("LUNG", "STANDARD"), ("FC51", "FC13"), ("L", "B")]
)
def test_of_two_kernels_the_soft_one_is_read(
    save_series: SaveSeries, sharp: str, soft: str
) -> None:
    """Slicer#5055: reconstructions for lung and soft tissue in one folder."""
    save_series("study", HU + 1, ConvolutionKernel=sharp, SeriesNumber=3, SeriesInstanceUID="1.9")
    scan = Scan(save_series("study", HU, ConvolutionKernel=soft))
    np.testing.assert_array_equal(scan.voxels(), HU)


@pytest.mark.parametrize("image_type", ["LOCALIZER", "AXIAL"])
def test_a_scout_in_the_series_is_left_out(save_series: SaveSeries, image_type: str) -> None:
    """picai_prep#39: scouts have the UID of the series, and may be labelled as axial."""
    folder = save_series("ct", HU)
    scout = pydicom.dcmread(folder / "4-000.dcm")
    scout.ImageType = ["ORIGINAL", "PRIMARY", image_type]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.save_as(folder / "0-scout.dcm")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ()
    assert "left out series 4 (" in scan.notes[0]


def test_a_dose_page_in_the_series_is_left_out(save_series: SaveSeries) -> None:
    """Slicer#5055: a screenshot of the dose, of the same size, in the same series."""
    folder = save_series("ct", HU)
    page = pydicom.dcmread(folder / "4-000.dcm")
    page.SamplesPerPixel, page.PhotometricInterpretation, page.PlanarConfiguration = 3, "RGB", 0
    page.BitsAllocated, page.BitsStored, page.HighBit, page.PixelData = 8, 8, 7, bytes(36)
    page.save_as(folder / "0-page.dcm")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert "left out series 4 (CT in colour, 1 slice of 3×4" in scan.notes[0]


def test_only_scouts_are_refused(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU[:, :, :1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(InputError, match=r"ct has no CT series: series 4 \(.*\) is a localizer; "):
        Scan(folder)


# Padding: vtk-dicom#173, dcm2niix#262

RING = np.full((8, 8, 2), -800, np.int16)
"""A round field of view: tissue of 40 HU in lung-like -800 HU, and padded corners."""
RING[3:5, 3:5] = 40
CORNERS = np.zeros((8, 8, 2), np.bool_)
CORNERS[[0, 0, 1, 7, 7, 6], [0, 1, 0, 7, 6, 7]] = True


@pytest.mark.parametrize(
    ("stored", "named", "signed"),
    [
        (63536, 63536, False),
        (63536, -2000, False),
        (4095, 4095, False),
        (0, 0, False),
        (-2000, -2000, True),
        (-2000, 63536, True),
    ],
)
def test_padding_that_the_header_names_is_air(
    save_series: SaveSeries, stored: int, named: int, signed: bool
) -> None:
    """vtk-dicom#173, dcm2niix#262: padding outside of the field of view stays bright."""
    kind = np.int16 if signed else np.uint16
    values = np.where(CORNERS, stored, RING.astype(np.int64) + 1024).astype(kind)
    planes = [values[::-1, ::-1, index].T for index in range(2)]

    def change(index: int, header: pydicom.Dataset) -> None:
        header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 15, int(signed)
        header.PixelData = np.ascontiguousarray(planes[index]).tobytes()
        header.add_new(0x00280120, "SS" if named < 0 else "US", named)

    hu = Scan(save_series("ct", RING, change=change)).voxels()
    np.testing.assert_array_equal(hu[~CORNERS], RING[~CORNERS])
    assert hu[CORNERS].max() <= -800


@pytest.mark.parametrize(("named", "corner", "air"), [(63536, 2096, True), (62512, 0, False)])
def test_padding_in_unused_bits_is_air_in_the_corners_only(
    save_series: SaveSeries, named: int, corner: int, *, air: bool
) -> None:
    """Decoders drop the bits above BitsStored: 63536 becomes 2096, and 62512 becomes 1072."""
    values = np.where(CORNERS, named if air else corner, RING.astype(np.int64) + 1024)
    values[3, 0] = 1072
    stored = values.astype(np.uint16)

    def change(index: int, header: pydicom.Dataset) -> None:
        header.PixelData = np.ascontiguousarray(stored[::-1, ::-1, index].T).tobytes()

    hu = Scan(save_series("ct", RING, change=change, PixelPaddingValue=named)).voxels()
    assert (hu[CORNERS] == (-800 if air else -1024)).all()
    assert (hu[3, 0] == 48).all()
    assert (hu[4, 4] == 40).all()


def test_a_range_of_padding_is_air(save_series: SaveSeries) -> None:
    """PS3.3, C.7.5.1.1.2: PixelPaddingRangeLimit is the other end of the range."""
    values = np.where(CORNERS, 4000, RING + 1024)
    values[0, 0], values[7, 7] = 4095, 4050
    tags = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}
    hu = Scan(save_series("ct", values - 1024, **tags)).voxels()
    assert (hu[CORNERS] == -800).all()


def test_metal_with_the_value_of_padding_stays(save_series: SaveSeries) -> None:
    """4095 is padding in the corners and metal inside the patient."""
    values = np.where(CORNERS, 3071, RING)
    values[4, 4] = 3071
    hu = Scan(save_series("ct", values, PixelPaddingValue=4095)).voxels()
    assert (hu[4, 4] == 3071).all()
    assert (hu[CORNERS] == -800).all()


def test_padding_whose_sign_was_lost_is_air_without_a_name(save_series: SaveSeries) -> None:
    """vtk-dicom#173: 63536 is -2000 without its sign; no CT number is above 32767."""
    stored = np.where(CORNERS, 63536, RING.astype(np.int64) + 1024).astype(np.uint16)

    def change(index: int, header: pydicom.Dataset) -> None:
        header.BitsStored, header.HighBit = 16, 15
        header.PixelData = np.ascontiguousarray(stored[::-1, ::-1, index].T).tobytes()

    scan = Scan(save_series("ct", RING, change=change))
    hu = scan.voxels()
    np.testing.assert_array_equal(hu[~CORNERS], RING[~CORNERS])
    assert (hu[CORNERS] == -800).all()
    assert scan.notes == ("voxels above 32,767 HU, which no CT has, were read as air",)


# Positions: dwv#592, Slicer#7496


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_the_missing_attribute_is_named(save_series: SaveSeries, tag: str) -> None:
    """dwv#592: a series without positions."""
    with pytest.raises(InputError, match=rf"states no {tag}; export the series again with these"):
        Scan(save_series("ct", HU, **{tag: None}))


def test_slices_at_one_position_are_refused_with_the_attribute(save_series: SaveSeries) -> None:
    """dwv#592: all slices state the position of the first."""
    reason = "but all 20 state the same ImagePositionPatient; export the series again"
    with pytest.raises(InputError, match=reason):
        Scan(save_series("ct", HU, ImagePositionPatient=[0, 0, 0]))


@pytest.mark.parametrize("index", [0, 7, 19])
def test_a_slice_without_a_position_is_counted(save_series: SaveSeries, index: int) -> None:
    def change(number: int, header: pydicom.Dataset) -> None:
        if number == index:
            del header.ImagePositionPatient

    scan = Scan(save_series("ct", HU, change=change))
    np.testing.assert_array_equal(scan.voxels(), np.delete(HU, index, axis=2))
    assert scan.warnings[0].startswith("1 of 20 slices are missing: ")
    assert "1 slice left out: each states no ImagePositionPatient" in scan.warnings[0]


# Multi-frame files: highdicom#99, Slicer#7496


@pytest.mark.parametrize(
    "parts",
    [
        [list(range(20))],
        [list(range(19, -1, -1))],
        [[3, 1, 0, 2, *range(4, 20)]],
        [list(range(12)), list(range(12, 20))],
        [list(range(0, 20, 2)), list(range(1, 20, 2))],
    ],
    ids=["in order", "head to foot", "mixed", "two files", "alternating files"],
)
def test_multi_frame_files_are_one_volume(
    save_series: SaveSeries, tmp_path: Path, parts: list[list[int]]
) -> None:
    """highdicom#99: frames in any order, in one file or in a concatenation."""
    source = save_series("source", HU)
    for number, order in enumerate(parts):
        enhanced(source, tmp_path / "ct" / f"{number}.dcm", order)
    scan = Scan(tmp_path / "ct")
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert (scan.warnings, scan.notes) == ((), ())


def test_frames_without_positions_are_refused_with_the_attribute(
    save_series: SaveSeries, tmp_path: Path
) -> None:
    """Slicer#7496: frames in a file of the class for single slices."""
    enhanced(save_series("source", HU), tmp_path / "ct" / "a.dcm", [*range(20)], positions=False)
    with pytest.raises(InputError, match="states one ImagePositionPatient for all 20 frames; exp"):
        Scan(tmp_path / "ct")
