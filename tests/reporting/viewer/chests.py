"""A grid in LPS orientation, as in files from DICOM, and shapes on it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.io import Scan

# Axes to the patient's left and back, as in most CT files.
AFFINE = np.array([[-4, 0, 0, 150.0], [0, -4, 0, 120.0], [0, 0, 5, -300.0], [0, 0, 0, 1]])
SHAPE = (72, 56, 24)


def ball(centre: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    """Return the voxels within a radius of a voxel, in storage order."""
    offsets_mm = [
        (axis - at) * step
        for axis, at, step in zip(np.indices(SHAPE), centre, (4, 4, 5), strict=True)
    ]
    return np.sqrt(sum(part**2 for part in offsets_mm)) <= radius_mm


def in_memory(voxels: NDArray[Any], name: str, affine: NDArray[Any] = AFFINE) -> Scan:
    return Scan.in_memory(voxels, affine, name=name)
