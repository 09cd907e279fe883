"""Any scan or mask file as axial slices in one standard orientation (RAS+)."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.grid import Grid
from thorax.io.readers import open_image
from thorax.io.stored_image import (
    ImageArray,
    ImageFile,
    check_stored,
    drop_trailing_axes,
    input_errors,
)

SLAB = 16
"""Planes per slab, up to 512×512: they take 17 MB in single precision. Larger planes are fewer."""

_NO_AFFINE = (
    "the affine is the identity, which some programs write if they do not know it; orientation and "
    "a spacing of 1 mm may be wrong: check left and right, and the volumes"
)

_RAS = np.array([[0, 1], [1, 1], [2, 1]])


class Scan:
    """A CT or a mask in a file, read as canonical axial planes.

    Args:
        path: A NIfTI (``.nii``, ``.nii.gz``), NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``,
            ``.mhd``) file; either file of a NIfTI or Analyze pair (``.hdr`` and ``.img``, each
            compressed or not); or DICOM: a folder, a ``.zip`` or one file of a series. The content
            of a file decides, not its suffix.
        series: SeriesInstanceUID or number of the DICOM series to read. Default: that of a named
            file; else the original axial CT series with the most slices, see
            `thorax.io.dicom.selection.select_series`.
        nan: Replacement of NaN and infinite voxels. Without it, such voxels are refused. With
            ``math.nan`` all of them are NaN, which the detection of the intensity scale ignores
            and `thorax.imaging.intensity.whole_hu` reads as air.
        allow_incomplete: Accept a DICOM series that lacks more than a tenth of its slices.

    Attributes:
        path: The file.
        image: Its voxels in stored order.
        orientation: Stored axis and direction of each canonical axis, as
            `nibabel.orientations.io_orientation` returns them.
        grid: Shape and affine of the canonical voxels.

    Raises:
        InputError: The file is missing, unreadable, not 3D, in colour or has no usable affine.
    """

    def __init__(
        self,
        path: Path,
        *,
        series: str | int | None = None,
        nan: float | None = None,
        allow_incomplete: bool = False,
    ) -> None:
        image = open_image(
            path,
            series=None if series is None else str(series),
            allow_incomplete=allow_incomplete,
        )
        self._set_image(path, image, nan)

    @classmethod
    def in_memory(
        cls,
        voxels: NDArray[Any],
        affine: NDArray[Any],
        *,
        name: str,
        nan: float | None = None,
        notes: Sequence[str] = (),
        warnings: Sequence[str] = (),
    ) -> Self:
        """Create a scan from voxels in memory.

        Args:
            voxels: Shape ``(I, J, K)``, in any axis order; axes of length 1 after the third are
                dropped.
            affine: 4×4 matrix from their indices to RAS+ millimetres.
            name: Name in messages.
            nan: As for a file.
            notes: Notes for the user about how the voxels were read.
            warnings: Reasons to review the result.

        Raises:
            InputError: They are not 3D or not numbers, or the affine is not usable.
        """
        scan = cls.__new__(cls)
        stored = voxels.reshape(drop_trailing_axes(voxels.shape))
        scan._set_image(Path(name), ImageArray(stored, affine, tuple(notes), tuple(warnings)), nan)
        return scan

    def _set_image(self, path: Path, image: ImageFile, nan: float | None) -> None:
        check_stored(path, image)
        self.path, self.image = path, image
        self._nan = nan
        self._replaced: set[int] = set()
        self.orientation: NDArray[np.float64] = orientations.io_orientation(image.affine)
        canonical = image.affine @ orientations.inv_ornt_aff(self.orientation, image.shape)
        x, y, z = (image.shape[int(axis)] for axis in np.argsort(self.orientation[:, 0]))
        self.grid = Grid((x, y, z), canonical)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along the canonical axes x, y and z."""
        return self.grid.spacing_mm

    @property
    def affine(self) -> NDArray[np.float64]:
        """4×4 matrix from canonical voxel indices to RAS+ millimetres."""
        return self.grid.affine

    @property
    def stored_affine(self) -> NDArray[np.float64]:
        """4×4 matrix from stored voxel indices to RAS+ millimetres."""
        return self.image.affine

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about how the file was read so far; no name, date or id."""
        if self._nan is None or not self._replaced:
            return self.image.notes
        count = f"{len(self._replaced)} of {self.grid.shape[2]} planes"
        value = "air" if np.isnan(self._nan) else f"{self._nan:g}"
        return (*self.image.notes, f"NaN or infinite voxels in {count} were read as {value}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to review the result, such as slices that were left out; no name, date or id."""
        if self.image.warnings or not np.array_equal(np.abs(self.image.affine), np.eye(4)):
            return self.image.warnings
        return (_NO_AFFINE,)

    @property
    def streams(self) -> bool:
        """True if the file stores the axial planes one after the other."""
        return int(self.orientation[2, 0]) == 2

    def spans(self, size: int | None = None) -> list[tuple[int, int]]:
        """Split the planes into slabs ``(start, stop)``, in file order.

        Args:
            size: Planes per slab; `SLAB` by default, or as many as take the same memory.
        """
        x, y, depth = self.grid.shape
        size = size or max(1, min(SLAB, SLAB * 512 * 512 // (x * y)))
        spans = [(start, min(start + size, depth)) for start in range(0, depth, size)]
        if self.orientation[2, 1] > 0:
            return spans
        return [(depth - stop, depth - start) for start, stop in spans]

    def planes(self, start: int, stop: int) -> NDArray[Any]:
        """Read the axial planes ``start..stop-1``, shape ``(stop - start, X, Y)``.

        Raises:
            InputError: The file is cut short or damaged, or voxels are NaN or infinite and ``nan``
                was not given.
        """
        with input_errors(self.path, "scan"):
            if self.streams:
                block = self.image.block(*self._stored_span(start, stop))
                canonical = orientations.apply_orientation(block, self.orientation)
            else:
                canonical = self._canonical[:, :, start:stop]
        return self._finite(np.moveaxis(canonical, 2, 0), start)

    def slabs(self, size: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read all planes slab by slab, in file order; yield the first index and the planes."""
        for start, stop in self.spans(size):
            yield start, self.planes(start, stop)

    def voxels(self) -> NDArray[Any]:
        """Read all canonical voxels, shape ``(X, Y, Z)``, in the data type of the file."""
        return np.moveaxis(self.planes(0, self.grid.shape[2]), 0, 2)

    def to_stored(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """Reorder canonical voxels ``(X, Y, n)`` to the axis order of the file."""
        back = orientations.ornt_transform(_RAS, self.orientation)
        return orientations.apply_orientation(canonical, back)

    def stored_zeros(self, planes: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Create a block of zeros for some planes, in the order of the file.

        Args:
            planes: Number of planes.
            dtype: Data type.

        Returns:
            The block, with the axes of the file, the first of which varies fastest in memory; and
            the same memory as canonical planes, shape ``(planes, X, Y)``.
        """
        canonical = (*self.grid.shape[:2], planes)
        shape = [canonical[int(axis)] for axis in self.orientation[:, 0]]
        block = np.zeros(shape, dtype, order="F")
        view = orientations.apply_orientation(block, self.orientation)
        return block, np.moveaxis(view, 2, 0)

    @cached_property
    def _canonical(self) -> NDArray[Any]:
        voxels = self.image.block(0, self.image.shape[2])
        return orientations.apply_orientation(voxels, self.orientation)

    def _stored_span(self, start: int, stop: int) -> tuple[int, int]:
        depth = self.grid.shape[2]
        return (start, stop) if self.orientation[2, 1] > 0 else (depth - stop, depth - start)

    def _finite(self, planes: NDArray[Any], start: int) -> NDArray[Any]:
        if planes.dtype.kind != "f" or (finite := np.isfinite(planes)).all():
            return planes
        if self._nan is None:
            raise InputError(
                f"voxels must be finite, but {self.path} has NaN or infinite voxels in planes "
                f"{start}..{start + len(planes) - 1}; replace them, for instance by -1024 (air) in "
                "a scan or 0 in a mask"
            )
        self._replaced.update((np.flatnonzero(~finite.all(axis=(1, 2))) + start).tolist())
        return np.where(finite, planes, planes.dtype.type(self._nan))
