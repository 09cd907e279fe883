"""The slices of a scan, onto which contours and frames of other DICOM objects are placed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.dicom.series import DicomSeries
from thorax.io.scan import Scan
from thorax.io.stored_image import LPS_TO_RAS

_PARALLEL = 0.999
"""Least cosine between the normals of contours and slices."""

_HALF = 0.5 + 1e-3
"""Largest distance of a plane from its slice, in slice distances."""


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Positions of slices, LPS+ in millimetres.

    Args:
        origins_mm: Centre of the first pixel of each slice, shape ``(N, 3)``.
        steps_mm: Steps from a pixel to the next column and to the next row, shape ``(2, 3)``.
        shape: Columns and rows.
        axes: Stored axes of the scan that are column, row and slice.
        distance_mm: Distance between neighbouring slices.
    """

    origins_mm: NDArray[np.float64]
    steps_mm: NDArray[np.float64]
    shape: tuple[int, int]
    axes: tuple[int, int, int] = (0, 1, 2)
    distance_mm: float = 1.0

    def __len__(self) -> int:
        return len(self.origins_mm)

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector perpendicular to the slices."""
        normal = np.cross(*self.steps_mm)
        return normal / np.linalg.norm(normal)

    @cached_property
    def heights_mm(self) -> NDArray[np.float64]:
        """Position of each slice along the normal."""
        return self.origins_mm @ self.normal

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """4×4 matrix from ``(column, row, slice)`` of evenly spaced slices to RAS+ millimetres."""
        affine, count = np.eye(4), len(self)
        step = self.normal * self.distance_mm
        if count > 1:
            step = (self.origins_mm[-1] - self.origins_mm[0]) / (count - 1)
        affine[:3, :3] = np.column_stack([*self.steps_mm, step])
        affine[:3, 3] = self.origins_mm[0]
        return LPS_TO_RAS @ affine

    def nearest(self, height_mm: float) -> int | None:
        """Index of the slice at a height; None if all are more than half a slice distance away."""
        distances = np.abs(self.heights_mm - height_mm)
        index = int(distances.argmin())
        return index if distances[index] <= _HALF * self.distance_mm else None

    def pixels(self, points_mm: NDArray[np.float64], index: int) -> NDArray[np.float64]:
        """Columns and rows of points on a slice, shape ``(P, 2)``."""
        return (points_mm - self.origins_mm[index]) @ np.linalg.pinv(self.steps_mm)

    def stored(self, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reorder voxels of shape ``(columns, rows, N)`` to the stored axes of the scan."""
        return np.moveaxis(masks, (0, 1, 2), self.axes)


def slice_stack(scan: Scan, normal: NDArray[np.float64]) -> SliceStack:
    """Return the slices of a scan that are perpendicular to a normal.

    The slices of a DICOM series have their own positions, which need not be evenly spaced.

    Args:
        scan: The scan.
        normal: LPS+ unit vector.

    Raises:
        InputError: The scan has no such slices.
    """
    image = scan.image
    affine = LPS_TO_RAS @ image.affine
    # The axis whose slices are most nearly perpendicular to the normal.
    normals = [
        np.cross(affine[:3, (axis + 1) % 3], affine[:3, (axis + 2) % 3]) for axis in range(3)
    ]
    cosines = [abs(axis @ normal) / np.linalg.norm(axis) for axis in normals]
    along = 2 if isinstance(image, DicomSeries) else int(np.argmax(cosines))
    if cosines[along] < _PARALLEL:
        raise InputError(
            "contours and segmentations must be parallel to the slices of their scan, but they "
            f"are at an angle of {np.degrees(np.arccos(cosines[along])):.0f}° to those of "
            f"{scan.path}; give the scan that they were drawn on"
        )
    column, row = (axis for axis in range(3) if axis != along)
    origins = affine[:3, 3] + np.arange(image.shape[along])[:, None] * affine[:3, along]
    if isinstance(image, DicomSeries):
        origins = np.array([slice_.position_mm for slice_ in image.slices])
    return SliceStack(
        origins,
        affine[:3, [column, row]].T,
        (image.shape[column], image.shape[row]),
        (column, row, along),
        abs(float(affine[:3, along] @ normals[along])) / float(np.linalg.norm(normals[along])),
    )


def plane_normal(points_mm: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Unit normal of a closed contour by Newell's method; None if it has no area."""
    moved = points_mm - points_mm.mean(axis=0)
    normal = np.cross(moved, np.roll(moved, -1, axis=0)).sum(axis=0)
    length = np.linalg.norm(normal)
    return normal / length if length > 1e-6 else None
