"""What file names say about formats."""

from pathlib import Path

from thorax.common.errors import InputError

SUFFIXES = (".nii.gz", ".nii")
"""NIfTI: what datasets are made of."""

ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
"""NRRD and MetaImage, each with its voxels in the same file or in one beside it."""

SEGMENTATION_SUFFIX = ".dcm"
"""A DICOM segmentation, for scans that are DICOM."""

PLANE_SUFFIXES = (*SUFFIXES, ".nrrd", ".mha")
"""What planes of any numbers can be written as: one file each."""

MASK_SUFFIXES = (*PLANE_SUFFIXES, SEGMENTATION_SUFFIX)
"""What masks can be written as."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".zip")
"""DICOM files by name, and zips of them."""

SCAN_SUFFIXES = (*SUFFIXES, *ITK_SUFFIXES, ".zip")
"""What is a scan of its own, by name; a file of a DICOM series is not."""

PREAMBLE = 128
"""Bytes before the letters by which DICOM files are known."""

_BARE_STARTS = (b"\x02\x00", b"\x08\x00")
"""How a DICOM file without preamble begins: the groups 0002 and 0008."""


def begins_as_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 132 of them, may be DICOM.

    Example:
        >>> begins_as_dicom(bytes(128) + b"DICM")
        True
        >>> begins_as_dicom(b"NRRD0004")
        False
    """
    return head[PREAMBLE:] == b"DICM" or (len(head) > PREAMBLE and head[:2] in _BARE_STARTS)


def check_name(path: Path) -> None:
    """Raise `InputError` unless a mask can be written to a file of that name."""
    if not path.name.endswith(MASK_SUFFIXES):
        raise InputError(f"a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got {path}")


def case_name(path: Path) -> str | None:
    """Name of a file without its NIfTI suffix; None if it is no NIfTI file.

    Example:
        >>> case_name(Path("scans/S1-101.nii.gz"))
        'S1-101'
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return path.name.removesuffix(suffix)
    return None
