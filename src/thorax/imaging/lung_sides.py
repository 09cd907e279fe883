"""Right and left lung, for models that segment only `lung`.

In every plane, dynamic programming finds a seam: a dividing line from the back to the front, close
to the middle of the chest, that cuts through as little lung as possible. Where the lungs touch, it
crosses at the narrowest place; planes above and below keep it stable where noise connects the
lungs. A lung that reaches over the middle may be cut by the seam. This is repaired in 3D: a
component with a large cut surface is returned to the lung that it was cut from.

A scan that shows only one lung has no middle. Its side is read from the shape of the lung.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import mask_box
from thorax.imaging.morphology import dilate, part_sizes
from thorax.imaging.placement import place_whole

LUNG = "lung"
"""The region that is divided into sides."""

RIGHT, LEFT = 1, 2
"""Labels; two bits, so that both sides can be dilated together."""

SIDE_NAMES = {RIGHT: "right", LEFT: "left"}
"""The labels of lungmask."""

Mask = NDArray[np.bool_]

Sides = NDArray[np.uint8]

Floats = NDArray[np.float32]

SLOPE = 3
"""Largest sideways step of the seam from one row to the next, in pixels."""

BEYOND = 12.0
"""Cost of a lung pixel beyond the middle, per pixel of distance from the middle, divided by the
square of the lungs' depth; a cut pixel costs 1. With this value, a lung that reaches over the
middle stays whole, and two lungs are not left on one side."""

PULL = 1 / 4096
"""Cost of the seam per pixel of distance from the middle; it decides outside the lungs."""

SUPPORT = 5
"""Number of planes over which a connection must continue to have its full cost."""

BROAD = 1.0
"""A component of V pixels with more than this times V^(2/3) cut faces is not a separate lung. On
real lungs, wrongly cut components have at least 1.4, two connected lungs less than 0.6."""

ALONE = 0.05
"""Share of both lungs below which the smaller one does not show where the middle is."""

CLEAR = 1e-3
"""Mean indentation per pixel, in pixels, below which the shape does not show the side."""

REACH = 3
"""Pixels by which the sides are dilated before they are restored."""


def lung_sides(lung: Mask) -> Sides:
    """Divide a lung mask into right and left.

    The middle of the chest is expected near the middle of the canvas, which is true for every crop;
    with two lungs it is moved to the gap between them. A single lung gets the side of which it has
    the shape: heart, hilum and spine indent it from the middle of the chest.

    Args:
        lung: On the canvas, shape ``(N, H, W)``, H growing to the patient's right.

    Returns:
        0 outside the lungs, 1 right, 2 left; shape ``(N, H, W)``.

    Example:
        >>> lung_sides(np.array([[[1], [1], [0], [0], [1], [0]]], bool))[0, :, 0].tolist()
        [2, 2, 0, 0, 1, 0]
    """
    sides = np.zeros(lung.shape, dtype=np.uint8)
    box = mask_box(lung)
    inside = lung[box]
    if inside.size:
        middle = _middle(lung) - box[1].start
        seam = _seam(_support(inside), middle, BEYOND / inside.shape[2] ** 2)
        right = np.arange(inside.shape[1])[:, None] >= seam[:, None, :]
        divided = _repair_cuts(np.where(right, np.uint8(RIGHT), np.uint8(LEFT)) * inside)
        sides[box] = _mirror_single_lung(divided)
    return sides


def widen_sides(sides: Sides) -> Sides:
    """Dilate both sides in the plane, so that voxels at the border of a lung get a side.

    A pixel gets the side that is nearer, and the right one if both are equally near.

    Args:
        sides: The result of `lung_sides`.

    Returns:
        0 far from the lungs, 1 right, 2 left; shape ``(N, H, W)``.
    """
    widened = sides.copy()
    slices, *plane = mask_box(sides)
    around = (slice(max(0, span.start - REACH), span.stop + REACH) for span in plane)
    part = widened[slices, *around]
    for _ in range(REACH):
        reached = dilate(part, 1)
        reached[reached == (RIGHT | LEFT)] = RIGHT
        np.copyto(part, reached, where=part == 0)
    return widened


def _middle(lung: Mask) -> float:
    """Find the middle of the chest: the deepest gap of the lungs along x, close to the centre."""
    size = lung.shape[1]
    across = ndimage.uniform_filter1d(lung.sum(axis=(0, 2)).astype(np.float64), size // 32 + 1)
    humps = np.minimum(np.maximum.accumulate(across), np.maximum.accumulate(across[::-1])[::-1])
    away = np.abs(np.arange(size) + 0.5 - size / 2) / size
    score = (humps - across) / across.max() - away
    return float(np.flatnonzero(score >= score.max() - 1e-9).mean()) + 0.5


def _support(lung: Mask) -> Floats:
    """Cost of cutting each pixel: 1, or less where nearby planes show no lung."""
    dense = lung.astype(np.float32)
    return dense * (0.5 + 0.5 * ndimage.uniform_filter1d(dense, SUPPORT, axis=0, mode="nearest"))


def _seam(support: Floats, middle: float, beyond: float) -> NDArray[np.intp]:
    """Compute the first x of the right side in each row of each plane, shape ``(N, W)``.

    The cost of a seam is the sum over all pairs of neighbouring lung pixels, along x and along y,
    that it separates.
    """
    along_x, along_y = _edges(support)
    rows, planes, positions = along_x.shape
    along_x += _far_cost(support, middle, beyond)
    steps = np.empty((rows, planes, positions), dtype=np.int8)
    total = along_x[0]
    for row in range(1, rows):
        total, steps[row] = _step(total, along_y[row - 1])
        total += along_x[row]
    seam = np.empty((planes, rows), dtype=np.intp)
    seam[:, -1] = total.argmin(axis=1)
    for row in range(rows - 1, 0, -1):
        here = seam[:, row]
        seam[:, row - 1] = here + steps[row, np.arange(planes), here]
    return seam


def _edges(support: Floats) -> tuple[Floats, Floats]:
    """Cost of separating neighbours, row by row.

    Returns:
        For pixels x-1 and x of a row, shape ``(W, N, H+1)``; and for all pixels below x of a row
        and the next row, shape ``(W-1, N, H+1)``.
    """
    rows = np.ascontiguousarray(np.moveaxis(support, 2, 0))
    along_x = np.zeros((*rows.shape[:2], rows.shape[2] + 1), dtype=np.float32)
    along_x[..., 1:-1] = np.minimum(rows[..., :-1], rows[..., 1:])
    along_y = np.zeros((len(rows) - 1, *along_x.shape[1:]), dtype=np.float32)
    np.cumsum(np.minimum(rows[:-1], rows[1:]), axis=2, out=along_y[..., 1:])
    return along_x, along_y


def _far_cost(support: Floats, middle: float, beyond: float) -> Floats:
    """Cost of the lung beyond the middle for each position of the seam, ``(W, N, H+1)``."""
    pixels, positions = np.arange(support.shape[1]) + 0.5, np.arange(support.shape[1] + 1)
    away = beyond * (pixels - middle)
    weighted = np.moveaxis(support, 2, 0) * away.astype(np.float32)
    far = np.zeros((*weighted.shape[:2], len(positions)), dtype=np.float32)
    np.cumsum(weighted, axis=2, out=far[..., 1:])
    return far + PULL * np.abs(positions - middle).astype(np.float32)


def _step(total: Floats, below: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Least cost of reaching each position of the next row, and the step back that gives it."""
    best, steps = total.copy(), np.zeros(total.shape, dtype=np.int8)
    reach = min(SLOPE, total.shape[1] - 1)
    for step in (*range(-reach, 0), *range(1, reach + 1)):
        to = slice(max(0, -step), total.shape[1] - max(0, step))
        start = slice(max(0, step), total.shape[1] - max(0, -step))
        cost = total[:, start] + np.abs(below[:, start] - below[:, to])
        better = cost < best[:, to]
        np.copyto(best[:, to], cost, where=better)
        np.copyto(steps[:, to], step, where=better)
    return best, steps


