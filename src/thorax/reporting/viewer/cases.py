"""What a page shows of one case: a reduced scan, its masks and their surfaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.imaging.body import body_box, coarse_planes, coarse_step
from thorax.imaging.grid import Box, Volume, check_same_grid
from thorax.imaging.intensity import HU, IntensityScale, whole_hu
from thorax.imaging.intensity_detection import detect_intensity_of_scan
from thorax.imaging.regions import Regions, regions_in_masks
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan
from thorax.reporting.viewer.downsample import (
    HU_LEVELS,
    Levels,
    mask_bytes,
    reduce_mask,
    reduce_scan,
)
from thorax.reporting.viewer.mz3 import surface_bytes
from thorax.visualization.drawing import peaks

NO_REGIONS = Regions({"none": (1,)})
"""Stands for the regions of no masks."""


@dataclass(frozen=True)
class NamedWindow:
    """Values between which grey runs from black to white, and what radiologists call it."""

    name: str
    low: float
    high: float


LUNG = NamedWindow("Lung", -1350, 150)
"""Centre -600 HU, width 1500 HU."""

MEDIASTINUM = NamedWindow("Mediastinum", -160, 240)
"""Centre 40 HU, width 400 HU."""


@dataclass(frozen=True, eq=False)
class ShownMask:
    """A mask as a page holds it.

    Args:
        labels: Gzip NIfTI of label values, over the same box of space as the scan.
        surfaces: Region → gzip MZ3; a region that the mask does not show is left out.
    """

    labels: bytes
    surfaces: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class ViewerCase:
    """What a page shows of one case.

    Args:
        name: Of the case, as people know it.
        scan: Gzip NIfTI of 8 bits, whose slope and intercept give HU.
        masks: By name, in the order in which they are listed; the first is drawn with solid lines,
            the others with dashed ones.
        regions: Which label values make which region.
        windows: Which the reader may choose from; the first is there at the start.
        start: Where the three planes cross at first, as shares 0..1 of the box along R, A and S.
        notes: What a reader should know, one sentence each.
    """

    name: str
    scan: bytes
    masks: Mapping[str, ShownMask]
    regions: Regions
    windows: tuple[NamedWindow, ...] = (LUNG, MEDIASTINUM)
    start: tuple[float, float, float] = (0.5, 0.5, 0.5)
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of scan, masks and surfaces, before they are written as text."""
        parts = [self.scan]
        for mask in self.masks.values():
            parts += [mask.labels, *mask.surfaces.values()]
        return sum(map(len, parts))


def make_viewer_case(
    name: str,
    scan: Scan,
    masks: Mapping[str, Scan],
    regions: Regions | None = None,
    *,
    domain: IntensityScale | None = None,
) -> ViewerCase:
    """Reduce a scan and its masks to what a page can hold.

    Planes are cropped to the body and to all that the masks show. A scan whose values cannot be
    recognised as HU is shown in the range that its values have.

    Args:
        name: Of the case, as people know it.
        scan: The scan.
        masks: By name, on the grid of the scan; mostly ``truth`` and ``predicted``.
        regions: Which label values make which region, in all masks; every value is one unless
            given.
        domain: What the voxel values of the scan mean; found out unless given.

    Raises:
        InputError: A mask lies on another grid or holds labels that no region names, or a file
            cannot be read.
    """
    held = CachedScan(scan)
    coarse = coarse_planes(held)
    for mask in masks.values():
        check_same_grid(mask, scan)
    if regions is None:
        regions = regions_in_masks(*masks.values()) if masks else NO_REGIONS
    look = _look(coarse, domain)
    box = _box(coarse, look, [coarse_planes(mask) for mask in masks.values()], scan.grid.shape)
    reduced = {key: reduce_mask(mask, box, regions) for key, mask in masks.items()}
    return ViewerCase(
        name,
        reduce_scan(held, box, levels=look.levels, domain=look.domain),
        {key: _shown(mask, regions) for key, mask in reduced.items()},
        regions,
        look.windows,
        _start(next(iter(reduced.values()), None), regions),
        (*scan.notes, *look.notes),
    )


@dataclass(frozen=True)
class _Look:
    """What the values of a scan mean, and how they are shown."""

    domain: IntensityScale
    levels: Levels
    windows: tuple[NamedWindow, ...]
    notes: tuple[str, ...] = ()


def _look(coarse: NDArray[Any], domain: IntensityScale | None) -> _Look:
    if domain is not None:
        return _Look(domain, HU_LEVELS, (LUNG, MEDIASTINUM))
    try:
        known = detect_intensity_of_scan(coarse)
    except InputError:
        low, high = (float(value) for value in np.quantile(coarse, [0.001, 0.999]))
        high = high if high > low else low + 1.0
        note = "The values of this scan were not recognised as HU: it is shown in their own range."
        return _Look(HU, Levels(low, high), (NamedWindow("Whole range", low, high),), (note,))
    return _Look(known.domain, HU_LEVELS, (LUNG, MEDIASTINUM), known.notes)


def _box(
    coarse: NDArray[Any], look: _Look, masks: Sequence[NDArray[Any]], shape: tuple[int, int, int]
) -> Box:
    """The body and all that the masks show; the whole plane where values are no HU."""
    x, y, _ = shape
    if look.levels is not HU_LEVELS:
        return (0, x), (0, y)
    (left, right), (back, front) = body_box(whole_hu(look.domain.to_hu(coarse)), (x, y))
    step = coarse_step((x, y))
    for mask in masks:
        for _, across, along in ndimage.find_objects((mask != 0).astype(np.uint8)):
            left, right = min(left, across.start * step - step), max(right, across.stop * step)
            back, front = min(back, along.start * step - step), max(front, along.stop * step)
    return (max(left, 0), min(right, x)), (max(back, 0), min(front, y))


def _shown(mask: Volume, regions: Regions) -> ShownMask:
    found = zip(regions.names, regions.split(mask.voxels), strict=True)
    surfaces = {name: surface_bytes(region, mask.grid) for name, region in found}
    return ShownMask(mask_bytes(mask), {name: mesh for name, mesh in surfaces.items() if mesh})


def _start(mask: Volume | None, regions: Regions) -> tuple[float, float, float]:
    """Where there is most of the last region that the first mask shows; else the middle."""
    if mask is None:
        return 0.5, 0.5, 0.5
    split = regions.split(mask.voxels)
    counts = [np.count_nonzero(split, axis=axes) for axes in ((2, 3), (1, 3), (1, 2))]
    x, y, z = (
        (place + 0.5) / size for place, size in zip(peaks(counts), mask.grid.shape, strict=True)
    )
    return x, y, z
