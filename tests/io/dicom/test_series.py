"""A DICOM series is read as one volume in HU, also next to other files."""

import locale
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import (
    BasicTextSRStorage,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from thorax.common.errors import InputError
from thorax.io import Scan
from thorax.io.dicom_segmentation import write_segmentation

from ..conftest import enhanced, one_slice

SaveSeries = Callable[..., Path]
Check = Callable[[object], None]

HU = (np.arange(3 * 4 * 5) * 7 - 1000).astype(np.int16).reshape(3, 4, 5)
"""Every voxel has a different value."""
WIDE = (np.arange(40 * 48 * 2) % 4096).reshape(40, 48, 2) - 1000
"""Large enough for JPEG 2000, which halves an image five times."""
AFFINE = [[0.7, 0, 0, -1.4 - 2 * 0.7], [0, 0.8, 0, -1.6 - 3 * 0.8], [0, 0, 2.5, 30], [0, 0, 0, 1]]
"""Affine of the canonical voxels: the first stored pixel is the last along x and y."""


def canonical_affine() -> np.ndarray:
    """Return the affine of canonical voxels: LPS (1.4, 1.6) is the last along x and along y."""
    return np.array(AFFINE)


def test_slices_come_in_the_order_of_their_positions_in_hu(save_series: SaveSeries) -> None:
    scan = Scan(save_series("ct", HU))
    assert scan.grid.shape == (3, 4, 5)
    np.testing.assert_allclose(scan.grid.affine, canonical_affine(), atol=1e-9)
    assert scan.voxels().dtype == np.int16
    np.testing.assert_array_equal(scan.voxels(), HU)
    np.testing.assert_array_equal(scan.planes(1, 3), np.moveaxis(HU, 2, 0)[1:3])
    assert scan.notes == ()


def test_positions_and_values_are_those_of_itk(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    scan = Scan(folder)
    for voxel in [(0, 0, 0), (2, 3, 4), (1, 2, 3)]:
        right, front, head = (scan.grid.affine @ [*voxel, 1])[:3]
        index = image.TransformPhysicalPointToIndex((-right, -front, head))
        assert image[index] == HU[voxel]


@pytest.mark.parametrize(
    ("name", "slices"), [("4-000.dcm", 5), (".", 5), ("..", 5)], ids=["a file", "its folder", "up"]
)
def test_a_series_is_read_from_a_file_its_folder_or_a_folder_above(
    save_series: SaveSeries, name: str, slices: int
) -> None:
    assert Scan(save_series("study/ct", HU) / name).grid.shape[2] == slices


def test_slope_and_intercept_are_those_of_each_slice(save_series: SaveSeries) -> None:
    def change(index: int, slice_: pydicom.Dataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept = 1 + index, -100 * index

    hu = Scan(save_series("ct", HU, change=change)).voxels()
    for index in range(5):
        stored = HU[:, :, index].astype(int) + 1024
        np.testing.assert_array_equal(hu[:, :, index], stored * (1 + index) - 100 * index)


def test_fractional_slopes_give_fractional_hu(save_series: SaveSeries) -> None:
    hu = Scan(save_series("ct", HU, RescaleSlope=0.5, RescaleIntercept=-0.25)).voxels()
    assert hu.dtype == np.float32
    np.testing.assert_allclose(hu, (HU + 1024.0) * 0.5 - 0.25)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=str)
@pytest.mark.parametrize("packed", [False, True])
def test_compressed_pixels_are_read(
    save_series: SaveSeries, zip_folder: Callable[[Path], Path], syntax: str, packed: bool
) -> None:
    folder = save_series("ct", WIDE, change=lambda index, slice_: slice_.compress(syntax))
    written = next(folder.iterdir())
    assert pydicom.dcmread(written).file_meta.TransferSyntaxUID == syntax
    path = zip_folder(folder) if packed else folder
    np.testing.assert_array_equal(Scan(path).voxels(), WIDE)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=str)
def test_an_icon_in_the_header_is_not_taken_for_the_pixels(
    save_series: SaveSeries, syntax: str
) -> None:
    """PS3.3, C.7.6.1.1.6: an icon is at most 64×64, and compressed like the pixels."""

    def change(index: int, slice_: pydicom.Dataset) -> None:
        slice_.compress(syntax)
        icon = one_slice(np.full((32, 32), 9), (0, 0, 0))
        icon.compress(syntax)
        item = pydicom.Dataset()
        for tag in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"):
            item[tag] = icon[tag]
        for tag in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
            item[tag] = icon[tag]
        slice_.IconImageSequence = [item]

    folder = save_series("ct", WIDE, change=change)
    written = pydicom.dcmread(next(folder.iterdir()))
    assert written.IconImageSequence[0].PixelData != written.PixelData
    np.testing.assert_array_equal(Scan(folder).voxels(), WIDE)


@pytest.mark.parametrize("packed", [False, True])
def test_jpeg_lossless_is_read(
    save_series: SaveSeries, zip_folder: Callable[[Path], Path], packed: bool
) -> None:
    """ITK writes it, and leaves the locale of the process at C."""
    folder, before = save_series("ct", WIDE), locale.setlocale(locale.LC_ALL)
    for path in folder.iterdir():
        writer = SimpleITK.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        writer.KeepOriginalImageUIDOn()
        writer.Execute(SimpleITK.ReadImage(str(path)))
        header = pydicom.dcmread(path)
        assert "JPEG Lossless" in header.file_meta.TransferSyntaxUID.name
    locale.setlocale(locale.LC_ALL, before)
    scan = Scan(zip_folder(folder) if packed else folder)
    np.testing.assert_array_equal(scan.voxels(), WIDE)


def test_missing_rescale_values_are_noted(save_series: SaveSeries) -> None:
    scan = Scan(save_series("ct", HU, RescaleIntercept=None))
    np.testing.assert_array_equal(scan.voxels(), HU + 1024)
    (note,) = scan.notes
    assert note.endswith("(RescaleSlope, RescaleIntercept); stored values were read as HU")


def test_rescale_values_that_only_some_slices_lack_are_a_warning(save_series: SaveSeries) -> None:
    def change(index: int, slice_: pydicom.Dataset) -> None:
        if index == 2:
            del slice_.RescaleIntercept

    scan = Scan(save_series("ct", HU, change=change))
    (warning,) = scan.warnings
    assert warning.startswith("1 of 5 slices do not state the conversion to HU")
    assert scan.notes == ()


# Selection of the series


def test_the_longest_ct_series_is_read_and_the_others_are_listed(
    save_series: SaveSeries, names_nobody: Check
) -> None:
    save_series("study", HU[:, :, :2] + 1, SeriesInstanceUID="1.5", SeriesNumber=2)
    save_series("study", HU[:2], SeriesInstanceUID="1.6", SeriesNumber=3, Modality="MR")
    scan = Scan(save_series("study", HU, SeriesDescription="Chest"))
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.notes == (
        "read series 4 `Chest` (CT, 5 slices of 3×4, 0.7×0.8×2.5 mm); left out series 2 (CT, "
        "2 slices of 3×4, 0.7×0.8×2.5 mm) and series 3 (MR, 5 slices of 2×4, 0.7×0.8×2.5 mm)",
    )
    names_nobody(scan.notes)


@pytest.mark.parametrize("series", [2, "2", "1.5"])
def test_a_series_is_selected_by_number_or_uid(save_series: SaveSeries, series: str | int) -> None:
    save_series("study", HU[:, :, :2] + 1, SeriesInstanceUID="1.5", SeriesNumber=2)
    scan = Scan(save_series("study", HU), series=series)
    np.testing.assert_array_equal(scan.voxels(), HU[:, :, :2] + 1)


def test_a_file_selects_its_own_series(save_series: SaveSeries) -> None:
    folder = save_series("study", HU)
    save_series("study", HU[:, :, :2] + 1, SeriesInstanceUID="1.5", SeriesNumber=2)
    np.testing.assert_array_equal(Scan(folder / "2-000.dcm").voxels(), HU[:, :, :2] + 1)


def test_an_unknown_series_is_refused_with_a_list_of_the_others(
    save_series: SaveSeries,
) -> None:
    message = r"there is no DICOM series 9 in .*ct; it has series 4 \(CT, 5 slices of 3×4, "
    with pytest.raises(InputError, match=message):
        Scan(save_series("ct", HU), series=9)


def test_a_scout_in_the_same_series_is_left_out(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU)
    (folder / "4-000.dcm").rename(folder / "first.dcm")
    scout = pydicom.dcmread(folder / "first.dcm")
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.9"
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.save_as(folder / "scout.dcm")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ()
    (note,) = scan.notes
    assert note.endswith("left out series 4 (localizer, 1 slice of 3×4, 0.7×0.8×1 mm)")


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "AcquisitionNumber"])
def test_of_a_4d_series_the_first_volume_is_read(save_series: SaveSeries, tag: str) -> None:
    folder = save_series("ct", HU, **{tag: 1})
    for path in save_series("later", HU + 1, **{tag: 2}).iterdir():
        path.rename(folder / f"0{path.name}")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    (note,) = scan.notes
    assert "2 volumes at the same positions" in note


