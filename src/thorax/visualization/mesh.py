"""Convert a mask to a smooth surface of triangles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import mask_box
from thorax.imaging.marching_cubes import marching_cubes

Floats = NDArray[np.float64]

Integers = NDArray[np.int64]

STEP_MM = 2.5
"""Grid spacing for the computation of surfaces: about one canvas pixel."""

SMOOTH_MM = 2.0
"""Standard deviation of the smoothing, which removes the steps between voxels."""

SMOOTH_VOXELS = 0.75
"""Least standard deviation along each axis, because thick slices make high steps."""

LEAST_SPACING_MM, MOST_EXTENT_MM = 0.1, 800.0
"""Masks with a smaller spacing or a larger extent are computed at another scale: a header in a
wrong unit would need grids of gigabytes."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface of triangles.

    Args:
        vertices_mm: Along R, A and S, from the outer corner of the mask's first voxel; ``(V, 3)``.
        faces: Indices of three vertices, counter-clockwise seen from outside; ``(F, 3)``.
        normals: Outward unit vectors at the vertices; ``(V, 3)``.
    """

    vertices_mm: Floats
    faces: Integers
    normals: Floats


EMPTY = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3)))


def surface(mask: NDArray[np.bool_], *, spacing_mm: tuple[float, float, float]) -> Mesh:
    """Compute a smooth closed surface around a mask.

    The surface encloses the volume of the mask. Smoothing alone would shrink small lesions, or
    remove them.

    Args:
        mask: Planes on the canvas, shape ``(N, H, W)``.
        spacing_mm: Voxel spacing along x, y and z, that is along H, W and N.

    Returns:
        The mesh; without vertices for an empty mask.

    Example:
        >>> surface(np.zeros((2, 4, 4), bool), spacing_mm=(1, 1, 1)).faces.shape
        (0, 3)
    """
    voxels = np.moveaxis(mask, 0, 2)
    if not voxels.any():
        return EMPTY
    box = mask_box(voxels)
    scale = _scale(voxels[box].shape, spacing_mm)
    spacing = np.array(spacing_mm, dtype=np.float64) * scale
    field, first_mm = _field(voxels[box], spacing)
    level = _level(field, np.count_nonzero(voxels) * spacing.prod() / STEP_MM**3)
    points, faces = marching_cubes(field, level)
    corner_mm = np.array([part.start for part in box]) * spacing
    vertices_mm = points * STEP_MM + corner_mm + first_mm
    return Mesh(vertices_mm / scale, faces[:, ::-1], _normals(field, points))


def _scale(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> float:
    """Factor that brings a spacing within the limits of the computation; usually 1."""
    extent_mm = max(size * step for size, step in zip(shape, spacing_mm, strict=True))
    larger = max(1.0, LEAST_SPACING_MM / min(spacing_mm))
    return min(larger, MOST_EXTENT_MM / extent_mm)


def _field(voxels: NDArray[np.bool_], spacing_mm: Floats) -> tuple[NDArray[np.float32], Floats]:
    """Smoothed mask on the grid of `STEP_MM`, 0 at its border, and position of its first point."""
    sigma = np.maximum(SMOOTH_MM / spacing_mm, SMOOTH_VOXELS)
    # SciPy truncates the Gaussian at 4 standard deviations.
    margin = np.ceil(4 * sigma + STEP_MM / spacing_mm).astype(int) + 1
    padded = np.pad(voxels.astype(np.float32), [(int(width), int(width)) for width in margin])
    smooth = ndimage.gaussian_filter(padded, sigma)
    points = [
        np.arange(0, size - 1, STEP_MM / step)
        for size, step in zip(padded.shape, spacing_mm, strict=True)
    ]
    for axis, positions in enumerate(points):
        smooth = _sample(smooth, positions, axis)
    return smooth, (0.5 - margin) * spacing_mm


def _sample(values: NDArray[np.float32], positions: Floats, axis: int) -> NDArray[np.float32]:
    """Interpolate linearly along an axis."""
    below = np.minimum(positions.astype(int), values.shape[axis] - 2)
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = (positions - below).astype(np.float32).reshape(shape)
    low, high = (np.take(values, below + offset, axis) for offset in (0, 1))
    return low + weight * (high - low)


def _level(field: NDArray[np.float32], points: float) -> float:
    """Level that the given number of points exceeds, limited to the inside of the value range."""
    count = min(max(round(points), 1), field.size - 1)
    level = np.partition(field.ravel(), -count)[-count]
    return float(np.clip(level, 0.01 * field.max(), 0.8 * field.max()))


def _normals(field: NDArray[np.float32], positions: Floats) -> Floats:
    """Unit vectors against the gradient of a field."""
    gradient = np.stack(
        [ndimage.map_coordinates(slope, positions.T, order=1) for slope in np.gradient(field)],
        axis=1,
    )
    return unit_vectors(-gradient)


def unit_vectors(vectors: Floats) -> Floats:
    """Normalise vectors along the last axis."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
