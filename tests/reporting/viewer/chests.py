"""A grid that is turned as files of DICOM origin are, and shapes on it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.io import Scan

# To the patient's left and back, as most CT files are stored.
AFFINE = np.array([[-4, 0, 0, 150.0], [0, -4, 0, 120.0], [0, 0, 5, -300.0], [0, 0, 0, 1]])
SHAPE = (72, 56, 24)


def ball(centre: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    """Voxels, as stored, within so many mm of a voxel."""
    away = [
        (axis - at) * step
        for axis, at, step in zip(np.indices(SHAPE), centre, (4, 4, 5), strict=True)
    ]
    return np.sqrt(sum(part**2 for part in away)) <= radius_mm


def in_memory(voxels: NDArray[Any], name: str, affine: NDArray[Any] = AFFINE) -> Scan:
    return Scan.in_memory(voxels, affine, name=name)
