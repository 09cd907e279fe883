"""Postprocess probability maps: complete bullae, fill holes, remove small components, clip regions.

This is done on the canvas, where a whole scan is small, and on probabilities, which are restored
and thresholded afterwards. Removed pixels are set so far below the threshold that cubic
interpolation cannot raise a voxel above it; filled pixels are set well above it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.common.text import counted
from thorax.imaging.grid import mask_box
from thorax.imaging.lung_sides import LUNG
from thorax.imaging.morphology import IN_PLANE, dilate, label_parts, open_mask, part_sizes
from thorax.models.spec import NO_POSTPROCESSING, PostprocessingRule

Mask = NDArray[np.bool_]

Floats = NDArray[np.float32]

OVERSHOOT = 1.5
"""Restored values are less than this times the largest pixel nearby: in the middle of four pixels
the positive weights of cubic interpolation add up to 1.1875² + 0.1875² = 1.45."""

SMALL_HOLE = 1 / 5000
"""Holes within a slice up to this share of the canvas are filled: 20 to 50 mm² for slices of 320 to
500 mm, the size of vessels and bronchi deep in the lung. Main bronchi and the trachea are larger.
Experts exclude larger vessels: with twice this share, up to 0.16 % of the lungs of five LCTSC scans
is filled against their contours."""

GAS_HU = -920
"""Spaces of which each pixel is darker are gas or severe emphysema; healthy lungs are near -850 HU
on average."""

NARROWEST_GAS = 64
"""The side of the canvas divided by this is the reach of the opening that separates gas spaces: 5
pixels of 128, 10 to 15 mm, do not fit into bronchi."""

ALL_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Postprocessed:
    """Postprocessed probabilities.

    Args:
        probabilities: Shape ``(N, H, W, R)``.
        notes: One sentence per change.
    """

    probabilities: Floats
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    """Postprocessing of one region."""

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
    hu: NDArray[np.int16],
    names: tuple[str, ...],
    pixel_ml: float,
    threshold: float,
) -> Postprocessed:
    """Apply the postprocessing rules of a model to the probabilities of a whole scan.

    Pixels are connected if they share a face, an edge or a corner. An enclosed area is not a hole
    if it is open to a slice without the region around it, or to the first or last slice. So the
    trachea is not filled, and an empty slice within a lung stays empty.

    With the holes of the region `lung`, bullae and severe emphysema are completed: if more than
    half of a gas space is lung, all of it is. A pneumothorax and the trachea mostly are not.

    The probability of an inner region is limited to that of its parent at each pixel. After
    interpolation single voxels may still be outside the parent; intersect the restored masks if
    that matters.

    Args:
        probabilities: On the canvas, shape ``(N, H, W, R)``; not modified.
        rules: Region name → its rule; regions without a rule are not changed.
        hu: The scan on the canvas, shape ``(N, H, W)``.
        names: Names of the R regions.
        pixel_ml: Volume of a pixel of the canvas.
        threshold: Threshold of the restored probabilities.

    Returns:
        Probabilities to be restored and thresholded at the same threshold. Volumes in the notes
        are computed on the canvas.

    Raises:
        InputError: `rules` names an unknown region, or regions are inside each other.
    """
    processed, notes = probabilities.copy(), list[str]()
    for name in _outer_first(rules, names):
        if rules[name] == NO_POSTPROCESSING:
            continue
        task = _Task(name, rules[name], pixel_ml, threshold)
        region = np.ascontiguousarray(processed[..., names.index(name)])
        if task.rule.inside is not None:
            notes += _clip(region, processed[..., names.index(task.rule.inside)], task)
        if task.rule.fill_holes:
            notes += _complete_bullae(region, hu, task) if name == LUNG else []
            notes += _fill(region, task)
        if task.rule.largest or task.rule.minimum_ml:
            notes += _remove(region, task)
        processed[..., names.index(name)] = region
    return Postprocessed(processed, tuple(notes))


def _outer_first(rules: Mapping[str, PostprocessingRule], names: tuple[str, ...]) -> list[str]:
    """Return the names of the regions with a rule, parents first."""
    allowed = f"one of {list(names)}"
    for name, rule in rules.items():
        if name not in names:
            raise InputError(f"a region to postprocess must be {allowed}, got `{name}`")
        if rule.inside is not None and rule.inside not in names:
            raise InputError(f"`inside` of region `{name}` must be {allowed}, got `{rule.inside}`")
    waiting, order = list(rules), list[str]()
    while waiting:
        ready = [name for name in waiting if rules[name].inside not in waiting]
        if not ready:
            raise InputError(f"regions cannot be inside each other, got {waiting}")
        order += ready
        waiting = [name for name in waiting if name not in ready]
    return order


def _clip(region: Floats, parent: NDArray[np.floating], task: _Task) -> list[str]:
    """Limit the probability of a region to that of its parent."""
    before = int(np.count_nonzero(region >= task.threshold))
    np.minimum(region, parent, out=region)
    lost = before - int(np.count_nonzero(region >= task.threshold))
    return [f"{task.name}: {task.amount(lost)} outside {task.rule.inside} removed"] if lost else []


def _complete_bullae(region: Floats, hu: NDArray[np.int16], task: _Task) -> list[str]:
    """Raise the rest of each gas space of which more than half is in the region."""
    spaces, count = label_parts(open_mask(hu < GAS_HU, max(1, hu.shape[1] // NARROWEST_GAS)))
    mask = region >= task.threshold
    sizes, inside = part_sizes(spaces, count), np.bincount(spaces[mask], minlength=count + 1)
    partial = (2 * inside > sizes) & (inside < sizes)
    partial[0] = False
    if not partial.any():
        return []
    rest = partial[spaces] & ~mask
    _raise(region, rest, mask, task.threshold)
    return [f"{task.name}: bullae or emphysema of {task.amount(int(np.count_nonzero(rest)))} added"]


def _raise(region: Floats, added: Mask, mask: Mask, threshold: float) -> None:
    """Set pixels, and those of the mask around them, half-way between the threshold and 1."""
    raised = dilate(added, 1) & (mask | added)
    region[raised] = np.maximum(region[raised], (1 + threshold) / 2)


def _fill(region: Floats, task: _Task) -> list[str]:
    """Fill areas enclosed in 3D, and small holes within a slice."""
    mask = region >= task.threshold
    box = _padded_box(mask)
    if box is None:
        return []
    holes = _find_holes(mask[box], largest=int(SMALL_HOLE * mask[0].size))
    pixels = int(np.count_nonzero(holes))
    if not pixels:
        return []
    _raise(region[box], holes, mask[box], task.threshold)
    return [f"{task.name}: holes of {task.amount(pixels)} filled"]


def _remove(region: Floats, task: _Task) -> list[str]:
    """Set pixels below the threshold, except in and next to the components to keep."""
    mask = region >= task.threshold
    box = _padded_box(mask)
    near = np.zeros_like(mask)
    notes = list[str]()
    if box is not None:
        components, number = ndimage.label(mask[box], ALL_NEIGHBOURS)
        sizes = part_sizes(components, number)
        keep = _components_to_keep(sizes, task)
        near[box] = dilate(np.take(keep, components), 1)
        removed = sizes[1:][~keep[1:]]
        if len(removed):
            count = counted(len(removed), "component")
            notes = [f"{task.name}: {count} of {task.amount(int(removed.sum()))} removed"]
    limit = np.float32(task.threshold / OVERSHOOT)
    np.copyto(region, limit, where=(region > limit) & ~near)
    return notes


def _components_to_keep(sizes: NDArray[np.intp], task: _Task) -> Mask:
    """Return one flag per component label; 0 is the background."""
    rule, components = task.rule, sizes[1:]
    keep = components * task.pixel_ml >= rule.minimum_ml
    if rule.largest:
        largest = np.argsort(-components, kind="stable")[: rule.largest]
        is_largest = np.isin(np.arange(len(components)), largest)
        keep &= is_largest | (components >= rule.share * components.max())
    return np.concatenate([[False], keep])


def _find_holes(mask: Mask, *, largest: int) -> Mask:
    """Return the pixels enclosed in 3D, and holes within a slice of at most ``largest`` pixels."""
    free = np.pad(~mask, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    parts, _ = ndimage.label(free, IN_PLANE)
    enclosed = (free & (parts != parts[:, :1, :1]))[:, 1:-1, 1:-1]
    parts = parts[:, 1:-1, 1:-1]
    sizes = np.bincount(parts[enclosed], minlength=1)
    small = np.zeros_like(mask)
    small[enclosed] = sizes[parts[enclosed]] <= largest
    return small | _without_opening(enclosed & ~small, free[:, 1:-1, 1:-1] & ~enclosed)


def _without_opening(enclosed: Mask, outside: Mask) -> Mask:
    """Return the connected parts that no slice above or below opens to the outside."""
    closed = np.zeros_like(enclosed)
    box = _padded_box(enclosed)
    if box is not None:
        beyond = np.pad(outside, ((1, 1), (0, 0), (0, 0)), constant_values=True)
        opening = enclosed & (beyond[:-2] | beyond[2:])
        parts, count = ndimage.label(enclosed[box])
        is_closed = np.arange(count + 1) > 0
        is_closed[parts[opening[box]]] = False
        closed[box] = np.take(is_closed, parts)
    return closed


def near_masks(maps: Floats, threshold: float) -> Mask:
    """Return the pixels whose values can raise a restored voxel to the threshold.

    Args:
        maps: Probabilities on the canvas, shape ``(…, n, H, W)``.
        threshold: Threshold of the restored probabilities.

    Returns:
        Shape ``(…, H, W)``: pixels of any of the n slices.
    """
    return np.any(maps >= threshold / OVERSHOOT, axis=-3)


def _padded_box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """Return the bounding box of a mask, padded by a pixel in H and W; None if it is empty."""
    slices, *plane = mask_box(mask)
    if not slices.stop:
        return None
    across, along = (slice(max(0, span.start - 1), span.stop + 1) for span in plane)
    return slices, across, along
