"""NIfTI files, read slab by slab, and their headers."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
from isal import igzip
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from thorax.scans.stored import Stored, reading


class NiftiFile:
    """A NIfTI file, or another that nibabel knows.

    Gzip is undone by ISA-L, which takes half the time of zlib and looks at the checksum too.

    Args:
        path: The file.

    Raises:
        InputError: The file is missing, or its header cannot be read.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        with reading(path, "NIfTI"):
            image = nibabel.load(path, keep_file_open=True)
        self.header = image.header
        self.shape: tuple[int, ...] = image.shape
        self.affine: NDArray[np.float64] = image.affine
        self.dtype: np.dtype[Any] = image.get_data_dtype()
        self._path = path
        self._image = image

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis."""
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
        while self._gzip is not None and self._gzip.read(2**20):
            pass


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


def write_header(stored: Stored, stream: IO[bytes], form: StoredAs) -> None:
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
