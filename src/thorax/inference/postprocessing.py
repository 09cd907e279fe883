"""Cleaning of what the network found: stray pieces, holes, regions that leave the outer one.

It is done on the canvas, where a whole scan is small, and on probabilities, so that they are still
restored and thresholded as any others. What is removed is pushed so far below the threshold that
cubic interpolation cannot lift a voxel over it again, and what is filled well above it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.imaging.morphology import IN_PLANE
from thorax.models.spec import NOTHING, PostprocessingRule

Mask = NDArray[np.bool_]

Floats = NDArray[np.float32]

OVERSHOOT = 1.5
"""Restored values are less than this times the largest pixel around: in the midst of four pixels
the positive weights of `geometry`'s cubic interpolation add up to 1.1875² + 0.1875² = 1.45."""

SMALL_HOLE = 1 / 5000
"""A hole in one plane that is no larger than this share of the canvas is filled, 20 to 50 mm² for
planes of 320 to 500 mm: vessels and bronchi deep in the lung. Main bronchi are larger, the trachea
much. Experts leave larger vessels out: twice this share fills up to 0.16 % of the lungs of five
LCTSC scans against their contours."""

EVERYWHERE = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Postprocessed:
    """Cleaned probabilities, shape ``(N, H, W, R)``, and what was done, in words."""

    probabilities: Floats
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    """How the pixels of one region are read."""

    name: str
    rule: PostprocessingRule
    pixel_ml: float
    threshold: float

    def amount(self, pixels: int) -> str:
        return f"{pixels * self.pixel_ml:.1f} mL"


def postprocess(
    probabilities: Floats,
    rules: Mapping[str, PostprocessingRule],
    *,
    names: tuple[str, ...],
    pixel_ml: float,
    threshold: float,
) -> Postprocessed:
    """Clean what the network found in a whole scan.

    Pieces hang together where pixels touch at a face, an edge or a corner, so rather too much is
    kept. A hole that opens to a plane without the region around it, or to the first or last plane,
    is none. So the trachea stays free, and an empty plane amid a lung stays as it is.

    The inner region is made no likelier than the outer one at each pixel. Interpolation may still
    leave single voxels of it outside; who needs it exact intersects the restored masks as well.

    Args:
        probabilities: On the canvas, shape ``(N, H, W, R)``; left as they are.
        rules: Region name → what is done; a region that is not named is left as it is.
        names: Names of the R regions.
        pixel_ml: Volume of a pixel of the canvas.
        threshold: Restored probability from which on a voxel belongs to a region.

    Returns:
        Probabilities that are to be restored and cut at the same threshold. Volumes in the notes
        are those of pixels, before restoring.

    Raises:
        InputError: `rules` names a region that there is not, or regions inside each other.
    """
    cleaned, notes = probabilities.copy(), list[str]()
    for name in _outer_first(rules, names):
        if rules[name] == NOTHING:
            continue
        task = _Task(name, rules[name], pixel_ml, threshold)
        region = np.ascontiguousarray(cleaned[..., names.index(name)])
        if task.rule.inside is not None:
            notes += _cut(region, cleaned[..., names.index(task.rule.inside)], task)
        if task.rule.fill_holes:
            notes += _fill(region, task)
        if task.rule.largest or task.rule.minimum_ml:
            notes += _remove(region, task)
        cleaned[..., names.index(name)] = region
    return Postprocessed(cleaned, tuple(notes))


def _outer_first(rules: Mapping[str, PostprocessingRule], names: tuple[str, ...]) -> list[str]:
    """Names of the regions to clean, each after the one that it lies in."""
    known = f"one of {list(names)}"
    for name, rule in rules.items():
        if name not in names:
            raise InputError(f"a region to clean must be {known}, got `{name}`")
        if rule.inside is not None and rule.inside not in names:
            raise InputError(f"`inside` of region `{name}` must be {known}, got `{rule.inside}`")
    waiting, order = list(rules), list[str]()
    while waiting:
        ready = [name for name in waiting if rules[name].inside not in waiting]
        if not ready:
            raise InputError(f"regions cannot lie inside each other, got {waiting}")
        order += ready
        waiting = [name for name in waiting if name not in ready]
    return order


