"""NRRD and MetaImage files, through SimpleITK.

What ITK is given to read was looked at before: that the voxels are in the file, or in one other
beside it, and that this one can hold as many as the header tells of.
"""

import errno
import math
import os
import re
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.stored_image import (
    LPS_TO_RAS,
    ImageFile,
    check_held,
    check_room,
    check_shape,
    reading,
)

_LONGEST_HEADER = 2**20

_LONGEST_NAME, _LONGEST_VALUE = 80, 2000

_LONGEST_WORDS = 200

_FREE = frozenset(("content", "comment"))

_MOST_NUMBERS = 110

_COUNTS = frozenset(("ndims", "dimension", "spacedimension"))

_NUMERIC = frozenset(
    [
        "dimsize",
        "sizes",
        "elementspacing",
        "elementsize",
        "elementnumberofchannels",
        "offset",
        "position",
        "origin",
        "transformmatrix",
        "rotation",
        "orientation",
        "centerofrotation",
        "headersize",
        "compresseddatasize",
        "spacings",
        "spaceorigin",
        "spacedirections",
        "measurementframe",
        "thicknesses",
        "axismins",
        "axismaxs",
        "min",
        "max",
        "oldmin",
        "oldmax",
        "lineskip",
        "byteskip",
        "elementmin",
        "elementmax",
        "elementtointensityfunctionslope",
        "elementtointensityfunctionoffset",
        "sequenceid",
        "color",
        "id",
        "parentid",
    ]
)

_NUMBER = re.compile(
    r"([-+]?(\d{1,18}\.?\d{0,40}|\.\d{1,40})(e[-+]?\d{1,3})?|[-+]?nan|none)?", re.I
)

_WIDEST_BYTES = 8

_LAST = "ElementDataFile"
"""The field of a MetaImage after which the voxels begin."""


