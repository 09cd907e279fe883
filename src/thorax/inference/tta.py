"""Variants of a scan on the canvas that a good network segments alike: mirrored, shifted a little.

Their mean is a little better than one of them, and where they disagree there is doubt.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import LOWEST_HU

Canvas = NDArray[Any]

SHIFT = 3
"""Pixels; about 1 cm of a chest on a canvas of 128."""

_SIDED = frozenset(["l", "r", "rul", "rml", "rll", "lul", "lll", "lingula"])
"""Words that tell sides, besides left and right: letters, and the lobes of the lungs."""

MIRRORED = "mirrored"


@dataclass(frozen=True)
class TTATransform:
    """A change of all planes of a scan, and the way back for maps.

    Args:
        name: For people.
        apply: Changes planes, ``(N, H, W)``.
        invert: Changes maps back, ``(N, H, W, R)``.
    """

    name: str
    apply: Callable[[Canvas], Canvas]
    invert: Callable[[Canvas], Canvas]


IDENTITY = TTATransform("as it is", lambda planes: planes, lambda maps: maps)


def transforms_for(regions: Sequence[str]) -> tuple[TTATransform, ...]:
    """The variants for a model of these regions; none is mirrored that tells left from right.

    Example:
        >>> [variant.name for variant in transforms_for(["lung"])]
        ['as it is', 'mirrored', 'shifted', 'shifted back']
        >>> [variant.name for variant in transforms_for(["left_lung", "right_lung"])]
        ['as it is', 'shifted', 'shifted back']
    """
    mirrored = (
        [] if any(map(_is_sided, regions)) else [TTATransform(MIRRORED, _mirrored, _mirrored)]
    )
    return (
        IDENTITY,
        *mirrored,
        _shifted("shifted", SHIFT),
        _shifted("shifted back", -SHIFT),
    )


def shift(canvas: Canvas, pixels: int, *, fill: float) -> Canvas:
    """Move planes or maps along H and W alike; what comes in is ``fill``.

    Args:
        canvas: Shape ``(N, H, W)`` or ``(N, H, W, R)``.
        pixels: How far; negative towards the first pixel.
        fill: Value beyond the border.

    Example:
        >>> shift(np.array([[[1, 2], [3, 4]]]), 1, fill=0).tolist()
        [[[0, 0], [0, 1]]]
    """
    moved = np.full_like(canvas, fill)
    side = canvas.shape[1]
    to, source = (slice(max(0, way), max(0, side + min(0, way))) for way in (pixels, -pixels))
    moved[:, to, to] = canvas[:, source, source]
    return moved


def _is_sided(region: str) -> bool:
    words = re.split(r"[\W\d_]+", region.lower())
    return "left" in region.lower() or "right" in region.lower() or not _SIDED.isdisjoint(words)


def _mirrored(canvas: Canvas) -> Canvas:
    return canvas[:, ::-1]


def _shifted(name: str, pixels: int) -> TTATransform:
    return TTATransform(
        name,
        lambda planes: shift(planes, pixels, fill=LOWEST_HU),
        lambda maps: shift(maps, -pixels, fill=0.0),
    )
