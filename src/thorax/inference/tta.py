"""Test-time augmentation: mirrored and slightly shifted copies of a scan on the canvas.

Their mean is slightly better than a single prediction. Disagreement between them is a quality
warning.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import LOWEST_HU

Canvas = NDArray[Any]

Floats = NDArray[np.float32]

SHIFT = 3
"""Pixels; about 1 cm of a chest on a canvas of 128."""

_SIDED_WORDS = frozenset(["l", "r", "rul", "rml", "rll", "lul", "lll", "lingula"])
"""Words for a side, apart from left and right: letters, and the lobes of the lungs."""

MIRRORED = "mirrored"


@dataclass(frozen=True)
class TTATransform:
    """A transform of all slices of a scan, and its inverse for probability maps.

    Args:
        name: Name in the settings of a manifest.
        apply: Transforms slices, ``(N, H, W)``.
        invert: Transforms probability maps back, ``(N, H, W, R)``.
    """

    name: str
    apply: Callable[[Canvas], Canvas]
    invert: Callable[[Canvas], Canvas]

    def shown(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels of slices of a shape ``(H, W)`` the transformed copy shows.

        Pixels that are shifted out of the canvas are not.
        """
        return self.invert(np.ones((1, *shape, 1), dtype=bool))[0, ..., 0]


IDENTITY = TTATransform("identity", lambda slices: slices, lambda maps: maps)


def transforms_for(regions: Sequence[str]) -> tuple[TTATransform, ...]:
    """Return the transforms for a model; without mirroring if a region is left or right.

    Example:
        >>> [transform.name for transform in transforms_for(["lung"])]
        ['identity', 'mirrored', 'shifted by 3', 'shifted by -3']
        >>> [transform.name for transform in transforms_for(["left_lung", "right_lung"])]
        ['identity', 'shifted by 3', 'shifted by -3']
    """
    sided = any(map(_is_sided, regions))
    return (
        IDENTITY,
        *([] if sided else [TTATransform(MIRRORED, _mirror, _mirror)]),
        _shift_by(SHIFT),
        _shift_by(-SHIFT),
    )


def average(
    predictions: Iterable[tuple[TTATransform, Floats]], *, threshold: float
) -> tuple[Floats, list[NDArray[np.bool_]]]:
    """Return the mean of probability maps and the masks of each, to be compared with each other.

    Each pixel is the mean over the copies of the scan that show it. The masks are limited to the
    pixels that all copies show.

    Args:
        predictions: One or more transforms, each with the maps of its copy transformed back,
            ``(N, H, W, R)``. One is read at a time, so that an iterator saves memory.
        threshold: Probability threshold of the masks.

    Returns:
        Mean of shape ``(N, H, W, R)``, and one mask of this shape per prediction.

    Raises:
        ValueError: There is no prediction.
    """
    total, copies, masks = None, np.zeros((), np.float32), []
    for transform, maps in predictions:
        total = maps if total is None else total + maps
        copies = copies + transform.shown(maps.shape[1:3])
        masks.append(maps >= threshold)
    if total is None:
        raise ValueError("there must be at least one prediction")
    if len(masks) == 1:
        return total, masks
    common = (copies == len(masks))[..., None]
    for mask in masks:
        np.logical_and(mask, common, out=mask)
    return np.divide(total, copies[..., None], out=total), masks


def shift(canvas: Canvas, pixels: int, *, fill: float) -> Canvas:
    """Shift slices or maps by the same number of pixels along H and W.

    Args:
        canvas: Shape ``(N, H, W)`` or ``(N, H, W, R)``.
        pixels: Distance; negative shifts towards the first pixel.
        fill: Value of the pixels that enter at the border.

    Example:
        >>> shift(np.array([[[1, 2], [3, 4]]]), 1, fill=0).tolist()
        [[[0, 0], [0, 1]]]
    """
    shifted = np.full_like(canvas, fill)
    side = canvas.shape[1]
    target, source = (
        slice(max(0, offset), max(0, side + min(0, offset))) for offset in (pixels, -pixels)
    )
    shifted[:, target, target] = canvas[:, source, source]
    return shifted


def _is_sided(region: str) -> bool:
    name = region.lower()
    words = re.split(r"[\W\d_]+", name)
    return "left" in name or "right" in name or not _SIDED_WORDS.isdisjoint(words)


def _mirror(canvas: Canvas) -> Canvas:
    return canvas[:, ::-1]


def _shift_by(pixels: int) -> TTATransform:
    return TTATransform(
        f"shifted by {pixels}",
        lambda slices: shift(slices, pixels, fill=LOWEST_HU),
        lambda maps: shift(maps, -pixels, fill=0.0),
    )
