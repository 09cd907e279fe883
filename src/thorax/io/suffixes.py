"""File names of image formats."""

from pathlib import Path

from thorax.common.errors import InputError

NIFTI_SUFFIXES = (".nii.gz", ".nii")
"""The format of the files in a dataset."""

ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
"""NRRD and MetaImage, with the voxels in the same file or in one next to it."""

SEGMENTATION_SUFFIX = ".dcm"
"""A DICOM segmentation, for DICOM scans."""

PLANE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")
"""Formats of label masks and probabilities: one file each."""

MASK_SUFFIXES = (*PLANE_SUFFIXES, SEGMENTATION_SUFFIX)
"""Formats of masks."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".zip")
"""DICOM files, and zips of them."""

SCAN_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, ".zip")
"""Files that are a complete scan; a file of a DICOM series is not."""

PREAMBLE = 128
"""Bytes before the letters ``DICM`` in a DICOM file."""

_STARTS_WITHOUT_PREAMBLE = (b"\x02\x00", b"\x08\x00")
"""First bytes of a DICOM file without preamble: the groups 0002 and 0008."""


def begins_as_dicom(head: bytes) -> bool:
    """Check the first 132 bytes of a file for the marks of DICOM.

    Example:
        >>> begins_as_dicom(bytes(128) + b"DICM")
        True
        >>> begins_as_dicom(b"NRRD0004")
        False
    """
    return head[PREAMBLE:] == b"DICM" or (
        len(head) > PREAMBLE and head[:2] in _STARTS_WITHOUT_PREAMBLE
    )


def check_name(path: Path) -> None:
    """Raise `InputError` unless the file name has the suffix of a mask format."""
    if not path.name.endswith(MASK_SUFFIXES):
        raise InputError(f"a mask file must end in .nii.gz, .nii, .nrrd, .mha or .dcm, got {path}")


def case_name(path: Path) -> str | None:
    """Name of a file without its NIfTI suffix; None if it is not a NIfTI file.

    Example:
        >>> case_name(Path("scans/S1-101.nii.gz"))
        'S1-101'
    """
    for suffix in NIFTI_SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return path.name.removesuffix(suffix)
    return None
