"""The values of a NIfTI header exactly as the file states them.

nibabel turns a negative spacing into a positive one and a zero into 1, and invents an affine if
neither the sform nor the qform has one. These faults are only visible in the raw header.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel
from nibabel.spatialimages import HeaderDataError

from thorax.io.file_format import read_content
from thorax.io.stored_image import input_errors
from thorax.io.suffixes import NIFTI_SUFFIXES, PAIR_SUFFIXES

_UNITS = {1: "m", 2: "mm", 3: "um"}
"""Codes of lengths in the three lowest bits of ``xyzt_units``."""

_SHORTEST = 348
"""Bytes of a NIfTI-1 or Analyze header."""


@dataclass(frozen=True)
class RawHeader:
    """Geometry in a header, uncorrected.

    Args:
        spacing: Voxel spacing in the unit of the file, including zeros and signs; empty for
            formats that have an affine only.
        oriented: True if the header states the position of the voxels.
        unit: ``mm``, ``m``, ``um``; empty if not stated.
    """

    spacing: tuple[float, ...] = ()
    oriented: bool = True
    unit: str = ""


def read_raw_header(path: Path) -> RawHeader:
    """Read the raw NIfTI header; the defaults of `RawHeader` for other formats.

    Raises:
        InputError: The file cannot be read, or its header is damaged.
    """
    if not path.name.lower().endswith((*NIFTI_SUFFIXES, *PAIR_SUFFIXES)):
        return RawHeader()
    with input_errors(path, "NIfTI"):
        content = read_content(path)
        if content.damaged:
            raise EOFError
        if content.format is None and len(content.head) < _SHORTEST:
            raise HeaderDataError("the header is cut short")
        if content.format not in ("NIfTI", "Analyze"):
            return RawHeader()
        return parse_raw_header(content.head)


def parse_raw_header(head: bytes) -> RawHeader:
    """Parse the first bytes of a NIfTI or Analyze header.

    Raises:
        HeaderDataError: There are too few.
    """
    is_second = head[4:7] in (b"n+2", b"ni2")
    header_class = nibabel.Nifti2Header if is_second else nibabel.Nifti1Header
    length = header_class.template_dtype.itemsize
    if len(head) < length:
        raise HeaderDataError("the header is cut short")
    header = header_class(head[:length], check=False)
    spacing = tuple(float(step) for step in header["pixdim"][1:4])
    if not any(magic in header["magic"].item() for magic in (b"n+", b"ni")):
        return RawHeader(spacing, oriented=False)  # Analyze has no such fields.
    return RawHeader(
        spacing,
        oriented=bool(header["sform_code"] > 0 or header["qform_code"] > 0),
        unit=_UNITS.get(int(header["xyzt_units"]) & 7, ""),
    )
