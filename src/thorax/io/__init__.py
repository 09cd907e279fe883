"""Scan and mask files: the only package that knows image formats.

`Scan` is the one class that callers use: it shows any file as canonical RAS+ planes. Behind it
stands a `Stored` a format: `nifti`, `itk` (NRRD and MetaImage) and `dicom`. Masks are written by
`masks`, DICOM segmentations by `dicom_seg`.

Planes are read and written slab by slab where the file holds them one after the other, so that
memory does not grow with the depth of the scan. Files that store another axis slowest are held in
memory whole, in the type that they are stored in.

What is told of a file, in notes and errors, holds paths as the user gave or named them, and no
name, date or id of a patient. Masks hold none either, DICOM segmentations alone do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from thorax.io.readers import holds_dicom
from thorax.io.scan import SLAB, Scan
from thorax.io.suffixes import (
    MASK_SUFFIXES,
    PLANE_SUFFIXES,
    SCAN_SUFFIXES,
    SEGMENTATION_SUFFIX,
    SUFFIXES,
    case_name,
    check_name,
)
from thorax.io.writers import PlaneWriter, mask_file, write_volume


def write_segmentation(
    path: "Path", scan: Scan, masks: "NDArray[Any]", names: "Sequence[str]"
) -> None:
    """Write a DICOM segmentation; see `thorax.io.dicom_segmentation.write_segmentation`."""
    from thorax.io import dicom_segmentation  # highdicom takes long to import

    dicom_segmentation.write_segmentation(path, scan, masks, names)


__all__ = [
    "MASK_SUFFIXES",
    "PLANE_SUFFIXES",
    "SCAN_SUFFIXES",
    "SEGMENTATION_SUFFIX",
    "SLAB",
    "SUFFIXES",
    "PlaneWriter",
    "Scan",
    "case_name",
    "check_name",
    "holds_dicom",
    "mask_file",
    "write_segmentation",
    "write_volume",
]
