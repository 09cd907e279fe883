"""Grids and volumes: the position of voxels in the patient.

The convention of the whole package, stated here once:

* World coordinates are RAS+ in millimetres: x grows to the patient's right (R), y to the front
  (A), z to the head (S), as in nibabel.
* Voxels are indexed ``[x, y, z]``. *Canonical* voxels have axes that point as nearly as possible
  along R, A and S, as `nibabel.as_closest_canonical` gives them.
* Axial planes are an array of shape ``(N, X, Y)``, lowest plane first. On the canvas they are
  ``(N, H, W)`` with H along x and W along y. A stack of ``2k+1`` neighbouring planes is
  ``(H, W, 2k+1)``, channels last, lowest plane first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thorax.common.errors import InputError

NEGLIGIBLE_MM = 1e-2
"""Distance between two grids that is not worth a note."""

_SAME_VOXEL = 0.1
"""Largest distance between two grids, as a share of the smallest voxel spacing."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Position of the voxels of a volume in the patient.

    Args:
        shape: Number of voxels along each of the three axes.
        affine: 4×4 matrix from voxel indices to RAS+ millimetres.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each axis, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, in millilitres (cm³)."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def matches(self, other: "Grid", *, tolerance_mm: float = 1e-2) -> bool:
        """Compare with another grid: True if shape and position of all voxels agree.

        Args:
            other: The grid to compare with.
            tolerance_mm: Largest distance between corresponding corner voxels.
        """
        return self.shape == other.shape and self.distance_mm(other) <= tolerance_mm

    def distance_mm(self, other: "Grid") -> float:
        """Largest distance between corresponding corner voxels of two grids of one shape."""
        corners = np.indices((2, 2, 2)).reshape(3, -1) * (np.array(self.shape)[:, None] - 1)
        apart = (self.affine - other.affine) @ np.vstack([corners, np.ones(8)])
        return float(np.linalg.norm(apart[:3], axis=0).max())

    def same_voxels(self, other: "Grid") -> bool:
        """Check that the grids have one shape, and differ by less than a tenth of a voxel.

        The distance is measured at the corner voxels, and compared with the smallest spacing of
        the other grid.
        """
        limit_mm = _SAME_VOXEL * min(other.spacing_mm)
        return self.shape == other.shape and self.distance_mm(other) < limit_mm


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT or a mask: voxels of shape ``(X, Y, Z)`` and their grid."""

    voxels: NDArray[Any]
    grid: Grid

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise ValueError(
                f"`voxels` must have the shape of `grid` {self.grid.shape}, got {self.voxels.shape}"
            )


def make_volume(voxels: ArrayLike, affine: ArrayLike) -> Volume:
    """Combine voxels and an affine to a volume.

    Example:
        >>> make_volume(np.zeros((4, 4, 2)), np.diag([0.7, 0.7, 5.0, 1.0])).grid.spacing_mm
        (0.7, 0.7, 5.0)
    """
    array = np.asarray(voxels)
    x, y, z = array.shape
    return Volume(array, Grid((x, y, z), np.asarray(affine, dtype=np.float64)))


Box = tuple[tuple[int, int], tuple[int, int]]
"""First voxel and one past the last, along x and y."""


class Slabs(Protocol):
    """An image that is read slab by slab: from a file or from memory."""

    grid: Grid

    def slabs(self) -> Iterable[tuple[int, NDArray[Any]]]:
        """Yield the canonical planes slab by slab, each with the index of its first plane."""


class NamedSlabs(Slabs, Protocol):
    """An image that is read slab by slab from a file."""

    path: Path


Image = TypeVar("Image", bound=NamedSlabs)


def check_same_grid(mask: Image, scan: NamedSlabs) -> Image:
    """Return the mask if it has the shape of the scan, and its voxels are where those are.

    The affines may differ by less than a tenth of the smallest voxel spacing, measured at the
    corner voxels: formats round positions in different ways. Voxels of the mask then belong to
    the voxels of the scan with the same index.

    Raises:
        InputError: The shape differs, or the affine differs by more.
    """
    if mask.grid.shape != scan.grid.shape:
        raise InputError(
            f"a mask must have the shape of its scan, but {mask.path} has {mask.grid.shape} and "
            f"{scan.path} has {scan.grid.shape}; resample it onto the scan"
        )
    if not mask.grid.same_voxels(scan.grid):
        raise InputError(
            f"a mask must have the affine of its scan, but {mask.path} is up to "
            f"{mask.grid.distance_mm(scan.grid):.3g} mm away from {scan.path}, a tenth of a voxel "
            "or more; resample it onto the scan"
        )
    return mask


def grid_note(mask: NamedSlabs, scan: NamedSlabs) -> tuple[str, ...]:
    """Note how far a mask that `check_same_grid` accepts is from its scan; empty if negligible.

    The positions of the scan are used.
    """
    if not mask.grid.same_voxels(scan.grid):
        return ()
    distance_mm = mask.grid.distance_mm(scan.grid)
    if distance_mm <= NEGLIGIBLE_MM:
        return ()
    return (
        f"{mask.path.name} is up to {distance_mm:.2g} mm away from {scan.path.name}, less than a "
        f"tenth of a voxel; the positions of {scan.path.name} were used",
    )


FACES = (("left", "right"), ("back", "front"), ("feet", "head"))
"""Faces of the field of view, low and high, along x, y and z (RAS+)."""


def corners(planes: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels in the corners of planes, shape ``(…, X, Y)``.

    Example:
        >>> corners(np.arange(12).reshape(3, 4)).tolist()
        [[0, 3], [8, 11]]
        >>> corners(np.arange(3).reshape(1, 3)).tolist()
        [[0, 2]]
    """
    x, y = (max(1, size - 1) for size in planes.shape[-2:])
    return planes[..., ::x, ::y]


def mask_box(*masks: NDArray[Any]) -> tuple[slice, ...]:
    """Find the smallest box that contains all masks; it is empty if they are.

    Example:
        >>> mask_box(np.array([[0, 0, 0], [0, 1, 1]]), np.array([[0, 0, 0], [1, 0, 0]]))
        (slice(1, 2, None), slice(0, 3, None))
    """
    within = [mask.any(axis=tuple(range(1, mask.ndim))) for mask in masks]
    hits = np.flatnonzero(np.logical_or.reduce(within))
    span = slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0, 0)
    if masks[0].ndim == 1:
        return (span,)
    # A projection, because NumPy is slow along several axes that are not the last ones.
    return (span, *mask_box(*(np.asarray(mask.any(axis=0)) for mask in masks)))
