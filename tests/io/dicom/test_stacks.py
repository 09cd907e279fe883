"""Slices belong together in spite of rounding; other slices of the series are counted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from thorax.common.errors import InputError
from thorax.io import Scan

SaveSeries = Callable[..., Path]
Change = Callable[[int, pydicom.Dataset], object]
HU = (np.arange(3 * 4 * 20) * 8 - 1000).astype(np.int16).reshape(3, 4, 20)


def turned(degrees: float) -> list[float]:
    """Return an axial orientation turned about the body axis."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [round(value, 6) for value in (cos, sin, 0, -sin, cos, 0)]


@pytest.mark.parametrize("percent", [0.05, 0.9])
def test_spacings_that_differ_by_less_than_a_percent_are_one_scan(
    save_series: SaveSeries, percent: float
) -> None:
    def change(index: int, header: pydicom.Dataset) -> None:
        scale = 1 + percent / 100 * (index % 2)
        header.PixelSpacing = [round(0.8 * scale, 6), round(0.7 * scale, 6)]

    scan = Scan(save_series("ct", HU, change=change))
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.grid.spacing_mm[:2] == pytest.approx((0.7, 0.8), rel=percent / 100)
    assert scan.warnings == ()


def test_orientations_that_differ_by_less_than_a_degree_are_averaged(
    save_series: SaveSeries,
) -> None:
    def change(index: int, header: pydicom.Dataset) -> None:
        header.ImageOrientationPatient = turned(0.8 * (index % 2))

    scan = Scan(save_series("ct", HU, change=change))
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ()
    assert scan.notes == (
        "the slices are turned by up to 0.4° against each other; their mean orientation was used",
    )
    angle = np.degrees(np.arctan2(scan.affine[1, 0], scan.affine[0, 0]))
    assert abs(angle) == pytest.approx(0.4, abs=0.01)


def test_rounded_orientations_are_not_noted(save_series: SaveSeries) -> None:
    def change(index: int, header: pydicom.Dataset) -> None:
        header.ImageOrientationPatient = turned(0.05 * (index % 2))

    assert Scan(save_series("ct", HU, change=change)).notes == ()


@pytest.mark.parametrize(
    ("tag", "value"),
    [("PixelSpacing", [0.9, 0.9]), ("ImageOrientationPatient", turned(3))],
)
def test_slices_of_another_geometry_are_counted(
    save_series: SaveSeries, tag: str, value: list[float]
) -> None:
    def change(index: int, header: pydicom.Dataset) -> None:
        if index in (7, 8):
            setattr(header, tag, value)

    scan = Scan(save_series("ct", HU, change=change))
    np.testing.assert_array_equal(scan.voxels(), np.delete(HU, [7, 8], axis=2))
    assert scan.warnings[0] == (
        "2 of 20 slices are missing: slices are missing between 45.0 and 52.5 mm along the slice "
        "axis; 2 slices left out that differ in size, spacing or orientation"
    )


def test_more_than_a_tenth_of_another_geometry_is_refused(save_series: SaveSeries) -> None:
    def change(index: int, header: pydicom.Dataset) -> None:
        if index >= 17:
            header.PixelSpacing = [0.9, 0.9]

    folder = save_series("ct", HU, change=change)
    reason = r"ct lacks 3 of 20: 3 slices left out that differ in size, spacing or orientation; "
    with pytest.raises(InputError, match=reason):
        Scan(folder)
    assert Scan(folder, allow_incomplete=True).grid.shape == (3, 4, 17)


def test_another_reconstruction_of_the_same_positions_is_not_missing(
    save_series: SaveSeries,
) -> None:
    """A second field of view in the same series covers no other position."""
    folder = save_series("ct", HU)
    save_series("ct", HU[:2], PixelSpacing=[1.6, 1.4], SeriesNumber=5)
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU)
    assert scan.warnings == ()


def test_a_series_that_continues_another_is_reported(save_series: SaveSeries) -> None:
    """The slices of one volume were sent as two series with their own numbers."""
    first = {"SeriesInstanceUID": "1.5", "SeriesNumber": 2}
    folder = save_series("study", HU, change=lambda index, _: index < 8, **first)
    save_series("study", HU, change=lambda index, _: index >= 8)
    scan = Scan(folder)
    np.testing.assert_array_equal(scan.voxels(), HU[:, :, 8:])
    assert scan.warnings == (
        "another series continues the slices that were read, and may be a part of the same scan: "
        "series 2 (CT, 8 slices of 3×4, 0.7×0.8×2.5 mm) with 8 slices",
    )


def test_series_of_other_positions_are_not_reported(save_series: SaveSeries) -> None:
    heights = [500 + 2.5 * index for index in range(8)]
    other = {"SeriesInstanceUID": "1.5", "SeriesNumber": 2}
    save_series("study", HU[:, :, :8], heights_mm=heights, **other)
    assert Scan(save_series("study", HU)).warnings == ()


def test_a_thinner_reconstruction_is_not_a_part_of_the_series(save_series: SaveSeries) -> None:
    """Every position of the series that the user selected has a thin slice, too."""
    thin = {"SeriesInstanceUID": "1.5", "SeriesNumber": 2}
    heights = [30 + 1.25 * index for index in range(20)]
    save_series("study", HU, heights_mm=heights, **thin)
    folder = save_series("study", HU[:, :, :10])
    scan = Scan(folder, series=4)
    np.testing.assert_array_equal(scan.voxels(), HU[:, :, :10])
    assert scan.warnings == ()


def test_a_description_that_names_the_patient_is_dropped(
    save_series: SaveSeries, names_nobody: Callable[[object], None]
) -> None:
    other = {"SeriesInstanceUID": "1.5", "SeriesNumber": 2}
    folder = save_series("study", HU[:, :, :8], SeriesDescription="Chest John", **other)
    scan = Scan(save_series("study", HU, SeriesDescription="Chest 1.0"))
    assert scan.path == folder
    assert scan.notes[0].startswith("read series 4 `Chest 1.0` (CT, 20 slices")
    names_nobody(scan.notes)


@pytest.mark.parametrize(
    ("folder", "warning"),
    [
        ("ct", "1 of 21 slices are missing: 1 file left out with a damaged header"),
        ("other", "1 file with a damaged header in other folders may be slices of the scan"),
    ],
)
def test_damaged_files_are_counted_next_to_the_series_and_reported_elsewhere(
    save_series: SaveSeries, folder: str, warning: str
) -> None:
    study = save_series("study/ct", HU).parent
    (study / folder).mkdir(exist_ok=True)
    (study / folder / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\2\0")
    assert Scan(study).warnings == (warning,)


def test_a_series_that_is_split_over_folders_is_reported(
    save_series: SaveSeries, tmp_path: Path
) -> None:
    """An archive wrote ten files into each folder; a third folder has another series."""
    for number, first in enumerate((0, 10)):
        save_series(
            f"study/part{number}",
            HU,
            change=lambda index, _, first=first: first <= index < first + 10,
        )
    save_series("study/other", HU, SeriesInstanceUID="1.5")
    save_series("study/copy", HU[:, :, :10])
    folder = tmp_path / "study" / "part0"
    for path in (folder, folder / "4-000.dcm"):
        scan = Scan(path)
        assert scan.grid.shape == (3, 4, 10)
        assert scan.warnings == (
            f"more slices of the same series are in {tmp_path / 'study' / 'part1'}; name the "
            "folder above to read them as one scan",
        )
    whole = Scan(folder.parent, series="1.2.3.4")
    np.testing.assert_array_equal(whole.voxels(), HU)
    assert whole.warnings == ()
