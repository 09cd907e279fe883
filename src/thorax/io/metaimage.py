"""Read MetaImage files, with voxels in the same file or in one file next to it.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.header_fields import (
    Fields,
    data_path,
    flag,
    header_lines,
    integers,
    numbers,
    unsupported,
)
from thorax.io.stored_image import (
    LPS_TO_RAS,
    check_shape,
    drop_trailing_axes,
    input_errors,
    orientation_warning,
    spacing_warning,
)
from thorax.io.voxel_file import Encoding, VoxelFile

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""A MET_LONG has 4 bytes on every system."""

_MATRIX = ("transformmatrix", "rotation", "orientation")

_ORIGIN = ("offset", "position", "origin")

_SPACING = ("elementspacing", "elementsize")

_LAST_FIELD = "elementdatafile"
"""The field that precedes the voxels."""

_LPS = "rai"
"""The anatomical orientation of files without a matrix: the letters name where the axes start."""

_MAX_AXES = 10


class MetaImageFile:
    """A MetaImage file.

    Args:
        path: The file with the header.

    Raises:
        InputError: The file is missing, its header cannot be read, its voxels are neither in it
            nor in one file in its folder, or that file is too small for them.
    """

    def __init__(self, path: Path) -> None:
        self.notes: tuple[str, ...] = ()
        with input_errors(path, "MetaImage"):
            fields, end = _read_header(path)
            sizes = _sizes(path, fields)
            self.shape = drop_trailing_axes(sizes)
            check_shape(path, self.shape)
            self.affine = _affine(fields, len(sizes)) if len(self.shape) == 3 else np.eye(4)
            self.warnings = _warnings(fields, self.affine)
            stored = _dtype(path, fields)
            self.dtype = stored.newbyteorder("=")
            self._voxels = _open_voxels(path, fields, end, shape=self.shape, dtype=stored)

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        return self._voxels.block(start, stop).astype(self.dtype, copy=False)


def _read_header(path: Path) -> tuple[Fields, int]:
    """Read the fields, and the bytes before voxels in the same file."""
    fields = Fields()
    with path.open("rb") as stream:
        for line in header_lines(stream):
            separators = [at for at in (line.find("="), line.find(":")) if at > 0]
            if separators:
                at = min(separators)
                fields.add(line[:at], line[at + 1 :])
            elif line.strip():
                raise ImageFileError
            if _LAST_FIELD in fields:
                return fields, stream.tell()
    raise ImageFileError


def _sizes(path: Path, fields: Fields) -> list[int]:
    (count,) = integers(fields.get("ndims", ""), 1)
    if not 1 <= count <= _MAX_AXES:
        raise ImageFileError
    sizes = integers(fields.get("dimsize", ""), count)
    if min(sizes) < 1:
        raise ImageFileError
    (components,) = integers(fields.get("elementnumberofchannels", "1"), 1)
    if components != 1:
        raise InputError(
            f"a scan must have one number per voxel, but {path} has {components}; save it in "
            "greyscale"
        )
    return sizes


def _affine(fields: Fields, count: int) -> NDArray[np.float64]:
    """Affine to RAS+; the matrix has one row per axis, with its direction."""
    matrix, origin = np.eye(count), np.zeros(count)
    if (value := fields.first(*_MATRIX)) is not None:
        matrix = np.reshape(numbers(value, count * count), (count, count))
    if (value := fields.first(*_ORIGIN)) is not None:
        origin = np.array(numbers(value, count))
    value = fields.first(*_SPACING)
    spacing = np.ones(count) if value is None else np.array(numbers(value, count))
    affine = np.eye(4)
    affine[:3, :3] = matrix.T[:3, :3] * spacing[:3]
    affine[:3, 3] = origin[:3]
    return LPS_TO_RAS @ affine


def _warnings(fields: Fields, affine: NDArray[np.float64]) -> tuple[str, ...]:
    warnings = []
    if fields.first(*_MATRIX) is None and fields.get("anatomicalorientation", "").lower() != _LPS:
        warnings.append(orientation_warning(affine))
    if fields.first(*_SPACING) is None:
        warnings.append(spacing_warning())
    for key, default in (("slope", 1.0), ("offset", 0.0)):
        value = fields.get(f"elementtointensityfunction{key}")
        if value is not None and numbers(value, 1) != [default]:
            warnings.append(
                f"the header states an intensity {key} of {numbers(value, 1)[0]:g}; it was not "
                "applied: check the HU"
            )
    return tuple(warnings)


def _dtype(path: Path, fields: Fields) -> np.dtype[Any]:
    """Data type with the byte order of the file."""
    name = _TYPES.get(fields.get("elementtype", "").upper())
    if name is None:
        raise unsupported(path, "ElementType", fields.get("elementtype"))
    order = ">" if flag(fields, "binarydatabyteordermsb", "elementbyteordermsb") else "<"
    return np.dtype(order + name)


def _open_voxels(
    path: Path, fields: Fields, end: int, *, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> VoxelFile:
    name = fields[_LAST_FIELD]
    is_local = name.lower() == "local"
    file = path if is_local else data_path(path, name)
    (start,) = integers(fields.get("headersize", "0"), 1)
    encoding: Encoding = "raw"
    if flag(fields, "compresseddata"):
        encoding = "zlib"
    elif not flag(fields, "binarydata", default=True):
        encoding = "text"
    if start < -1 or (start < 0 and encoding != "raw"):
        raise ImageFileError
    size = file.stat().st_size
    if start == -1:
        # The voxels are at the end of the file.
        start = max(size - int(np.prod(shape)) * dtype.itemsize, 0)
    elif start == 0:
        start = end if is_local else 0
    if integers(fields.get("compresseddatasize", "0"), 1)[0] > size:
        raise EOFError
    if encoding == "zlib" and _is_gzip(file, start):
        encoding = "gzip"
    return VoxelFile(path, file, shape=shape, dtype=dtype, encoding=encoding, start=start)


def _is_gzip(file: Path, start: int) -> bool:
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read(2) == b"\x1f\x8b"
