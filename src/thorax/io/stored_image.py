"""What every image format has to offer, so that `Scan` can show it."""

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from isal import isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from thorax.common.errors import InputError

# The types of isal call it an instance.
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of DICOM and ITK to those of nibabel, and back."""

MOST_SIDE = 8192
"""Voxels along an axis: two metres in steps of a quarter of a millimetre."""

MOST_VOXELS = 2**33
"""In a scan: 2,048 planes of 2048×2048, which no clinical CT comes near."""

MOST_UNPACKED = 1032
"""Bytes that a packed byte can stand for at most, in deflate."""

FARTHEST_MM, SMALLEST_MM = 1e6, 1e-6
"""Of positions and sizes of voxels; beyond them lies what a damaged header says."""

_FLAT = 1e-6

_SMALL_BYTES = 2**30

_SHARE = 0.8


class ImageFile(Protocol):
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
class ImageArray:
    """A volume that is in memory already."""

    voxels: NDArray[Any]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """See `ImageFile`."""
        return self.voxels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `ImageFile`."""
        return self.voxels.dtype

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """See `ImageFile`."""
        return self.voxels[:, :, start:stop]


def check_stored(path: Path, stored: ImageFile) -> None:
    """Raise `InputError` unless the volume is 3D, of numbers, and says where its voxels lie."""
    shape, affine, dtype = stored.shape, stored.affine, stored.dtype
    check_shape(path, shape)
    if len(shape) != 3:
        raise InputError(
            f"a scan must be 3D, but {path} has shape {shape}; save one volume of it alone"
        )
    if dtype.kind not in "iuf":
        raise InputError(
            f"a scan must hold one number a voxel, but {path} holds {_kind(dtype)}; save it in grey"
        )
    if min(shape) < 1 or not _is_place(affine):
        raise InputError(
            f"{path} does not say where its voxels lie (shape {shape}, affine "
            f"{np.round(affine, 3).tolist()}); convert it again from its source"
        )


def _is_place(affine: NDArray[np.float64]) -> bool:
    """Whether an affine puts voxels of some size, neither flat nor needles, somewhere near."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > FARTHEST_MM:
        return False
    sizes_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes_mm.min() < SMALLEST_MM:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / sizes_mm)) > _FLAT)


def check_shape(path: Path, shape: Sequence[int]) -> None:
    """Raise `InputError` for more voxels than any CT has, before memory is asked for."""
    if max(shape, default=0) > MOST_SIDE or math.prod(shape) > MOST_VOXELS:
        raise InputError(
            f"a scan must have at most {MOST_SIDE} voxels along an axis and {MOST_VOXELS:,} in "
            f"all, but the header of {path} tells of {'×'.join(map(str, shape))}"
        )


def check_held(path: Path, needed: int, *, held: int, packed: bool) -> None:
    """Raise `InputError` if a file cannot hold what its header tells of.

    Args:
        path: The file that the user gave.
        needed: Bytes of its header and voxels, unpacked.
        held: Bytes of the file that holds them.
        packed: Whether it is packed by deflate, as gzip is.
    """
    if needed > held * (MOST_UNPACKED if packed else 1):
        raise InputError(f"{path} is cut short or damaged; copy it again from its source")


def check_room(path: Path, needed: int) -> None:
    """Raise `InputError` if so many bytes of voxels do not fit into the memory that is free."""
    if needed <= _SMALL_BYTES:
        return
    import psutil  # takes its time, and is seldom asked

    room = int(psutil.virtual_memory().available * _SHARE)
    if needed > room:
        raise InputError(
            f"{path} takes {needed / 2**30:.1f} GiB of memory at once, but {room / 2**30:.1f} GiB "
            "are there for it; save it as .nii, with the planes one after the other, or cut it"
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
    except MemoryError:
        raise InputError(f"{path} needs more memory than there is; cut it") from None
    except (EOFError, zlib.error, _ISAL_ERROR, gzip.BadGzipFile):
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None
    except (OSError, ValueError, HeaderDataError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _kind(dtype: np.dtype[Any]) -> str:
    return f"colours ({dtype})" if dtype.kind == "V" else str(dtype)
