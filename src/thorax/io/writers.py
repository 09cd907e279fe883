"""Masks and volumes written so that they lie on their scan, whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from thorax.io.suffixes import PLANE_SUFFIXES, SUFFIXES

Bits = Literal[8, 16]

_TYPES: dict[Bits, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}


@contextmanager
def mask_file(
    path: Path, scan: Scan, *, scale: float = 1.0, bits: Bits = 8
) -> Iterator["PlaneWriter"]:
    """Write a file of planes of small whole numbers on the grid of a scan, whole or not at all.

    The file has the shape, affine, orientation and units of the scan, voxel for voxel, and nothing
    else of its header: names and dates do not travel along.

    Args:
        path: Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``, whatever the scan is.
        scan: The scan that the planes belong to.
        scale: What a stored 1 stands for: 1 for labels, 1/255 for probabilities. NRRD and
            MetaImage know no scale, so there the scaled values are stored, in single precision.
        bits: Of a stored voxel.

    Raises:
        InputError: The name ends otherwise, or the folder cannot be written.
    """
    if not path.name.endswith(PLANE_SUFFIXES):
        raise InputError(f"a mask file must end in .nii.gz, .nii, .nrrd or .mha, got {path}")
    stored = StoredAs(_TYPES[bits], scale)
    written = _nifti if path.name.endswith(SUFFIXES) else _itk
    with whole_file(path) as temporary, written(temporary, scan, stored) as writer:
        yield writer
        writer.finish()


class PlaneWriter:
    """Takes canonical planes in the order of `Scan.spans` and stores them as the scan stores its.

    Args:
        scan: The scan whose layout is followed.
        store: Takes blocks of stored axis order, one after the other along the last axis.
        dtype: What a voxel is stored as.
    """

    def __init__(
        self, scan: Scan, store: Callable[[NDArray[Any]], object], *, dtype: np.dtype[Any]
    ) -> None:
        self._scan = scan
        self._store_block = store
        self._dtype = dtype
        self._held: dict[int, NDArray[Any]] = {}
        self._missing = scan.grid.shape[2]

    def write(self, start: int, planes: NDArray[Any]) -> None:
        """Write the planes from ``start`` on, shape ``(n, X, Y)``."""
        typed = planes.astype(self._dtype, copy=False)
        self._missing -= len(planes)
        if self._scan.streams:
            self._store(np.moveaxis(typed, 0, 2))
        else:
            self._held[start] = typed

    def finish(self) -> None:
        """Write what could not be written plane by plane.

        Raises:
            ValueError: Planes are missing, or there were too many.
        """
        if self._missing:
            raise ValueError(f"all planes must be written once, but {self._missing} are missing")
        if self._held:
            parts = [self._held[start] for start in sorted(self._held)]
            self._store(np.moveaxis(np.concatenate(parts), 0, 2))

    def _store(self, canonical: NDArray[Any]) -> None:
        self._store_block(self._scan.to_stored(canonical))


def write_volume(path: Path, voxels: NDArray[Any], affine: NDArray[Any]) -> None:
    """Write voxels of shape ``(X, Y, Z)`` and their affine as NIfTI, whole or not at all.

    Raises:
        InputError: The name does not end in .nii or .nii.gz, or the folder cannot be written.
    """
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"a volume file must end in .nii or .nii.gz, got {path}")
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as temporary:
        nibabel.save(image, temporary)


@contextmanager
def _nifti(path: Path, scan: Scan, stored: StoredAs) -> Iterator[PlaneWriter]:
    with (
        path.open("wb") as raw,
        _compressed(raw) if path.name.endswith(".gz") else raw as stream,
    ):
        write_header(scan.stored, stream, stored)
        yield PlaneWriter(
            scan, lambda block: stream.write(block.tobytes(order="F")), dtype=stored.dtype
        )


def _compressed(raw: IO[bytes]) -> IO[bytes]:
    """Gzip without name and time, so that equal masks are equal files.

    ISA-L's level 2 writes a mask in a fortieth of the time of zlib's level 4, a quarter larger.
    """
    return cast(IO[bytes], igzip.IGzipFile("", "wb", compresslevel=2, fileobj=raw, mtime=0))


@contextmanager
def _itk(path: Path, scan: Scan, stored: StoredAs) -> Iterator[PlaneWriter]:
    from thorax.io.itk import write_image

    blocks: list[NDArray[Any]] = []
    yield PlaneWriter(scan, blocks.append, dtype=stored.dtype)
    mask = np.concatenate(blocks, axis=2)
    scaled = mask if stored.scale == 1.0 else mask * np.float32(stored.scale)
    write_image(path, scaled, scan.stored)