def test_slices_at_one_position_without_a_separating_tag_are_refused(
    save_series: SaveSeries, names_nobody: Check
) -> None:
    folder = save_series("ct", HU)
    for path in save_series("again", HU[:, :, :2] + 1).iterdir():
        path.rename(folder / f"0{path.name}")
    with pytest.raises(
        InputError, match=r"but 2 have that of another slice with other pixels, the first at 30"
    ) as caught:
        Scan(folder)
    names_nobody(str(caught.value).removeprefix(str(folder)))


def test_copies_of_files_are_left_out(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU)
    (folder / "copy.dcm").write_bytes((folder / "4-000.dcm").read_bytes())
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.notes == ("copies of slices left out: 1",)


# Irregular series


def test_a_tilted_gantry_gives_an_exact_sheared_affine(save_series: SaveSeries) -> None:
    """Slices of direction (1, 0, 0), (0, 1, 0) that move 0.5 mm forward for each 2.5 mm up."""

    def change(index: int, slice_: pydicom.Dataset) -> None:
        slice_.ImagePositionPatient = [1.4, 1.6 - 0.5 * index, 30 + 2.5 * index]

    scan = Scan(save_series("ct", HU, change=change))
    expected = canonical_affine()
    expected[1, 2] = 0.5
    np.testing.assert_allclose(scan.grid.affine, expected, atol=1e-9)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.grid.voxel_ml == pytest.approx(0.7 * 0.8 * 2.5 / 1000)
    (note,) = scan.notes
    assert note.startswith("the gantry was tilted by 11.3°")


