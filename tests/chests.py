"""Chests of simple geometry: an elliptic body with lungs, heart, liver, spine and a couch."""

import numpy as np
from numpy.typing import NDArray

AIR_HU, LUNG_HU, FAT_HU, SOFT_HU, LIVER_HU, BONE_HU = -1000, -850, -100, 30, 70, 500

X, Y, Z = np.meshgrid(np.arange(-24, 25), np.arange(-24, 25), np.arange(44), indexing="ij")
"""Voxel positions: to the right and to the front of the middle, and above the lowest slice."""


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> NDArray[np.bool_]:
    """Return the voxels of an elliptic column that runs from feet to head."""
    return ((X - x) / radius_x) ** 2 + ((Y - y) / radius_y) ** 2 < 1


def lung(x: float) -> NDArray[np.bool_]:
    """Return a lung: a column with a convex top, and a dome that pushes into it from below."""
    rim = ((X - x) / 6.5) ** 2 + (Y / 10) ** 2
    top = 22 + 16 * np.sqrt(np.clip(1 - rim, 0, 1))
    bottom = 8 + 8 * np.clip(1 - rim, 0, 1)
    return (rim < 1) & (bottom < Z) & (top > Z)


def heart(x: float) -> NDArray[np.bool_]:
    """Return a ball in the front of the chest, above the diaphragm."""
    return (X - x) ** 2 + (Y - 4) ** 2 + (Z - 16) ** 2 < 6**2


def make_chest(
    *,
    couch_y: int | None = -20,
    heart_x: float = -4.0,
    left_hu: int = FAT_HU,
    spine: bool = True,
) -> NDArray[np.int16]:
    """Return HU of shape ``(49, 49, 44)`` with axes along R, A and S.

    Args:
        couch_y: Position of the couch, behind the body if negative; None: there is none.
        heart_x: Position of the heart; negative is left.
        left_hu: Density below the left lung; below the right lung is the liver.
        spine: Draw a spine.
    """
    hu = np.full(X.shape, AIR_HU, np.int16)
    hu[ellipse(0, 0, 21, 16)] = SOFT_HU
    hu[ellipse(10, 0, 9, 12) & (Z < 20)] = LIVER_HU
    hu[ellipse(-10, 0, 9, 12) & (Z < 20)] = left_hu
    hu[lung(10) | lung(-10)] = LUNG_HU
    hu[heart(heart_x)] = SOFT_HU
    if spine:
        hu[ellipse(0, -10, 3, 3)] = BONE_HU
    if couch_y is not None:
        hu[(couch_y == Y) & (np.abs(X) < 20)] = FAT_HU
    return hu
