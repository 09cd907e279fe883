"""Group the slices of DICOM files into stacks: slices of one series with the same geometry.

GDCM and highdicom compare orientation and spacing exactly, or to a fixed number of decimals.
Archives and anonymisers round these values, and some scanners state them slightly differently in
each slice, so here slices belong together up to 1 % of the spacing and 1° of the orientation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from thorax.common.text import counted
from thorax.io.dicom.geometry import distinct, heights_of, is_regular, mean_orientation
from thorax.io.dicom.headers import Slice

MAX_SPACING_CHANGE = 0.01
"""Relative difference of the pixel spacing within a stack."""

MAX_TURN_DEG = 1.0
"""Angle between the orientations of the slices of a stack."""


def positions_of(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Positions of slices in mm, shape ``(N, 3)``."""
    return np.array([slice_.position_mm for slice_ in slices])


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices of the same series, size, orientation and spacing, in any order.

    Args:
        slices: The slices.
        uids: Their SeriesInstanceUIDs; several if one volume was sent as several series.
    """

    slices: tuple[Slice, ...]
    uids: frozenset[str]

    @property
    def first(self) -> Slice:
        """The first slice, whose series and size are those of all."""
        return self.slices[0]

    @property
    def orientation(self) -> NDArray[np.float64]:
        """Mean directions of rows and columns, shape ``(2, 3)``."""
        return mean_orientation([slice_.orientation for slice_ in self.slices])

    @property
    def positions_mm(self) -> NDArray[np.float64]:
        """Positions of the slices, shape ``(N, 3)``."""
        return positions_of(self.slices)

    @property
    def heights_mm(self) -> NDArray[np.float64]:
        """Positions along the normal of the slices, shape ``(N,)``."""
        return heights_of(self.positions_mm, self.orientation)

    @property
    def is_ct(self) -> bool:
        """True for greyscale CT that is not a localizer, with or without positions."""
        key = self.first.series
        return key.modality == "CT" and not (key.colour or key.localizer)

    @property
    def fault(self) -> str:
        """Reason why the stack is not a CT volume; empty if it is one."""
        key = self.first.series
        if key.modality != "CT":
            return f"is of modality {key.modality or 'unknown'}"
        if key.colour:
            return "is in colour, as a screenshot is"
        if key.localizer:
            return "is a localizer"
        return key.geometry_fault


def group_slices(slices: Sequence[Slice]) -> list[Stack]:
    """Group slices into stacks; series that are parts of one volume are joined."""
    groups: list[list[Slice]] = []
    for slice_ in slices:
        for members in groups:
            if _same_series(members[0], slice_) and same_geometry(members[0], slice_):
                members.append(slice_)
                break
        else:
            groups.append([slice_])
    stacks = [Stack(tuple(group), frozenset([group[0].series.uid])) for group in groups]
    return _join_series(stacks)


def _same_series(first: Slice, other: Slice) -> bool:
    """Return True for the same SeriesInstanceUID, or the same number if there is no UID."""
    same_number = bool(first.series.uid) or first.series.number == other.series.number
    return same_number and first.series == other.series


def same_geometry(first: Slice, other: Slice) -> bool:
    """Return True if spacing and orientation are equal up to rounding."""
    change = np.abs(first.spacing_mm - other.spacing_mm)
    if (change > MAX_SPACING_CHANGE * np.maximum(first.spacing_mm, other.spacing_mm)).any():
        return False
    if np.array_equal(first.orientation, other.orientation):
        return True
    cosines = np.sum(first.orientation * other.orientation, axis=1)
    return bool(cosines.min() >= math.cos(math.radians(MAX_TURN_DEG)))


def join_note(stack: Stack) -> tuple[str, ...]:
    """Return a note if several series were joined."""
    if len(stack.uids) == 1:
        return ()
    return (
        f"the slices have {counted(len(stack.uids), 'SeriesInstanceUID')}, but form one regular "
        "stack; they were read as one series",
    )


def _join_series(stacks: list[Stack]) -> list[Stack]:
    """Join series that an anonymiser or an archive split: one UID per slice, or per few slices.

    Series of the same SeriesNumber and frame of reference are joined if all of their slices form
    one regular stack without repeated positions: phases of a 4D scan stay separate. Series of a
    single slice may repeat positions, because copies get a new UID, too.
    """
    whole: list[Stack] = []
    for number_matters in (True, False):
        families = _families(stacks, number_matters=number_matters)
        whole, stacks = [], []
        for family in families:
            joined = _joined(family)
            heights = joined.heights_mm if number_matters else distinct(joined.heights_mm)
            if len(family) > 1 and joined.fault == "" and is_regular(heights):
                whole.append(joined)
            else:
                stacks += family
        stacks = whole + stacks
    return stacks


def _families(stacks: list[Stack], *, number_matters: bool) -> list[list[Stack]]:
    """Lists of stacks that may be parts of one volume."""
    families: list[list[Stack]] = []
    for stack in stacks:
        for family in families:
            if _may_continue(family[0], stack, number_matters=number_matters):
                family.append(stack)
                break
        else:
            families.append([stack])
    return families


def _may_continue(first: Stack, other: Stack, *, number_matters: bool) -> bool:
    if number_matters:
        same = (
            first.first.series.number == other.first.series.number
            and first.first.frame_of_reference == other.first.frame_of_reference
        )
    else:
        same = len(first.slices) == len(other.slices) == 1
    return same and same_kind(first, other)


def same_kind(first: Stack, other: Stack) -> bool:
    """Return True for stacks that differ in UID, number and positions only."""
    one, two = first.first, other.first
    return (
        replace(one.series, uid="") == replace(two.series, uid="")
        and (one.kernel, one.original) == (two.kernel, two.original)
        and same_geometry(one, two)
    )


def _joined(family: list[Stack]) -> Stack:
    slices = tuple(slice_ for stack in family for slice_ in stack.slices)
    return Stack(slices, frozenset().union(*(stack.uids for stack in family)))
