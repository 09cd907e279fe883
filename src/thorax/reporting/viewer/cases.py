"""Cases of the viewer: a reduced scan, its masks and their surfaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.common.errors import InputError
from thorax.imaging.body import body_box, coarse_planes, coarse_step
from thorax.imaging.grid import Box, Volume, check_same_grid, grid_note
from thorax.imaging.intensity import HU, LOWEST_HU, IntensityScale, whole_hu
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
from thorax.visualization.drawing import busiest_indices

NO_REGIONS = Regions({"none": (1,)})
"""Placeholder for scans without masks."""


@dataclass(frozen=True)
class NamedWindow:
    """A display window: the values of black and white, and its name in radiology."""

    name: str
    low: float
    high: float


CT_WINDOWS = (NamedWindow("Lung", -1350, 150), NamedWindow("Mediastinum", -160, 240))
"""Centre -600 HU, width 1500 HU, and centre 40 HU, width 400 HU."""


@dataclass(frozen=True, eq=False)
class ViewerMask:
    """A mask in the viewer.

    Args:
        labels: Gzip NIfTI of label values that covers the same box as the scan.
        surfaces: Region → gzip MZ3; empty regions are left out.
    """

    labels: bytes
    surfaces: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class ViewerCase:
    """A case in the viewer.

    Args:
        name: Name of the case.
        scan: Gzip NIfTI of 8 bits; slope and intercept give HU.
        masks: Masks by name, in the order of the legend; the first has solid outlines, the others
            dashed ones.
        regions: Label values of each region.
        windows: Display windows; the first is active at the start.
        start: First position of the three slices, as shares 0..1 of the box along R, A and S.
        notes: Notes for the reader, one sentence each.
    """

    name: str
    scan: bytes
    masks: Mapping[str, ViewerMask]
    regions: Regions
    windows: tuple[NamedWindow, ...] = CT_WINDOWS
    start: tuple[float, float, float] = (0.5, 0.5, 0.5)
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of scan, masks and surfaces before Base64 encoding."""
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
    intensity: IntensityScale | None = None,
) -> ViewerCase:
    """Reduce a scan and its masks to the size of a page.

    Slices are cropped to the body and the masks. A scan whose intensity scale is not detected is
    displayed in the range of its values.

    Args:
        name: Name of the case.
        scan: The scan.
        masks: Masks by name, on the grid of the scan; usually ``truth`` and ``predicted``.
        regions: Label values of each region, in all masks; None for one region per label value.
        intensity: Intensity scale of the scan; None to detect it.

    Raises:
        InputError: A mask has another grid or labels of no region, or a file cannot be read.
    """
    cached = CachedScan(scan)
    coarse = coarse_planes(cached)
    for mask in masks.values():
        check_same_grid(mask, scan)
    offsets = [note for mask in masks.values() for note in grid_note(mask, scan)]
    if regions is None:
        regions = regions_in_masks(*masks.values()) if masks else NO_REGIONS
    display = _display(coarse, intensity)
    box = _box(coarse, display, [coarse_planes(mask) for mask in masks.values()], scan.grid.shape)
    reduced = {key: reduce_mask(mask, box, regions, grid=scan.grid) for key, mask in masks.items()}
    return ViewerCase(
        name,
        reduce_scan(cached, box, levels=display.levels, intensity=display.intensity),
        {key: _viewer_mask(mask, regions) for key, mask in reduced.items()},
        regions,
        display.windows,
        _start(next(iter(reduced.values()), None), regions),
        (*scan.warnings, *scan.notes, *display.notes, *offsets),
    )


@dataclass(frozen=True)
class _Display:
    """Intensity scale of a scan, and its grey levels and windows."""

    intensity: IntensityScale
    levels: Levels
    windows: tuple[NamedWindow, ...]
    notes: tuple[str, ...] = ()


def _display(coarse: NDArray[Any], intensity: IntensityScale | None) -> _Display:
    if intensity is not None:
        return _Display(intensity, HU_LEVELS, CT_WINDOWS)
    try:
        detected = detect_intensity_of_scan(coarse)
    except InputError:
        low, high = (
            float(value)
            for value in np.quantile(np.nan_to_num(coarse, nan=LOWEST_HU), [0.001, 0.999])
        )
        high = high if high > low else low + 1.0
        note = "Unknown intensity scale: the scan is displayed in the range of its values."
        return _Display(HU, Levels(low, high), (NamedWindow("Whole range", low, high),), (note,))
    return _Display(detected.scale, HU_LEVELS, CT_WINDOWS, detected.notes)


def _box(
    coarse: NDArray[Any],
    display: _Display,
    masks: Sequence[NDArray[Any]],
    shape: tuple[int, int, int],
) -> Box:
    """Box around body and masks; the whole slice if the values are not HU."""
    x, y, _ = shape
    if display.levels is not HU_LEVELS:
        return (0, x), (0, y)
    (left, right), (back, front) = body_box(whole_hu(display.intensity.to_hu(coarse)), (x, y))
    step = coarse_step((x, y))
    for mask in masks:
        for _, across, along in ndimage.find_objects((mask != 0).astype(np.uint8)):
            left, right = min(left, across.start * step - step), max(right, across.stop * step)
            back, front = min(back, along.start * step - step), max(front, along.stop * step)
    return (max(left, 0), min(right, x)), (max(back, 0), min(front, y))


def _viewer_mask(mask: Volume, regions: Regions) -> ViewerMask:
    split = zip(regions.names, regions.split(mask.voxels), strict=True)
    surfaces = {name: surface_bytes(region, mask.grid) for name, region in split}
    return ViewerMask(mask_bytes(mask), {name: mesh for name, mesh in surfaces.items() if mesh})


def _start(mask: Volume | None, regions: Regions) -> tuple[float, float, float]:
    """Slices with the largest area of the last region of the first mask; else the middle."""
    if mask is None:
        return 0.5, 0.5, 0.5
    split = regions.split(mask.voxels)
    counts = [np.count_nonzero(split, axis=axes) for axes in ((2, 3), (1, 3), (1, 2))]
    x, y, z = (
        (index + 0.5) / size
        for index, size in zip(busiest_indices(counts), mask.grid.shape, strict=True)
    )
    return x, y, z
