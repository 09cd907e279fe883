"""Agreement of a mask with its scan, measured on a few voxels of every plane.

The border of a correct lung mask separates dark lung from bright tissue. On the scan of another
patient, or mirrored, the border crosses arbitrary tissue and this contrast disappears. The measure
needs no intensity scale, only that lungs are darker than their surroundings.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import LOWEST_HU
from thorax.imaging.regions import MOST_LABELS

MIRRORS = tuple(
    "".join(name for name, flipped in zip("zyx", flips, strict=True) if flipped)[::-1]
    for flips in itertools.product((False, True), repeat=3)
)
"""Axes along which a mask is mirrored: none, x, y, xy, z, xz, yz, xyz."""

_AXES = {"z": 0, "x": 1, "y": 2}

_TRIMMED = 0.005
"""Share of lung voxels at either end that does not count for the width: stray voxels."""

Coarse = NDArray[Any]

Mask = NDArray[np.bool_]


def border_contrast(scan: Coarse, lungs: Mask) -> tuple[float, ...]:
    """Measure how much brighter a scan is just outside the lungs than just inside.

    Args:
        scan: Stored values, shape ``(N, X, Y)``.
        lungs: Mask of the lungs, of the same shape.

    Returns:
        8 differences, one for each of `MIRRORS`; empty if the mask has no border.

    Example:
        >>> scan = np.array([[[40], [-800], [40], [40]]])
        >>> border_contrast(scan, scan == -800)[:3]
        (840.0, -420.0, 840.0)
    """
    inside, outside = _border(lungs)
    if not len(inside[0]):
        return ()
    contrasts = []
    for axes in MIRRORS:
        mirrored = np.flip(scan, tuple(_AXES[axis] for axis in axes))
        # Padding is not air: values below air would make any border look bright.
        out, into = (
            np.maximum(mirrored[voxels].astype(np.float64), LOWEST_HU).mean()
            for voxels in (outside, inside)
        )
        contrasts.append(round(float(out - into), 2))
    return tuple(contrasts)


def means(scan: Coarse, labels: NDArray[np.uint8]) -> dict[int, float]:
    """Average the stored values under each label but 0.

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
    """Measure whether left and right agree with anatomy: positive if they do.

    The right lung has three lobes and is larger, and the heart between the lungs extends to the
    left. The midline is half the width of both lungs. In 14 CTs and 5 synthetic ones the value was
    0.00 to 0.15; in a mirrored scan it has the opposite sign.

    Args:
        lungs: Mask of the lungs in canonical planes, shape ``(N, X, Y)``.

    Returns:
        Share of the lungs on the right minus 0.5, plus the distance of the centre of the tissue
        between the lungs to the left of the midline, as a share of the width. None unless there
        are lungs on both sides.
    """
    across = lungs.sum(axis=(0, 2))
    total = across.sum()
    if not total:
        return None
    cumulated = np.cumsum(across) / total
    first, last = np.searchsorted(cumulated, [_TRIMMED, 1 - _TRIMMED])
    middle, width = (first + last) / 2, last - first
    columns = np.arange(len(across))
    on_right = across[columns > middle].sum() + across[columns == middle].sum() / 2
    between = _between(lungs).sum(axis=(0, 2))
    if width < 4 or not between.sum() or not 0.1 < on_right / total < 0.9:
        return None
    heart = (middle - (between * columns).sum() / between.sum()) / width
    return round(float(on_right / total - 0.5 + heart), 4)


def _between(lungs: Mask) -> Mask:
    """Select voxels outside the lungs with lung on both sides along x."""
    from_left = np.maximum.accumulate(lungs, axis=1)
    from_right = np.maximum.accumulate(lungs[:, ::-1], axis=1)[:, ::-1]
    return from_left & from_right & ~lungs


def _border(lungs: Mask) -> tuple[tuple[NDArray[np.intp], ...], tuple[NDArray[np.intp], ...]]:
    """Index pairs of neighbours along each axis: voxels in the lungs, and those just outside."""
    inside, outside = [], []
    for axis in range(3):
        along = np.moveaxis(lungs, axis, 0)
        step = np.eye(3, dtype=np.intp)[axis][:, None]
        for low, high in ((True, False), (False, True)):
            border = np.moveaxis((along[:-1] == low) & (along[1:] == high), 0, axis)
            voxels = np.stack(np.nonzero(border))
            inside.append(voxels if low else voxels + step)
            outside.append(voxels + step if low else voxels)
    return tuple(np.concatenate(inside, axis=1)), tuple(np.concatenate(outside, axis=1))
