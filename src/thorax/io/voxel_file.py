"""The voxels in a file, in Fortran order: read block by block, or decoded into memory."""

import bz2
import math
import weakref
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.stored_image import check_file_size, check_memory

Encoding = Literal["raw", "gzip", "zlib", "bzip2", "text", "hex"]

MAX_TRAILING_BYTES = 2**26
"""Bytes after the last voxel of a gzip file that are read to reach its checksum."""

_CHUNK = 2**20


class VoxelFile:
    """Voxels of one volume in a file.

    Raw and gzip data are read block by block; a gzip file stays open until the last block. Other
    encodings are decoded into memory on first access.

    Args:
        path: The file that the user gave, for messages.
        file: The file that contains the voxels.
        shape: Number of voxels along each of the three axes.
        dtype: Data type of a stored voxel, with its byte order.
        encoding: Encoding of the data.
        start: Bytes of the file before the data.
        skip: Bytes between the start of the decompressed data and the first voxel.

    Raises:
        InputError: The file is too small for the voxels.
        OSError: The file cannot be read.
    """

    def __init__(
        self,
        path: Path,
        file: Path,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        encoding: Encoding = "raw",
        start: int = 0,
        skip: int = 0,
    ) -> None:
        self._path, self._file = path, file
        self._shape, self._dtype, self._encoding = shape, dtype, encoding
        self._start, self._skip = start, skip
        self._bytes = math.prod(shape) * dtype.itemsize
        self._stream: IO[bytes] | None = None
        self._position = 0
        self._close: Callable[[], object] = bool
        self._check_size()

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last axis, shape ``(I, J, stop - start)``."""
        plane = math.prod(self._shape[:2])
        check_memory(self._path, plane * (stop - start) * self._dtype.itemsize)
        first = self._skip + start * plane * self._dtype.itemsize
        if self._encoding == "raw":
            voxels = self._read_raw(self._start + first, plane * (stop - start))
        elif self._encoding == "gzip":
            voxels = self._read_gzip(first, plane * (stop - start), last=stop == self._shape[2])
        else:
            return self._decoded[:, :, start:stop]
        return voxels.reshape((*self._shape[:2], stop - start), order="F")

    def _read_raw(self, at: int, count: int) -> NDArray[Any]:
        if count == math.prod(self._shape):
            # The system keeps only those pages in memory that are used.
            return np.asarray(np.memmap(self._file, self._dtype, "c", at, (count,)))
        with self._file.open("rb") as stream:
            stream.seek(at)
            voxels = np.fromfile(stream, self._dtype, count)
        if len(voxels) < count:
            raise EOFError
        return voxels

    def _read_gzip(self, at: int, count: int, *, last: bool) -> NDArray[Any]:
        if self._stream is None or at < self._position:
            self._open()
        while at > self._position:
            self._read_bytes(min(at - self._position, _CHUNK))
        content = self._read_bytes(count * self._dtype.itemsize)
        if last:
            self._read_to_end()
        return np.frombuffer(content, self._dtype)

    def _open(self) -> None:
        self._close()
        raw = self._file.open("rb")
        raw.seek(self._start)
        self._close = weakref.finalize(self, raw.close)
        self._stream, self._position = igzip.IGzipFile(fileobj=raw, mode="rb"), 0

    def _read_bytes(self, count: int) -> bytes:
        assert self._stream is not None
        content = self._stream.read(count)
        if len(content) < count:
            raise EOFError
        self._position += count
        return content

    def _read_to_end(self) -> None:
        """Read past the last voxel: gzip checks its checksum only at the end of the file."""
        remaining = MAX_TRAILING_BYTES
        while self._stream is not None and (size := len(self._stream.read(_CHUNK))):
            remaining -= size
            if remaining < 0:
                raise InputError(
                    f"{self._path} has more data than its header declares; convert it again from "
                    "its source"
                )
        self._close()
        self._stream = None

    @cached_property
    def _decoded(self) -> NDArray[Any]:
        size = self._file.stat().st_size - self._start
        check_memory(self._path, size + 2 * self._bytes)
        with self._file.open("rb") as stream:
            stream.seek(self._start)
            if self._encoding == "text":
                voxels = _from_text(stream.read(), math.prod(self._shape), self._dtype)
            else:
                content = _DECODERS[self._encoding](stream, self._skip + self._bytes)
                if len(content) < self._skip + self._bytes:
                    raise EOFError
                voxels = np.frombuffer(content, self._dtype, math.prod(self._shape), self._skip)
        return voxels.reshape(self._shape, order="F")

    def _check_size(self) -> None:
        needed = self._bytes
        if self._encoding == "text":
            needed = 2 * math.prod(self._shape) - 1
        elif self._encoding == "hex":
            needed = 2 * (self._skip + self._bytes)
        elif self._encoding == "bzip2":
            needed = 1
        else:
            needed += self._skip
        compressed = self._encoding in ("gzip", "zlib")
        size = self._file.stat().st_size - self._start
        check_file_size(self._path, needed, size=size, compressed=compressed)


def _from_text(text: bytes, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    words = text.split(maxsplit=count)[:count]
    if len(words) < count:
        raise EOFError
    with np.errstate(invalid="raise", over="raise"):
        try:
            return np.array(words).astype(np.float64).astype(dtype)
        except (ValueError, FloatingPointError):
            raise EOFError from None


def _unzlib(stream: IO[bytes], count: int) -> bytes:
    """Decompress, and check the checksum at the end."""
    decompressor = isal_zlib.decompressobj()
    content = decompressor.decompress(stream.read(), count)
    while not decompressor.eof:
        rest = decompressor.decompress(decompressor.unconsumed_tail, 1)
        if rest or not decompressor.unconsumed_tail:
            break
    if not decompressor.eof:
        raise EOFError
    return bytes(content)


def _unbzip2(stream: IO[bytes], count: int) -> bytes:
    with bz2.BZ2File(stream) as unpacked:
        content = unpacked.read(count)
        unpacked.read(1)  # The checksum is at the end of the stream.
    return content


def _unhex(stream: IO[bytes], count: int) -> bytes:
    try:
        return bytes.fromhex(stream.read().decode("ascii"))[:count]
    except ValueError:
        raise zlib.error from None


_DECODERS: dict[str, Callable[[IO[bytes], int], bytes]] = {
    "zlib": _unzlib,
    "bzip2": _unbzip2,
    "hex": _unhex,
}
