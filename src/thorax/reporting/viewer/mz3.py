"""Surfaces of regions as MZ3 meshes in memory, the format of Surfice and NiiVue."""

import gzip
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.grid import Grid
from thorax.visualization.mesh import STEP_MM, Mesh, surface

TRIANGLES = 14_000
"""About as many as a surface has at most: these turn smoothly even without a graphics card."""

TRIANGLES_AN_AREA = 1.2
"""Triangles for each square of `STEP_MM` on the outer sides of a mask's voxels, as measured."""

ROUNDING_MM = 0.5
"""Places are rounded to this, which halves the bytes and cannot be seen."""

MAGIC, HAS_FACES_AND_VERTICES = 0x5A4D, 3


def surface_bytes(mask: NDArray[np.bool_], grid: Grid) -> bytes:
    """Write the surface of a mask as gzip MZ3, in RAS+ millimetres.

    The coarser the surface the larger the mask is, so that it has about 14,000 triangles.

    Args:
        mask: Shape ``(X, Y, Z)``.
        grid: Where its voxels lie.

    Returns:
        The bytes; none for an empty mask, and the same for the same mask.
    """
    spacing = np.array(grid.spacing_mm)
    coarser = max(1.0, (_triangles(mask, spacing) / TRIANGLES) ** 0.5)
    x_mm, y_mm, z_mm = spacing / coarser
    mesh = surface(np.moveaxis(mask, 2, 0), spacing_mm=(x_mm, y_mm, z_mm))
    if not mesh.faces.size:
        return b""
    voxels = mesh.vertices_mm * coarser / spacing - 0.5
    places = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return _mz3(mesh, np.rint(places / ROUNDING_MM) * ROUNDING_MM)


def _triangles(mask: NDArray[np.bool_], spacing_mm: NDArray[Any]) -> float:
    """About how many triangles the surface would have if it were not made coarser."""
    area_mm2 = 0.0
    for axis in range(3):
        sides = np.count_nonzero(np.diff(mask, axis=axis))
        area_mm2 += sides * spacing_mm.prod() / spacing_mm[axis]
    return TRIANGLES_AN_AREA * area_mm2 / STEP_MM**2


def _mz3(mesh: Mesh, places: NDArray[np.float64]) -> bytes:
    """Header of 16 bytes, then faces (int32) and vertices (float32), little-endian."""
    header = struct.pack("<HHIII", MAGIC, HAS_FACES_AND_VERTICES, len(mesh.faces), len(places), 0)
    raw = header + mesh.faces.astype("<i4").tobytes() + places.astype("<f4").tobytes()
    return gzip.compress(raw, 9, mtime=0)
