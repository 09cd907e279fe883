"""Intensities: how voxel values become Hounsfield units, and how the network sees these."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.errors import InputError

LOWEST_HU = -1024
"""The floor of the scale in practice; scanners' padding (-2000, -3024) is raised to it."""
HIGHEST_HU = 32767


@dataclass(frozen=True)
class Window:
    """The part of the Hounsfield scale that the network sees.

    Args:
        low_hu: Goes to 0, and so does all that is lower.
        high_hu: Goes to 1, and so does all that is higher.

    Raises:
        ValueError: ``high_hu`` is not greater than ``low_hu``.

    Example:
        >>> Window(-1000, 400).apply(np.array([-2000, -300, 400])).tolist()
        [0.0, 0.5, 1.0]
    """

    low_hu: float
    high_hu: float

    def __post_init__(self) -> None:
        if not self.high_hu > self.low_hu:
            raise ValueError(
                f"`high_hu` must be greater than `low_hu`, got {self.low_hu}..{self.high_hu}"
            )

    def apply(self, voxels: NDArray[Any]) -> NDArray[np.float32]:
        """Map HU to 0..1 as float32, whatever the shape."""
        scale = np.float32(1.0 / (self.high_hu - self.low_hu))
        shifted = (voxels.astype(np.float32) - np.float32(self.low_hu)) * scale
        return np.clip(shifted, 0.0, 1.0, out=shifted)


@dataclass(frozen=True)
class Domain:
    """What the voxel values of a scan mean.

    Args:
        window_hu: None if the values are HU. Else the scan is an 8-bit export, and its values
            0..255 stand for this range of HU.

    Raises:
        InputError: The range is empty or runs downwards.

    Example:
        >>> Domain((-1250, 250)).to_hu(np.array([0, 51, 255])).tolist()
        [-1250.0, -950.0, 250.0]
    """

    window_hu: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.window_hu and not self.window_hu[0] < self.window_hu[1]:
            low_hu, high_hu = self.window_hu
            raise InputError(f"`intensity` must run from low to high HU, got {low_hu}..{high_hu}")

    def to_hu(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Map voxel values to HU; HU themselves are returned as they are."""
        if self.window_hu is None:
            return voxels
        low_hu, high_hu = self.window_hu
        return low_hu + voxels.astype(np.float32) * np.float32((high_hu - low_hu) / 255.0)


HU = Domain()
"""The domain of scans that are in Hounsfield units as they come."""


def whole_hu(voxels: NDArray[Any]) -> NDArray[np.int16]:
    """Round to whole HU in int16, raising padding below -1024 HU to -1024.

    Example:
        >>> whole_hu(np.array([-3024.0, 39.7])).tolist()
        [-1024, 40]
    """
    whole = np.rint(voxels) if voxels.dtype.kind == "f" else voxels
    wide = whole.astype(np.promote_types(whole.dtype, np.int16), copy=False)
    return np.clip(wide, LOWEST_HU, HIGHEST_HU).astype(np.int16)
