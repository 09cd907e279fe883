"""The interface of image formats, and checks that are common to all of them."""

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
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.machine import free_memory_bytes

# The type stubs of isal declare an instance.
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)

GZIP_ERRORS = (EOFError, zlib.error, _ISAL_ERROR, gzip.BadGzipFile)
"""Errors of decompressing a file that is cut short or damaged."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of DICOM and ITK to those of nibabel, and back."""

MAX_SIDE = 8192
"""Voxels along an axis: two metres in steps of a quarter of a millimetre."""

MAX_VOXELS = 2**33
"""Voxels of a scan: 2,048 planes of 2048×2048, far more than any clinical CT."""

MAX_DEFLATE_RATIO = 1032
"""Largest ratio of uncompressed to compressed bytes in deflate."""

MAX_POSITION_MM, MIN_SPACING_MM = 1e6, 1e-6
"""Limits of positions and voxel sizes; values beyond them come from a damaged header."""

_MIN_DETERMINANT = 1e-6

_UNCHECKED_BYTES = 2**30

_MEMORY_SHARE = 0.8


class ImageFile(Protocol):
    """A volume in the axis order and orientation of its file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each stored axis."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """4×4 matrix from stored voxel indices to RAS+ millimetres."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of a voxel."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about how the file was read; no name, date or id."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to review the result, such as slices that were left out; no name, date or id."""

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Voxels ``start..stop-1`` along the last stored axis, shape ``(I, J, stop - start)``.

        May raise any error that `input_errors` translates.
        """


@dataclass(frozen=True, eq=False)
class ImageArray:
    """A volume in memory."""

    voxels: NDArray[Any]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

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


def drop_trailing_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """Drop axes of length 1 after the third: a single volume may be stored in 4D or 5D.

    Example:
        >>> drop_trailing_axes((256, 256, 65, 1, 1)), drop_trailing_axes((4, 4, 4, 1, 3))
        ((256, 256, 65), (4, 4, 4, 1, 3))
    """
    shape = tuple(int(size) for size in shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


_DIRECTIONS = {
    "R": "to the right",
    "L": "to the left",
    "A": "to the front",
    "P": "to the back",
    "S": "to the head",
    "I": "to the feet",
}


def orientation_warning(affine: NDArray[np.float64]) -> str:
    """Warn that a file does not state its orientation, and state which one was assumed."""
    first, second, third = (_DIRECTIONS.get(code, "?") for code in orientations.aff2axcodes(affine))
    return (
        f"the file does not state its orientation; its axes were assumed to run {first}, {second} "
        f"and {third}: left and right may be swapped"
    )


def unit_warning(unit: str) -> str:
    """Warn that lengths in another unit were read as millimetres."""
    return f"the header gives lengths in {unit}, but they were read as mm: check the volumes"


def spacing_warning() -> str:
    """Warn that a file does not state its voxel spacing."""
    return "the file does not state its voxel spacing; 1 mm was assumed: volumes may be wrong"


def check_stored(path: Path, stored: ImageFile) -> None:
    """Raise `InputError` unless the volume is 3D, has numeric voxels and a usable affine."""
    shape, affine, dtype = stored.shape, stored.affine, stored.dtype
    check_shape(path, shape)
    if len(shape) != 3:
        raise InputError(
            f"a scan must be 3D, but {path} has shape {shape}; save a single volume of it"
        )
    if dtype.kind not in "iuf":
        raise InputError(
            f"a scan must have one number per voxel, but {path} has {_describe(dtype)}; save it "
            "in greyscale"
        )
    if min(shape) < 1 or not _is_usable(affine):
        raise InputError(
            f"a scan must state the position of its voxels, but {path} does not (shape {shape}, "
            f"affine {np.round(affine, 3).tolist()}); convert it again from its source"
        )


def _is_usable(affine: NDArray[np.float64]) -> bool:
    """Check that an affine is finite and invertible, and that its voxels have a plausible size."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > MAX_POSITION_MM:
        return False
    sizes_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if sizes_mm.min() < MIN_SPACING_MM:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / sizes_mm)) > _MIN_DETERMINANT)


def check_shape(path: Path, shape: Sequence[int]) -> None:
    """Raise `InputError` for more voxels than any CT has, before memory is allocated."""
    if max(shape, default=0) > MAX_SIDE or math.prod(shape) > MAX_VOXELS:
        raise InputError(
            f"a scan must have at most {MAX_SIDE} voxels along an axis and {MAX_VOXELS:,} in "
            f"total, but the header of {path} declares {'×'.join(map(str, shape))}"
        )


def check_file_size(path: Path, needed: int, *, size: int, compressed: bool) -> None:
    """Raise `InputError` if a file is too small for the voxels that its header declares.

    Args:
        path: The file that the user gave.
        needed: Uncompressed bytes of header and voxels.
        size: Bytes of the file that contains the voxels.
        compressed: True for deflate, as in gzip.
    """
    if needed > size * (MAX_DEFLATE_RATIO if compressed else 1):
        raise InputError(f"{path} is cut short or damaged; copy it again from its source")


def check_memory(path: Path, needed: int) -> None:
    """Raise `InputError` if voxels need more bytes than the available memory."""
    if needed <= _UNCHECKED_BYTES:
        return
    available = int(free_memory_bytes() * _MEMORY_SHARE)
    if needed > available:
        raise InputError(
            f"{path} needs {needed / 2**30:.1f} GiB of memory at once, but only "
            f"{available / 2**30:.1f} GiB are available; save it as .nii with axial slices, or "
            "crop it"
        )


@contextmanager
def input_errors(path: Path, format_name: str) -> Iterator[None]:
    """Turn errors of reading a file into `InputError` with a one-line message."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except ImageFileError:
        raise InputError(f"{path} is not a {format_name} image, or its header is damaged") from None
    except MemoryError:
        raise InputError(f"{path} needs more memory than is available; crop it") from None
    except GZIP_ERRORS:
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None
    except (OSError, ValueError, HeaderDataError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _describe(dtype: np.dtype[Any]) -> str:
    return f"colours ({dtype})" if dtype.kind == "V" else str(dtype)
