"""How a mask lies over its scan, from few voxels of every plane.

The border of a lung mask that belongs to its scan runs where dark lung meets bright tissue. Put on
the scan of another patient, or mirrored, it runs through anything, and the step across it is gone.
That needs no knowledge of what the values mean, only that lungs are darker than what is around.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import LOWEST_HU
from thorax.imaging.regions import MOST_LABELS

MIRRORS = tuple(
    "".join(name for name, turned in zip("zyx", turns, strict=True) if turned)[::-1]
    for turns in itertools.product((False, True), repeat=3)
)
"""Axes along which a mask is mirrored, in the order of `border_contrast`: none, x, y, xy, z, xz, yz, xyz."""

_AXES = {"z": 0, "x": 1, "y": 2}

_TRIMMED = 0.005
"""Share of the lungs at either end that does not count towards their width: stray voxels."""

Coarse = NDArray[Any]

Mask = NDArray[np.bool_]


def border_contrast(scan: Coarse, lungs: Mask) -> tuple[float, ...]:
    """How much brighter a scan is just outside the lungs than just inside, for each of `MIRRORS`.

    Args:
        scan: Stored values, shape ``(N, X, Y)``.
        lungs: The mask of the lungs, of the same shape.

    Returns:
        8 differences, or none if no lung has a border.

    Example:
        >>> scan = np.array([[[40], [-800], [40], [40]]])
        >>> border_contrast(scan, scan == -800)[:3]
        (840.0, -420.0, 840.0)
    """
    inside, outside = _border(lungs)
    if not len(inside[0]):
        return ()
    found = []
    for axes in MIRRORS:
        mirrored = np.flip(scan, tuple(_AXES[axis] for axis in axes))
        # Padding is no air: what lies lower than air would make any border a step.
        values = (
            np.maximum(mirrored[where].astype(np.float64), LOWEST_HU).mean()
            for where in (outside, inside)
        )
        found.append(round(float(next(values) - next(values)), 2))
    return tuple(found)


def means(scan: Coarse, labels: NDArray[np.uint8]) -> dict[int, float]:
    """Mean stored value under each label but 0.

    Example:
        >>> means(np.array([[[40, -800, -900]]]), np.array([[[0, 1, 1]]], np.uint8))
        {1: -850.0}
    """
    flat = labels.ravel()
    totals = np.bincount(flat, minlength=MOST_LABELS)
    sums = np.bincount(flat, weights=scan.ravel().astype(np.float64), minlength=MOST_LABELS)
    return {
        int(label): round(float(sums[label] / totals[label]), 2)
        for label in np.flatnonzero(totals[1:]) + 1
    }


def handedness(lungs: Mask) -> float | None:
    """How much speaks for the patient's right being where the affine says: positive in a patient.

    The right lung is the larger one, having three lobes, and the heart between the lungs reaches
    to the left. Half the width of both lungs is their middle. In 14 CTs and 5 synthetic ones the
    sum of both lay between 0.00 and 0.15; in a mirrored scan it is as negative.

    Args:
        lungs: Canonical planes, shape ``(N, X, Y)``.

    Returns:
        Share of the lungs on the right less 0.5, plus how far the middle of what lies between the
        lungs is to the left, over their width. None if there are no lungs on both sides.
    """
    across = lungs.sum(axis=(0, 2))
    total = across.sum()
    if not total:
        return None
    cumulated = np.cumsum(across) / total
    first, last = np.searchsorted(cumulated, [_TRIMMED, 1 - _TRIMMED])
    middle, width = (first + last) / 2, last - first
    places = np.arange(len(across))
    on_right = across[places > middle].sum() + across[places == middle].sum() / 2
    between = _between(lungs).sum(axis=(0, 2))
    if width < 4 or not between.sum() or not 0.1 < on_right / total < 0.9:
        return None
    heart = (middle - (between * places).sum() / between.sum()) / width
    return round(float(on_right / total - 0.5 + heart), 4)


def _between(lungs: Mask) -> Mask:
    """What has lung on both of its sides in its row."""
    from_left = np.maximum.accumulate(lungs, axis=1)
    from_right = np.maximum.accumulate(lungs[:, ::-1], axis=1)[:, ::-1]
    return from_left & from_right & ~lungs


def _border(lungs: Mask) -> tuple[tuple[NDArray[np.intp], ...], tuple[NDArray[np.intp], ...]]:
    """Indices of neighbours, one in the lungs and one not, along each axis."""
    inside, outside = [], []
    for axis in range(3):
        along = np.moveaxis(lungs, axis, 0)
        step = np.eye(3, dtype=np.intp)[axis][:, None]
        for low, high in ((True, False), (False, True)):
            here = np.moveaxis((along[:-1] == low) & (along[1:] == high), 0, axis)
            place = np.stack(np.nonzero(here))
            inside.append(place if low else place + step)
            outside.append(place + step if low else place)
    return tuple(np.concatenate(inside, axis=1)), tuple(np.concatenate(outside, axis=1))
