"""Where in the planes the body lies, without the couch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.geometry import Box

BODY_HU = -400
"""Fat, the lightest tissue of the body wall, lies near -100 HU; couch foam lies lower than this."""
SHARE = 0.05
"""Parts smaller than this share of the largest are not body; arms and a halved scan are larger."""
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
    opened = ndimage.binary_opening(tissue, np.ones((1, 5, 5), dtype=bool))
    parts, found = ndimage.label(opened)
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


def _grow(coarse: slice, step: int, size: int) -> tuple[int, int]:
    margin = 2 * step
    return max(0, coarse.start * step - margin), min(size, coarse.stop * step + margin)
