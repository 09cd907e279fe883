"""Where the slices of a DICOM series lie: their order, their affine, and what is wrong with it.

Everything here is LPS+ millimetres, as in DICOM (PS3.3, C.7.6.2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError

_SAME_PLACE_MM = 0.01

_STRAIGHT_MM = 0.1
"""How far slices may stray sideways in all before that is taken for a tilted gantry."""

_UNEVEN = 0.02

_GAP = 1.5
"""Steps of more than 1.5 times the usual one are places where slices are missing."""

_LISTED = 3


@dataclass(frozen=True, eq=False)
class Layout:
    """The order of slices along their normal, and their affine.

    Args:
        order: Numbers of the slices, from the lowest along the normal to the highest.
        affine: 4×4 matrix from ``(column, row, slice)`` to LPS+ millimetres.
        notes: What the user should know.
    """

    order: tuple[int, ...]
    affine: NDArray[np.float64]
    notes: tuple[str, ...]


def lay_out(
    positions_mm: NDArray[np.float64],
    orientation: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
    *,
    thickness_mm: float | None = None,
) -> Layout:
    """Order slices and work out the affine of their stack.

    A tilted gantry gives a sheared affine, which is exact: no voxel is moved or interpolated.

    Args:
        positions_mm: Centre of the first pixel of each slice, shape ``(N, 3)``.
        orientation: Directions of rows and of columns, shape ``(2, 3)``.
        spacing_mm: Distance between pixel centres along a row, and along a column.
        thickness_mm: What stands for the distance of slices where there is one alone.

    Raises:
        InputError: Two slices lie at one position, or the slices do not lie on a line.

    Example:
        >>> heights = np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 10.0]])
        >>> layout = lay_out(heights, np.eye(3)[:2], np.array([0.7, 0.7]))
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
        step, notes = _single(normal, thickness_mm)
    else:
        _check_apart(heights)
        direction, tilt = _direction(positions, heights, normal, spacing_mm)
        distance_mm, uneven = _distance(heights)
        step, notes = direction * distance_mm, tilt + uneven
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([*(orientation * spacing_mm[:, None]), step])
    affine[:3, 3] = positions[0]
    return Layout(tuple(order.tolist()), affine, notes)


def _single(
    normal: NDArray[np.float64], thickness_mm: float | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    said = "which it says" if thickness_mm else "as it does not say"
    thickness_mm = thickness_mm or 1.0
    return normal * thickness_mm, (
        f"there is a single slice; it was taken as {thickness_mm:g} mm thick, {said}",
    )


def _check_apart(heights: NDArray[np.float64]) -> None:
    same = np.flatnonzero(np.diff(heights) < _SAME_PLACE_MM)
    if len(same):
        raise InputError(
            f"the slices of a series must lie at different positions, but {len(same)} lie where "
            f"another does, the first at {heights[same[0]]:.1f} mm along the slice axis; "
            "keep the files of one volume in a folder of its own"
        )


def _direction(
    positions: NDArray[np.float64],
    heights: NDArray[np.float64],
    normal: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """How far the position moves for each millimetre along the normal, by least squares."""
    centred, moved = heights - heights.mean(), positions - positions.mean(axis=0)
    direction = centred @ moved / (centred @ centred)
    stray_mm = np.linalg.norm(moved - centred[:, None] * direction, axis=1).max()
    if stray_mm > spacing_mm.min() / 2 + _STRAIGHT_MM:
        raise InputError(
            f"the slices of a series must lie on one line, but some lie {stray_mm:.1f} mm beside "
            "it; keep the files of one volume in a folder of its own"
        )
    sideways = np.linalg.norm(direction - normal)
    if sideways * np.ptp(heights) < _STRAIGHT_MM:
        return normal, ()
    angle = np.degrees(np.arctan(sideways))
    return direction, (
        f"the gantry was tilted by {angle:.1f}°: the slices are kept as they are, and the affine "
        "of the scan and of its masks is sheared, which not every viewer shows",
    )


def _distance(heights: NDArray[np.float64]) -> tuple[float, tuple[str, ...]]:
    """The distance of neighbouring slices, and a note where they differ."""
    steps = np.diff(heights)
    usual, mean = float(np.median(steps)), float(steps.mean())
    gaps = np.flatnonzero(steps > _GAP * usual)
    if len(gaps):
        return usual, (_missing(heights, gaps, usual),)
    if np.abs(steps - usual).max() > _UNEVEN * usual:
        return mean, (
            f"the slices are {steps.min():.3g} to {steps.max():.3g} mm apart; "
            f"they were taken as {mean:.4g} mm apart throughout",
        )
    return mean, ()


def _missing(heights: NDArray[np.float64], gaps: NDArray[np.int64], usual: float) -> str:
    places = [f"{heights[gap]:.1f} and {heights[gap + 1]:.1f} mm" for gap in gaps[:_LISTED]]
    more = f" and at {len(gaps) - _LISTED} more places" if len(gaps) > _LISTED else ""
    return (
        f"slices are missing between {', between '.join(places)} along the slice axis{more}; those "
        f"that are there were taken as {usual:.4g} mm apart, so masks fit slice by slice, but "
        "volumes leave the missing ones out and distances across them are too short"
    )
