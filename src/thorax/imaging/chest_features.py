"""Features of a chest CT that depend on the axes of the patient.

They are measured on a small copy of the scan. All of them are ratios of lengths or areas along the
same axes, or densities, so they do not depend on the spacing, which may be wrong too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.intensity_detection import AIR_HU, otsu_threshold
from thorax.imaging.morphology import fill_holes, label_parts, part_sizes

SIDE, FRONT, HEAD = 0, 1, 2
"""Axes of the patient: from left to right, from back to front, from feet to head."""

VOXELS = 64
"""Approximate number of voxels along the longest axis: 4 to 8 mm per voxel show enough."""

BONE_HU = 150
"""Threshold of bone in voxels of this size."""

SOFT_HU = (-150, 150)
"""Range to which the density below the lungs is clipped: gas and bone would outweigh the liver."""

BODY_SHARE, LUNG_SHARE = 0.05, 0.15
"""Smallest parts of body and lungs, as a share of the largest part."""

LEAST_LUNG = 0.05
"""Smallest volume of the lungs, as a share of the body."""

LEAST_EXTENT = 8
"""Smallest extent of the lungs along each axis, in voxels; fewer show no shape."""

BELOW = 0.35
"""Depth of the tissue below the lungs that is measured, as a share of the lungs' height."""

LEAST_BELOW = 0.02
"""Smallest volume of this tissue on each side, as a share of the lungs."""

Floats = NDArray[np.float32]

Mask = NDArray[np.bool_]

