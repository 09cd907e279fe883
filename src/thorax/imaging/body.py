"""Boxes around the body, without the couch, and around the lungs."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import Box, Slabs, corners
from thorax.imaging.morphology import EDGES, IN_PLANE, label_parts, open_mask, part_sizes

BODY_HU = -400
"""Threshold of the body. Fat, its lightest tissue, is near -100 HU; couch foam is below this."""

OUTSIDE_HU = -960
"""Air around the patient is darker in most of its pixels; lung, even with emphysema, is not."""

BODY_SHARE = 0.05
"""Parts smaller than this share of the largest are not body; arms and a halved scan are larger."""

LUNG_SHARE = 0.1
"""Enclosed air smaller than this share of the largest part is not lung, but bowel gas."""

CONSTANT_SHARE = 0.85
"""Mean section of air, as a share of its projection along z, from which it may be that of a couch.
Lungs are near 0.4, 4 cm of them near 0.8; a couch of 6 cm that sags by 1 cm is at 0.85."""

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
    return _box_of_body(_solid(coarse > BODY_HU), plane_shape)


def _solid(tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Remove thin objects from the tissue."""
    return open_mask(tissue, 2)


def _box_of_body(solid: NDArray[np.bool_], plane_shape: tuple[int, int]) -> Box:
    step = coarse_step(plane_shape)
    parts, count = label_parts(solid)
    if not count:
        return (0, plane_shape[0]), (0, plane_shape[1])
    across, along = _box_of_large(parts, count, BODY_SHARE)
    return (
        _grow(across, step, plane_shape[0]),
        _grow(along, step, plane_shape[1]),
    )


def lung_box(coarse: NDArray[Any], plane_shape: tuple[int, int], *, calibrated: bool = True) -> Box:
    """Find one box around the lungs for all planes of a scan.

    The box contains the air inside the body, also where an edge of the field of view cuts through
    the lungs, and a margin for disease in both lungs. It also contains the mirror image of the air,
    because disease may fill one lung. If the air is too small for a pair of lungs, the box is that
    of the body.

    Args:
        coarse: As for `body_box`.
        plane_shape: ``(X, Y)`` of the full planes.
        calibrated: False if the air around the patient may be brighter than -960 HU, as in exports
            with equalised grey values.
    """
    step = coarse_step(plane_shape)
    tissue = coarse > BODY_HU
    solid = _solid(tissue)
    body = _box_of_body(solid, plane_shape)
    air = _air_inside(_enclosed_air(tissue, solid, coarse if calibrated else None))
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


def _air_inside(enclosed: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Find the box around the large connected parts of the air inside the body.

    The air inside a couch is left out.

    Args:
        enclosed: As `_enclosed_air` returns it.

    Returns:
        Its pixels along x and y; None without such air.
    """
    parts, count = label_parts(open_mask(enclosed, 1))
    if not count:
        return None
    sizes, boxes = _measure(parts, count)
    while couch := _couch_parts(parts, sizes, boxes):
        sizes[couch] = 0
    return _box_around([boxes[part] for part in _large(sizes, LUNG_SHARE)])


def _enclosed_air(
    tissue: NDArray[np.bool_], solid: NDArray[np.bool_], hu: NDArray[Any] | None
) -> NDArray[np.bool_]:
    """Find air that is enclosed in its plane, by tissue or by edges that cut through the body.

    An edge cuts through the body between its first and its last pixel of tissue, and in a corner
    with air. If the scan is calibrated, that air must not be as dark as the air around the patient;
    otherwise corners are not used.

    Args:
        tissue: Pixels of tissue, shape ``(N, X', Y')``.
        solid: Those without thin objects.
        hu: HU of the planes; None if they are not calibrated.
    """
    parts, count = label_parts(~tissue, IN_PLANE)
    at_edge, at_open_edge = np.zeros((2, count + 1), dtype=bool)
    for edge in EDGES:
        at_edge[parts[edge]] = True
        at_open_edge[np.where(_between(solid[edge]), 0, parts[edge])] = True
    outside = at_open_edge
    if hu is not None:
        dark = part_sizes(np.where(hu < OUTSIDE_HU, parts, 0), count)
        in_one_corner = part_sizes(corners(parts), count) == 1
        outside = at_edge & (2 * dark > part_sizes(parts, count)) | at_open_edge & ~in_one_corner
    outside[0] = True
    enclosed: NDArray[np.bool_] = ~outside[parts]
    return enclosed


def _between(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill each edge, shape ``(N, L)``, from its first to its last pixel of tissue."""
    return (
        np.logical_or.accumulate(edges, axis=1)
        & (np.logical_or.accumulate(edges[:, ::-1], axis=1)[:, ::-1])
    )


def _couch_parts(
    parts: NDArray[np.integer[Any]], sizes: NDArray[np.intp], boxes: list[tuple[slice, ...]]
) -> list[int]:
    """Find the parts that lie beyond the lungs, and have a constant section or are cut by an edge.

    Lungs are the large parts of another kind. If there are none, the cut parts of varying section
    may be lungs, too.
    """
    large = _large(sizes, LUNG_SHARE)
    varying = [
        part for part in large if _section_share(parts[boxes[part]] == part + 1) < CONSTANT_SHARE
    ]
    width = parts.shape[1]
    cut = [part for part in large if boxes[part][1].start == 0 or boxes[part][1].stop == width]
    lungs = [part for part in varying if part not in cut] or varying
    if not lungs:
        return []
    box, most = _box_around([boxes[part] for part in lungs]), sizes[lungs].sum()
    return [
        part
        for part in large
        if (part not in varying and _is_beyond(boxes[part][1:], box))
        or (part in cut and sizes[part] <= most and not _contains(box[1], boxes[part][2]))
    ]


def _is_beyond(part: tuple[slice, ...], lungs: tuple[slice, slice]) -> bool:
    """Return True for a part in front of or behind the lungs, or a flat one beside them."""
    across, along = part
    is_flat = 2 * (across.stop - across.start) <= along.stop - along.start
    return not _contains(lungs[1], along) or (is_flat and not _contains(lungs[0], across))


def _contains(span: slice, part: slice) -> bool:
    """Return True if the middle of a part lies in a span."""
    return bool(span.start <= (part.start + part.stop) / 2 <= span.stop)


def _section_share(part: NDArray[np.bool_]) -> float:
    """Mean section of a part, shape ``(N, X', Y')``, as a share of its projection along z."""
    return float(part.sum() / (part.any(axis=0).sum() * part.any(axis=(1, 2)).sum()))


def _box_of_large(parts: NDArray[np.integer[Any]], count: int, share: float) -> tuple[slice, slice]:
    """Find the box, in x and y, around the parts of at least this share of the largest one.

    Args:
        parts: Labels of the parts from 1, shape ``(N, X', Y')``.
        count: Number of parts.
        share: The share, more than 0.
    """
    sizes, boxes = _measure(parts, count)
    return _box_around([boxes[part] for part in _large(sizes, share)])


def _measure(
    parts: NDArray[np.integer[Any]], count: int
) -> tuple[NDArray[np.intp], list[tuple[slice, ...]]]:
    """Size and box of each part, in the order of their labels."""
    return part_sizes(parts, count)[1:], ndimage.find_objects(parts)


def _large(sizes: NDArray[np.intp], share: float) -> list[int]:
    """Indices of the parts of at least this share of the largest one."""
    return [int(part) for part in np.flatnonzero(sizes >= share * sizes.max())]


def _box_around(boxes: list[tuple[slice, ...]]) -> tuple[slice, slice]:
    """Find the box, in x and y, around some boxes."""
    across, along = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
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
