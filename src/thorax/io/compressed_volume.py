"""Write NRRD and MetaImage files: a header in text, then the compressed voxels.

Formats: https://teem.sourceforge.net/nrrd/format.html and
https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from thorax.io.stored_image import LPS_TO_RAS

_NRRD_TYPES = {"uint8": "uint8", "uint16": "uint16", "float32": "float"}

_META_TYPES = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT", "float32": "MET_FLOAT"}

_LEVEL = 2
"""As for gzip; see `thorax.io.writers`."""

_GZIP, _ZLIB = 31, 15
"""Window bits of zlib that select the container of the compressed data."""


class CompressedVolume:
    """Compresses voxels block by block, and writes the file at the end.

    Args:
        path: Ends in ``.nrrd`` or ``.mha``.
        shape: Number of voxels along each stored axis.
        affine: 4×4 matrix from stored voxel indices to RAS+ millimetres.
        dtype: ``uint8``, ``uint16`` or ``float32``.
    """

    def __init__(
        self, path: Path, *, shape: tuple[int, ...], affine: NDArray[Any], dtype: np.dtype[Any]
    ) -> None:
        self._path, self._dtype = path, dtype
        self._shape = tuple(map(int, shape))
        self._lps = LPS_TO_RAS @ affine
        self._is_nrrd = path.name.endswith(".nrrd")
        bits = _GZIP if self._is_nrrd else _ZLIB
        self._compressor = isal_zlib.compressobj(_LEVEL, wbits=bits)
        self._parts: list[bytes] = []

    def add(self, block: NDArray[Any]) -> None:
        """Compress a block of stored voxels, consecutive along the last axis."""
        values = block.astype(self._dtype.newbyteorder("<"), copy=False)
        self._parts.append(self._compressor.compress(values.tobytes(order="F")))

    def write(self) -> None:
        """Write header and voxels.

        Raises:
            OSError: The file cannot be written.
        """
        self._parts.append(self._compressor.flush())
        header = self._nrrd_header() if self._is_nrrd else self._meta_header()
        with self._path.open("wb") as stream:
            stream.write("".join(f"{line}\n" for line in header).encode("ascii"))
            stream.writelines(self._parts)

    def _nrrd_header(self) -> list[str]:
        return [
            "NRRD0004",
            f"type: {_NRRD_TYPES[self._dtype.name]}",
            "dimension: 3",
            "space: left-posterior-superior",
            f"sizes: {_spaced(self._shape)}",
            f"space directions: {' '.join(map(_vector, self._lps[:3, :3].T))}",
            "kinds: domain domain domain",
            "endian: little",
            "encoding: gzip",
            f"space origin: {_vector(self._lps[:3, 3])}",
            "",
        ]

    def _meta_header(self) -> list[str]:
        spacing_mm = np.linalg.norm(self._lps[:3, :3], axis=0)
        # One row per axis.
        directions = (self._lps[:3, :3] / spacing_mm).T
        return [
            "ObjectType = Image",
            "NDims = 3",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            "CompressedData = True",
            f"CompressedDataSize = {sum(map(len, self._parts))}",
            f"TransformMatrix = {_spaced(directions.ravel().tolist())}",
            f"Offset = {_spaced(self._lps[:3, 3].tolist())}",
            f"ElementSpacing = {_spaced(spacing_mm.tolist())}",
            f"DimSize = {_spaced(self._shape)}",
            f"ElementType = {_META_TYPES[self._dtype.name]}",
            "ElementDataFile = LOCAL",
        ]


def _spaced(numbers: Iterable[float]) -> str:
    """Write numbers with all of their digits."""
    return " ".join(map(repr, numbers))


def _vector(numbers: NDArray[Any]) -> str:
    return f"({','.join(map(repr, numbers.tolist()))})"
