"""NRRD and MetaImage files, read and written by SimpleITK.

Headers are checked before ITK reads them. The voxels must be in the same file or in one file next
to it, and that file must be large enough for the declared voxels.
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
    check_file_size,
    check_memory,
    check_shape,
    input_errors,
)

_MAX_HEADER = 2**20

_MAX_NAME, _MAX_VALUE = 80, 2000

_MAX_TEXT = 200

_FREE_TEXT = frozenset(("content", "comment"))

_MAX_NUMBERS = 110

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

_MAX_VOXEL_BYTES = 8

_LAST_FIELD = "ElementDataFile"
"""The field of a MetaImage header that precedes the voxels."""


class ItkFile:
    """An NRRD or MetaImage file; the first access to voxels reads all of them into memory.

    Args:
        path: Ends in ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``.

    Raises:
        InputError: The file is missing, its header cannot be read, its voxels are neither in it
            nor in one file next to it, or that file is too small for them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with input_errors(path, _format_name(path)):
            fields = read_fields(path)
            data = _data_file(path, fields)
            header = _header(path)
        if header.GetNumberOfComponents() > 1:
            raise InputError(
                f"a scan must have one number per voxel, but {path} has "
                f"{header.GetNumberOfComponents()}; save it in greyscale"
            )
        self.shape: tuple[int, ...] = header.GetSize()
        self.dtype = _numpy_type(header.GetPixelID())
        self.affine = _affine(header)
        self.notes: tuple[str, ...] = ()
        self.warnings = _warnings(header)
        self._bytes = math.prod(self.shape) * self.dtype.itemsize
        check_shape(path, self.shape)
        with input_errors(path, _format_name(path)):
            _check_size(path, data, fields, needed=self._bytes)

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        return self._voxels[:, :, start:stop]

    @cached_property
    def _voxels(self) -> NDArray[Any]:
        check_memory(self._path, 2 * self._bytes)
        reader = _reader(self._path)
        try:
            image = reader.Execute()
        except RuntimeError:
            raise InputError(
                f"{self._path} is cut short or damaged, or the file of its voxels is missing; "
                "copy it again from its source"
            ) from None
        return SimpleITK.GetArrayFromImage(image).T


def write_image(path: Path, voxels: NDArray[Any], source: ImageFile) -> None:
    """Write voxels on the grid of another volume, compressed.

    Args:
        path: Ends in ``.nrrd`` or ``.mha``.
        voxels: Voxels in the axis order of ``source``.
        source: The volume whose grid is used.

    Raises:
        OSError: The disk is full or broken.
    """
    lps = LPS_TO_RAS @ source.affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError:
        # The message of ITK names its source files, but not always the reason.
        full = shutil.disk_usage(path.parent).free < voxels.nbytes
        reason = errno.ENOSPC if full else errno.EIO
        raise OSError(reason, os.strerror(reason), str(path)) from None


def _reader(path: Path) -> SimpleITK.ImageFileReader:
    """Reader of the format that the suffix states; otherwise ITK tries about twenty formats."""
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


def _warnings(header: SimpleITK.ImageFileReader) -> tuple[str, ...]:
    if header.GetImageIO() == "NrrdImageIO" and not header.HasMetaDataKey("NRRD_space"):
        return (
            "the file does not state its orientation; its axes were assumed to run to the left, to "
            "the back and to the head",
        )
    return ()


def _format_name(path: Path) -> str:
    return "NRRD" if path.suffix.lower() in {".nrrd", ".nhdr"} else "MetaImage"


def _data_file(path: Path, fields: Mapping[str, str]) -> Path:
    """Find the file that contains the voxels.

    Raises:
        InputError: It is not in the folder of the header, or there are several files.
    """
    name = fields.get("datafile", fields.get("elementdatafile", "local"))
    if not name:
        raise ImageFileError
    if name.lower() == "local":
        return path
    # Teem and MetaIO expand patterns, and read the lines after LIST as file names.
    if name.split()[0] == "LIST" or "%" in name:
        raise InputError(
            f"the voxels of a scan must be in one file, but {path} names several; join them"
        )
    if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        raise InputError(
            f"the voxels of a scan must be in the folder of its header, but {path} refers to "
            f"{name!r}; move them there"
        )
    data = path.parent / name
    if not data.is_file():
        raise InputError(
            f"{path} is cut short or damaged, or the file of its voxels is missing; "
            "copy it again from its source"
        )
    return data


def _check_size(path: Path, data: Path, fields: Mapping[str, str], *, needed: int) -> None:
    encoding = fields.get("encoding", "").lower()
    is_gzip = encoding in {"gz", "gzip"}
    compressed = is_gzip or fields.get("compresseddata", "").lower() in {"true", "1"}
    is_text = encoding in {"txt", "text", "ascii"}
    if is_text or fields.get("binarydata", "").lower() in {"false", "0"}:
        needed //= _MAX_VOXEL_BYTES
    check_file_size(path, needed, size=data.stat().st_size, compressed=compressed)
    # MetaIO allocates as much memory as this field states.
    declared = fields.get("compresseddatasize", "0")
    if not declared.isdecimal() or int(declared[:20]) > data.stat().st_size:
        raise InputError(f"{path} is cut short or damaged; copy it again from its source")


def _is_valid(key: str, value: str) -> bool:
    """Check a field before ITK reads it: ITK does not check numbers and their count."""
    if len(key) > _MAX_NAME or len(value) > _MAX_VALUE:
        return False
    if key in _COUNTS:
        return bool(re.fullmatch(r"[1-9]|10", value))
    if key not in _NUMERIC:
        # Teem quotes unknown values in a buffer of about 250 letters.
        return key in _FREE_TEXT or len(value) <= _MAX_TEXT
    words = re.split(r"[\s,()]+", value)
    return len(words) <= _MAX_NUMBERS and all(map(_NUMBER.fullmatch, words))


def read_fields(path: Path) -> dict[str, str]:
    """Read the fields of an NRRD or MetaImage header; names in lower case without spaces.

    Raises:
        ImageFileError: The header has no end, or one that ITK does not recognise.
    """
    if not path.is_file():
        raise FileNotFoundError
    with path.open("rb") as stream:
        content = stream.read(_MAX_HEADER)
    nrrd = content.startswith(b"NRRD")
    fields: dict[str, str] = {}
    for line in content.splitlines():
        if nrrd and not line:
            return fields
        name, *value = re.split("[:=]", line.decode("latin-1"), maxsplit=1)
        if value and not value[0].startswith("="):
            _add_field(fields, name, value[0].strip())
        if not nrrd and _LAST_FIELD.lower() in fields:
            return fields
    if nrrd and len(content) < _MAX_HEADER:
        return fields
    raise ImageFileError


def _add_field(fields: dict[str, str], name: str, value: str) -> None:
    key = "".join(name.lower().split())
    # MetaIO recognises its last field in this spelling only.
    if not _is_valid(key, value) or (key == _LAST_FIELD.lower() and name.strip() != _LAST_FIELD):
        raise ImageFileError
    fields.setdefault(key, value)
