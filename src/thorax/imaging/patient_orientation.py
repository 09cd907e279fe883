"""Orientation of the patient as anatomy shows it, compared with the header of the scan.

A header may be wrong: an array that was turned by a quarter, mirrored or turned upside down keeps
the affine of the original. Four features of a chest show its true axes: the lungs are side by side,
the body continues beyond the scan at head and feet, the spine is behind the lungs, and the lungs
are convex towards the head. Left and right are nearly symmetric: they are judged by the liver, and
only if the heart does not contradict it.

Each feature needs a wide margin. Without it, the axis or direction is unknown, and an unknown
direction is no reason for a warning. The couch is not used, because patients may lie prone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.chest_features import (
    FRONT,
    HEAD,
    SIDE,
    Chest,
    area_on_faces,
    body_gap,
    heart_offset,
    liver_hu,
    lung_bend,
    lung_gap,
    lung_on_faces,
    lung_symmetry,
    segment_chest,
    spine_offsets,
    spine_share,
)
from thorax.imaging.grid import FACES

GAP, NO_GAP = 0.45, 0.3
"""Gap between the lungs: at least the first along the left-right axis, at most the second along the
others. In the 9 CTs in HU and 100 synthetic ones examined it was 0.55 or more, and below 0.25. All
air around the lungs has a gap above the second, too; with truncated lungs it may have none."""

SYMMETRY = 0.4
"""Smallest Dice of the lungs and their mirror image about the gap; it was 0.46 to 0.8."""

THROUGH, NOT_THROUGH = 0.15, 0.05
"""Body on the faces of the scan: at least the first at head and feet, at most the second at back
and front. In the same scans it was above 0.4, and 0."""

SPINE_SHARE = 0.6
"""Smallest share of the slices that show the spine; it was above 0.7."""

SPINE_OFFSET = 0.15
"""Smallest distance of the spine from the middle of the lungs; it was 0.23 to 0.6."""

BEND = 0.08
"""Smallest bend of the lungs; it was 0.10 to 0.35."""

MOST_CUT, MOST_CROPPED = 0.35, 0.05
"""Lung area on an end slice, and on another face, above which the bend is unknown: the lungs are
truncated."""

LIVER_HU = 20.0
"""Smallest density difference between liver and left side; it was 25 to 70 HU, and -40 HU in a
scan that ends above the liver, where the heart contradicts it. Twice this value is enough without
the heart."""

HEART = 0.015
"""Smallest distance of the heart from the middle; it was up to 0.1, and 0 in some."""

Axes = tuple[int | None, int | None, int | None]


@dataclass(frozen=True)
class PatientOrientation:
    """Axes of the patient in a volume with axes along R, A and S by its header.

    Args:
        axes: Volume axis of the patient's left-right, back-front and feet-head axis; None if
            unknown. If the header is right, they are 0, 1 and 2.
        signs: For each axis of the patient 1 if it points to the high end of its volume axis (to
            the right, to the front, to the head), -1 if it is reversed, 0 if unknown.
    """

    axes: Axes = (None, None, None)
    signs: tuple[int, int, int] = (0, 0, 0)

    @property
    def problem(self) -> str:
        """The difference from the header; empty if there is none.

        Example:
            >>> PatientOrientation((0, 1, 2), (0, -1, 1)).problem
            'front and back seem to be swapped (the spine is in front)'
        """
        turned = any(axis not in (None, own) for own, axis in enumerate(self.axes))
        return _turn(self) if turned else _swaps(self)

    @property
    def warning(self) -> str:
        """The problem and the advice in one sentence; empty if there is no problem."""
        problem = self.problem
        return f"{problem}; check the orientation in the header of the scan" if problem else ""


def find_orientation(coarse_hu: NDArray[Any]) -> PatientOrientation:
    """Find the axes of the patient from anatomy.

    Args:
        coarse_hu: HU of the canonical planes, as `thorax.imaging.body.coarse_planes` reads them,
            shape ``(N, X', Y')``.
    """
    chest = segment_chest(np.moveaxis(coarse_hu, 0, 2))
    if chest is None:
        return PatientOrientation()
    axes = _axes(chest)
    side, front, head = axes
    if side is None or front is None or head is None:
        return PatientOrientation(axes)
    upright = chest.transposed((side, front, head))
    forward, upward = _forward(upright), _upward(upright)
    if not forward or not upward:
        return PatientOrientation(axes, (0, forward, upward))
    wrong = [axis for axis, sign in ((FRONT, forward), (HEAD, upward)) if sign < 0]
    return PatientOrientation(axes, (_rightward(upright.flipped(wrong)), forward, upward))


def _axes(chest: Chest) -> Axes:
    """Find the volume axis of each axis of the patient.

    If the lungs are side by side as in the header, and nothing contradicts it, the other axes are
    those of the header too.
    """
    gaps = [lung_gap(chest, axis) for axis in range(3)]
    side = int(np.argmax(gaps))
    clear = gaps[side] >= GAP and sorted(gaps)[1] <= NO_GAP
    if not clear or body_gap(chest, side) <= NO_GAP or lung_symmetry(chest, side) < SYMMETRY:
        return None, None, None
    low, high = (axis for axis in range(3) if axis != side)
    for head, front in ((low, high), (high, low)):
        through, across = area_on_faces(chest, head), area_on_faces(chest, front)
        if through >= THROUGH and across <= NOT_THROUGH:
            return side, front, head
    return (SIDE, FRONT, HEAD) if side == SIDE else (side, None, None)


def _forward(chest: Chest) -> int:
    """Return 1 if the spine is at the low end of the second axis, -1 if at the high end."""
    if spine_share(chest) < SPINE_SHARE:
        return 0
    bone, brightest = spine_offsets(chest)
    return _common_sign(-bone / SPINE_OFFSET, -brightest / SPINE_OFFSET)


def _upward(chest: Chest) -> int:
    """Return 1 if the lungs are convex towards the high end of the third axis, -1 if the low."""
    limits = {SIDE: MOST_CROPPED, FRONT: MOST_CROPPED, HEAD: MOST_CUT}
    if any(lung_on_faces(chest, axis) > most for axis, most in limits.items()):
        return 0
    return _common_sign(lung_bend(chest) / BEND)


def _rightward(chest: Chest) -> int:
    """Return 1 if the liver is at the high end of the first axis and the heart is not.

    The less clear the liver is, the clearer must be the heart.
    """
    liver = float(np.clip(liver_hu(chest) / LIVER_HU, -2, 2))
    heart = float(np.clip(heart_offset(chest) / HEART, -2, 2))
    opposed = liver * heart < 0
    return 0 if opposed or abs(liver) < 1 else _common_sign((liver + heart) / 2)


def _common_sign(*evidence: float) -> int:
    """Return 1 if all evidence is at least 1, -1 if all is at most -1, else 0."""
    if min(evidence) >= 1:
        return 1
    return -1 if max(evidence) <= -1 else 0


_SWAPS = {
    SIDE: ("left and right", "the liver is on the left, the heart is not"),
    FRONT: ("front and back", "the spine is in front"),
    HEAD: ("head and feet", "the diaphragm is above the lungs"),
}

_LUNGS = {FRONT: "one lung is in front of the other", HEAD: "one lung is above the other"}

_PLANES = {SIDE: "sagittal", FRONT: "coronal", HEAD: "axial"}

_PLACES = {
    "left": "on the left",
    "right": "on the right",
    "back": "at the back",
    "front": "in front",
    "feet": "at the feet",
    "head": "at the head",
}


def _turn(orientation: PatientOrientation) -> str:
    """Describe axes in another order than in the header."""
    unchanged = [axis for axis in range(3) if orientation.axes[axis] == axis]
    plane = f" in the {_PLANES[unchanged[0]]} plane" if unchanged else ""
    reasons = ", ".join(_turn_reasons(orientation))
    return f"the patient seems to be turned by a quarter{plane} ({reasons})"


def _turn_reasons(orientation: PatientOrientation) -> Iterator[str]:
    side, front, head = orientation.axes
    if side in _LUNGS:
        yield _LUNGS[side]
    if head not in (None, HEAD):
        low, high = FACES[head]
        yield f"the body extends from {low} to {high}"
    forward = orientation.signs[FRONT]
    if front not in (None, FRONT) and forward:
        yield f"the spine is {_PLACES[FACES[front][0 if forward > 0 else 1]]}"


def _swaps(orientation: PatientOrientation) -> str:
    """Describe reversed axes; empty if there are none."""
    swapped = [axis for axis in range(3) if orientation.signs[axis] < 0]
    if not swapped:
        return ""
    names = ", and ".join(_SWAPS[axis][0] for axis in swapped)
    reasons = ", ".join(_SWAPS[axis][1] for axis in swapped)
    half_turn = len(swapped) == 2 and 0 not in orientation.signs
    turn = ", as after a turn by 180°," if half_turn else ""
    return f"{names}{turn} seem to be swapped ({reasons})"