def _repair_cuts(sides: Sides) -> Sides:
    """Return components with a large cut surface to the lung that they were cut from."""
    pieces, count = _pieces(sides)
    faces = _faces(sides, pieces, count)
    if not faces.any():
        return sides
    lungs, number = ndimage.label(sides > 0)
    sizes, whole = part_sizes(pieces, count), part_sizes(lungs, number)
    lung_of = np.zeros(count + 1, dtype=np.intp)
    lung_of[pieces] = lungs
    wrong = faces > BROAD * sizes ** (2 / 3)
    wrong &= sizes < whole[lung_of] / 2
    wrong[0] = False
    return np.where(wrong[pieces], np.uint8(RIGHT + LEFT) - sides, sides)


def _mirror_single_lung(sides: Sides) -> Sides:
    """Exchange right and left if nearly all is on one side and has the shape of the other lung."""
    counts = {side: int(np.count_nonzero(sides == side)) for side in (RIGHT, LEFT)}
    larger, smaller = sorted(counts, key=lambda side: -counts[side])
    if counts[smaller] >= ALONE * sum(counts.values()):
        return sides
    indentation = sum(_indentation(plane) for plane in sides == larger) / counts[larger]
    if abs(indentation) < CLEAR or (indentation < 0) == (larger == RIGHT):
        return sides
    return np.where(sides > 0, np.uint8(RIGHT + LEFT) - sides, sides)


