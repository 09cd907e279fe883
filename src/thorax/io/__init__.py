"""Scan and mask files. The only package that knows image formats.

`Scan` is the class that callers use: it presents any file as canonical RAS+ planes. One
`ImageFile` per format reads the voxels: `nifti`, `nrrd`, `metaimage` and `dicom`. `writers`
writes masks. `dicom_segmentation` and `dicom_objects` write and read masks as DICOM segmentations
and structure sets.

Planes are read and written slab by slab if the file stores them one after the other. Memory then
does not grow with the number of slices. Files stored in sagittal or coronal order are kept in
memory, in the data type of the file.

Notes and errors contain file paths as the user wrote them, but no name, date or id of a
patient. Masks contain none either; only DICOM segmentations and structure sets do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from thorax.io.readers import holds_dicom, is_dicom_file, scan_files_on_disk
from thorax.io.scan import SLAB, Scan
from thorax.io.suffixes import (
    MASK_SUFFIXES,
    NIFTI_SUFFIXES,
    PLANE_SUFFIXES,
    SCAN_SUFFIXES,
    SEGMENTATION_SUFFIX,
    STRUCTURE_SET_SUFFIX,
    case_name,
    check_name,
)
from thorax.io.writers import PlaneWriter, mask_file, open_mask_file, write_volume

if TYPE_CHECKING:
    from thorax.io.dicom.selection import SeriesInfo


def write_dicom_masks(
    path: "Path",
    scan: Scan,
    masks: "NDArray[Any]",
    names: "Sequence[str]",
    *,
    all_frames: bool = False,
) -> None:
    """Write a DICOM segmentation or structure set; see `thorax.io.dicom_objects.write_masks`."""
    from thorax.io.dicom_objects import write_masks  # highdicom is slow to import

    write_masks.write_masks(path, scan, masks, names, all_frames=all_frames)


def check_mask_format(path: "Path", scan: Scan) -> None:
    """Check that the masks of a scan can be written in the format of a file.

    Raises:
        InputError: The format is DICOM, but the scan is not, or its headers lack attributes.
    """
    if not path.name.endswith(SEGMENTATION_SUFFIX):
        return
    from thorax.io.dicom_objects import write_masks  # highdicom is slow to import

    write_masks.check_scan(path, scan)


def list_series(path: "Path", *, series: str | None = None) -> "list[SeriesInfo]":
    """List DICOM series; see `thorax.io.dicom.series.list_series`."""
    from thorax.io.dicom import series as dicom_series  # pydicom is slow to import

    return dicom_series.list_series(path, series=series)


__all__ = [
    "MASK_SUFFIXES",
    "NIFTI_SUFFIXES",
    "PLANE_SUFFIXES",
    "SCAN_SUFFIXES",
    "SEGMENTATION_SUFFIX",
    "SLAB",
    "STRUCTURE_SET_SUFFIX",
    "PlaneWriter",
    "Scan",
    "case_name",
    "check_mask_format",
    "check_name",
    "holds_dicom",
    "is_dicom_file",
    "list_series",
    "mask_file",
    "open_mask_file",
    "scan_files_on_disk",
    "write_dicom_masks",
    "write_volume",
]