def _cut(region: Floats, outer: NDArray[np.floating], task: _Task) -> list[str]:
    """Make the region no likelier than the one that it lies in."""
    before = int(np.count_nonzero(region >= task.threshold))
    np.minimum(region, outer, out=region)
    lost = before - int(np.count_nonzero(region >= task.threshold))
    return [f"{task.name}: {task.amount(lost)} outside {task.rule.inside} removed"] if lost else []


def _fill(region: Floats, task: _Task) -> list[str]:
    """Raise holes, and the rim around them, half-way from the threshold to 1."""
    mask = region >= task.threshold
    box = _around(mask)
    if box is None:
        return []
    holes = _holes(mask[box], most=int(SMALL_HOLE * mask[0].size))
    filled = int(np.count_nonzero(holes))
    if not filled:
        return []
    raised = _wider(holes) & (mask[box] | holes)
    inside = region[box]
    inside[raised] = np.maximum(inside[raised], (1 + task.threshold) / 2)
    return [f"{task.name}: holes of {task.amount(filled)} filled"]


def _remove(region: Floats, task: _Task) -> list[str]:
    """Push all that is neither a piece that is kept nor next to one below the threshold."""
    mask = region >= task.threshold
    box = _around(mask)
    near = np.zeros_like(mask)
    notes = []
    if box is not None:
        pieces, _ = ndimage.label(mask[box], EVERYWHERE)
        sizes = np.bincount(pieces.ravel())
        keep = _kept(sizes, task)
        near[box] = _wider(np.take(keep, pieces))
        gone = np.count_nonzero(~keep[1:])
        volume = task.amount(int(sizes[1:][~keep[1:]].sum()))
        counted = "1 piece" if gone == 1 else f"{gone} pieces"
        notes = [f"{task.name}: {counted} of {volume} removed"] if gone else []
    most = np.float32(task.threshold / OVERSHOOT)
    np.copyto(region, most, where=(region > most) & ~near)
    return notes


def _kept(sizes: NDArray[np.intp], task: _Task) -> Mask:
    """Say for each piece whether it stays; 0 is the background."""
    rule, pieces = task.rule, sizes[1:]
    stays = pieces * task.pixel_ml >= rule.minimum_ml
    if rule.largest:
        first = np.argsort(-pieces, kind="stable")[: rule.largest]
        stays &= (pieces >= rule.share * pieces.max()) | np.isin(np.arange(len(pieces)), first)
    return np.concatenate([[False], stays])


def _holes(mask: Mask, *, most: int) -> Mask:
    """Pixels enclosed in 3D, or in their plane by a hole of at most so many pixels."""
    free = np.pad(~mask, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    parts, _ = ndimage.label(free, IN_PLANE)
    enclosed = (free & (parts != parts[:, :1, :1]))[:, 1:-1, 1:-1]
    parts = parts[:, 1:-1, 1:-1]
    sizes = np.bincount(parts[enclosed], minlength=1)
    small = np.zeros_like(mask)
    small[enclosed] = sizes[parts[enclosed]] <= most
    return small | _closed(enclosed & ~small, free[:, 1:-1, 1:-1] & ~enclosed)


def _closed(enclosed: Mask, outside: Mask) -> Mask:
    """Those connected parts that meet the outside in no plane, above or below."""
    closed = np.zeros_like(enclosed)
    box = _around(enclosed)
    if box is not None:
        beyond = np.pad(outside, ((1, 1), (0, 0), (0, 0)), constant_values=True)
        opening = enclosed & (beyond[:-2] | beyond[2:])
        parts, found = ndimage.label(enclosed[box])
        whole = np.arange(found + 1) > 0
        whole[parts[opening[box]]] = False
        closed[box] = np.take(whole, parts)
    return closed


def _around(mask: Mask) -> tuple[slice, slice, slice] | None:
    """Box of a mask with room for a rim in the plane; None if the mask is empty."""
    extents = []
    for axis in range(3):
        taken = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if not taken.size:
            return None
        rim = int(axis > 0)
        extents.append(slice(max(0, int(taken[0]) - rim), int(taken[-1]) + 1 + rim))
    planes, across, along = extents
    return planes, across, along


def _wider(mask: Mask) -> Mask:
    """Grow by one pixel in the plane, also over corners."""
    wider = mask.copy()
    wider[:, 1:] |= mask[:, :-1]
    wider[:, :-1] |= mask[:, 1:]
    tall = wider.copy()
    wider[..., 1:] |= tall[..., :-1]
    wider[..., :-1] |= tall[..., 1:]
    return wider