def test_a_scan_that_lacks_a_fifth_of_its_slices_is_refused(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU, change=lambda index, slice_: index != 3)
    reason = (
        r"at least 90 % of its slices, but .*ct lacks 1 of 5: slices are missing between 35\.0 and "
        r"40\.0 mm along the slice axis; copy the series again .* or give --allow-incomplete"
    )
    with pytest.raises(InputError, match=reason):
        Scan(folder)
    scan = Scan(folder, allow_incomplete=True)
    assert scan.grid.shape == (3, 4, 4)
    assert scan.grid.spacing_mm[2] == pytest.approx(2.5)
    np.testing.assert_array_equal(scan.voxels(), HU[:, :, [0, 1, 2, 4]])
    missing, assumed = scan.warnings
    assert missing.startswith("1 of 5 slices are missing: slices are missing between 35.0 and 40.0")
    assert assumed.startswith("the slices were assumed to be 2.5 mm apart")


def test_a_tenth_of_the_slices_may_be_missing(save_series: SaveSeries) -> None:
    hu = np.arange(3 * 4 * 10).reshape(3, 4, 10)
    scan = Scan(save_series("ct", hu, change=lambda index, slice_: index != 3))
    assert scan.grid.shape == (3, 4, 9)
    assert scan.warnings[0].startswith("1 of 10 slices are missing")


def test_uneven_slices_are_noted(save_series: SaveSeries) -> None:
    scan = Scan(save_series("ct", HU, heights_mm=[0, 2, 4.2, 6, 8]))
    assert scan.grid.spacing_mm[2] == pytest.approx(2.0)
    assert scan.notes == (
        "the slices are 1.8 to 2.2 mm apart; a constant distance of 2 mm was assumed",
    )


