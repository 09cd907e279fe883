"""Read a DICOM series as one volume.

The volume has every slice of its series, or a warning states how many are missing and why. If a
folder contains several series, a note lists those that were not read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import counted
from thorax.io.dicom.completeness import VolumeExtent, completeness_warnings
from thorax.io.dicom.files import find_dicom_files
from thorax.io.dicom.geometry import SliceLayout, order_slices, orientation_note
from thorax.io.dicom.headers import DamagedHeaderError, Slice, read_slices
from thorax.io.dicom.neighbours import split_series_warning
from thorax.io.dicom.pixels import HIGHEST_CT_HU, PixelReader
from thorax.io.dicom.selection import SeriesInfo, list_stacks, select_series, selection_note
from thorax.io.dicom.stacks import Stack, group_slices, join_note
from thorax.io.dicom.volumes import largest_volume
from thorax.io.stored_image import LPS_TO_RAS, check_memory, check_shape

_IMPOSSIBLE_NOTE = f"voxels above {HIGHEST_CT_HU:,} HU, which no CT has, were read as air"

_HU_UNITS = frozenset(("", "HU", "US", "UNSPECIFIED", "HOUNSFIELD", "HOUNSFIELD UNITS"))
"""RescaleType of HU, and of values without a stated unit (PS3.3, C.11.1.1.2)."""

_OTHER_UNITS = frozenset(("OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"))
"""The other defined terms, such as mg/mL and the effective atomic number."""


class DicomSeries:
    """A CT series in a folder or zip, or the series of one file.

    The stored axes are column, row and slice; slices are sorted by position.

    Args:
        path: A folder, searched with its subfolders; a ``.zip``; or one file of a series.
        series: SeriesInstanceUID or number of the series to read.
        allow_incomplete: Accept a series that lacks more than a tenth of its slices.

    Raises:
        InputError: There is no such series, it is not a CT volume, or too many slices are missing.
    """

    def __init__(
        self, path: Path, *, series: str | None = None, allow_incomplete: bool = False
    ) -> None:
        headers = _read_headers(path)
        selected = select_series(path, headers.stacks, series=series)
        self._path, self._reader = path, PixelReader()
        volume = largest_volume(selected.slices, self._reader)
        self._reader.release()
        layout = _layout(path, selected, volume.slices)
        extent = VolumeExtent(volume.slices, selected.orientation, layout)
        self.slices = tuple(volume.slices[index] for index in layout.order)
        self.affine: NDArray[np.float64] = LPS_TO_RAS @ layout.affine
        self.shape: tuple[int, ...] = (*selected.first.series.shape, len(self.slices))
        self.dtype = _dtype(self.slices)
        check_shape(path, self.shape)
        self.warnings: tuple[str, ...] = (
            *completeness_warnings(
                path,
                selected,
                volume,
                layout,
                headers.stacks,
                extent=extent,
                damaged=headers.damaged_in(selected),
                allow_incomplete=allow_incomplete,
            ),
            *volume.warnings,
            *_rescale_warning(self.slices),
            *_unit_warning(self.slices),
            *_damaged_warning(headers.damaged_elsewhere(selected)),
            *split_series_warning(path, selected.uids, extent.covers),
        )
        self.notes: tuple[str, ...] = (
            *selection_note(selected, headers.stacks),
            *join_note(selected),
            *volume.notes,
            *_rescale_note(self.slices),
            *orientation_note([slice_.orientation for slice_ in self.slices]),
            *layout.notes,
            *_other_files_note(headers.without_image),
        )

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """HU of the slices ``start..stop-1``, shape ``(columns, rows, stop - start)``."""
        check_memory(self._path, math.prod(self.shape[:2]) * (stop - start) * self.dtype.itemsize)
        block = np.empty((*self.shape[:2], stop - start), self.dtype, order="F")
        for index, slice_ in enumerate(self.slices[start:stop]):
            hu = self._reader.hu(slice_)
            block[:, :, index] = (np.rint(hu) if self.dtype.kind == "i" else hu).T
        if stop == len(self.slices):
            self._reader.release()
        if self._reader.has_impossible_hu and _IMPOSSIBLE_NOTE not in self.notes:
            self.notes = (*self.notes, _IMPOSSIBLE_NOTE)
        return block


def list_series(path: Path, *, series: str | None = None) -> list[SeriesInfo]:
    """List the DICOM series in a folder or zip, or next to a file.

    Args:
        path: As for `DicomSeries`.
        series: As for `DicomSeries`; decides which series the list marks as read.

    Raises:
        InputError: There is no DICOM image.
    """
    stacks = _read_headers(path).stacks
    try:
        selected = select_series(path, stacks, series=series)
    except InputError:
        selected = None
    return list_stacks(stacks, selected)


@dataclass(frozen=True)
class _Headers:
    """Content of all files.

    Args:
        stacks: The slices by series and geometry.
        damaged: SeriesInstanceUID, empty if unknown, and folder of files with a damaged header.
        without_image: Number of objects without an image, such as reports.
    """

    stacks: list[Stack]
    damaged: list[tuple[str, str]]
    without_image: int

    def damaged_in(self, stack: Stack) -> int:
        """Number of damaged files that may be slices of a stack: its series, or its folders."""
        folders = _folders(stack)
        return sum(uid in stack.uids if uid else here in folders for uid, here in self.damaged)

    def damaged_elsewhere(self, stack: Stack) -> int:
        """Number of damaged files of an unknown series in other folders."""
        folders = _folders(stack)
        return sum(not uid and here not in folders for uid, here in self.damaged)


def _folders(stack: Stack) -> set[str]:
    return {slice_.file.folder for slice_ in stack.slices}


def _read_headers(path: Path) -> _Headers:
    slices: list[Slice] = []
    damaged: list[tuple[str, str]] = []
    without_image = 0
    for file in find_dicom_files(path):
        try:
            of_file = read_slices(file)
        except DamagedHeaderError as error:
            damaged.append((error.uid, file.folder))
            continue
        without_image += not of_file
        slices += of_file
    if not slices:
        raise InputError(f"there is no DICOM image in {path}; give the folder of a CT series")
    return _Headers(group_slices(slices), damaged, without_image)


def _layout(path: Path, selected: Stack, slices: Sequence[Slice]) -> SliceLayout:
    try:
        return order_slices(
            np.array([slice_.position_mm for slice_ in slices]),
            selected.orientation,
            np.median([slice_.spacing_mm for slice_ in slices], axis=0),
            thickness_mm=selected.first.thickness_mm,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _dtype(slices: Sequence[Slice]) -> np.dtype[Any]:
    """Smallest data type for all HU that can be stored.

    Values above `HIGHEST_CT_HU` become air, so that 16 bits suffice for unsigned values of 16 bits;
    without a conversion to HU, slices of nothing else keep theirs.
    """
    encodings = {slice_.pixels for slice_ in slices}
    if any(pixels.slope % 1 or pixels.intercept % 1 for pixels in encodings):
        return np.dtype(np.float32)
    ends = [end * pixels.slope + pixels.intercept for pixels in encodings for end in pixels.range]
    highest = max(ends)
    if all(pixels.has_rescale for pixels in encodings):
        highest = min(highest, HIGHEST_CT_HU)
    for integer in (np.int16, np.int32):
        if np.iinfo(integer).min <= min(ends) and highest <= np.iinfo(integer).max:
            return np.dtype(integer)
    return np.dtype(np.float32)


def _rescale_warning(slices: Sequence[Slice]) -> tuple[str, ...]:
    count = sum(not slice_.pixels.has_rescale for slice_ in slices)
    if count in (0, len(slices)):
        return ()
    return (
        f"{count} of {len(slices)} slices do not state the conversion to HU (RescaleSlope, "
        "RescaleIntercept), and their stored values were read as HU: they may differ from the "
        "others",
    )


def _unit_warning(slices: Sequence[Slice]) -> tuple[str, ...]:
    """Warn about values that the header declares not to be HU."""
    units = {slice_.pixels.unit for slice_ in slices}
    if not (others := units - _HU_UNITS):
        return ()
    # Another text may be anything, also a name.
    named = sorted({unit if unit in _OTHER_UNITS else "unknown" for unit in others})
    return (
        f"the header states another unit than HU (RescaleType {', '.join(named)}), but the values "
        "were read as HU: give a series in HU",
    )


def _rescale_note(slices: Sequence[Slice]) -> tuple[str, ...]:
    if any(slice_.pixels.has_rescale for slice_ in slices):
        return ()
    return (
        "slices do not state the conversion to HU (RescaleSlope, RescaleIntercept); stored values "
        "were read as HU",
    )


def _damaged_warning(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{counted(count, 'file')} with a damaged header in other folders may be slices of the "
        "scan",
    )


def _other_files_note(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"DICOM files without an image, such as reports, left out: {count}",)