class ItkFile:
    """An NRRD or MetaImage file, held in memory whole once voxels are asked for.

    Args:
        path: Ends in ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.

    Raises:
        InputError: The file is missing, its header cannot be read, its voxels lie elsewhere than
            in it or in one file beside it, or are more than that file can hold.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with reading(path, _format_name(path)):
            told = read_fields(path)
            data = _data_file(path, told)
            header = _header(path)
        if header.GetNumberOfComponents() > 1:
            raise InputError(
                f"a scan must hold one number a voxel, but {path} holds "
                f"{header.GetNumberOfComponents()}; save it in grey"
            )
        self.shape: tuple[int, ...] = header.GetSize()
        self.dtype = _numpy_type(header.GetPixelID())
        self.affine = _affine(header)
        self.notes = _notes(header)
        self._bytes = math.prod(self.shape) * self.dtype.itemsize
        check_shape(path, self.shape)
        with reading(path, _format_name(path)):
            _check_size(path, data, told, needed=self._bytes)

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        return self._voxels[:, :, start:stop]

    @cached_property
    def _voxels(self) -> NDArray[Any]:
        check_room(self._path, 2 * self._bytes)
        reader = _reader(self._path)
        try:
            image = reader.Execute()
        except RuntimeError:
            raise InputError(
                f"{self._path} is cut short or damaged, or the file of its voxels is missing; "
                "copy it again from its source"
            ) from None
        return SimpleITK.GetArrayFromImage(image).T


def write_image(path: Path, stored_mask: NDArray[Any], stored: ImageFile) -> None:
    """Write voxels on the grid of a stored volume, compressed.

    Args:
        path: Ends in ``.nrrd`` or ``.mha``.
        stored_mask: Voxels in the axis order of ``stored``.
        stored: Where they lie.

    Raises:
        OSError: The disk is full or broken.
    """
    lps = LPS_TO_RAS @ stored.affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored_mask.T))
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError:
        # ITK tells its own source files, but not always the reason.
        full = shutil.disk_usage(path.parent).free < stored_mask.nbytes
        reason = errno.ENOSPC if full else errno.EIO
        raise OSError(reason, os.strerror(reason), str(path)) from None


def _reader(path: Path) -> SimpleITK.ImageFileReader:
    """A reader of the format that the name tells of: ITK would try some twenty others, too."""
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if _format_name(path) == "NRRD" else "MetaImageIO")
    reader.SetFileName(str(path))
    return reader


def _header(path: Path) -> SimpleITK.ImageFileReader:
    if not path.is_file():
        raise FileNotFoundError
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise ImageFileError from None
    return reader


def _affine(header: SimpleITK.ImageFileReader) -> NDArray[np.float64]:
    size = header.GetDimension()
    affine = np.eye(4)
    if size == 3:
        affine[:3, :3] = np.reshape(header.GetDirection(), (3, 3)) * header.GetSpacing()
        affine[:3, 3] = header.GetOrigin()
    return LPS_TO_RAS @ affine


def _numpy_type(pixel_id: int) -> np.dtype[Any]:
    return SimpleITK.GetArrayViewFromImage(SimpleITK.Image([1, 1], pixel_id)).dtype


def _notes(header: SimpleITK.ImageFileReader) -> tuple[str, ...]:
    if header.GetImageIO() == "NrrdImageIO" and not header.HasMetaDataKey("NRRD_space"):
        return (
            "the file does not say where left and front are; its axes were taken as x to the left, "
            "y to the back and z to the head",
        )
    return ()


def _format_name(path: Path) -> str:
    return "NRRD" if path.suffix.lower() in {".nrrd", ".nhdr"} else "MetaImage"


def _data_file(path: Path, told: Mapping[str, str]) -> Path:
    """The file that holds the voxels.

    Raises:
        InputError: It is not in the folder of the header, or there are several.
    """
    name = told.get("datafile", told.get("elementdatafile", "local"))
    if not name:
        raise ImageFileError
    if name.lower() == "local":
        return path
    # Teem and MetaIO make names out of patterns, and take the lines after LIST for names.
    if name.split()[0] == "LIST" or "%" in name:
        raise InputError(
            f"the voxels of a scan must be in one file, but {path} names several; join them"
        )
    if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        raise InputError(
            f"the voxels of a scan must be in the folder of its header, but {path} looks for them "
            f"in {name!r}"
        )
    data = path.parent / name
    if not data.is_file():
        raise InputError(
            f"{path} is cut short or damaged, or the file of its voxels is missing; "
            "copy it again from its source"
        )
    return data


def _check_size(path: Path, data: Path, told: Mapping[str, str], *, needed: int) -> None:
    encoding = told.get("encoding", "").lower()
    packed = encoding in {"gz", "gzip"} or told.get("compresseddata", "").lower() in {"true", "1"}
    if encoding in {"txt", "text", "ascii"} or told.get("binarydata", "").lower() in {"false", "0"}:
        needed //= _WIDEST_BYTES
    check_held(path, needed, held=data.stat().st_size, packed=packed)
    # MetaIO asks for as much memory as is said here.
    stored = told.get("compresseddatasize", "0")
    if not stored.isdecimal() or int(stored[:20]) > data.stat().st_size:
        raise InputError(f"{path} is cut short or damaged; copy it again from its source")


def _is_sound(key: str, value: str) -> bool:
    """Whether ITK can be given a field: it trusts numbers to be numbers, and few."""
    if len(key) > _LONGEST_NAME or len(value) > _LONGEST_VALUE:
        return False
    if key in _COUNTS:
        return bool(re.fullmatch(r"[1-9]|10", value))
    if key not in _NUMERIC:
        # Teem quotes what it cannot use, and has room for some 250 letters of it.
        return key in _FREE or len(value) <= _LONGEST_WORDS
    words = re.split(r"[\s,()]+", value)
    return len(words) <= _MOST_NUMBERS and all(map(_NUMBER.fullmatch, words))


def read_fields(path: Path) -> dict[str, str]:
    """The fields of a NRRD or MetaImage header, names in small letters without spaces.

    Raises:
        ImageFileError: There is no end to it, or one that ITK would not see.
    """
    if not path.is_file():
        raise FileNotFoundError
    with path.open("rb") as stream:
        content = stream.read(_LONGEST_HEADER)
    nrrd = content.startswith(b"NRRD")
    fields: dict[str, str] = {}
    for line in content.splitlines():
        if nrrd and not line:
            return fields
        name, *value = re.split("[:=]", line.decode("latin-1"), maxsplit=1)
        if value and not value[0].startswith("="):
            _add(fields, name, value[0].strip())
        if not nrrd and _LAST.lower() in fields:
            return fields
    if nrrd and len(content) < _LONGEST_HEADER:
        return fields
    raise ImageFileError


def _add(fields: dict[str, str], name: str, value: str) -> None:
    key = "".join(name.lower().split())
    # MetaIO knows its last field by this spelling alone.
    if not _is_sound(key, value) or (key == _LAST.lower() and name.strip() != _LAST):
        raise ImageFileError
    fields.setdefault(key, value)
