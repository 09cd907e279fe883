"""What every image format has to offer, so that `Scan` can show it."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from isal import isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from thorax.errors import InputError

# The types of isal call it an instance.
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of DICOM and ITK to those of nibabel, and back."""


class Stored(Protocol):
    """A volume as its file stores it: any order and direction of the axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each stored axis."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """4×4 matrix from stored voxel indices to RAS+ millimetres."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that a voxel is stored in."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the file was read; no name, date or id."""

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis, shape ``(I, J, stop - start)``.

        May raise any error of `reading`.
        """


@dataclass(frozen=True, eq=False)
class StoredArray:
    """A volume that is in memory already."""

    voxels: NDArray[Any]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Stored`."""
        return self.voxels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `Stored`."""
        return self.voxels.dtype

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """See `Stored`."""
        return self.voxels[:, :, start:stop]


def check_stored(path: Path, stored: Stored) -> None:
    """Raise `InputError` unless the volume is 3D, of numbers, and says where its voxels lie."""
    shape, affine, dtype = stored.shape, stored.affine, stored.dtype
    if len(shape) != 3:
        raise InputError(
            f"a scan must be 3D, but {path} has shape {shape}; save one volume of it alone"
        )
    if dtype.kind not in "iuf":
        raise InputError(
            f"a scan must hold one number a voxel, but {path} holds {_kind(dtype)}; save it in grey"
        )
    if min(shape) < 1 or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        raise InputError(
            f"{path} does not say where its voxels lie (shape {shape}, affine "
            f"{np.round(affine, 3).tolist()}); convert it again from its source"
        )


@contextmanager
def reading(path: Path, format_name: str) -> Iterator[None]:
    """Say in one line why a file cannot be read."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except ImageFileError:
        raise InputError(f"{path} is not a {format_name} image, or its header is damaged") from None
    except (EOFError, zlib.error, _ISAL_ERROR, gzip.BadGzipFile):
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None
    except (OSError, ValueError, HeaderDataError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _kind(dtype: np.dtype[Any]) -> str:
    return f"colours ({dtype})" if dtype.kind == "V" else str(dtype)
