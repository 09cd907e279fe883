"""Surfaces of regions as MZ3 meshes in memory, the format of Surfice and NiiVue."""

import gzip
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.grid import Grid
from thorax.visualization.mesh import STEP_MM, Mesh, surface

TRIANGLES = 14_000
"""Approximate maximum per surface, which rotates smoothly without a graphics card."""

TRIANGLES_AN_AREA = 1.2
"""Measured number of triangles per square of `STEP_MM` on the outer faces of a mask's voxels."""

ROUNDING_MM = 0.5
"""Coordinates are rounded to this, which halves the size and is not visible."""

MAGIC, HAS_FACES_AND_VERTICES = 0x5A4D, 3


def surface_bytes(mask: NDArray[np.bool_], grid: Grid) -> bytes:
    """Write the surface of a mask as gzip MZ3, in RAS+ millimetres.

    Surfaces of larger masks are coarser, with about 14,000 triangles at most.

    Args:
        mask: Shape ``(X, Y, Z)``.
        grid: Grid of the mask.

    Returns:
        The file, empty for an empty mask. Equal masks give equal bytes.
    """
    spacing = np.array(grid.spacing_mm)
    coarser = max(1.0, (_triangles(mask, spacing) / TRIANGLES) ** 0.5)
    x_mm, y_mm, z_mm = spacing / coarser
    mesh = surface(np.moveaxis(mask, 2, 0), spacing_mm=(x_mm, y_mm, z_mm))
    if not mesh.faces.size:
        return b""
    voxels = mesh.vertices_mm * coarser / spacing - 0.5
    vertices_mm = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return _mz3(mesh, np.rint(vertices_mm / ROUNDING_MM) * ROUNDING_MM)


def _triangles(mask: NDArray[np.bool_], spacing_mm: NDArray[Any]) -> float:
    """Estimate the number of triangles of the surface at full resolution."""
    area_mm2 = 0.0
    for axis in range(3):
        sides = np.count_nonzero(np.diff(mask, axis=axis))
        area_mm2 += sides * spacing_mm.prod() / spacing_mm[axis]
    return TRIANGLES_AN_AREA * area_mm2 / STEP_MM**2


def _mz3(mesh: Mesh, vertices_mm: NDArray[np.float64]) -> bytes:
    """Write a header of 16 bytes, then faces (int32) and vertices (float32), little-endian."""
    header = struct.pack(
        "<HHIII", MAGIC, HAS_FACES_AND_VERTICES, len(mesh.faces), len(vertices_mm), 0
    )
    raw = header + mesh.faces.astype("<i4").tobytes() + vertices_mm.astype("<f4").tobytes()
    return gzip.compress(raw, 9, mtime=0)
