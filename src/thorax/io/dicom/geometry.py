"""Geometry of a DICOM series: order of the slices, affine, and irregularities.

All positions are in LPS+ millimetres, as in DICOM (PS3.3, C.7.6.2). Slices are sorted by their
position along the normal of the slices, never by InstanceNumber or file name.

GDCM's `IPPSorter` and highdicom's `get_volume_from_series` refuse repeated positions and uneven
distances above a fixed tolerance. Here small differences are averaged and reported, because
positions are rounded in many archives; larger ones are counted as missing slices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import counted

SAME_POSITION_MM = 0.01
"""Distance below which two slices have the same position."""

SAME_POSITION_SHARE = 0.1
"""The same as a share of the slice distance: positions are rounded to a tenth of a millimetre."""

_MAX_STRAY_MM = 0.1
"""Sideways shift over the whole series above which the gantry is taken as tilted."""

_MAX_UNEVEN = 0.02

GAP_RATIO = 1.5
"""Slices are missing where the distance is more than 1.5 times the median."""

_MIN_TURN_DEG = 0.12
"""Difference of orientations that is reported; rounding to three decimals stays below it."""

_LISTED = 3


@dataclass(frozen=True, eq=False)
class SliceLayout:
    """The order of slices along their normal, and their affine.

    Args:
        order: Indices of the slices, in ascending position along the normal.
        affine: 4×4 matrix from ``(column, row, slice)`` to LPS+ millimetres.
        notes: Notes for the user.
        missing: Number of slices missing between the others.
        gaps: Text on the positions of the missing slices; empty if none is missing.
        distance_mm: Distance between neighbouring slices along the normal.
    """

    order: tuple[int, ...]
    affine: NDArray[np.float64]
    notes: tuple[str, ...]
    missing: int = 0
    gaps: str = ""
    distance_mm: float = 1.0


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
    heights = heights_of(positions_mm, orientation)
    order = np.argsort(heights, kind="stable")
    heights, positions = heights[order], positions_mm[order]
    missing, gaps = 0, ""
    distance_mm = thickness_mm or 1.0
    if len(order) == 1:
        step, notes = _single_slice(normal, thickness_mm)
    else:
        _check_distinct(heights)
        direction, tilt = _slice_direction(positions, heights, normal, spacing_mm)
        missing, gaps = _gaps(heights)
        distance_mm, uneven = _slice_distance(heights, has_gaps=missing > 0)
        step, notes = direction * distance_mm, tilt + uneven
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([*(orientation * spacing_mm[:, None]), step])
    affine[:3, 3] = positions[0]
    return SliceLayout(tuple(order.tolist()), affine, notes, missing, gaps, distance_mm)


def heights_of(
    positions_mm: NDArray[np.float64], orientation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Positions along the normal of the slices, in millimetres, shape ``(N,)``."""
    heights: NDArray[np.float64] = positions_mm @ np.cross(*orientation)
    return heights


