"""Read NRRD files, with voxels in the same file or in one file next to it.

Format: https://teem.sourceforge.net/nrrd/format.html
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.header_fields import (
    Fields,
    data_path,
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
    unit_warning,
)
from thorax.io.voxel_file import Encoding, VoxelFile

_TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": (
        *("longlong", "long long", "long long int", "signed long long"),
        *("signed long long int", "int64", "int64_t"),
    ),
    "uint64": (
        *("ulonglong", "unsigned long long", "unsigned long long int"),
        *("uint64", "uint64_t"),
    ),
    "float32": ("float",),
    "float64": ("double",),
}

_TYPE_OF = {name: dtype for dtype, names in _TYPES.items() for name in names}

_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "hex": "hex",
}

_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
"""Signs that turn the coordinates of a space into RAS+."""

_SPATIAL_KINDS = ("", "domain", "space", "time", "none", "???")

_MAX_AXES, _MAX_MAGIC = 16, 16

_MILLIMETRES = ("mm", "millimeter", "millimetre", "millimeters", "millimetres", "", "???")


class NrrdFile:
    """An NRRD file.

    Args:
        path: The file with the header.

    Raises:
        InputError: The file is missing, its header cannot be read, its voxels are neither in it
            nor in one file in its folder, or that file is too small for them.
    """

    def __init__(self, path: Path) -> None:
        self.notes: tuple[str, ...] = ()
        with input_errors(path, "NRRD"):
            fields, end = _read_header(path)
            geometry = _geometry(path, fields)
            check_shape(path, geometry.shape)
            self.shape, self.affine = geometry.shape, geometry.affine
            self.warnings = geometry.warnings
            stored = _dtype(path, fields)
            self.dtype = stored.newbyteorder("=")
            self._voxels = _open_voxels(path, fields, end, shape=self.shape, dtype=stored)

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        return self._voxels.block(start, stop).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class _Axis:
    size: int
    direction: tuple[float, ...] | None
    spacing: float
    kind: str


@dataclass(frozen=True, eq=False)
class _Geometry:
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    warnings: tuple[str, ...]


def _read_header(path: Path) -> tuple[Fields, int | None]:
    """Read the fields, and the bytes before the voxels; None without voxels in the file."""
    fields = Fields()
    with path.open("rb") as stream:
        if not stream.read(4) == b"NRRD":
            raise ImageFileError
        stream.readline(_MAX_MAGIC)
        for line in header_lines(stream):
            if not line:
                return fields, stream.tell()
            name, colon, value = line.partition(":")
            if line.startswith("#") or value.startswith("="):
                continue
            if not colon:
                raise ImageFileError
            fields.add(name, value)
    return fields, None


def _dtype(path: Path, fields: Fields) -> np.dtype[Any]:
    """Data type with the byte order of the file."""
    name = _TYPE_OF.get(" ".join(fields.get("type", "").lower().split()))
    if name is None:
        raise unsupported(path, "type", fields.get("type"))
    dtype = np.dtype(name)
    order = fields.get("endian", "").lower()
    if dtype.itemsize > 1 and _encoding(path, fields) != "text":
        if order not in ("little", "big"):
            raise unsupported(path, "endian", fields.get("endian"))
        return dtype.newbyteorder("<" if order == "little" else ">")
    return dtype


def _encoding(path: Path, fields: Fields) -> Encoding:
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise unsupported(path, "encoding", fields.get("encoding"))
    return encoding


def _open_voxels(
    path: Path, fields: Fields, end: int | None, *, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> VoxelFile:
    name = fields.get("datafile")
    if name is None and end is None:
        raise ImageFileError
    file = path if name is None else data_path(path, name)
    start = 0 if name is not None else cast(int, end)
    (skip,), (lines,) = (integers(fields.get(key, "0"), 1) for key in ("byteskip", "lineskip"))
    encoding = _encoding(path, fields)
    if lines < 0 or skip < -1 or (skip < 0 and encoding != "raw"):
        raise ImageFileError
    start = _skip_lines(file, start, lines)
    if skip == -1:
        # The voxels are at the end of the file.
        start = max(file.stat().st_size - int(np.prod(shape)) * dtype.itemsize, start)
    return VoxelFile(
        path, file, shape=shape, dtype=dtype, encoding=encoding, start=start, skip=max(skip, 0)
    )


def _skip_lines(file: Path, start: int, lines: int) -> int:
    if not lines:
        return start
    with file.open("rb") as stream:
        stream.seek(start)
        for _ in range(lines):
            if not stream.readline():
                raise EOFError
        return stream.tell()


def _geometry(path: Path, fields: Fields) -> _Geometry:
    """Shape and affine of the volume, without axes of length 1 that are not spatial.

    Raises:
        InputError: The file has several numbers per voxel.
    """
    axes = _axes(fields)
    directed = any(axis.direction is not None for axis in axes)
    spatial = [axis for axis in axes if _is_spatial(axis, directed=directed)]
    components = [axis.size for axis in axes if axis not in spatial and axis.size > 1]
    # With three axes in total, the components would be read as an axis in space.
    if components and (len(spatial) >= 3 or len(axes) == 3):
        raise InputError(
            f"a scan must have one number per voxel, but {path} has {components[0]}; save it in "
            "greyscale"
        )
    shape = drop_trailing_axes([axis.size for axis in spatial])
    if len(shape) != 3 or components:
        return _Geometry(tuple(axis.size for axis in axes), np.eye(4), ())
    affine, stated = _affine(fields, spatial[:3])
    return _Geometry(shape, affine, (*stated, *_unit_warnings(fields)))


def _axes(fields: Fields) -> list[_Axis]:
    (count,) = integers(fields.get("dimension", ""), 1)
    if not 1 <= count <= _MAX_AXES:
        raise ImageFileError
    sizes = integers(fields.get("sizes", ""), count)
    if min(sizes) < 1:
        raise ImageFileError
    spacings = numbers(fields["spacings"], count) if "spacings" in fields else [np.nan] * count
    kinds = fields.get("kinds", "").lower().split()
    kinds = kinds if len(kinds) == count else [""] * count
    directions = _directions(fields.get("spacedirections"), count)
    return [_Axis(*axis) for axis in zip(sizes, directions, spacings, kinds, strict=True)]


def _directions(value: str | None, count: int) -> list[tuple[float, ...] | None]:
    if value is None:
        return [None] * count
    parts = re.findall(r"none|\([^()]*\)", value[: 2**14], re.I)
    if len(parts) != count or re.sub(r"none|\([^()]*\)|\s", "", value, flags=re.I):
        raise ImageFileError
    return [None if part.lower() == "none" else tuple(numbers(part.strip("()"))) for part in parts]


def _is_spatial(axis: _Axis, *, directed: bool) -> bool:
    return axis.direction is not None if directed else axis.kind in _SPATIAL_KINDS


def _affine(fields: Fields, axes: list[_Axis]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Affine to RAS+, and warnings about what the header does not state."""
    signs = _signs(fields)
    to_ras = np.diag([*signs, 1.0]) if signs else LPS_TO_RAS
    affine = np.eye(4)
    vectors = [axis.direction for axis in axes if axis.direction is not None]
    if vectors:
        if min(map(len, vectors)) < 3:
            raise ImageFileError
        affine[:3, :3] = np.transpose([vector[:3] for vector in vectors])
        affine[:3, 3] = _origin(fields)
    else:
        spacing = np.array([axis.spacing for axis in axes])
        affine[:3, :3] = np.diag(np.where(np.isfinite(spacing), spacing, 1.0))
    affine = to_ras @ affine
    warnings = [] if signs and vectors else [orientation_warning(affine)]
    if not vectors and not all(np.isfinite(axis.spacing) for axis in axes):
        warnings.append(spacing_warning())
    return affine, tuple(warnings)


def _signs(fields: Fields) -> tuple[int, int, int] | None:
    """Signs of the space; None if it is not one of the patient."""
    space = fields.get("space", "").lower()
    name = space.removesuffix("-time")
    return _SPACES.get(name) or _SPACES.get(name[:3] if name[3:] == "t" else "")


def _origin(fields: Fields) -> list[float]:
    value = fields.get("spaceorigin")
    if value is None:
        return [0.0, 0.0, 0.0]
    if not re.fullmatch(r"\([^()]*\)", value):
        raise ImageFileError
    origin = numbers(value.strip("()"))
    if len(origin) < 3:
        raise ImageFileError
    return [0.0 if np.isnan(value) else value for value in origin[:3]]


def _unit_warnings(fields: Fields) -> tuple[str, ...]:
    key = "spaceunits" if "spaceunits" in fields else "units"
    units = re.findall(r'"([^"]*)"', fields.get(key, "")[:200])[:3]
    others = [unit for unit in units if unit.strip().lower() not in _MILLIMETRES]
    return (unit_warning(others[0]),) if others else ()