Counts = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chest:
    """A small volume of a chest.

    Args:
        hu: Shape ``(X, Y, Z)``, as `body` and `lungs`.
        body: The body, without the couch.
        lungs: Both lungs.
    """

    hu: Floats
    body: Mask
    lungs: Mask

    def transposed(self, axes: Sequence[int]) -> "Chest":
        """Return the chest with its axes in another order."""
        return Chest(*(np.transpose(part, axes) for part in self._parts))

    def flipped(self, axes: Sequence[int]) -> "Chest":
        """Return the chest reversed along some axes."""
        return Chest(*(np.flip(part, tuple(axes)) for part in self._parts))

    @property
    def _parts(self) -> tuple[NDArray[Any], ...]:
        return self.hu, self.body, self.lungs

    @cached_property
    def lung_profiles(self) -> tuple[Counts, ...]:
        """Number of lung voxels in each plane across each axis."""
        return tuple(_profile(self.lungs, axis) for axis in range(3))

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First and last voxel of the lungs along each axis, without stray voxels."""
        return tuple(_span(profile) for profile in self.lung_profiles)

    @cached_property
    def middle(self) -> int:
        """Position of the gap between the lungs along the first axis."""
        return int(np.argmax(_gaps(self.lung_profiles[SIDE])))


def segment_chest(hu: NDArray[Any]) -> Chest | None:
    """Segment body and lungs in a smaller copy of a scan.

    Args:
        hu: Shape ``(X, Y, Z)``.

    Returns:
        None if there is no air inside a body, or too little to show the shape of lungs.
    """
    small = _shrink(hu)
    tissue = small > otsu_threshold(np.clip(small, AIR_HU, BONE_HU))
    body = _large_parts(_open(tissue), BODY_SHARE)
    # A slice encloses the lungs; any axis may be the one across the slices.
    enclosed = np.logical_or.reduce([_fill(body, axis) for axis in range(3)])
    lungs = _large_parts(ndimage.binary_opening(enclosed & ~tissue), LUNG_SHARE)
    if lungs.sum() < max(1.0, LEAST_LUNG * body.sum()):
        return None
    chest = Chest(small, body, lungs)
    extents = [last - first + 1 for first, last in chest.spans]
    return chest if min(extents) >= LEAST_EXTENT else None


def lung_gap(chest: Chest, axis: int) -> float:
    """Depth of the gap in the profile of the lungs' volume along an axis, as a share of its peak.

    It is deep along the left-right axis only, because the lungs are side by side.
    """
    return float(_gaps(chest.lung_profiles[axis]).max())


def body_gap(chest: Chest, axis: int) -> float:
    """Depth of the gap in the profile of all air around the lungs, at their own gap.

    Between the lungs is the body. The air of a truncated lung is not enclosed by the body in every
    plane; where it is not, the profile of the lungs has a gap, but that of the air has none.
    """
    box = tuple(slice(first, last + 1) for first, last in chest.spans)
    gap = int(np.argmax(_gaps(chest.lung_profiles[axis]))) - box[axis].start
    return float(_gaps(_profile(~chest.body[box], axis))[gap])


def lung_symmetry(chest: Chest, axis: int) -> float:
    """Dice of the lungs and their mirror image about the gap along an axis."""
    lungs = np.moveaxis(chest.lungs, axis, 0)
    gap = 2 * int(np.argmax(_gaps(chest.lung_profiles[axis])))
    shared = max(_shared_with_mirror(lungs, gap + shift) for shift in range(-2, 3))
    return float(shared / max(chest.lungs.sum(), 1))


def area_on_faces(chest: Chest, axis: int) -> float:
    """Area of the body on the smaller of two faces, as a share of its largest cross-section.

    The body continues beyond the scan at the head and at the feet; at its sides there is air.
    """
    areas = _profile(chest.body, axis)
    return float(min(areas[0], areas[-1]) / max(areas.max(), 1.0))


def lung_on_faces(chest: Chest, axis: int) -> float:
    """Area of the lungs on the larger of two faces, as a share of their largest cross-section."""
    areas = chest.lung_profiles[axis]
    return float(max(areas[0], areas[-1]) / areas.max())


def spine_share(chest: Chest) -> float:
    """Largest share of the slices with bone at the same depth in the midline."""
    return float(_midline_bone(chest).max())


def spine_offsets(chest: Chest) -> tuple[float, float]:
    """Distance of the spine from the middle of the lungs, as shares of their depth.

    Returns:
        For the centre of the bone in the midline, and for the brightest depth; negative behind the
        middle.
    """
    first, last = chest.spans[FRONT]
    middle, depth = (first + last) / 2, last - first + 1
    weights = _midline_bone(chest) ** 2
    centre = float(weights @ np.arange(len(weights)) / max(weights.sum(), 1e-9))
    brightest = int(np.clip(_midline(chest), -100, 600).mean(axis=(0, 2)).argmax())
    return (centre - middle) / depth, (brightest - middle) / depth


def lung_bend(chest: Chest) -> float:
    """Height of the middle of the lungs above their rim, as a share of their height.

    The tops of the lungs are convex, and the diaphragm pushes into them from below: a column of
    lung is centred higher in the middle of a lung than at its rim.
    """
    shadow = np.asarray(chest.lungs.any(axis=2))
    inward = ndimage.distance_transform_edt(shadow)[shadow]
    highest = chest.lungs.shape[2] - 1 - np.argmax(chest.lungs[..., ::-1], axis=2)
    middles = (np.argmax(chest.lungs, axis=2) + highest)[shadow] / 2
    low, high = chest.spans[HEAD]
    return _slope(inward / inward.max(), middles) / (high - low + 1)


def liver_hu(chest: Chest) -> float:
    """Density of the tissue below the right lung minus that below the left; 0 without tissue.

    Below the right lung is the liver. Below the left lung are fat, stomach and gas.
    """
    low, high = chest.spans[HEAD]
    lowest = np.argmax(chest.lungs, axis=2)[..., None]
    height = np.arange(chest.lungs.shape[2])
    near = (height < lowest) & (height > lowest - BELOW * (high - low + 1))
    below = near & np.asarray(chest.lungs.any(axis=2))[..., None] & chest.body
    soft = np.clip(chest.hu, *SOFT_HU)
    halves = np.s_[chest.middle + 1 :], np.s_[: chest.middle]
    right, left = (soft[half][below[half]] for half in halves)
    enough = min(len(right), len(left)) > LEAST_BELOW * chest.lungs.sum()
    return float(right.mean() - left.mean()) if enough else 0.0


def heart_offset(chest: Chest) -> float:
    """Distance of the heart to the left of the middle of the lungs, as a share of their width."""
    from_left = np.maximum.accumulate(chest.lungs, axis=SIDE)
    from_right = np.maximum.accumulate(chest.lungs[::-1], axis=SIDE)[::-1]
    between = from_left & from_right & ~chest.lungs
    (first, last), (back, front), (low, high) = chest.spans
    heart = between[:, (back + front) // 2 :, low : (low + high) // 2].sum(axis=(1, 2))
    centre = float(heart @ np.arange(len(heart)) / max(heart.sum(), 1))
    return ((first + last) / 2 - centre) / (last - first + 1) if heart.any() else 0.0


def _shared_with_mirror(lungs: Mask, reflection: int) -> int:
    """Count the lung voxels whose mirror image is lung; plane `n` becomes `reflection - n`."""
    first, last = max(0, reflection - len(lungs) + 1), min(len(lungs) - 1, reflection)
    both = lungs[first : last + 1]
    return int(np.count_nonzero(both & both[::-1]))


def _midline(chest: Chest) -> Floats:
    """Return the middle fifth of the chest, at the height of the lungs."""
    (first, last), _, (low, high) = chest.spans
    reach = max(1, (last - first + 1) // 10)
    start = max(0, chest.middle - reach)
    return chest.hu[start : chest.middle + reach + 1, :, low : high + 1]


def _midline_bone(chest: Chest) -> Counts:
    """Share of the slices with bone in the midline, for each depth."""
    return np.asarray((_midline(chest) > BONE_HU).any(axis=SIDE).mean(axis=1))


def _shrink(hu: NDArray[Any]) -> Floats:
    """Average blocks of voxels, to about `VOXELS` along each axis."""
    small: Floats = hu.astype(np.float32)
    for axis in (HEAD, SIDE, FRONT):
        factor = max(1, round(hu.shape[axis] / VOXELS))
        rows = np.moveaxis(small, axis, 0)[: hu.shape[axis] // factor * factor]
        parts = [rows[start::factor] for start in range(factor)]
        small = np.moveaxis(sum(parts[1:], parts[0]) / np.float32(factor), 0, axis)
    return np.ascontiguousarray(small)


def _open(mask: Mask) -> Mask:
    """Remove parts that a cube of 3 voxels does not fit into, such as the couch."""
    return _combine(_combine(mask, np.logical_and), np.logical_or)


def _combine(mask: Mask, operation: np.ufunc) -> Mask:
    """Combine each voxel with its neighbours in a cube of 3 voxels."""
    for axis in range(3):
        rows = np.moveaxis(mask, axis, 0)
        ends = np.concatenate([rows[:1], rows, rows[-1:]])
        joined = operation(operation(ends[:-2], ends[1:-1]), ends[2:])
        mask = np.moveaxis(joined, 0, axis)
    return mask


def _fill(body: Mask, axis: int) -> Mask:
    """Fill the holes of each plane across an axis."""
    return np.moveaxis(fill_holes(np.moveaxis(body, axis, 0)), 0, axis)


def _large_parts(mask: Mask, share: float) -> Mask:
    """Keep the connected parts of at least a share of the largest."""
    parts, count = label_parts(mask)
    sizes = part_sizes(parts, count)
    sizes[0] = 0
    large = sizes >= max(1, share * sizes.max())
    return np.asarray(large[parts])


def _profile(mask: Mask, axis: int) -> Counts:
    """Count the voxels of a mask in each plane across an axis."""
    others = tuple(other for other in range(3) if other != axis)
    return np.count_nonzero(mask, axis=others).astype(np.float64)


def _span(counts: Counts) -> tuple[int, int]:
    """First and last position of a profile without a hundredth at each end."""
    first, last = np.searchsorted(np.cumsum(counts) / counts.sum(), [0.01, 0.99])
    return int(first), int(last)


def _gaps(counts: Counts) -> Counts:
    """Depth of each position of a profile below the lower of the peaks on its two sides.

    A single plane with less lung, such as a damaged slice, is no gap.
    """
    smooth = ndimage.uniform_filter1d(ndimage.grey_closing(counts, 3), 3)
    peaks = np.minimum(np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1])
    return np.asarray((peaks - smooth) / max(smooth.max(), 1.0))


def _slope(across: Counts, height: Counts) -> float:
    """Slope of the regression line; 0 if it is undefined."""
    away = across - across.mean()
    return float(away @ height / max(away @ away, 1e-9))