def mean_orientation(orientations: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean directions of rows and columns, at a right angle; that of the slices if all agree.

    Args:
        orientations: Each of shape ``(2, 3)``, at most a few degrees apart.
    """
    first = orientations[0]
    if all(np.array_equal(first, other) for other in orientations):
        return first
    mean = np.mean(orientations, axis=0)
    # The closest matrix with orthonormal rows (Schönemann 1966).
    u, _, vh = np.linalg.svd(mean, full_matrices=False)
    return np.asarray(u @ vh, dtype=np.float64)


def orientation_note(orientations: Sequence[NDArray[np.float64]]) -> tuple[str, ...]:
    """Return a note if the orientations of the slices differ by more than rounding."""
    mean = mean_orientation(orientations)
    # For small angles the length of the difference is the angle.
    turns = np.linalg.norm(np.array(orientations) - mean, axis=2)
    largest = float(np.degrees(turns.max()))
    if largest < _MIN_TURN_DEG:
        return ()
    return (
        f"the slices are turned by up to {largest:.2g}° against each other; their mean orientation "
        "was used",
    )


def same_position_mm(heights: NDArray[np.float64]) -> float:
    """Distance below which two slices of a series have the same position."""
    steps = np.diff(np.sort(heights))
    steps = steps[steps > SAME_POSITION_MM]
    typical = float(np.median(steps)) if len(steps) else 0.0
    return max(SAME_POSITION_MM, SAME_POSITION_SHARE * typical)


def position_ids(heights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the distinct position of each slice, ascending along the normal.

    Example:
        >>> position_ids(np.array([5.0, 0.0, 5.001, 10.0])).tolist()
        [1, 0, 1, 2]
    """
    order = np.argsort(heights, kind="stable")
    is_new = np.diff(heights[order], prepend=heights[order[0]]) >= same_position_mm(heights)
    ids = np.empty(len(heights), dtype=np.int64)
    ids[order] = np.cumsum(is_new)
    return ids


def distinct(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights without repetitions."""
    _, first = np.unique(position_ids(heights), return_index=True)
    return heights[first]


def is_regular(heights: NDArray[np.float64]) -> bool:
    """Return True for heights that are all different and evenly spaced, without gaps."""
    steps = np.diff(np.sort(heights))
    if not len(steps):
        return True
    median = float(np.median(steps))
    return bool(
        median > SAME_POSITION_MM
        and steps.max() <= GAP_RATIO * median
        and steps.min() >= median / GAP_RATIO
    )


def _single_slice(
    normal: NDArray[np.float64], thickness_mm: float | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    source = "as its header states" if thickness_mm else "because its header states none"
    thickness_mm = thickness_mm or 1.0
    return normal * thickness_mm, (
        f"the series has a single slice; its thickness was set to {thickness_mm:g} mm, {source}",
    )


def _check_distinct(heights: NDArray[np.float64]) -> None:
    same = np.flatnonzero(np.diff(heights) < same_position_mm(heights))
    if not len(same):
        return
    if len(same) == len(heights) - 1:
        raise InputError(
            f"the slices of a series must have different positions, but all {len(heights)} state "
            "the same ImagePositionPatient; export the series again from its archive"
        )
    raise InputError(
        f"the slices of a series must have different positions, but {len(same)} have that of "
        f"another slice with other pixels, the first at {heights[same[0]]:.1f} mm along the slice "
        "axis; keep the files of one volume in a separate folder"
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


def _slice_distance(
    heights: NDArray[np.float64], *, has_gaps: bool
) -> tuple[float, tuple[str, ...]]:
    """Distance between neighbouring slices, and a note if it varies."""
    steps = np.diff(heights)
    median, mean = float(np.median(steps)), float(steps.mean())
    if has_gaps:
        return median, ()
    if np.abs(steps - median).max() > _MAX_UNEVEN * median:
        return mean, (
            f"the slices are {steps.min():.3g} to {steps.max():.3g} mm apart; "
            f"a constant distance of {mean:.4g} mm was assumed",
        )
    return mean, ()


def _gaps(heights: NDArray[np.float64]) -> tuple[int, str]:
    """Number of slices missing between the others, and their positions."""
    steps = np.diff(heights)
    median = float(np.median(steps))
    gaps = np.flatnonzero(steps > GAP_RATIO * median)
    if not len(gaps):
        return 0, ""
    missing = int(np.sum(np.maximum(np.rint(steps[gaps] / median) - 1, 1)))
    ranges = [f"{heights[gap]:.1f} and {heights[gap + 1]:.1f} mm" for gap in gaps[:_LISTED]]
    more = f" and in {counted(len(gaps) - _LISTED, 'more gap')}" if len(gaps) > _LISTED else ""
    return missing, (
        f"slices are missing between {', between '.join(ranges)} along the slice axis{more}"
    )
