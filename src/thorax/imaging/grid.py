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
        if self.shape != other.shape:
            return False
        corners = np.indices((2, 2, 2)).reshape(3, -1) * (np.array(self.shape)[:, None] - 1)
        homogeneous = np.vstack([corners, np.ones(8)])
        apart = (self.affine - other.affine) @ homogeneous
        return bool(np.abs(apart[:3]).max() <= tolerance_mm)


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
    """Return the mask if it has the grid of the scan.

    Raises:
        InputError: Its shape or affine differs.
    """
    if mask.grid.shape != scan.grid.shape:
        raise InputError(
            f"a mask must have the shape of its scan, but {mask.path} has {mask.grid.shape} and "
            f"{scan.path} has {scan.grid.shape}; resample it onto the scan"
        )
    if not mask.grid.matches(scan.grid):
        raise InputError(
            f"a mask must have the affine of its scan, but {mask.path} is elsewhere in the "
            f"patient than {scan.path}; resample it onto the scan"
        )
    return mask


FACES = (("left", "right"), ("back", "front"), ("feet", "head"))
"""Faces of the field of view, low and high, along x, y and z (RAS+)."""


def mask_box(*masks: NDArray[Any]) -> tuple[slice, ...]:
    """Find the smallest box that contains all masks; it is empty if they are.

    Example:
        >>> mask_box(np.array([[0, 0, 0], [0, 1, 1]]), np.array([[0, 0, 0], [1, 0, 0]]))
        (slice(1, 2, None), slice(0, 3, None))
    """
    box = []
    for axis in range(masks[0].ndim):
        others = tuple(other for other in range(masks[0].ndim) if other != axis)
        within = np.flatnonzero(np.logical_or.reduce([mask.any(axis=others) for mask in masks]))
        box.append(slice(int(within[0]), int(within[-1]) + 1) if len(within) else slice(0, 0))
    return tuple(box)
