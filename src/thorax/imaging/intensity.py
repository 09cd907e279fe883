"""Intensity scales, which convert voxel values to Hounsfield units, and windows of the network."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError

LOWEST_HU = -1024
"""Lowest HU in use; the padding of scanners (-2000, -3024) is raised to it."""

HIGHEST_HU = 32767


@dataclass(frozen=True)
class Window:
    """Range of HU that the network receives as 0..1.

    Args:
        low_hu: This value and all below become 0.
        high_hu: This value and all above become 1.

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
        """Map HU of any shape to 0..1 as float32."""
        scale = np.float32(1.0 / (self.high_hu - self.low_hu))
        shifted = (voxels.astype(np.float32) - np.float32(self.low_hu)) * scale
        return np.clip(shifted, 0.0, 1.0, out=shifted)


@dataclass(frozen=True)
class IntensityScale:
    """Meaning of the voxel values of a scan.

    `str` gives the text that `parse_intensity` reads: ``hu``, ``hu+1024``, ``-1250,250``,
    ``250,-1250``.

    Args:
        window_hu: None if the values are HU. Otherwise the scan is an 8-bit export, and its values
            0..255 represent this range of HU.
        offset_hu: Constant that was added to the HU: 1024 if air is near 24 and water near 1024.
        inverted: True for a negative: 0 represents the upper end of the range, 255 the lower end.

    Raises:
        InputError: The range is empty or descending.
        ValueError: `offset_hu` is given with a range, or `inverted` without one.

    Example:
        >>> IntensityScale((-1250, 250)).to_hu(np.array([0, 51, 255])).tolist()
        [-1250.0, -950.0, 250.0]
        >>> IntensityScale(offset_hu=1024).to_hu(np.array([24, 1024], np.uint16)).tolist()
        [-1000, 0]
        >>> str(IntensityScale((-1250, 250), inverted=True))
        '250,-1250'
    """

    window_hu: tuple[float, float] | None = None
    offset_hu: int = field(default=0, kw_only=True)
    inverted: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.window_hu and not self.window_hu[0] < self.window_hu[1]:
            low_hu, high_hu = self.window_hu
            raise InputError(f"`intensity` must run from low to high HU, got {low_hu}..{high_hu}")
        if self.window_hu and self.offset_hu:
            raise ValueError(f"`offset_hu` must be 0 with a window, got {self.offset_hu}")
        if self.inverted and not self.window_hu:
            raise ValueError("`inverted` must be given with a window, got none")

    def __str__(self) -> str:
        if self.window_hu is None:
            return f"hu{self.offset_hu:+d}" if self.offset_hu else "hu"
        return "{:.12g},{:.12g}".format(*self._ends_hu)

    def to_hu(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Convert voxel values to HU; values that are HU are returned unchanged."""
        if self.window_hu is not None:
            first_hu, last_hu = self._ends_hu
            step_hu = np.float32((last_hu - first_hu) / 255.0)
            return np.float32(first_hu) + voxels.astype(np.float32) * step_hu
        if self.offset_hu:
            # Unsigned or short integers would overflow when the offset is subtracted.
            wide = np.float32 if voxels.dtype.kind == "f" else np.int32
            return voxels.astype(np.promote_types(voxels.dtype, wide)) - self.offset_hu
        return voxels

    @property
    def calibrated(self) -> bool:
        """True for HU, with or without an offset; grey values of an export may be equalised."""
        return self.window_hu is None

    @property
    def _ends_hu(self) -> tuple[float, float]:
        """HU that 0 and 255 represent."""
        low_hu, high_hu = self.window_hu or (0.0, 255.0)
        return (high_hu, low_hu) if self.inverted else (low_hu, high_hu)


HU = IntensityScale()
"""The scale of scans that store Hounsfield units."""


def parse_intensity(text: str) -> IntensityScale | None:
    """Parse the `--intensity` option of the command line.

    Args:
        text: ``auto`` to detect the scale; ``hu``; ``hu+1024``, or another whole offset that was
            added to the HU; or the HU that 0 and 255 represent in an 8-bit export, such as
            ``-1250,250``; for a negative the higher value first: ``250,-1250``.

    Returns:
        None for ``auto``.

    Raises:
        InputError: The text is none of these.

    Example:
        >>> parse_intensity("hu+1024")
        IntensityScale(window_hu=None, offset_hu=1024, inverted=False)
        >>> parse_intensity("250,-1250")
        IntensityScale(window_hu=(-1250.0, 250.0), offset_hu=0, inverted=True)
    """
    word = text.strip().lower()
    if word == "auto":
        return None
    if offset := re.fullmatch(r"hu([+-][0-9]{1,9})?", word):
        return IntensityScale(offset_hu=int(offset[1] or 0))
    try:
        first_hu, last_hu = (float(number) for number in word.split(","))
    except ValueError:
        first_hu = last_hu = math.nan
    low_hu, high_hu = min(first_hu, last_hu), max(first_hu, last_hu)
    if not -math.inf < low_hu < high_hu < math.inf:
        raise InputError(
            "`intensity` must be auto, hu, hu+1024 (any whole offset), or the HU that 0 and 255 "
            f"represent, like -1250,250, got `{text}`"
        )
    return IntensityScale((low_hu, high_hu), inverted=first_hu > last_hu)


def whole_hu(voxels: NDArray[Any]) -> NDArray[np.int16]:
    """Round to whole HU as int16; raise padding below -1024 HU, and NaN, to -1024.

    Example:
        >>> whole_hu(np.array([-3024.0, 39.7, np.nan])).tolist()
        [-1024, 40, -1024]
    """
    is_float = voxels.dtype.kind == "f"
    whole = np.where(np.isnan(voxels), LOWEST_HU, np.rint(voxels)) if is_float else voxels
    wide = whole.astype(np.promote_types(whole.dtype, np.int16), copy=False)
    return np.clip(wide, LOWEST_HU, HIGHEST_HU).astype(np.int16, copy=False)
