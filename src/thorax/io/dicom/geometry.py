"""Geometry of a DICOM series: order of the slices, affine, and notes on irregularities.

All positions are in LPS+ millimetres, as in DICOM (PS3.3, C.7.6.2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import counted

_SAME_POSITION_MM = 0.01

_MAX_STRAY_MM = 0.1
"""Sideways shift over the whole series above which the gantry is taken as tilted."""

_MAX_UNEVEN = 0.02

_GAP_RATIO = 1.5
"""Slices are missing where the distance is more than 1.5 times the median."""

_LISTED = 3


@dataclass(frozen=True, eq=False)
class SliceLayout:
    """The order of slices along their normal, and their affine.

    Args:
        order: Indices of the slices, in ascending position along the normal.
        affine: 4×4 matrix from ``(column, row, slice)`` to LPS+ millimetres.
        notes: Notes for the user.
    """

    order: tuple[int, ...]
    affine: NDArray[np.float64]
    notes: tuple[str, ...]


def order_slices(
    positions_mm: NDArray[np.float64],
    orientation: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
    *,
    thickness_mm: float | None = None,
) -> SliceLayout:
    """Sort slices and compute the affine of their stack.

    A tilted gantry gives a sheared affine, which is exact: no voxel is moved or interpolated.

    Args:
        positions_mm: Centre of the first pixel of each slice, shape ``(N, 3)``.
        orientation: Directions of rows and of columns, shape ``(2, 3)``.
        spacing_mm: Distance between pixel centres along a row, and along a column.
        thickness_mm: Slice distance of a series of a single slice.

    Raises:
        InputError: Two slices have the same position, or the slices are not on a line.

    Example:
        >>> heights = np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 10.0]])
        >>> layout = order_slices(heights, np.eye(3)[:2], np.array([0.7, 0.7]))
        >>> layout.order
        (1, 0, 2)
        >>> layout.affine.diagonal().tolist()
        [0.7, 0.7, 5.0, 1.0]
    """
    normal = np.cross(*orientation)
    heights = positions_mm @ normal
    order = np.argsort(heights, kind="stable")
    heights, positions = heights[order], positions_mm[order]
    if len(order) == 1:
        step, notes = _single_slice(normal, thickness_mm)
    else:
        _check_distinct(heights)
        direction, tilt = _slice_direction(positions, heights, normal, spacing_mm)
        distance_mm, uneven = _slice_distance(heights)
        step, notes = direction * distance_mm, tilt + uneven
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([*(orientation * spacing_mm[:, None]), step])
    affine[:3, 3] = positions[0]
    return SliceLayout(tuple(order.tolist()), affine, notes)


def _single_slice(
    normal: NDArray[np.float64], thickness_mm: float | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    source = "as its header states" if thickness_mm else "because its header states none"
    thickness_mm = thickness_mm or 1.0
    return normal * thickness_mm, (
        f"the series has a single slice; its thickness was set to {thickness_mm:g} mm, {source}",
    )


def _check_distinct(heights: NDArray[np.float64]) -> None:
    same = np.flatnonzero(np.diff(heights) < _SAME_POSITION_MM)
    if len(same):
        raise InputError(
            f"the slices of a series must have different positions, but {len(same)} have that of "
            f"another slice, the first at {heights[same[0]]:.1f} mm along the slice axis; "
            "keep the files of one volume in a separate folder"
        )


def _slice_direction(
    positions: NDArray[np.float64],
    heights: NDArray[np.float64],
    normal: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Fit the shift of the slice position per millimetre along the normal by least squares."""
    centred, moved = heights - heights.mean(), positions - positions.mean(axis=0)
    direction = centred @ moved / (centred @ centred)
    stray_mm = np.linalg.norm(moved - centred[:, None] * direction, axis=1).max()
    if stray_mm > spacing_mm.min() / 2 + _MAX_STRAY_MM:
        raise InputError(
            f"the slices of a series must be on one line, but some are {stray_mm:.1f} mm away "
            "from it; keep the files of one volume in a separate folder"
        )
    sideways = np.linalg.norm(direction - normal)
    if sideways * np.ptp(heights) < _MAX_STRAY_MM:
        return normal, ()
    angle = np.degrees(np.arctan(sideways))
    return direction, (
        f"the gantry was tilted by {angle:.1f}°: the slices are not resampled, so the affine of "
        "the scan and of its masks is sheared, which not every viewer supports",
    )


def _slice_distance(heights: NDArray[np.float64]) -> tuple[float, tuple[str, ...]]:
    """Distance between neighbouring slices, and a note if it varies."""
    steps = np.diff(heights)
    median, mean = float(np.median(steps)), float(steps.mean())
    gaps = np.flatnonzero(steps > _GAP_RATIO * median)
    if len(gaps):
        return median, (_gap_note(heights, gaps, median),)
    if np.abs(steps - median).max() > _MAX_UNEVEN * median:
        return mean, (
            f"the slices are {steps.min():.3g} to {steps.max():.3g} mm apart; "
            f"a constant distance of {mean:.4g} mm was assumed",
        )
    return mean, ()


def _gap_note(heights: NDArray[np.float64], gaps: NDArray[np.int64], step_mm: float) -> str:
    ranges = [f"{heights[gap]:.1f} and {heights[gap + 1]:.1f} mm" for gap in gaps[:_LISTED]]
    more = f" and in {counted(len(gaps) - _LISTED, 'more gap')}" if len(gaps) > _LISTED else ""
    return (
        f"slices are missing between {', between '.join(ranges)} along the slice axis{more}; the "
        f"others were assumed to be {step_mm:.4g} mm apart, so masks fit slice by slice, but "
        "volumes exclude the missing slices and distances across them are too short"
    )