@pytest.mark.parametrize(("thickness", "mm"), [(3, 3.0), (None, 1.0)])
def test_a_single_slice_is_a_scan(
    save_series: SaveSeries, thickness: int | None, mm: float
) -> None:
    tags = {} if thickness is None else {"SliceThickness": thickness}
    scan = Scan(save_series("ct", HU[:, :, :1], **tags))
    assert scan.grid.spacing_mm == pytest.approx((0.7, 0.8, mm))
    assert scan.notes[0].startswith(
        f"the series has a single slice; its thickness was set to {mm:g} mm"
    )


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ({"ImagePositionPatient": None}, "states no ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "states no ImageOrientationPatient"),
        ({"Modality": "MR"}, "is of modality MR"),
        ({"ImageType": ["DERIVED", "SECONDARY", "LOCALIZER"]}, "is a localizer"),
        (
            {"SamplesPerPixel": 3, "PixelData": bytes(36), "BitsAllocated": 8},
            "is in colour, as a screenshot is",
        ),
    ],
)
def test_a_series_that_is_not_a_ct_volume_is_refused_with_the_reason(
    save_series: SaveSeries, tags: dict[str, object], fault: str
) -> None:
    with pytest.raises(
        InputError, match=rf"ct has no CT series: series 4 \(.*\) {fault}; (give|export)"
    ):
        Scan(save_series("ct", HU, **tags))


