"""Scan and mask files. The only package that knows image formats.

`Scan` is the class that callers use: it presents any file as canonical RAS+ planes. One
`ImageFile` per format reads the voxels: `nifti`, `itk` (NRRD and MetaImage) and `dicom`. `writers`
writes masks, `dicom_segmentation` writes DICOM segmentations.

Planes are read and written slab by slab if the file stores them one after the other. Memory then
does not grow with the number of slices. Files stored in sagittal or coronal order are kept in
memory, in the data type of the file.

Notes and errors contain file paths as the user wrote them, but no name, date or id of a
patient. Masks contain none either; only DICOM segmentations do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from thorax.io.readers import holds_dicom
from thorax.io.scan import SLAB, Scan
from thorax.io.suffixes import (
    MASK_SUFFIXES,
    NIFTI_SUFFIXES,
    PLANE_SUFFIXES,
    SCAN_SUFFIXES,
    SEGMENTATION_SUFFIX,
    case_name,
    check_name,
)
from thorax.io.writers import PlaneWriter, mask_file, write_volume

if TYPE_CHECKING:
    from thorax.io.dicom.selection import SeriesInfo


def write_segmentation(
    path: "Path", scan: Scan, masks: "NDArray[Any]", names: "Sequence[str]"
) -> None:
    """Write a DICOM segmentation; see `thorax.io.dicom_segmentation.write_segmentation`."""
    from thorax.io import dicom_segmentation  # highdicom is slow to import

    dicom_segmentation.write_segmentation(path, scan, masks, names)


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
    "PlaneWriter",
    "Scan",
    "case_name",
    "check_name",
    "holds_dicom",
    "list_series",
    "mask_file",
    "write_segmentation",
    "write_volume",
]
