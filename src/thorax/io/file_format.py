"""Recognise the format of a file by its content.

The suffix of a name is a hint only: it is used for content that is not recognised.
"""

import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from isal import igzip

from thorax.io.stored_image import GZIP_ERRORS
from thorax.io.suffixes import (
    DICOM_SUFFIXES,
    ITK_SUFFIXES,
    NIFTI_SUFFIXES,
    PAIR_SUFFIXES,
    PREAMBLE,
    begins_as_dicom,
    partner,
)

Format = Literal["NIfTI", "Analyze", "MGH", "NRRD", "MetaImage", "DICOM", "zip"]

HEAD = 1024
"""Decompressed bytes at the start of a file that state its format; a NIfTI-2 header has 540."""

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"

_META_IMAGE = re.compile(rb"\s*(ObjectType|ObjectSubType|NDims)[ \t]*[=:]")

_FORMATS: dict[Format, tuple[str, ...]] = {
    "NIfTI": (*NIFTI_SUFFIXES, *PAIR_SUFFIXES),
    "Analyze": PAIR_SUFFIXES,
    "MGH": (".mgh", ".mgz"),
    "NRRD": ITK_SUFFIXES[:2],
    "MetaImage": ITK_SUFFIXES[2:],
    "DICOM": DICOM_SUFFIXES[:-1],
    "zip": DICOM_SUFFIXES[-1:],
}
"""Suffixes of each format."""


@dataclass(frozen=True)
class FileContent:
    """The start of a file.

    Args:
        format: Format of the content; None if it is not recognised.
        head: First bytes, decompressed.
        gzip: True if the file is compressed by gzip; for voxels of a pair, that file.
        damaged: True if it could not be decompressed.
    """

    format: Format | None
    head: bytes
    gzip: bool = False
    damaged: bool = False


def read_content(path: Path) -> FileContent:
    """Read the start of a file and recognise its format.

    The voxels of a pair have no format of their own; their header is read instead, if it is there.

    Raises:
        OSError: The file is missing or cannot be read.
    """
    header = partner(path, ".hdr") if path.name.lower().endswith((".img", ".img.gz")) else None
    if header is not None:
        content = _read(header)
        if content.format in ("NIfTI", "Analyze"):
            with path.open("rb") as stream:
                return replace(content, gzip=stream.read(2) == _GZIP)
    return _read(path)


def name_note(path: Path, content: FileContent) -> tuple[str, ...]:
    """Note that the suffix of a file does not fit its content; empty if it fits.

    DICOM files often have no suffix, or any.
    """
    name = path.name.lower()
    known = [suffix for suffixes in _FORMATS.values() for suffix in suffixes]
    suffix = next((suffix for suffix in known if name.endswith(suffix)), "")
    if content.format is None or (content.format in ("DICOM", "zip") and not suffix):
        return ()
    packed = suffix.endswith((".gz", ".mgz"))
    same_packing = packed == content.gzip or content.format in ("DICOM", "zip")
    if suffix in _FORMATS[content.format] and same_packing:
        return ()
    packing = {True: " compressed by gzip", False: " without compression"}[content.gzip]
    text = content.format + (packing if suffix in _FORMATS[content.format] else "")
    ending = f"its name ends in {suffix}" if suffix else "its name does not state it"
    return (f"the file is {text}, although {ending}; it was read by its content",)


def _read(path: Path) -> FileContent:
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head.startswith(_GZIP):
        return FileContent(_format(head), head)
    try:
        with igzip.open(path, "rb") as unpacked:
            head = unpacked.read(HEAD)
    except (*GZIP_ERRORS, zlib.error):
        return FileContent(None, b"", gzip=True, damaged=True)
    return FileContent(_format(head), head, gzip=True)


def _format(head: bytes) -> Format | None:
    if begins_as_dicom(head[: PREAMBLE + 4]):
        return "DICOM"
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(b"NRRD"):
        return "NRRD"
    if _META_IMAGE.match(head):
        return "MetaImage"
    return _binary_format(head)


def _binary_format(head: bytes) -> Format | None:
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if 540 in sizes and head[4:7] in (b"n+2", b"ni2") and len(head) >= 540:
        return "NIfTI"
    if 348 in sizes and len(head) >= 348:
        return "NIfTI" if head[344:347] in (b"n+1", b"ni1") else "Analyze"
    if head[:4] == b"\0\0\0\1" and len(head) >= 284:
        return "MGH"
    return None
