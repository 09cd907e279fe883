"""Scan and mask files: the only module that knows image formats.

Planes are read and written slab by slab where the file holds them one after the other, so that
memory does not grow with the depth of the scan. Files that store another axis slowest are held in
memory whole, in the type that they are stored in.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from thorax.errors import InputError
from thorax.geometry import Grid
from thorax.writing import whole_file

SUFFIXES = (".nii.gz", ".nii")
SLAB = 16
"""Planes worked on at a time: 16 planes of 512×512 take 17 MB in single precision."""


class Scan:
    """A CT or a mask in a file, read as canonical axial planes.

    Args:
        path: A NIfTI file.

    Raises:
        InputError: The file is missing, unreadable, not 3D, in colour or without a usable affine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path):
            self._image = nibabel.load(path, keep_file_open=True)
        self._check()
        self._turn = orientations.io_orientation(self._image.affine)
        shape = self._image.shape
        canonical = self._image.affine @ orientations.inv_ornt_aff(self._turn, shape)
        x, y, z = (shape[int(axis)] for axis in np.argsort(self._turn[:, 0]))
        self.grid = Grid((x, y, z), canonical)

    def spans(self, size: int = SLAB) -> list[tuple[int, int]]:
        """Cut the planes into slabs ``(start, stop)``, in the order in which the file has them."""
        depth = self.grid.shape[2]
        spans = [(start, min(start + size, depth)) for start in range(0, depth, size)]
        if self._turn[2, 1] > 0:
            return spans
        return [(depth - stop, depth - start) for start, stop in spans]

    def planes(self, start: int, stop: int) -> NDArray[Any]:
        """Read the axial planes ``start..stop-1``, shape ``(stop - start, X, Y)``.

        Raises:
            InputError: The file is cut short or damaged, or voxels are NaN or infinite.
        """
        with _reading(self.path):
            if self._stream:
                low, high = self._stored(start, stop)
                block = np.asanyarray(self._image.dataobj[:, :, low:high])
                if high == self.grid.shape[2]:
                    self._read_on()
                planes = orientations.apply_orientation(block, self._turn)
            else:
                planes = self._whole[:, :, start:stop]
        if planes.dtype.kind == "f" and not np.isfinite(planes).all():
            raise InputError(
                f"{self.path} holds NaN or infinite voxels in planes {start}..{stop - 1}; "
                "replace them, for instance by -1024 (air)"
            )
        return np.moveaxis(planes, 2, 0)

    def slabs(self, size: int = SLAB) -> Iterator[tuple[int, NDArray[Any]]]:
        """All planes, slab by slab, in the order in which the file has them, with their start."""
        for start, stop in self.spans(size):
            yield start, self.planes(start, stop)

    def voxels(self) -> NDArray[Any]:
        """All canonical voxels, shape ``(X, Y, Z)``, in the type that they are stored in."""
        return np.moveaxis(self.planes(0, self.grid.shape[2]), 0, 2)

    @cached_property
    def _whole(self) -> NDArray[Any]:
        stored = np.asanyarray(self._image.dataobj)
        self._read_on()
        return orientations.apply_orientation(stored, self._turn)

    def _read_on(self) -> None:
        """Read past the last voxel: gzip looks at its checksum only where the file ends."""
        if self.path.name.endswith(".gz"):
            with self._image.dataobj._get_fileobj() as stream:
                while stream.read(2**20):
                    pass

    @property
    def _stream(self) -> bool:
        return int(self._turn[2, 0]) == 2

    def _stored(self, start: int, stop: int) -> tuple[int, int]:
        depth = self.grid.shape[2]
        return (start, stop) if self._turn[2, 1] > 0 else (depth - stop, depth - start)

    def _check(self) -> None:
        shape, affine, dtype = self._image.shape, self._image.affine, self._image.get_data_dtype()
        if len(shape) != 3:
            raise InputError(
                f"a scan must be 3D, but {self.path} has shape {shape}; save one volume of it alone"
            )
        if dtype.kind not in "iuf":
            raise InputError(
                f"a scan must hold one number a voxel, but {self.path} holds {_kind(dtype)}"
            )
        if min(shape) < 1 or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
            raise InputError(
                f"{self.path} does not say where its voxels lie (shape {shape}, affine "
                f"{np.round(affine, 3).tolist()}); convert it again from its source"
            )


