"""Any scan or mask file as canonical axial planes."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.grid import Grid
from thorax.io.readers import open_image
from thorax.io.stored_image import ImageArray, ImageFile, check_stored, reading

SLAB = 16
"""Planes worked on at a time: 16 planes of 512×512 take 17 MB in single precision."""

_RAS = np.array([[0, 1], [1, 1], [2, 1]])


class Scan:
    """A CT or a mask in a file, read as canonical axial planes.

    Args:
        path: A NIfTI (``.nii``, ``.nii.gz``), NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``,
            ``.mhd``) file; or DICOM: a folder, a ``.zip`` or one file of a series.
        series: Of several DICOM series, the one to read: its SeriesInstanceUID or its number.
            The one with the most slices unless given.
        nan: What NaN and infinite voxels are read as, for instance -1024 (air). They are refused
            unless it is given.

    Raises:
        InputError: The file is missing, unreadable, not 3D, in colour or without a usable affine.
    """

    def __init__(
        self, path: Path, *, series: str | int | None = None, nan: float | None = None
    ) -> None:
        stored = open_image(path, series=None if series is None else str(series))
        self._show(path, stored, nan)

    @classmethod
    def in_memory(
        cls, voxels: NDArray[Any], affine: NDArray[Any], *, name: str, nan: float | None = None
    ) -> Self:
        """Show voxels that are in memory already.

        Args:
            voxels: Shape ``(I, J, K)``, in any axis order.
            affine: 4×4 matrix from their indices to RAS+ millimetres.
            name: What to call them in messages.
            nan: As for a file.

        Raises:
            InputError: They are not 3D, no numbers, or the affine says not where they lie.
        """
        scan = cls.__new__(cls)
        scan._show(Path(name), ImageArray(voxels, affine), nan)
        return scan

    def _show(self, path: Path, stored: ImageFile, nan: float | None) -> None:
        self.path, self.stored = path, stored
        check_stored(path, self.stored)
        self._nan = nan
        self._replaced: set[int] = set()
        affine, shape = self.stored.affine, self.stored.shape
        self.turn: NDArray[np.float64] = orientations.io_orientation(affine)
        canonical = affine @ orientations.inv_ornt_aff(self.turn, shape)
        x, y, z = (shape[int(axis)] for axis in np.argsort(self.turn[:, 0]))
        self.grid = Grid((x, y, z), canonical)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the file was read so far; no name, date or id."""
        if not self._replaced:
            return self.stored.notes
        found = f"{len(self._replaced)} of {self.grid.shape[2]} planes"
        return (*self.stored.notes, f"NaN or infinite voxels in {found} were read as {self._nan:g}")

    @property
    def streams(self) -> bool:
        """Whether the file holds the axial planes one after the other."""
        return int(self.turn[2, 0]) == 2

    def spans(self, size: int = SLAB) -> list[tuple[int, int]]:
        """Cut the planes into slabs ``(start, stop)``, in the order in which the file has them."""
        depth = self.grid.shape[2]
        spans = [(start, min(start + size, depth)) for start in range(0, depth, size)]
        if self.turn[2, 1] > 0:
            return spans
        return [(depth - stop, depth - start) for start, stop in spans]

    def planes(self, start: int, stop: int) -> NDArray[Any]:
        """Read the axial planes ``start..stop-1``, shape ``(stop - start, X, Y)``.

        Raises:
            InputError: The file is cut short or damaged, or voxels are NaN or infinite and ``nan``
                was not given.
        """
        with reading(self.path, "scan"):
            if self.streams:
                block = self.stored.block(*self._turned(start, stop))
                canonical = orientations.apply_orientation(block, self.turn)
            else:
                canonical = self._whole[:, :, start:stop]
        return self._finite(np.moveaxis(canonical, 2, 0), start)

    def slabs(self, size: int = SLAB) -> Iterator[tuple[int, NDArray[Any]]]:
        """All planes, slab by slab, in the order in which the file has them, with their start."""
        for start, stop in self.spans(size):
            yield start, self.planes(start, stop)

    def voxels(self) -> NDArray[Any]:
        """All canonical voxels, shape ``(X, Y, Z)``, in the type that they are stored in."""
        return np.moveaxis(self.planes(0, self.grid.shape[2]), 0, 2)

    def to_stored(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """Turn canonical voxels ``(X, Y, n)`` to the axis order that the file stores."""
        back = orientations.ornt_transform(_RAS, self.turn)
        return orientations.apply_orientation(canonical, back)

    @cached_property
    def _whole(self) -> NDArray[Any]:
        return orientations.apply_orientation(self.stored.block(0, self.stored.shape[2]), self.turn)

    def _turned(self, start: int, stop: int) -> tuple[int, int]:
        depth = self.grid.shape[2]
        return (start, stop) if self.turn[2, 1] > 0 else (depth - stop, depth - start)

    def _finite(self, planes: NDArray[Any], start: int) -> NDArray[Any]:
        if planes.dtype.kind != "f" or (finite := np.isfinite(planes)).all():
            return planes
        if self._nan is None:
            raise InputError(
                f"{self.path} holds NaN or infinite voxels in planes "
                f"{start}..{start + len(planes) - 1}; replace them, for instance by -1024 (air)"
            )
        self._replaced.update((np.flatnonzero(~finite.all(axis=(1, 2))) + start).tolist())
        return np.where(finite, planes, planes.dtype.type(self._nan))
