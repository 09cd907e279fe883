"""File names of image formats."""

import struct
from collections.abc import Iterable
from pathlib import Path

from thorax.common.errors import InputError

NIFTI_SUFFIXES = (".nii.gz", ".nii")
"""The format of the files in a dataset."""

ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
"""NRRD and MetaImage, with the voxels in the same file or in one next to it."""

DETACHED_SUFFIXES = (".nhdr", ".mhd")
"""Of these, headers whose voxels are usually in another file."""

HEADER_SUFFIXES, VOXEL_SUFFIXES = (".hdr.gz", ".hdr"), (".img.gz", ".img")
"""The two files of a NIfTI or Analyze pair, each compressed or not."""

PAIR_SUFFIXES = (*HEADER_SUFFIXES, *VOXEL_SUFFIXES)

SEGMENTATION_SUFFIX = ".dcm"
"""A DICOM segmentation, for DICOM scans."""

STRUCTURE_SET_SUFFIX = ".rtss.dcm"
"""A DICOM structure set, for DICOM scans."""

PLANE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")
"""Formats of label masks and probabilities: one file each."""

MASK_SUFFIXES = (*PLANE_SUFFIXES, STRUCTURE_SET_SUFFIX, SEGMENTATION_SUFFIX)
"""Formats of masks; the longer of two suffixes with the same end comes first."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".zip")
"""DICOM files, and zips of them."""

SCAN_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, ".zip")
"""Files that are a complete scan; a file of a DICOM series is not."""

PREAMBLE = 128
"""Bytes before the letters ``DICM`` in a DICOM file."""

RAW_SUFFIXES = (".raw", ".raw.gz", ".zraw", *VOXEL_SUFFIXES)
"""Voxels of a header in another file; they may begin with any bytes."""

_FIRST_GROUPS = (0x0002, 0x0008)
"""Groups of the first element of a DICOM file without preamble."""

_SHORT_VRS, _LONG_VRS = (
    tuple(names.encode().split())
    for names in (
        "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US",
        "OB OD OF OL OV OW SQ SV UC UN UR UT UV",
    )
)
"""Value representations with a length of 2 and of 4 bytes (PS3.5, 7.1.2)."""

_UNDEFINED_LENGTH = 2**32 - 1

_MAX_LENGTH = 2**16
"""Length of an element at the start of a file without its VR."""


def begins_as_dicom(head: bytes) -> bool:
    """Check the first 132 bytes of a file for the marks of DICOM.

    Example:
        >>> begins_as_dicom(bytes(128) + b"DICM")
        True
        >>> begins_as_dicom(bytes.fromhex("0800 0500 00000000  0800 0800 f0000000") + bytes(128))
        True
        >>> begins_as_dicom(b"NRRD0004")
        False
    """
    return head[PREAMBLE:] == b"DICM" or (len(head) > PREAMBLE and _begins_with_elements(head))


def _begins_with_elements(head: bytes) -> bool:
    """Check that a file without preamble begins with elements in order, not with voxels."""
    position, last = 0, (0, 0)
    while position + 12 <= len(head):
        group, element = struct.unpack_from("<2H", head, position)
        size, length = _element_length(head, position)
        if (group, element) <= last or (position == 0 and group not in _FIRST_GROUPS):
            return False
        if length is None or (element == 0 and length != 4):
            return False
        if length == _UNDEFINED_LENGTH:
            return position > 0
        position, last = position + size + length, (group, element)
    return True


def _element_length(head: bytes, position: int) -> tuple[int, int | None]:
    """Bytes of an element before its value, and of its value; None if implausible."""
    vr = head[position + 4 : position + 6]
    if vr in _SHORT_VRS:
        return 8, int.from_bytes(head[position + 6 : position + 8], "little")
    if vr in _LONG_VRS:
        return 12, int.from_bytes(head[position + 8 : position + 12], "little")
    length = int.from_bytes(head[position + 4 : position + 8], "little")
    return 8, length if length <= _MAX_LENGTH or length == _UNDEFINED_LENGTH else None


def partner(path: Path, suffix: str) -> Path | None:
    """Find the other file of a NIfTI or Analyze pair; None if it is not there.

    Args:
        path: A file of the pair; its suffix may have any case.
        suffix: ``.hdr`` or ``.img``, for the header or the voxels. The other file may be
            compressed or not; if both exist, the one is preferred that is stored like ``path``.
    """
    stem = _pair_stem(path.name)
    packed = path.name.lower().endswith(".gz")
    wanted = sorted((suffix, f"{suffix}.gz"), key=lambda end: end.endswith(".gz") != packed)
    for end in wanted:
        if (exact := path.with_name(stem + end)).is_file():
            return exact
    if not path.parent.is_dir():
        return None
    names = {file.name.lower(): file for file in path.parent.iterdir() if file.is_file()}
    return next((names[key] for end in wanted if (key := (stem + end).lower()) in names), None)


def scan_files(names: Iterable[str]) -> list[str]:
    """Select the file names of a folder that are scans, sorted; hidden files are left out.

    A NIfTI or Analyze pair is one scan, named by its header. A file of a DICOM series is none.

    Example:
        >>> scan_files(["b.img", "b.hdr", "a.nii.gz", "c.img.gz", "c.hdr", "d.raw", ".e.nii"])
        ['a.nii.gz', 'b.hdr', 'c.hdr']
    """
    scans: dict[str, str] = {}
    # Headers precede voxels, and files that are not compressed precede compressed ones.
    for name in sorted(names, key=lambda name: (_pair_rank(name), name)):
        if name.startswith(".") or not name.lower().endswith((*SCAN_SUFFIXES, *PAIR_SUFFIXES)):
            continue
        is_pair = name.lower().endswith(PAIR_SUFFIXES)
        scans.setdefault(_pair_stem(name).lower() + ".hdr" if is_pair else name, name)
    return sorted(scans.values())


def _pair_rank(name: str) -> int:
    ends = (".hdr", ".hdr.gz", ".img", ".img.gz")
    return next((rank for rank, end in enumerate(ends) if name.lower().endswith(end)), 0)


def _pair_stem(name: str) -> str:
    suffixes = (*PAIR_SUFFIXES, *NIFTI_SUFFIXES)
    suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


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
