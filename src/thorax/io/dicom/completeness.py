"""Check that a volume has all slices of its series, or report how many are missing and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import counted, listed, percent
from thorax.io.dicom.geometry import (
    GAP_RATIO,
    SAME_POSITION_SHARE,
    SliceLayout,
    distinct,
    heights_of,
)
from thorax.io.dicom.headers import Slice
from thorax.io.dicom.selection import short_name
from thorax.io.dicom.stacks import Stack, positions_of, same_kind
from thorax.io.dicom.volumes import SEPARATE_SHARE, Volume

MAX_MISSING_SHARE = 0.1
"""Share of missing slices above which a scan is refused."""

OTHER_GEOMETRY, OTHER_VOLUME = 0.4, 1.0
"""Share of the slice distance up to which the volume covers the position of another slice.

Slices of another geometry may be every other slice of the volume, so it is below a half. Another
volume has its own positions, and only those beyond the ends or in gaps are not covered.
"""

THINNER = 0.75
"""Share of the slice distance below which another series has thinner slices."""

_PARALLEL = 0.98
"""Cosine of the angle between parallel slices: 11°; reformats are turned by more."""


@dataclass(frozen=True)
class _Missing:
    """Slices of a series that are not in the volume.

    Args:
        count: Number of slices.
        reasons: Reasons for the user.
    """

    count: int
    reasons: tuple[str, ...]


class VolumeExtent:
    """Positions that a volume covers along its normal.

    Args:
        volume: Its slices, in any order.
        orientation: Directions of rows and columns.
        layout: Their order and affine.
    """

    def __init__(
        self, volume: Sequence[Slice], orientation: NDArray[np.float64], layout: SliceLayout
    ) -> None:
        self._orientation = orientation
        self._heights = np.sort(heights_of(positions_of(volume), orientation))
        step = layout.affine[:3, 2]
        self._step_mm = float(step @ np.cross(*orientation))
        self._origin, self._direction = layout.affine[:3, 3], step / self._step_mm
        self._pixel_mm = float(np.linalg.norm(layout.affine[:3, :2], axis=0).max())

    def uncovered(self, slices: Sequence[Slice], share: float) -> NDArray[np.float64]:
        """Heights of slices that are further from the volume than a share of its distance."""
        heights = distinct(heights_of(positions_of(slices), self._orientation))
        nearest = np.abs(heights[:, None] - self._heights).min(axis=1)
        uncovered: NDArray[np.float64] = heights[nearest > share * self._step_mm]
        return uncovered

    def covers(self, slice_: Slice) -> bool:
        """Return True if the volume has the position of a slice."""
        return not len(self.uncovered([slice_], OTHER_GEOMETRY))

    def inside(self, heights: NDArray[np.float64]) -> int:
        """Number of heights between the ends of the volume."""
        return int(np.sum((heights > self._heights[0]) & (heights < self._heights[-1])))

    def is_parallel(self, stack: Stack) -> bool:
        """Return True if the slices of a stack are parallel to those of the volume."""
        normals = np.cross(*self._orientation), np.cross(*stack.orientation)
        return bool(np.dot(*normals) >= _PARALLEL)

    def continues(self, slices: Sequence[Slice]) -> int:
        """Number of slices between those of the volume, or in line next to its ends.

        A single slice has no slice distance, so that any slices in line continue it. A
        reconstruction with thinner slices at the same positions is not a part of the volume.
        """
        if self._is_thinner(slices):
            return 0
        heights = self.uncovered(slices, SAME_POSITION_SHARE)
        if len(self._heights) == 1:
            return len(heights) if self._in_line(slices) else 0
        ends = self._heights[0] - heights, heights - self._heights[-1]
        gap_mm = np.maximum(*ends).min(initial=np.inf)
        if gap_mm > GAP_RATIO * self._step_mm or not self._in_line(slices):
            return 0
        return len(heights)

    def _is_thinner(self, slices: Sequence[Slice]) -> bool:
        heights = np.sort(distinct(heights_of(positions_of(slices), self._orientation)))
        if len(heights) == 1:
            return False
        step_mm = float(np.median(np.diff(heights)))
        nearest = np.abs(self._heights[:, None] - heights).min(axis=1)
        common = np.mean(nearest <= SAME_POSITION_SHARE * step_mm)
        return bool(step_mm < THINNER * self._step_mm and common >= SEPARATE_SHARE)

    def _in_line(self, slices: Sequence[Slice]) -> bool:
        moved = positions_of(slices) - self._origin
        along = moved @ np.cross(*self._orientation)
        stray = np.linalg.norm(moved - along[:, None] * self._direction, axis=1)
        return bool(stray.max() <= self._pixel_mm)


def completeness_warnings(
    path: Path,
    selected: Stack,
    volume: Volume,
    layout: SliceLayout,
    stacks: Iterable[Stack],
    *,
    extent: VolumeExtent,
    damaged: int,
    allow_incomplete: bool,
) -> tuple[str, ...]:
    """Return warnings on slices that are missing, or that another series may contain.

    A slice that was left out is missing if the volume has no slice at its position: another size,
    spacing or orientation, no stated position, or a damaged header. Slices of another volume at
    the same positions are not missing.

    Args:
        path: The path that the user gave.
        selected: The stack that is read.
        volume: The volume of it that is read.
        layout: Order of its slices.
        stacks: All stacks.
        extent: Positions of the volume.
        damaged: Number of files with a damaged header.
        allow_incomplete: Accept any number of missing slices.

    Raises:
        InputError: More than a tenth of the slices are missing.
    """
    others = [stack for stack in stacks if stack is not selected]
    missing = _missing(
        extent,
        [stack for stack in others if stack.is_ct and stack.uids & selected.uids],
        volume.others,
        layout,
        damaged,
    )
    total = len(volume.slices) + missing.count
    if missing.count > MAX_MISSING_SHARE * total and not allow_incomplete:
        raise InputError(
            f"a scan must have at least {percent(1 - MAX_MISSING_SHARE)} of its slices, but {path} "
            f"lacks {missing.count} of {total}: {'; '.join(missing.reasons)}; copy the series "
            "again from its source, or give --allow-incomplete"
        )
    warnings = [f"{missing.count} of {total} slices are missing: {'; '.join(missing.reasons)}"]
    if layout.missing:
        warnings.append(
            f"the slices were assumed to be {layout.distance_mm:.4g} mm apart, so masks fit slice "
            "by slice, but volumes exclude the missing slices and distances across them are too "
            "short"
        )
    return (*(warnings if missing.count else ()), *_continuations(extent, selected, others))


def _missing(
    extent: VolumeExtent,
    stacks: Iterable[Stack],
    others: Sequence[Slice],
    layout: SliceLayout,
    damaged: int,
) -> _Missing:
    reasons = [layout.gaps] if layout.gaps else []
    inside = outside = 0
    for stack in stacks:
        if fault := stack.first.series.geometry_fault:
            inside += len(stack.slices)
            reasons.append(f"{counted(len(stack.slices), 'slice')} left out: each {fault}")
        elif extent.is_parallel(stack):
            heights = extent.uncovered(stack.slices, OTHER_GEOMETRY)
            inside += extent.inside(heights)
            outside += len(heights) - extent.inside(heights)
            if len(heights):
                reasons.append(
                    f"{counted(len(heights), 'slice')} left out that differ in size, spacing or "
                    "orientation"
                )
    if others and len(heights := extent.uncovered(others, OTHER_VOLUME)):
        inside += extent.inside(heights)
        outside += len(heights) - extent.inside(heights)
        reasons.append(f"{counted(len(heights), 'slice')} left out of another volume of the series")
    if damaged:
        inside += damaged
        reasons.append(f"{counted(damaged, 'file')} left out with a damaged header")
    # A slice that was left out inside may be one of those missing in the gaps.
    return _Missing(outside + max(inside, layout.missing), tuple(reasons))


def _continuations(
    extent: VolumeExtent, selected: Stack, others: Iterable[Stack]
) -> tuple[str, ...]:
    parts = []
    for stack in others:
        is_same = not stack.fault and not stack.uids & selected.uids and same_kind(selected, stack)
        if is_same and (count := extent.continues(stack.slices)):
            parts.append(f"{short_name(stack)} with {counted(count, 'slice')}")
    if not parts:
        return ()
    return (
        "another series continues the slices that were read, and may be a part of the same scan: "
        f"{listed(parts, at_most=3)}",
    )
