"""Which format a file has."""

from pathlib import Path

from thorax.common.errors import InputError
from thorax.io.nifti import NiftiFile
from thorax.io.stored_image import ImageFile, reading
from thorax.io.suffixes import (
    DICOM_SUFFIXES,
    ITK_SUFFIXES,
    PREAMBLE,
    SCAN_SUFFIXES,
    begins_as_dicom,
)


def open_image(path: Path, *, series: str | None = None) -> ImageFile:
    """Read the header of an image file, or of all files of a DICOM series.

    The libraries of a format are loaded when one of its files is opened, because SimpleITK takes
    its time.

    Raises:
        InputError: It is missing or unreadable, or ``series`` is given for what is no DICOM.
    """
    if _is_dicom(path):
        from thorax.io.dicom.series import DicomSeries

        return DicomSeries(path, series=series)
    if series is not None:
        raise InputError(f"`series` chooses among DICOM series, but {path} is no DICOM; leave it")
    if path.name.lower().endswith(ITK_SUFFIXES):
        from thorax.io.itk import ItkFile

        return ItkFile(path)
    return NiftiFile(path)


def holds_dicom(folder: Path) -> bool:
    """Whether some file that lies in a folder itself begins as DICOM does."""
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
    with reading(path, "scan"), path.open("rb") as stream:
        return begins_as_dicom(stream.read(PREAMBLE + 4))
