"""Read regions by name from a structure set or a segmentation, onto the grid of a scan."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from thorax.common.errors import InputError
from thorax.io.dicom.files import dicom_file
from thorax.io.dicom.headers import read_header, without_warnings
from thorax.io.dicom.selection import MissingSeriesError
from thorax.io.dicom.series import DicomSeries
from thorax.io.dicom_objects.rois import RoiFile, region_codes
from thorax.io.dicom_objects.segmentation_file import SegmentationFile
from thorax.io.dicom_objects.slice_stack import SliceStack, slice_stack
from thorax.io.dicom_objects.structure_set import StructureSet
from thorax.io.readers import is_dicom_file
from thorax.io.scan import Scan
from thorax.io.stored_image import check_memory, input_errors

_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage, which pydicom does not name yet."""

_KINDS = {RTStructureSetStorage: "RTSTRUCT", SegmentationStorage: "SEG", _LABEL_MAP: "SEG"}

_OTHER_SERIES = (
    "the series that the contours or segments refer to is not there; they were placed on another "
    "series by their positions"
)

_TAGS = ["SOPClassUID", "Modality", "SeriesInstanceUID"]


def kind_of(path: Path) -> str:
    """Return ``RTSTRUCT`` or ``SEG``; the modality of other files, empty if they are not DICOM."""
    with without_warnings():
        try:
            header = _header(path, _TAGS)
            kind = _KINDS.get(header.get("SOPClassUID"))
            return kind or str(header.get("Modality", ""))
        # pydicom raises errors of many kinds for damaged values.
        except Exception:
            return ""


def open_rois(path: Path) -> RoiFile:
    """Read the names and contours of a structure set, or the header of a segmentation.

    Raises:
        InputError: It is neither, missing or damaged.
    """
    kind = kind_of(path)
    with input_errors(path, "DICOM"), without_warnings():
        if kind == "RTSTRUCT":
            return StructureSet(path, _header(path))
        if kind == "SEG":
            return SegmentationFile(path, _header(path))
    raise InputError(f"{path} must be a DICOM structure set or segmentation, and is neither")


def find_series(folder: Path) -> Path | None:
    """Find a CT file in a folder, not in its subfolders; None if there is none."""
    files = sorted(path for path in folder.iterdir() if is_dicom_file(path))
    return next((path for path in files if kind_of(path) == "CT"), None)


def open_series(path: Path, *files: RoiFile) -> Scan:
    """Open the scan that files refer to.

    Args:
        path: A scan of any format. In DICOM, of all series the one that a file refers to is read,
            and of several such series, that which `Scan` selects; if there is none of these, that
            which `Scan` selects, with a warning.
        files: Structure sets and segmentations.

    Raises:
        InputError: The scan cannot be read.
    """
    if not path.is_dir() and not is_dicom_file(path):
        return Scan(path)
    uids = {uid for file in files for uid in file.series_uids}
    scan = _referenced(path, uids)
    if scan is not None:
        return scan
    scan = Scan(path)
    if isinstance(scan.image, DicomSeries):
        scan.image.warnings = (*scan.image.warnings, _OTHER_SERIES)
    return scan


def _referenced(path: Path, uids: set[str]) -> Scan | None:
    """Open a series of a set; of several, that which `Scan` selects, else the first readable one.

    Raises:
        InputError: None of those that are there can be read.
    """
    errors = []
    for series in (None, *sorted(uids)) if len(uids) > 1 else uids:
        try:
            scan = Scan(path, series=series)
        except MissingSeriesError:
            continue
        except InputError as error:
            errors.append(error)
            continue
        if series or _uid(scan) in uids:
            return scan
    if errors:
        raise errors[-1]
    return None


def _uid(scan: Scan) -> str:
    return scan.image.slices[0].series.uid if isinstance(scan.image, DicomSeries) else ""


def read_regions(file: RoiFile, regions: Mapping[str, Sequence[str]], scan: Scan) -> Scan:
    """Read regions as a label map on the grid of a scan.

    Args:
        file: The regions of interest.
        regions: Name of each region → names of its regions of interest; at most 8 regions.
        scan: The grid; of a DICOM series, the positions of its slices.

    Returns:
        Label values are the sum of ``2**i`` over all regions ``i`` of a voxel, so overlaps are
        kept. Its warnings state contours that could not be placed.

    Raises:
        InputError: A region of interest is missing, or is not on the slices of the scan.
    """
    check_memory(file.path, int(np.prod(scan.grid.shape)) * (1 + len(regions)))
    stack = slice_stack(scan, file.normal)
    codes, notes, warnings = region_codes(file, regions, stack)
    warnings = (*(scan.warnings if isinstance(scan.image, DicomSeries) else ()), *warnings)
    return _as_scan(file, stack.stored(codes), scan.stored_affine, (notes, warnings))


def read_on_own_grid(
    files: Sequence[RoiFile], regions: Sequence[Mapping[str, Sequence[str]]]
) -> list[Scan]:
    """Read the regions of segmentations as label maps on the slices of all their frames.

    Raises:
        InputError: A file is a structure set, which has no grid, or they have no common grid.
    """
    if not all(isinstance(file, SegmentationFile) for file in files):
        paths = " and ".join(str(file.path) for file in files)
        raise InputError(
            f"contours need the grid of their scan, but {paths} have none; give --scan with the "
            "folder of the CT series"
        )
    first, *others = cast(list[SegmentationFile], files)
    stack = first.own_stack(*others)
    return [
        _on_own_grid(file, of_file, stack) for file, of_file in zip(files, regions, strict=True)
    ]


def _on_own_grid(file: RoiFile, regions: Mapping[str, Sequence[str]], stack: SliceStack) -> Scan:
    codes, notes, warnings = region_codes(file, regions, stack)
    return _as_scan(file, codes, stack.affine, (notes, warnings))


def _as_scan(
    file: RoiFile,
    codes: NDArray[np.uint8],
    affine: NDArray[np.float64],
    remarks: tuple[tuple[str, ...], tuple[str, ...]],
) -> Scan:
    notes, warnings = remarks
    return Scan.in_memory(codes, affine, name=str(file.path), notes=notes, warnings=warnings)


def _header(path: Path, tags: list[str] | None = None) -> Dataset:
    with dicom_file(path).open() as stream:
        return read_header(stream, tags)
