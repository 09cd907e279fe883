"""Where in the planes the body lies, without the couch, and where in the body the lungs."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import Box, Slabs
from thorax.imaging.morphology import filled, opened

BODY_HU = -400
"""Fat, the lightest tissue of the body wall, lies near -100 HU; couch foam lies lower than this."""

SHARE = 0.05
"""Parts smaller than this share of the largest are not body; arms and a halved scan are larger."""

LUNG_SHARE = 0.1
"""Parts of the air inside smaller than this share of the largest, bowel gas, are no lung."""

MARGIN = 0.1
"""Share of the lungs' extent that is added on each side."""

LEAST = 0.4
"""A box smaller than this share of the body does not hold a pair of lungs."""

COARSE = 128
"""The box is looked for on planes of about this many pixels: 4 mm of a chest are fine enough."""


def coarse_step(plane_shape: tuple[int, int]) -> int:
    """How many voxels to stride in the planes for the search."""
    return max(1, max(plane_shape) // COARSE)


def body_box(coarse: NDArray[Any], plane_shape: tuple[int, int]) -> Box:
    """Box around the body in a scan, one box for all its planes.

    Thin things (couch, clothes, cables) go by a morphological opening in the plane. Where nothing
    is left, as in a scan of air, the box is the whole plane.

    Args:
        coarse: HU of the canonical planes, every `coarse_step` voxel in x and y, shape
            ``(N, X', Y')``.
        plane_shape: ``(X, Y)`` of the full planes.
    """
    step = coarse_step(plane_shape)
    whole = ((0, plane_shape[0]), (0, plane_shape[1]))
    tissue = coarse > BODY_HU
    parts, found = ndimage.label(opened(tissue, 2))
    if not found:
        return whole
    sizes = np.bincount(parts.ravel())
    large = sizes >= SHARE * sizes[1:].max()
    large[0] = False
    _, across, along = ndimage.find_objects(large[parts].astype(np.uint8))[0]
    return (
        _grow(across, step, plane_shape[0]),
        _grow(along, step, plane_shape[1]),
    )


def lung_box(coarse: NDArray[Any], plane_shape: tuple[int, int]) -> Box:
    """Box around the lungs in a scan, one box for all its planes.

    It holds the air inside the body, its mirror image about the middle of the body, because one
    lung may be white with disease, and a margin for what is white in both. Where too little is
    found for a pair of lungs, the box is that of the body.

    Args:
        coarse: As for `body_box`.
        plane_shape: ``(X, Y)`` of the full planes.
    """
    step = coarse_step(plane_shape)
    body = body_box(coarse, plane_shape)
    air = _air_inside(coarse)
    if not air.any():
        return body
    _, across, along = ndimage.find_objects(air.astype(np.uint8))[0]
    left, right = body[0][0] / step, body[0][1] / step
    low = min(across.start, left + right - across.stop)
    high = max(across.stop, left + right - across.start)
    box = (
        _pad(low, high, step, plane_shape[0]),
        _pad(along.start, along.stop, step, plane_shape[1]),
    )
    if any(_length(found) < LEAST * _length(whole) for found, whole in zip(box, body, strict=True)):
        return body
    return box


def _air_inside(coarse: NDArray[Any]) -> NDArray[np.bool_]:
    """Air that tissue encloses in its plane, as far as it hangs together in large parts."""
    tissue = coarse > BODY_HU
    air = opened(filled(tissue) & ~tissue, 1)
    parts, found = ndimage.label(air)
    if not found:
        return air
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= LUNG_SHARE * sizes.max())[parts]


def _pad(start: float, stop: float, step: int, size: int) -> tuple[int, int]:
    margin = MARGIN * (stop - start)
    first, last = math.floor((start - margin) * step), math.ceil((stop + margin) * step)
    return max(0, first), min(size, last)


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]


def _grow(coarse: slice, step: int, size: int) -> tuple[int, int]:
    margin = 2 * step
    return max(0, coarse.start * step - margin), min(size, coarse.stop * step + margin)


def coarse_planes(scan: Slabs) -> NDArray[Any]:
    """Every plane, lowest first, with few of its voxels: see `thorax.imaging.body.coarse_step`."""
    step = coarse_step(scan.grid.shape[:2])
    parts = [(start, planes[:, ::step, ::step].copy()) for start, planes in scan.slabs()]
    return np.concatenate([planes for _, planes in sorted(parts, key=lambda part: part[0])])