@contextmanager
def mask_file(path: Path, scan: Scan, *, scale: float = 1.0) -> Iterator["PlaneWriter"]:
    """Write an 8-bit file of planes on the grid of a scan, whole or not at all.

    The file has the shape, affine, orientation and units of the scan, and nothing else of its
    header: names and dates do not travel along.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``.
        scan: The scan that the planes belong to.
        scale: What a stored 1 stands for: 1 for labels, 1/255 for probabilities.

    Raises:
        InputError: The name ends otherwise, or the folder cannot be written.
    """
    check_name(path)
    with (
        whole_file(path) as temporary,
        temporary.open("wb") as raw,
        _compressed(raw) if path.name.endswith(".gz") else raw as stream,
    ):
        writer = PlaneWriter(scan, stream, scale)
        yield writer
        writer.finish()


def _compressed(raw: IO[bytes]) -> IO[bytes]:
    """Gzip without name and time, so that equal masks are equal files."""
    return cast(IO[bytes], gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0))


class PlaneWriter:
    """Takes canonical planes in the order of `Scan.spans` and stores them as the scan stores its.

    Args:
        scan: The scan whose layout is followed.
        stream: Where the file goes.
        scale: What a stored 1 stands for.
    """

    def __init__(self, scan: Scan, stream: IO[bytes], scale: float) -> None:
        self._scan = scan
        self._stream = stream
        self._held: dict[int, NDArray[np.uint8]] = {}
        self._missing = scan.grid.shape[2]
        _write_header(scan, stream, scale)

    def write(self, start: int, planes: NDArray[Any]) -> None:
        """Write the planes from ``start`` on, shape ``(n, X, Y)``."""
        typed = planes.astype(np.uint8, copy=False)
        self._missing -= len(planes)
        if self._scan._stream:
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
        back = orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), self._scan._turn)
        stored = orientations.apply_orientation(canonical, back)
        self._stream.write(stored.tobytes(order="F"))


def write_volume(path: Path, voxels: NDArray[Any], affine: NDArray[Any]) -> None:
    """Write voxels of shape ``(X, Y, Z)`` and their affine as NIfTI, whole or not at all.

    Raises:
        InputError: The name does not end in .nii or .nii.gz, or the folder cannot be written.
    """
    check_name(path)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as temporary:
        nibabel.save(image, temporary)


def check_name(path: Path) -> None:
    """Raise `InputError` unless the name says that the file is NIfTI."""
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"a mask file must end in .nii or .nii.gz, got {path}")


def case_name(path: Path) -> str | None:
    """Name of a file without its image suffix; None if it is no image.

    Example:
        >>> case_name(Path("scans/S1-101.nii.gz"))
        'S1-101'
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return path.name.removesuffix(suffix)
    return None


def _write_header(scan: Scan, stream: IO[bytes], scale: float) -> None:
    source = scan._image
    nothing = np.broadcast_to(np.uint8(0), source.shape)
    image = nibabel.Nifti1Image(nothing, source.affine)
    header = image.header
    if isinstance(source.header, nibabel.Nifti1Header):
        image.set_sform(*source.header.get_sform(coded=True))
        image.set_qform(*source.header.get_qform(coded=True))
        header["xyzt_units"] = source.header["xyzt_units"]
    header.set_data_offset(352)
    header["scl_slope"], header["scl_inter"] = scale, 0.0
    header.write_to(stream)


def _kind(dtype: np.dtype[Any]) -> str:
    return f"colours ({dtype})" if dtype.kind == "V" else str(dtype)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except ImageFileError:
        raise InputError(f"{path} is not a NIfTI image, or its header is damaged") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None
    except (OSError, ValueError, HeaderDataError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