def test_other_files_next_to_the_series_are_skipped(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU)
    (folder / "README.txt").write_text("hello")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "noise.dcm").write_bytes(np.random.default_rng(0).bytes(999))
    (folder / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\2\0")
    scan = Scan(folder, allow_incomplete=True)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ("1 of 6 slices are missing: 1 file left out with a damaged header",)
    assert scan.notes == ()


def test_a_report_next_to_the_series_is_noted(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU)
    report = pydicom.dcmread(folder / "4-000.dcm")
    report.Modality, report.SOPClassUID = "SR", BasicTextSRStorage
    for tag in ("Rows", "Columns", "PixelData"):
        del report[tag]
    report.save_as(folder / "report.dcm")
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ()
    assert scan.notes == ("DICOM files without an image, such as reports, left out: 1",)


@pytest.mark.parametrize("padded", [0, 1, 12], ids=["no", "some", "all"])
def test_unsigned_values_of_16_bits_are_kept_in_16_bits(
    save_series: SaveSeries, padded: int
) -> None:
    """So that a scan is decoded once: only 16 bits are cached. 65535 is padding or -1."""

    def change(index: int, slice_: pydicom.Dataset) -> None:
        slice_.BitsStored, slice_.HighBit = 16, 15
        stored = slice_.pixel_array.copy()
        stored.flat[:padded] = 65535
        slice_.PixelData = stored.tobytes()

    voxels = Scan(save_series("ct", HU, change=change)).voxels()
    assert voxels.dtype == np.int16
    stored_order = voxels[::-1, ::-1].transpose(2, 1, 0).reshape(5, 12)
    expected = HU[::-1, ::-1].transpose(2, 1, 0).reshape(5, 12)
    np.testing.assert_array_equal(stored_order[:, padded:], expected[:, padded:])
    air = expected[:, padded:].min(axis=1) if padded < 12 else np.full(5, -1024)
    assert (stored_order[:, :padded] == air[:, None]).all()


def test_unsigned_values_without_a_conversion_to_hu_are_not_cut(save_series: SaveSeries) -> None:
    def change(index: int, slice_: pydicom.Dataset) -> None:
        slice_.BitsStored, slice_.HighBit = 16, 15
        slice_.PixelData = np.full((4, 3), 65000, np.uint16).tobytes()
        del slice_.RescaleIntercept

    assert (Scan(save_series("ct", HU, change=change)).voxels() == 65000).all()


@pytest.mark.parametrize("unit", ["HU", "hu ", "US", "", None])
def test_values_in_hu_or_without_a_unit_are_not_reported(
    save_series: SaveSeries, unit: str | None
) -> None:
    tags = {} if unit is None else {"RescaleType": unit}
    assert Scan(save_series("ct", HU, **tags)).warnings == ()


@pytest.mark.parametrize(
    ("unit", "named"), [("MGML", "MGML"), ("HU_MOD", "HU_MOD"), ("DOE^JOHN", "unknown")]
)
@pytest.mark.parametrize("multi_frame", [False, True])
def test_values_in_another_unit_are_reported(
    save_series: SaveSeries, tmp_path: Path, unit: str, named: str, *, multi_frame: bool
) -> None:
    path = save_series("ct", HU, RescaleType=unit)
    if multi_frame:
        enhanced(path, tmp_path / "enhanced_ct.dcm", [0, 1, 2, 3, 4])
        path = tmp_path / "enhanced_ct.dcm"
        header = pydicom.dcmread(path)
        del header.RescaleType
        groups = header.SharedFunctionalGroupsSequence[0]
        groups.PixelValueTransformationSequence[0].RescaleType = unit
        header.save_as(path)
    assert Scan(path).warnings == (
        f"the header states another unit than HU (RescaleType {named}), but the values were read "
        "as HU: give a series in HU",
    )


@pytest.mark.parametrize("named", ["damaged.dcm", "report.dcm"])
def test_another_series_is_not_read_for_a_named_file_without_an_image(
    save_series: SaveSeries, named: str
) -> None:
    folder = save_series("ct", HU)
    (folder / "damaged.dcm").write_bytes(bytes(128) + b"DICM" + b"garbage" * 30)
    report = pydicom.dcmread(folder / "4-000.dcm")
    report.Modality, report.SOPClassUID = "SR", BasicTextSRStorage
    for tag in ("Rows", "Columns", "PixelData"):
        del report[tag]
    report.save_as(folder / "report.dcm")
    with pytest.raises(
        InputError, match=rf"but none can be read in .*{named}; name another file of the series"
    ):
        Scan(folder / named, allow_incomplete=True)
    scan = Scan(folder / named, series=4, allow_incomplete=True)
    np.testing.assert_array_equal(scan.voxels(), HU)


def test_a_file_that_is_cut_short_is_named(save_series: SaveSeries) -> None:
    folder = save_series("ct", HU)
    whole = (folder / "4-003.dcm").read_bytes()
    (folder / "4-003.dcm").write_bytes(whole[:-5])
    scan = Scan(folder)
    with pytest.raises(InputError, match=r"the pixels of .*4-003\.dcm cannot be read: the file is"):
        scan.voxels()


@pytest.mark.parametrize("content", [b"", b"not an image" * 200], ids=["empty", "text"])
def test_a_file_that_is_not_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scan.dcm").write_bytes(content)
    with pytest.raises(InputError, match=r"scan\.dcm is not a DICOM file, or its header is damag"):
        Scan(tmp_path / "scan.dcm")
    with pytest.raises(
        InputError, match=rf"there is no DICOM image in {tmp_path}; give the folder"
    ):
        Scan(tmp_path)


def test_files_without_a_transfer_syntax_are_read(save_series: SaveSeries) -> None:
    """The tag of the first element after the preamble is missing, and with it its group.

    GDCM allocates gigabytes for such a file if it has to guess the format.
    """
    folder = save_series("ct", HU)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content[132:136] == b"\x02\0\0\0"
        path.write_bytes(content[:132] + bytes(4) + content[136:])
    np.testing.assert_array_equal(Scan(folder).voxels(), HU)


def test_files_without_a_preamble_are_read(save_series: SaveSeries) -> None:
    """Old archives contain such files: only the data set."""
    folder = save_series("ct", HU)
    for path in folder.iterdir():
        slice_ = pydicom.dcmread(path)
        del slice_.file_meta
        slice_.preamble = None
        slice_.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\0"
    np.testing.assert_array_equal(Scan(folder).voxels(), HU)


# Multi-frame files


def test_a_multi_frame_file_is_a_series(save_series: SaveSeries, tmp_path: Path) -> None:
    enhanced(save_series("ct", HU), tmp_path / "enhanced_ct.dcm", [2, 0, 4, 1, 3])
    scan = Scan(tmp_path / "enhanced_ct.dcm")
    np.testing.assert_array_equal(scan.voxels(), HU)
    np.testing.assert_allclose(scan.grid.affine, canonical_affine(), atol=1e-9)


def test_a_segmentation_has_the_frame_order_of_its_file(
    save_series: SaveSeries, tmp_path: Path
) -> None:
    enhanced(save_series("ct", HU), tmp_path / "enhanced_ct.dcm", [2, 0, 4, 1, 3])
    planes = np.moveaxis(HU, 2, 0)
    write_segmentation(
        tmp_path / "seg.dcm", Scan(tmp_path / "enhanced_ct.dcm"), planes[None] > 0, ["lung"]
    )
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    source = pydicom.dcmread(tmp_path / "enhanced_ct.dcm")
    frames = segmentation.get_pixels_by_source_frame(
        source.SOPInstanceUID,
        [1, 2, 3, 4, 5],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(frames[..., 0], source.pixel_array > 1024)
