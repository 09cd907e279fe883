"""Write masks on the grid of their scan, and volumes, atomically."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal, cast

import nibabel
import numpy as np
from isal import igzip
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.files import whole_file
from thorax.io.nifti import StoredAs, write_header
from thorax.io.scan import Scan
from thorax.io.suffixes import NIFTI_SUFFIXES, PLANE_SUFFIXES

Bits = Literal[8, 16]

_WHOLE_PLANE = (slice(None), slice(None))

_TYPES: dict[Bits, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}


@contextmanager
def mask_file(
    path: Path, scan: Scan, *, scale: float = 1.0, bits: Bits = 8
) -> Iterator["PlaneWriter"]:
    """Write planes of small integers on the grid of a scan, atomically.

    The file copies shape, affine, orientation and units of the scan, and nothing else of its
    header: no names, no dates.

    Args:
        path: Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``, for scans of any format.
        scan: The scan that the planes belong to.
        scale: Value of a stored 1: 1 for labels, 1/255 for probabilities. NRRD and MetaImage have
            no scale, so they store the scaled values in single precision.
        bits: Bits per stored voxel.

    Raises:
        InputError: The file name has another suffix, or the folder cannot be written.
    """
    _check_suffix(path)
    with (
        whole_file(path) as temporary,
        open_mask_file(temporary, scan, scale=scale, bits=bits) as writer,
    ):
        yield writer


@contextmanager
def open_mask_file(
    path: Path, scan: Scan, *, scale: float = 1.0, bits: Bits = 8
) -> Iterator["PlaneWriter"]:
    """Write planes as `mask_file` does, but not atomically, for several files that belong together.

    Raises:
        InputError: The file name has another suffix.
        OSError: The file cannot be written.
    """
    _check_suffix(path)
    encoding = StoredAs(_TYPES[bits], scale)
    open_writer = _nifti_writer if path.name.endswith(NIFTI_SUFFIXES) else _compressed_writer
    with open_writer(path, scan, encoding) as writer:
        yield writer
        writer.finish()


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(PLANE_SUFFIXES):
        raise InputError(f"a mask file must end in .nii.gz, .nii, .nrrd or .mha, got {path}")


class PlaneWriter:
    """Stores canonical planes, given in the order of `Scan.spans`, in the axis order of the scan.

    Args:
        scan: The scan whose axis order is used.
        store: Receives blocks in stored axis order, consecutive along the last axis.
        dtype: Data type of a stored voxel.
    """

    def __init__(
        self, scan: Scan, store: Callable[[NDArray[Any]], object], *, dtype: np.dtype[Any]
    ) -> None:
        self._scan = scan
        self._store = store
        self._dtype = dtype
        self._missing = scan.grid.shape[2]

    def write(
        self, start: int, planes: NDArray[Any], box: tuple[slice, slice] = _WHOLE_PLANE
    ) -> None:
        """Write planes.

        Args:
            start: Index of the first plane.
            planes: Shape ``(n, X, Y)``, or ``(n, x, y)`` within the box.
            box: Voxels along x and y, outside of which all voxels are 0.
        """
        self._missing -= len(planes)
        if self._scan.streams:
            block, canonical = self._scan.stored_zeros(len(planes), self._dtype)
            canonical[:, *box] = planes
            self._store(block)
        else:
            _, canonical = self._volume
            canonical[start : start + len(planes), *box] = planes

    @cached_property
    def _volume(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """All planes of a file that does not store them one after the other."""
        return self._scan.stored_zeros(self._scan.grid.shape[2], self._dtype)

    def finish(self) -> None:
        """Write the planes that could not be written in their order.

        Raises:
            ValueError: Planes are missing, or were written twice.
        """
        if self._missing:
            raise ValueError(f"all planes must be written once, but {self._missing} are missing")
        if not self._scan.streams:
            self._store(self._volume[0])


def write_volume(path: Path, voxels: NDArray[Any], affine: NDArray[Any]) -> None:
    """Write voxels of shape ``(X, Y, Z)`` and their affine as NIfTI, atomically.

    Raises:
        InputError: The file name does not end in .nii or .nii.gz, or the folder cannot be written.
    """
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise InputError(f"a volume file must end in .nii or .nii.gz, got {path}")
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as temporary:
        nibabel.save(image, temporary)


@contextmanager
def _nifti_writer(path: Path, scan: Scan, encoding: StoredAs) -> Iterator[PlaneWriter]:
    with (
        path.open("wb") as raw,
        _gzip_writer(raw) if path.name.endswith(".gz") else raw as stream,
    ):
        write_header(scan.image, stream, encoding)
        yield PlaneWriter(
            scan, lambda block: stream.write(block.tobytes(order="F")), dtype=encoding.dtype
        )


def _gzip_writer(raw: IO[bytes]) -> IO[bytes]:
    """Gzip without file name and time, so that equal masks give equal files.

    ISA-L at level 2 takes a fortieth of the time of zlib at level 4; files are a quarter larger.
    """
    return cast(IO[bytes], igzip.IGzipFile("", "wb", compresslevel=2, fileobj=raw, mtime=0))


@contextmanager
def _compressed_writer(path: Path, scan: Scan, encoding: StoredAs) -> Iterator[PlaneWriter]:
    """Write NRRD or MetaImage."""
    from thorax.io.compressed_volume import CompressedVolume

    is_scaled = encoding.scale != 1.0
    dtype = np.dtype(np.float32) if is_scaled else encoding.dtype
    image = scan.image
    volume = CompressedVolume(path, shape=image.shape, affine=image.affine, dtype=dtype)

    def store(block: NDArray[Any]) -> None:
        volume.add(block * np.float32(encoding.scale) if is_scaled else block)

    yield PlaneWriter(scan, store, dtype=encoding.dtype)
    volume.write()
