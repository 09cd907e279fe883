"""Choose the reader of a file by its content."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from thorax.common.errors import InputError
from thorax.io.file_format import FileContent, name_note, read_content
from thorax.io.nifti import NiftiFile
from thorax.io.stored_image import ImageFile, input_errors
from thorax.io.suffixes import (
    DETACHED_SUFFIXES,
    DICOM_SUFFIXES,
    ITK_SUFFIXES,
    PAIR_SUFFIXES,
    PREAMBLE,
    RAW_SUFFIXES,
    SCAN_SUFFIXES,
    begins_as_dicom,
    partner,
)

if TYPE_CHECKING:
    from thorax.io.dicom.series import DicomSeries
    from thorax.io.metaimage import MetaImageFile
    from thorax.io.nrrd import NrrdFile

    _Readable = NiftiFile | NrrdFile | MetaImageFile | DicomSeries


_HEADER_BYTES = 2**16

_DATA_FILE = re.compile(rb"^\s*(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$", re.I | re.M)
"""The line of a header that names the file of its voxels."""


def open_image(
    path: Path, *, series: str | None = None, allow_incomplete: bool = False
) -> ImageFile:
    """Read the header of an image file, or of all files of a DICOM series.

    The content of a file decides on its reader; its suffix only if the content is not recognised.
    pydicom is slow to import, so it is imported for DICOM only.

    Args:
        path: A file, or a folder of DICOM files.
        series: As for `thorax.io.Scan`.
        allow_incomplete: As for `thorax.io.Scan`.

    Raises:
        InputError: It is missing or unreadable, or ``series`` is given but the file is not DICOM.
    """
    with input_errors(path, "scan"):
        content = None if path.is_dir() else read_content(path)
    if content is None:
        return _open_dicom(path, series, allow_incomplete)
    if _is_dicom(path, content):
        image: _Readable = _open_dicom(path, series, allow_incomplete)
    elif series is not None:
        raise InputError(
            f"`series` selects a DICOM series, but {path} is not DICOM; leave out `series`"
        )
    else:
        image = _open_volume(path, content)
    image.notes = (*name_note(path, content), *image.notes)
    return image


def is_dicom_file(path: Path) -> bool:
    """Check whether a file, not a folder, is DICOM by its content."""
    if not path.is_file():
        return False
    with input_errors(path, "DICOM"):
        return read_content(path).format == "DICOM"


def _is_dicom(path: Path, content: FileContent) -> bool:
    if content.format is None:
        return path.name.lower().endswith(DICOM_SUFFIXES)
    return content.format in ("DICOM", "zip") and not content.gzip


def _open_dicom(path: Path, series: str | None, allow_incomplete: bool) -> "DicomSeries":
    from thorax.io.dicom.series import DicomSeries

    return DicomSeries(path, series=series, allow_incomplete=allow_incomplete)


def _open_volume(path: Path, content: FileContent) -> "NiftiFile | NrrdFile | MetaImageFile":
    name = path.name.lower()
    if content.gzip and content.format not in (None, "NIfTI", "Analyze", "MGH"):
        raise _packed(path, content)
    if content.format == "NRRD" or (content.format is None and name.endswith(ITK_SUFFIXES[:2])):
        from thorax.io.nrrd import NrrdFile

        return NrrdFile(path)
    if content.format == "MetaImage" or (content.format is None and name.endswith(ITK_SUFFIXES)):
        from thorax.io.metaimage import MetaImageFile

        return MetaImageFile(path)
    return NiftiFile(path, content)


def _packed(path: Path, content: FileContent) -> InputError:
    return InputError(
        f"only NIfTI may be compressed as a whole, but {path} is a gzip file of {content.format}; "
        "decompress it, for instance by gunzip"
    )


def scan_files_on_disk(scan: Path) -> list[Path]:
    """Find the files of a scan: all in a folder, or a file and the one that holds its voxels.

    Files that do not exist are left out.
    """
    if scan.is_dir():
        return [path for path in scan.rglob("*") if path.is_file()]
    files = [scan]
    if scan.name.lower().endswith(PAIR_SUFFIXES):
        files += [other for suffix in (".hdr", ".img") if (other := partner(scan, suffix))]
    elif scan.name.lower().endswith(DETACHED_SUFFIXES) and scan.is_file():
        with scan.open("rb") as stream:
            named = _DATA_FILE.search(stream.read(_HEADER_BYTES))
        files += [scan.parent / named[1].decode("latin-1").replace("\\", "/")] if named else []
    return [path for path in dict.fromkeys(files) if path.is_file()]


def holds_dicom(folder: Path) -> bool:
    """Check whether a folder itself, not its subfolders, contains a DICOM file."""
    files = [path for path in folder.iterdir() if path.is_file()]
    has_headers = any(path.name.lower().endswith(DETACHED_SUFFIXES) for path in files)
    return any(
        _begins_as_dicom(path, may_be_voxels=has_headers)
        for path in files
        if not path.name.endswith(SCAN_SUFFIXES) and not _is_pair(path)
    )


def _is_pair(path: Path) -> bool:
    """Check for a file of a NIfTI pair; voxels may begin like DICOM, which may end in .img too."""
    name = path.name.lower()
    return name.endswith(PAIR_SUFFIXES) and (
        partner(path, ".img") is not None and partner(path, ".hdr") is not None
    )


def _begins_as_dicom(path: Path, *, may_be_voxels: bool) -> bool:
    """Check the first bytes of a file; the voxels of a header need the preamble of DICOM."""
    with input_errors(path, "scan"), path.open("rb") as stream:
        head = stream.read(PREAMBLE + 4)
    if may_be_voxels and path.name.lower().endswith(RAW_SUFFIXES):
        return head[PREAMBLE:] == b"DICM"
    return begins_as_dicom(head)
