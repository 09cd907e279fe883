"""NIfTI files, read slab by slab, and their headers."""

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
from thorax.io.stored_image import ImageFile, check_held, check_room, check_shape, reading

MOST_BEFORE = 2**26
"""Bytes before the first voxel, where headers keep their extensions."""

MOST_REST = 2**26
"""Bytes after the last voxel of a packed file that are read on to its checksum."""

_NAMES = (".nii", ".hdr", ".img", ".nii.gz", ".hdr.gz", ".img.gz", ".mgh", ".mgz")


class NiftiFile:
    """A NIfTI file, or one of the formats before it that nibabel knows.

    Extensions of the header are passed over: they may be of any size and hold anything, also a
    DICOM header with the names of patients. Gzip is undone by ISA-L, which takes half the time of
    zlib and looks at the checksum too.

    Args:
        path: The file.

    Raises:
        InputError: The file is missing, its header cannot be read, or it tells of more voxels than
            the file can hold.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        with reading(path, "NIfTI"):
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
        check_room(self._path, planes * _itemsize(self._image))
        if start == 0 and stop == self.shape[2]:
            voxels = np.asanyarray(self._voxels)
        else:
            voxels = np.asanyarray(self._voxels[:, :, start:stop])
        if stop == self.shape[2]:
            self._read_on()
        return voxels

    @cached_property
    def _gzip(self) -> IO[bytes] | None:
        """The unpacked bytes, if the file is packed; opened when voxels are first asked for."""
        if self._path.name.endswith(".gz") and isinstance(self._image.dataobj, ArrayProxy):
            return cast(IO[bytes], igzip.open(self._path, "rb"))
        return None

    @cached_property
    def _voxels(self) -> Any:
        """The voxels, which nibabel reads where they are asked for."""
        proxy = self._image.dataobj
        return proxy if self._gzip is None else _through(self._gzip, proxy)

    def _read_on(self) -> None:
        """Read past the last voxel: gzip looks at its checksum only where the file ends."""
        left = MOST_REST
        while self._gzip is not None and (read := len(self._gzip.read(2**20))):
            left -= read
            if left < 0:
                raise InputError(
                    f"{self._path} holds more than the voxels that its header tells of; convert "
                    "it again from its source"
                )


class _NoExtensions(nibabel.nifti1.Nifti1Extensions):  # type: ignore[misc]
    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> "_NoExtensions":
        return cls()


def _bare(kind: type[Any]) -> type[Any]:
    """The same kind of image, read without the extensions of its header."""
    header = type("Header", (kind.header_class,), {"exts_klass": _NoExtensions})
    return type(kind.__name__, (kind,), {"header_class": header})


_KINDS = (
    *map(_bare, (Nifti1Pair, Nifti1Image, Nifti2Pair, Nifti2Image)),
    *(Spm2AnalyzeImage, Spm99AnalyzeImage, AnalyzeImage, MGHImage),
)


def _load(path: Path) -> Any:
    """As `nibabel.load` does, but for images alone: no surfaces, and no formats of others."""
    if not path.stat().st_size:
        raise ImageFileError
    if not path.name.lower().endswith(_NAMES):
        raise ImageFileError
    sniff = None
    for kind in _KINDS:
        fits, sniff = kind.path_maybe_image(path, sniff)
        if fits:
            return kind.from_filename(path, keep_file_open=True)
    raise ImageFileError


def _check_size(path: Path, image: Any) -> None:
    check_shape(path, image.shape)
    proxy = image.dataobj
    if min(image.shape, default=0) < 1:
        return
    if not 0 <= proxy.offset <= MOST_BEFORE:
        raise ImageFileError
    file = Path(image.file_map["image"].filename)
    needed = proxy.offset + math.prod(image.shape) * proxy.dtype.itemsize
    packed = file.name.lower().endswith((".gz", ".mgz"))
    check_held(path, needed, held=file.stat().st_size, packed=packed)


def _itemsize(image: Any) -> int:
    """Bytes of a voxel in memory: those that are scaled become doubles."""
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)
    return 8 if scaled else int(image.dataobj.dtype.itemsize)


def _through(stream: IO[bytes], proxy: Any) -> ArrayProxy:
    """The same array, read from another stream."""
    spec = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    return ArrayProxy(stream, spec, order=proxy.order)


@dataclass(frozen=True)
class StoredAs:
    """How voxels are stored.

    Args:
        dtype: Of a voxel.
        scale: What a stored 1 stands for.
    """

    dtype: np.dtype[Any]
    scale: float


def write_header(stored: ImageFile, stream: IO[bytes], form: StoredAs) -> None:
    """Write the header of a NIfTI file that lies on a stored volume.

    Shape, affine, orientation and units travel along, and nothing else: no names, no dates.

    Args:
        stored: The volume; if it is NIfTI, both of its forms and its units are taken over.
        stream: Where the header goes.
        form: How its own voxels are stored.
    """
    nothing = np.broadcast_to(form.dtype.type(0), stored.shape)
    image = nibabel.Nifti1Image(nothing, stored.affine)
    header = image.header
    if isinstance(stored, NiftiFile) and isinstance(stored.header, nibabel.Nifti1Header):
        image.set_sform(*stored.header.get_sform(coded=True))
        image.set_qform(*stored.header.get_qform(coded=True))
        header["xyzt_units"] = stored.header["xyzt_units"]
    else:
        _set_forms(image, stored.affine)
    header.set_data_offset(352)
    header["scl_slope"], header["scl_inter"] = form.scale, 0.0
    header.write_to(stream)


def _set_forms(image: nibabel.Nifti1Image, affine: NDArray[np.float64]) -> None:
    """Say where voxels lie in both forms; a sheared grid only in the sform, which can hold it."""
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    square = np.allclose(columns.T @ columns, np.eye(3), atol=1e-4)
    image.set_qform(affine if square else None, 1 if square else 0)
