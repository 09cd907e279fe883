"""What the header of an image states in its own words, before a reader mends or guesses it.

nibabel turns a negative spacing into a positive one and a zero into 1, and makes up an affine where
neither the sform nor the qform holds one, so a reader cannot tell that the file said otherwise.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel
from isal import igzip
from nibabel.spatialimages import HeaderDataError

from thorax.io.stored_image import reading
from thorax.io.suffixes import SUFFIXES

_UNITS = {1: "m", 2: "mm", 3: "um"}
"""Codes of lengths in the three lowest bits of ``xyzt_units``."""


@dataclass(frozen=True)
class Declared:
    """What a header states.

    Args:
        spacing: Of voxels, in the unit of the file, a zero or a minus kept; empty where the format
            has it in the affine alone.
        oriented: Whether it says where the voxels lie.
        unit: ``mm``, ``m``, ``um``; empty if it says nothing.
    """

    spacing: tuple[float, ...] = ()
    oriented: bool = True
    unit: str = ""


def read_raw_header(path: Path) -> Declared:
    """Read what a NIfTI header states; of other formats only their readers can tell.

    Raises:
        InputError: The file cannot be read, or its header is damaged.
    """
    if not path.name.endswith(SUFFIXES):
        return Declared()
    with reading(path, "NIfTI"):
        head = _head(path)
        form = nibabel.Nifti2Header if 540 in _sizes(head) else nibabel.Nifti1Header
        if len(head) < form.template_dtype.itemsize:
            raise HeaderDataError("the header is cut short")
        header = form(head[: form.template_dtype.itemsize], check=False)
    if not any(magic in header["magic"].item() for magic in (b"n+", b"ni")):
        return Declared()  # Analyze and its kin say less.
    return Declared(
        spacing=tuple(float(step) for step in header["pixdim"][1:4]),
        oriented=bool(header["sform_code"] > 0 or header["qform_code"] > 0),
        unit=_UNITS.get(int(header["xyzt_units"]) & 7, ""),
    )


def _head(path: Path) -> bytes:
    opened = igzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")
    with opened as stream:
        return bytes(stream.read(nibabel.Nifti2Header.template_dtype.itemsize))


def _sizes(head: bytes) -> tuple[int, int]:
    """The size that a header states, read in either byte order."""
    return int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
