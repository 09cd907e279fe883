"""Boxes around the body, without the couch, and around the lungs."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import Box, Slabs
from thorax.imaging.morphology import fill_holes, label_parts, open_mask, part_sizes

BODY_HU = -400
"""Threshold of the body. Fat, its lightest tissue, is near -100 HU; couch foam is below this."""

BODY_SHARE = 0.05
"""Parts smaller than this share of the largest are not body; arms and a halved scan are larger."""

LUNG_SHARE = 0.1
"""Enclosed air smaller than this share of the largest part is not lung, but bowel gas."""

MARGIN = 0.1
"""Margin on each side of the lungs, as a share of their extent."""

SMALLEST_SHARE = 0.4
"""A box smaller than this share of the body's box does not contain a pair of lungs."""

COARSE = 128
"""Pixels per side of the planes that are searched: 4 mm of a chest are fine enough."""


def coarse_step(plane_shape: tuple[int, int]) -> int:
    """Stride, in voxels, of the planes that are searched."""
    return max(1, max(plane_shape) // COARSE)


def coarse_planes(scan: Slabs) -> NDArray[Any]:
    """Read every plane, lowest first, at every `coarse_step` voxel in x and y."""
    step = coarse_step(scan.grid.shape[:2])
    parts = [(start, planes[:, ::step, ::step].copy()) for start, planes in scan.slabs()]
    return np.concatenate([planes for _, planes in sorted(parts, key=lambda part: part[0])])


def body_box(coarse: NDArray[Any], plane_shape: tuple[int, int]) -> Box:
    """Find one box around the body for all planes of a scan.

    A morphological opening in the plane removes thin objects: couch, clothes, cables. If nothing
    is left, as in a scan of air, the box is the whole plane.

    Args:
        coarse: HU of the canonical planes, as `coarse_planes` reads them, shape ``(N, X', Y')``.
        plane_shape: ``(X, Y)`` of the full planes.
    """
    step = coarse_step(plane_shape)
    whole = ((0, plane_shape[0]), (0, plane_shape[1]))
    tissue = coarse > BODY_HU
    parts, count = label_parts(open_mask(tissue, 2))
    if not count:
        return whole
    across, along = _box_of_large(parts, count, BODY_SHARE)
    return (
        _grow(across, step, plane_shape[0]),
        _grow(along, step, plane_shape[1]),
    )


def lung_box(coarse: NDArray[Any], plane_shape: tuple[int, int]) -> Box:
    """Find one box around the lungs for all planes of a scan.

    The box contains the air inside the body and a margin for disease in both lungs. It also
    contains the mirror image of the air, because disease may fill one lung. If the air is too small
    for a pair of lungs, the box is that of the body.

    Args:
        coarse: As for `body_box`.
        plane_shape: ``(X, Y)`` of the full planes.
    """
    step = coarse_step(plane_shape)
    body, air = body_box(coarse, plane_shape), _air_inside(coarse)
    if air is None:
        return body
    across, along = air
    left, right = body[0][0] / step, body[0][1] / step
    low = min(across.start, left + right - across.stop)
    high = max(across.stop, left + right - across.start)
    box = (
        _pad(low, high, step, plane_shape[0]),
        _pad(along.start, along.stop, step, plane_shape[1]),
    )
    lengths = [(_length(span), _length(whole)) for span, whole in zip(box, body, strict=True)]
    return body if any(span < SMALLEST_SHARE * whole for span, whole in lengths) else box


def _air_inside(coarse: NDArray[Any]) -> tuple[slice, slice] | None:
    """Find the box around the large connected parts of the air that tissue encloses in its plane.

    Returns:
        Its pixels along x and y; None without such air.
    """
    tissue = coarse > BODY_HU
    parts, count = label_parts(open_mask(fill_holes(tissue) & ~tissue, 1))
    return _box_of_large(parts, count, LUNG_SHARE) if count else None


def _box_of_large(parts: NDArray[np.integer[Any]], count: int, share: float) -> tuple[slice, slice]:
    """Find the box, in x and y, around the parts of at least this share of the largest one.

    Args:
        parts: Labels of the parts from 1, shape ``(N, X', Y')``.
        count: Number of parts.
        share: The share, more than 0.
    """
    sizes = part_sizes(parts, count)[1:]
    boxes = ndimage.find_objects(parts)
    large = [boxes[part] for part in np.flatnonzero(sizes >= share * sizes.max())]
    across, along = (
        slice(min(box[axis].start for box in large), max(box[axis].stop for box in large))
        for axis in (1, 2)
    )
    return across, along


def _pad(start: float, stop: float, step: int, size: int) -> tuple[int, int]:
    margin = MARGIN * (stop - start)
    first, last = math.floor((start - margin) * step), math.ceil((stop + margin) * step)
    return max(0, first), min(size, last)


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]


def _grow(coarse: slice, step: int, size: int) -> tuple[int, int]:
    margin = 2 * step
    return max(0, coarse.start * step - margin), min(size, coarse.stop * step + margin)