def _indentation(plane: Mask) -> float:
    """Compute on which side a region is less than its convex hull.

    Args:
        plane: Shape ``(H, W)``.

    Returns:
        First moment along H of the area between region and hull, relative to the centre of the
        region, in pixels³: negative if the region is indented from low H.
    """
    from scipy.spatial import ConvexHull, QhullError

    pixels = np.argwhere(plane).astype(np.float64)
    try:
        corners = pixels[ConvexHull(pixels).vertices]
    except (QhullError, ValueError):
        return 0.0
    x, y = (corners - pixels.mean(axis=0)).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    # The first moment of a polygon with counterclockwise corners (Green's theorem).
    return float(((x + next_x) * (x * next_y - next_x * y)).sum() / 6.0)


def _pieces(sides: Sides) -> tuple[NDArray[np.int32], int]:
    """Label the connected components of both sides from 1."""
    right, rights = ndimage.label(sides == RIGHT)
    left, lefts = ndimage.label(sides == LEFT)
    return np.where(left > 0, left + rights, right), rights + lefts


def _faces(sides: Sides, pieces: NDArray[np.int32], count: int) -> NDArray[np.intp]:
    """Count for each component the faces that it shares with the other side."""
    faces = np.zeros(count + 1, dtype=np.intp)
    for axis in range(3):
        upper, lower = (np.moveaxis(sides, axis, 0)[part] for part in (np.s_[1:], np.s_[:-1]))
        meet = upper * lower == RIGHT * LEFT
        for part in (np.s_[1:], np.s_[:-1]):
            faces += np.bincount(np.moveaxis(pieces, axis, 0)[part][meet], minlength=count + 1)
    return faces


PLAUSIBLE_ML = (1000, 10_000)
"""Plausible volume of both lungs of an adult: from below the residual volume (about 1.2 L) to
above the largest total lung capacity (about 6 L, 8 L in tall men; Stocks and Quanjer, Eur Respir J
1995;8:492-506)."""

CANVAS = 128
"""Pixels per side of the canvas on which the sides are computed."""

HALF = 128
"""Threshold of the lung on the area fraction 0..255."""

_SLAB_PLANES = 16


def mask_sides(lung: Mask) -> Sides:
    """Divide a lung mask on the native grid into right and left.

    Args:
        lung: Shape ``(N, X, Y)``, X growing to the patient's right.

    Returns:
        0 far from the lungs, 1 right, 2 left; shape ``(N, X, Y)``.
    """
    placement = place_whole((lung.shape[1], lung.shape[2]), canvas=CANVAS)
    canvases = np.concatenate([placement.place_mask(slab) >= HALF for slab in _slabs(lung)])
    sides = widen_sides(lung_sides(canvases))
    return np.concatenate([placement.restore_labels(slab) for slab in _slabs(sides)])


def _slabs(planes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(planes), _SLAB_PLANES):
        yield planes[start : start + _SLAB_PLANES]
