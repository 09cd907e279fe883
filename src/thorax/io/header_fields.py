"""Fields of NRRD and MetaImage headers, which are lines of text.

Only fields that state type, size, position and encoding are used. Other fields, such as comments,
may have any length and content.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from nibabel.filebasedimages import ImageFileError

from thorax.common.errors import InputError

MAX_HEADER = 2**26
"""Bytes of a header with all of its text."""

_MAX_NUMBERS, _MAX_DIGITS = 300, 60

_SEVERAL = re.compile(r"LIST(\s|$)|.*%\d*d")
"""A list of file names, or a pattern for them."""


class Fields(dict[str, str]):
    """Fields by name, in lower case without spaces."""

    def add(self, name: str, value: str) -> None:
        """Add a field.

        Raises:
            ImageFileError: The header has another value for it.
        """
        key = "".join(name.lower().split())
        if self.setdefault(key, value.strip()) != value.strip() and key in _USED:
            raise ImageFileError

    def first(self, *keys: str) -> str | None:
        """Value of the first of several names that the header has."""
        return next((self[key] for key in keys if key in self), None)


_USED = frozenset(
    [
        *("type", "dimension", "sizes", "encoding", "endian", "space", "spacedimension"),
        *("spacedirections", "spaceorigin", "spacings", "axismins", "kinds", "datafile"),
        *("byteskip", "lineskip", "ndims", "dimsize", "elementtype", "elementdatafile"),
        *("elementspacing", "elementsize", "transformmatrix", "offset", "headersize"),
        *("compresseddata", "compresseddatasize", "binarydata", "binarydatabyteordermsb"),
    ]
)
"""Fields that may not have two values."""


def header_lines(stream: IO[bytes]) -> Iterator[str]:
    """Read lines without their ends.

    Raises:
        ImageFileError: There are more bytes than in any header.
    """
    remaining = MAX_HEADER
    while line := stream.readline(remaining):
        remaining -= len(line)
        if remaining <= 0:
            raise ImageFileError
        yield line.decode("latin-1").rstrip("\r\n")


def numbers(value: str, count: int | None = None) -> list[float]:
    """Parse numbers separated by spaces or commas.

    Raises:
        ImageFileError: A word is no number, or there is another count of them.
    """
    words = value.replace(",", " ").split(maxsplit=_MAX_NUMBERS)
    if len(words) > _MAX_NUMBERS or any(len(word) > _MAX_DIGITS for word in words):
        raise ImageFileError
    if count is not None and len(words) != count:
        raise ImageFileError
    try:
        return [float(word) for word in words]
    except ValueError:
        raise ImageFileError from None


def integers(value: str, count: int | None = None) -> list[int]:
    """Parse whole numbers separated by spaces.

    Raises:
        ImageFileError: A word is no whole number, or there is another count of them.
    """
    parsed = numbers(value, count)
    if not all(math.isfinite(number) and number == int(number) for number in parsed):
        raise ImageFileError
    return [int(number) for number in parsed]


def flag(fields: Mapping[str, str], *keys: str, default: bool = False) -> bool:
    """Read a field of true or false."""
    value = next((fields[key].lower() for key in keys if key in fields), "")
    return value in ("true", "1", "t", "yes") if value else default


def unsupported(path: Path, field: str, value: str | None) -> InputError:
    """Error for a field without a value that can be read."""
    stated = "lacks it" if value is None else f"has {value[:_MAX_DIGITS]!r}"
    return InputError(
        f"the header of a scan must state a known `{field}`, but {path} {stated}; save it again, "
        "for instance in 3D Slicer"
    )


def data_path(path: Path, name: str) -> Path:
    """Find the file that a header names for its voxels.

    It must be in the folder of the header, or in a folder below it. The path may be written in any
    way: relative, absolute or with backslashes.

    Args:
        path: The header.
        name: The path in it.

    Raises:
        InputError: It is in another folder, missing, or the header names several files.
    """
    if not name or "\0" in name:
        raise ImageFileError
    folder = Path(os.path.realpath(path.parent))
    for written in dict.fromkeys((name, name.replace("\\", "/"))):
        place = Path(os.path.normpath(path.parent.absolute() / written))
        inside = Path(os.path.realpath(place.parent)).is_relative_to(folder)
        if inside and place.is_file():
            if place.samefile(path):
                raise ImageFileError  # The header would be read as voxels.
            return place
    if _SEVERAL.match(name):
        raise InputError(
            f"the voxels of a scan must be in one file, but {path} names several; join them"
        )
    if not inside or re.match(r"[A-Za-z]:", name):
        last = re.split(r"[/\\]", name)[-1]
        raise InputError(
            f"the voxels of a scan must be in the folder of its header, but {path} refers to "
            f"{name!r}; move the file there and write only {last!r} in the header"
        )
    raise InputError(
        f"the file of its voxels is missing: {path} refers to {name!r}; copy it from its source"
    )
