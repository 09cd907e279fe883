"""Which lung is the right one, and which the left, where the model knows only `lung`.

A seam is laid through every plane from the back to the front: the line that crosses least lung,
found by dynamic programming, as near to the middle of the chest as that allows. Where lungs touch
it finds the narrowest place, and the planes above and below help it through bridges of noise. What
the seam gets wrong, a lung that reaches over the middle, is mended in 3D: a piece that it cut off
broadly goes back to the lung that it was cut from.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.morphology import grown
from thorax.imaging.placement import Restorer, place_whole

LUNG = "lung"
"""The region whose sides are told apart."""

RIGHT, LEFT = 1, 2

side_names = {RIGHT: "right", LEFT: "left"}
"""As lungmask numbers them."""

Mask = NDArray[np.bool_]

Sides = NDArray[np.uint8]

Floats = NDArray[np.float32]

SLOPE = 3
"""Pixels that the seam may move sideways from one row to the next."""

BEYOND = 12.0
"""Cost of a pixel of lung on the far side of the middle, times its distance from there, over the
square of the lungs' depth; a pixel that is cut through costs 1. So it is cheaper to let a lung
reach over the middle than to cut it, and to part two lungs than to leave both on one side."""

PULL = 1 / 4096
"""Cost of a pixel away from the middle: it settles where the seam runs outside the lungs."""

SUPPORT = 5
"""Planes over which a bridge must last to count in full."""

BROAD = 1.0
"""A piece of V pixels that hangs on by more than this times V^(2/3) faces is no lung of its own: on
real lungs what was cut off wrongly has 1.4 and more, two lungs that are bridged less than 0.6."""

SMALL = 1 / 3
"""A piece larger than this share of both lungs together is left to the side of the seam."""

REACH = 3
"""Pixels by which sides are grown before they are taken off the canvas."""


def lung_sides(lung: Mask) -> Sides:
    """Tell the right lung from the left.

    The middle of the chest is taken to lie near the middle of the canvas, which holds for each way
    of cropping; with two lungs it is moved to the valley between them. One lung alone gets one
    side, that on which it mostly lies.

    Args:
        lung: On the canvas, shape ``(N, H, W)``, H growing to the patient's right.

    Returns:
        0 outside the lungs, 1 right, 2 left; shape ``(N, H, W)``.

    Example:
        >>> lung_sides(np.array([[[1], [1], [0], [0], [1], [0]]], bool))[0, :, 0].tolist()
        [2, 2, 0, 0, 1, 0]
    """
    sides = np.zeros(lung.shape, dtype=np.uint8)
    box = ndimage.find_objects(lung.view(np.uint8))
    if box:
        inside = lung[box[0]]
        middle = _middle(lung) - box[0][1].start
        seam = _seam(_support(inside), middle, BEYOND / inside.shape[2] ** 2)
        right = np.arange(inside.shape[1])[:, None] >= seam[:, None, :]
        sides[box[0]] = _mended(np.where(right, RIGHT, LEFT).astype(np.uint8) * inside)
    return sides


def side_map(sides: Sides) -> Floats:
    """Turn sides into a map that can be restored as probabilities are: +1 right, -1 left.

    Both are grown by a few pixels in the plane, so that the voxels at the rim of a lung have a side
    as well.

    Args:
        sides: As `lung_sides` gives them.
    """
    right, left = (grown(sides == side, REACH) for side in (RIGHT, LEFT))
    near = np.where(sides == RIGHT, np.float32(1), np.float32(-1))
    return np.where(sides > 0, near, right.astype(np.float32) - left)


def read_sides(restored: Floats) -> Sides:
    """Read the side of each voxel from a restored `side_map`: 0 far from any lung, 1, 2.

    Example:
        >>> read_sides(np.array([-0.9, 0.0, 0.2], np.float32)).tolist()
        [2, 0, 1]
    """
    return (restored > 0).astype(np.uint8) + (restored < 0) * np.uint8(LEFT)


def _middle(lung: Mask) -> float:
    """Where the chest divides: the deepest valley along x, the nearer to the middle the better."""
    size = lung.shape[1]
    across = ndimage.uniform_filter1d(lung.sum(axis=(0, 2)).astype(np.float64), size // 32 + 1)
    humps = np.minimum(np.maximum.accumulate(across), np.maximum.accumulate(across[::-1])[::-1])
    away = np.abs(np.arange(size) + 0.5 - size / 2) / size
    score = (humps - across) / across.max() - away
    return float(np.flatnonzero(score >= score.max() - 1e-9).mean()) + 0.5


def _support(lung: Mask) -> Floats:
    """What it costs to cut through each pixel: 1, or less where planes nearby show no lung."""
    dense = lung.astype(np.float32)
    return dense * (0.5 + 0.5 * ndimage.uniform_filter1d(dense, SUPPORT, axis=0, mode="nearest"))


def _seam(support: Floats, middle: float, beyond: float) -> NDArray[np.intp]:
    """First x of the right side in each row of each plane, shape ``(N, W)``.

    The cost of a seam is that of all pairs of neighbouring lung pixels, along x and along y, that
    it parts.
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
    """Cost of parting neighbours, row by row.

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
    """Cost of what each position of the seam puts on the far side, shape ``(W, N, H+1)``."""
    pixels, positions = np.arange(support.shape[1]) + 0.5, np.arange(support.shape[1] + 1)
    away = beyond * (pixels - middle)
    weighted = np.moveaxis(support, 2, 0) * away.astype(np.float32)
    far = np.zeros((*weighted.shape[:2], len(positions)), dtype=np.float32)
    np.cumsum(weighted, axis=2, out=far[..., 1:])
    return far + PULL * np.abs(positions - middle).astype(np.float32)


def _step(total: Floats, below: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """Least cost of reaching each position of the next row, and the step back that has it."""
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


def _mended(sides: Sides) -> Sides:
    """Give pieces that were cut off broadly back to the lung that they were cut from."""
    pieces, found = _pieces(sides)
    faces = _faces(sides, pieces, found)
    if not faces.any():
        return sides
    lungs, _ = ndimage.label(sides > 0)
    sizes, whole = np.bincount(pieces.ravel(), minlength=found + 1), np.bincount(lungs.ravel())
    lung_of = np.zeros(found + 1, dtype=np.intp)
    lung_of[pieces] = lungs
    wrong = faces > BROAD * sizes ** (2 / 3)
    wrong &= (sizes < whole[lung_of] / 2) & (sizes < SMALL * whole[1:].sum())
    wrong[0] = False
    return np.where(wrong[pieces], np.uint8(RIGHT + LEFT) - sides, sides)


def _pieces(sides: Sides) -> tuple[NDArray[np.int32], int]:
    """Number the connected pieces of either side from 1."""
    right, rights = ndimage.label(sides == RIGHT)
    left, lefts = ndimage.label(sides == LEFT)
    return np.where(left > 0, left + rights, right), rights + lefts


def _faces(sides: Sides, pieces: NDArray[np.int32], found: int) -> NDArray[np.intp]:
    """Count for each piece the faces at which it meets the other side."""
    faces = np.zeros(found + 1, dtype=np.intp)
    for axis in range(3):
        upper, lower = (np.moveaxis(sides, axis, 0)[part] for part in (np.s_[1:], np.s_[:-1]))
        meet = upper * lower == RIGHT * LEFT
        for part in (np.s_[1:], np.s_[:-1]):
            faces += np.bincount(np.moveaxis(pieces, axis, 0)[part][meet], minlength=found + 1)
    return faces


PLAUSIBLE_ML = (1000, 10_000)
"""Both lungs of adults: from less than what stays after breathing out (residual volume about
1.2 L) to more than what the largest breathe in (total capacity about 6 L, 8 L in tall men; Stocks
and Quanjer, Eur Respir J 1995;8:492-506)."""

CANVAS = 128
"""Pixels a side on which sides are told apart."""

HALF = 128
"""Area fraction, of 255, from which on such a pixel belongs to the lung."""

_AT_A_TIME = 16


def mask_sides(lung: Mask) -> Sides:
    """Tell the right lung from the left in a mask on the native grid.

    Args:
        lung: Shape ``(N, X, Y)``, X growing to the patient's right.

    Returns:
        0 far from any lung, 1 right, 2 left; of the same shape.
    """
    placement = place_whole((lung.shape[1], lung.shape[2]), canvas=CANVAS)
    canvases = np.concatenate([placement.place_mask(slab) >= HALF for slab in _slabs(lung)])
    sides = read_sides(side_map(lung_sides(canvases)))
    restorer = Restorer(placement)
    return np.concatenate([restorer.nearest(slab) for slab in _slabs(sides)])


def _slabs(planes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(planes), _AT_A_TIME):
        yield planes[start : start + _AT_A_TIME]
