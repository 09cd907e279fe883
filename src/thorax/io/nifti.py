"""Read NIfTI files slab by slab, and write NIfTI headers."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
from isal import igzip
from nibabel import (
    AnalyzeImage,
    MGHImage,
    Nifti1Image,
    Nifti1Pair,
    Nifti2Image,
    Nifti2Pair,
    Spm2AnalyzeImage,
    Spm99AnalyzeImage,
)
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.stored_image import (
    ImageFile,
    check_file_size,
    check_memory,
    check_shape,
    input_errors,
)

MAX_OFFSET = 2**26
"""Bytes before the first voxel, including header extensions."""

MAX_TRAILING_BYTES = 2**26
"""Bytes after the last voxel of a gzip file that are read to reach its checksum."""

_NAMES = (".nii", ".hdr", ".img", ".nii.gz", ".hdr.gz", ".img.gz", ".mgh", ".mgz")


class NiftiFile:
    """A NIfTI file, or one of its predecessors that nibabel reads.

    Header extensions are skipped: they may have any size and content, including a DICOM header
    with the name of the patient. ISA-L decompresses gzip in half the time of zlib, and checks the
    checksum too.

    Args:
        path: The file.

    Raises:
        InputError: The file is missing, its header cannot be read, or the file is too small for
            the voxels that the header declares.
    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        with input_errors(path, "NIfTI"):
            image = _load(path)
            _check_size(path, image)
        self.header = image.header
        self.shape: tuple[int, ...] = image.shape
        self.affine: NDArray[np.float64] = image.affine
        self.dtype: np.dtype[Any] = image.get_data_dtype()
        self._path = path
        self._image = image

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
        planes = math.prod(self.shape[:2]) * (stop - start)
        check_memory(self._path, planes * _itemsize(self._image))
        if start == 0 and stop == self.shape[2]:
            voxels = np.asanyarray(self._voxels)
        else:
            voxels = np.asanyarray(self._voxels[:, :, start:stop])
        if stop == self.shape[2]:
            self._read_to_end()
        return voxels

    @cached_property
    def _gzip(self) -> IO[bytes] | None:
        """The decompressed bytes of a gzip file, closed after the last voxel of each pass."""
        if self._path.name.endswith(".gz") and isinstance(self._image.dataobj, ArrayProxy):
            return cast(IO[bytes], igzip.open(self._path, "rb"))
        return None

    @cached_property
    def _voxels(self) -> Any:
        """Array proxy of the voxels, which reads on access."""
        proxy = self._image.dataobj
        return proxy if self._gzip is None else _from_stream(self._gzip, proxy)

    def _read_to_end(self) -> None:
        """Read past the last voxel: gzip checks its checksum only at the end of the file."""
        remaining = MAX_TRAILING_BYTES
        while self._gzip is not None and (count := len(self._gzip.read(2**20))):
            remaining -= count
            if remaining < 0:
                raise InputError(
                    f"{self._path} has more data than its header declares; convert it again from "
                    "its source"
                )
        if self._gzip is not None:
            self._gzip.close()
        del self._gzip, self._voxels


class _NoExtensions(nibabel.nifti1.Nifti1Extensions):  # type: ignore[misc]
    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> "_NoExtensions":
        return cls()


def _without_extensions(image_class: type[Any]) -> type[Any]:
    """Subclass of an image class that skips header extensions."""
    header = type("Header", (image_class.header_class,), {"exts_klass": _NoExtensions})
    return type(image_class.__name__, (image_class,), {"header_class": header})


_CLASSES = (
    *map(_without_extensions, (Nifti1Pair, Nifti1Image, Nifti2Pair, Nifti2Image)),
    *(Spm2AnalyzeImage, Spm99AnalyzeImage, AnalyzeImage, MGHImage),
)


def _load(path: Path) -> Any:
    """Load an image as `nibabel.load` does, but only volumes of the formats in `_CLASSES`."""
    if not path.stat().st_size:
        raise ImageFileError
    if not path.name.lower().endswith(_NAMES):
        raise ImageFileError
    sniff = None
    for image_class in _CLASSES:
        matches, sniff = image_class.path_maybe_image(path, sniff)
        if matches:
            return image_class.from_filename(path, keep_file_open=False)
    raise ImageFileError


def _check_size(path: Path, image: Any) -> None:
    check_shape(path, image.shape)
    proxy = image.dataobj
    if min(image.shape, default=0) < 1:
        return
    if not 0 <= proxy.offset <= MAX_OFFSET:
        raise ImageFileError
    file = Path(image.file_map["image"].filename)
    needed = proxy.offset + math.prod(image.shape) * proxy.dtype.itemsize
    compressed = file.name.lower().endswith((".gz", ".mgz"))
    check_file_size(path, needed, size=file.stat().st_size, compressed=compressed)


def _itemsize(image: Any) -> int:
    """Bytes of a voxel in memory; scaled voxels become doubles."""
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
    return 8 if scaled else int(image.dataobj.dtype.itemsize)


def _from_stream(stream: IO[bytes], proxy: Any) -> ArrayProxy:
    """Copy of an array proxy that reads from another stream."""
    spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    return ArrayProxy(stream, spec, order=proxy.order)


@dataclass(frozen=True)
class StoredAs:
    """Encoding of voxels in a file.

    Args:
        dtype: Data type of a voxel.
        scale: Value of a stored 1.
    """

    dtype: np.dtype[Any]
    scale: float


def write_header(source: ImageFile, stream: IO[bytes], encoding: StoredAs) -> None:
    """Write the header of a NIfTI file on the grid of another volume.

    Shape, affine, orientation and units are copied, and nothing else: no names, no dates.

    Args:
        source: The volume; if it is NIfTI, its sform, qform and units are copied.
        stream: Destination.
        encoding: Encoding of the voxels that follow the header.
    """
    zeros = np.broadcast_to(encoding.dtype.type(0), source.shape)
    image = nibabel.Nifti1Image(zeros, source.affine)
    header = image.header
    if isinstance(source, NiftiFile) and isinstance(source.header, nibabel.Nifti1Header):
        image.set_sform(*source.header.get_sform(coded=True))
        image.set_qform(*source.header.get_qform(coded=True))
        header["xyzt_units"] = source.header["xyzt_units"]
    else:
        _set_forms(image, source.affine)
    header.set_data_offset(352)
    header["scl_slope"], header["scl_inter"] = encoding.scale, 0.0
    header.write_to(stream)


def _set_forms(image: nibabel.Nifti1Image, affine: NDArray[np.float64]) -> None:
    """Set sform and qform; for a sheared grid only the sform, because the qform cannot shear."""
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    orthogonal = np.allclose(columns.T @ columns, np.eye(3), atol=1e-4)
    image.set_qform(affine if orthogonal else None, 1 if orthogonal else 0)
