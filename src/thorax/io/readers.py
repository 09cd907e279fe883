"""Choose the reader of a file by its format."""

from pathlib import Path

from thorax.common.errors import InputError
from thorax.io.nifti import NiftiFile
from thorax.io.stored_image import ImageFile, input_errors
from thorax.io.suffixes import (
    DICOM_SUFFIXES,
    ITK_SUFFIXES,
    PREAMBLE,
    SCAN_SUFFIXES,
    begins_as_dicom,
)


def open_image(path: Path, *, series: str | None = None) -> ImageFile:
    """Read the header of an image file, or of all files of a DICOM series.

    SimpleITK and pydicom are slow to import, so they are imported for their formats only.

    Raises:
        InputError: It is missing or unreadable, or ``series`` is given but the file is not DICOM.
    """
    if _is_dicom(path):
        from thorax.io.dicom.series import DicomSeries

        return DicomSeries(path, series=series)
    if series is not None:
        raise InputError(
            f"`series` selects a DICOM series, but {path} is not DICOM; leave out `series`"
        )
    if path.name.lower().endswith(ITK_SUFFIXES):
        from thorax.io.itk import ItkFile

        return ItkFile(path)
    return NiftiFile(path)


def holds_dicom(folder: Path) -> bool:
    """Check whether a folder itself, not its subfolders, contains a DICOM file."""
    return any(
        _begins_as_dicom(path)
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith(SCAN_SUFFIXES)
    )


def _is_dicom(path: Path) -> bool:
    if path.is_dir() or path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    return path.is_file() and _begins_as_dicom(path)


def _begins_as_dicom(path: Path) -> bool:
    with input_errors(path, "scan"), path.open("rb") as stream:
        return begins_as_dicom(stream.read(PREAMBLE + 4))
