"""The values of a NIfTI header exactly as the file states them.

nibabel turns a negative spacing into a positive one and a zero into 1, and invents an affine if
neither the sform nor the qform has one. These faults are only visible in the raw header.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel
from isal import igzip
from nibabel.spatialimages import HeaderDataError

from thorax.io.stored_image import input_errors
from thorax.io.suffixes import NIFTI_SUFFIXES

_UNITS = {1: "m", 2: "mm", 3: "um"}
"""Codes of lengths in the three lowest bits of ``xyzt_units``."""


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
    if not path.name.endswith(NIFTI_SUFFIXES):
        return RawHeader()
    with input_errors(path, "NIfTI"):
        head = _head(path)
        header_class = nibabel.Nifti2Header if 540 in _sizes(head) else nibabel.Nifti1Header
        length = header_class.template_dtype.itemsize
        if len(head) < length:
            raise HeaderDataError("the header is cut short")
        header = header_class(head[:length], check=False)
    if not any(magic in header["magic"].item() for magic in (b"n+", b"ni")):
        return RawHeader()  # Analyze has no such fields.
    return RawHeader(
        spacing=tuple(float(step) for step in header["pixdim"][1:4]),
        oriented=bool(header["sform_code"] > 0 or header["qform_code"] > 0),
        unit=_UNITS.get(int(header["xyzt_units"]) & 7, ""),
    )


def _head(path: Path) -> bytes:
    opened = igzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")
    with opened as stream:
        return bytes(stream.read(nibabel.Nifti2Header.template_dtype.itemsize))


def _sizes(head: bytes) -> tuple[int, int]:
    """The size in the header, read in both byte orders."""
    return int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
