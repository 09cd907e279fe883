"""Measure the regions of a scan slab by slab: volumes, densities and extents."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.grid import FACES, Grid, mask_box
from thorax.imaging.lung_sides import SIDE_NAMES
from thorax.inference.statistics import (
    PartStatistics,
    Point,
    RegionStatistics,
    ScanStatistics,
    Voxel,
)

LOW_HU = (-32768, -951)
"""Below -950 HU at full inspiration: emphysema (Gevenois et al., AJRCCM 1995;152:653-657)."""

HIGH_HU = (-600, -250)
"""Ground glass and reticulation: the high attenuation area of Lederer et al., AJRCCM
2009;180:407-414."""

PERCENTILES = (5, 50, 95)

_LOWEST, _VALUES = -32768, 65536

_HU = np.arange(_VALUES, dtype=np.float64) + _LOWEST

_FIRST_KEY = np.arange(1 + len(SIDE_NAMES), dtype=np.intp) * _VALUES - _LOWEST
"""Position of 0 HU in the histograms of each side, one after the other."""

_WHOLE = 0

Mask = NDArray[np.bool_]


class RegionMeasurements:
    """Accumulates the statistics of a scan's regions, for the whole region and by side.

    It keeps a histogram of HU and a bounding box for each region and side. The statistics are
    therefore exact, and independent of the order of the slabs.

    Args:
        names: Names of the regions; the share of the first one is measured for all others.
        grid: Grid of the scan, canonical axes.

    Example:
        >>> grid = Grid((2, 1, 1), np.diag([10.0, 10.0, 5.0, 1.0]))
        >>> measurements = RegionMeasurements(("lung",), grid)
        >>> hu = np.array([[[-800], [40]]], np.int16)
        >>> measurements.add(0, hu, np.array([[[[True], [False]]]]), None)
        >>> whole = measurements.result().regions["lung"].whole
        >>> whole.voxels, whole.mean_hu, whole.touches_border
        (1, -800.0, ('left', 'back', 'front', 'feet', 'head'))
    """

    def __init__(self, names: tuple[str, ...], grid: Grid) -> None:
        self._names = names
        self._grid = grid
        self._sided = False
        parts = (len(names), 1 + len(SIDE_NAMES))
        # For each region: voxels without a side (0), right (1), left (2).
        self._histograms = np.zeros((*parts, _VALUES), dtype=np.int64)
        self._within_first = np.zeros(parts, dtype=np.int64)
        # For each region: the whole (0), right (1), left (2); first and last voxel along x, y, z.
        self._first = np.full((*parts, 3), np.iinfo(np.int64).max)
        self._last = np.full((*parts, 3), -1)

    def add(
        self,
        start: int,
        hu: NDArray[np.int16],
        masks: Mask,
        sides: NDArray[np.uint8] | None,
        *,
        corner: tuple[int, int] = (0, 0),
    ) -> None:
        """Add a slab, or a crop of it outside of which all masks are empty.

        Args:
            start: Index of the lowest slice of the slab.
            hu: Shape ``(n, x, y)``.
            masks: One mask per region, shape ``(R, n, x, y)``.
            sides: 0 none, 1 right, 2 left, shape ``(n, x, y)``; None if the sides are unknown.
            corner: Index of the first voxel of the crop along x and y.

        Raises:
            ValueError: The shapes do not match each other or the grid.
        """
        lowest = (*corner, start)
        self._check(lowest, hu, masks, sides)
        self._sided |= sides is not None
        for region, mask in enumerate(masks):
            box = mask_box(mask)
            inside = mask[box]
            if not inside.size:
                continue
            side = np.zeros_like(inside, dtype=np.uint8) if sides is None else sides[box]
            self._count(region, hu[box][inside], side[inside])
            if region > 0:
                self._within_first[region] += _counts(inside & masks[0][box], side)
            self._extend(region, lowest, box, inside if sides is None else side * inside)

    def result(self) -> ScanStatistics:
        """Return the statistics of all slabs added so far, without expected Dice."""
        x, y, z = self._grid.shape
        return ScanStatistics(
            shape=(x, y, z),
            spacing_mm=self._grid.spacing_mm,
            voxel_ml=self._grid.voxel_ml,
            regions={
                name: RegionStatistics(
                    self._statistics(region, _WHOLE),
                    {name: self._statistics(region, side) for side, name in self._sides().items()},
                )
                for region, name in enumerate(self._names)
            },
        )

    def _sides(self) -> dict[int, str]:
        return dict(SIDE_NAMES) if self._sided else {}

    def _count(self, region: int, hu: NDArray[np.int16], sides: NDArray[np.uint8]) -> None:
        keys = _FIRST_KEY[sides]
        keys += hu
        histograms = self._histograms[region]
        histograms += np.bincount(keys, minlength=histograms.size).reshape(histograms.shape)

    def _extend(
        self, region: int, lowest: Voxel, box: tuple[slice, ...], sides: NDArray[np.uint8] | Mask
    ) -> None:
        offset = np.array([box[1].start, box[2].start, box[0].start]) + lowest
        for part in (_WHOLE, *self._sides()):
            z, x, y = mask_box(sides if part == _WHOLE else sides == part)
            if z.stop:
                index = (region, part)
                low = np.array([x.start, y.start, z.start]) + offset
                high = np.array([x.stop, y.stop, z.stop]) - 1 + offset
                self._first[index] = np.minimum(self._first[index], low)
                self._last[index] = np.maximum(self._last[index], high)

    def _statistics(self, region: int, part: int) -> PartStatistics:
        histogram = _of_part(self._histograms[region], part)
        voxels = int(histogram.sum())
        return PartStatistics(
            voxels,
            voxels * self._grid.voxel_ml,
            **_densities(histogram),
            **self._extent(region, part),
            share_of_first=self._share_of_first(region, part),
        )

    def _share_of_first(self, region: int, part: int) -> float | None:
        first = int(_of_part(self._histograms[0], part).sum())
        within = int(_of_part(self._within_first[region], part).sum())
        return within / first if first and region > 0 else None

    def _extent(self, region: int, part: int) -> dict[str, Any]:
        first, last = self._first[region, part], self._last[region, part]
        if last[0] < 0:
            return {}
        ends = np.array([first == 0, last == np.array(self._grid.shape) - 1]).T
        return {
            "box_voxels": (_voxel(first), _voxel(last)),
            "box_mm": _edges_mm(first, last, self._grid),
            "touches_border": tuple(
                face
                for faces, reached in zip(FACES, ends, strict=True)
                for face, touches in zip(faces, reached, strict=True)
                if touches
            ),
        }

    def _check(
        self, lowest: Voxel, hu: NDArray[Any], masks: Mask, sides: NDArray[np.uint8] | None
    ) -> None:
        shapes = {hu.shape, masks.shape[1:]} | (set() if sides is None else {sides.shape})
        if len(shapes) > 1 or len(masks) != len(self._names):
            raise ValueError(
                f"a slab must have {len(self._names)} masks of the shape of its HU, got HU "
                f"{hu.shape}, masks {masks.shape}, sides {None if sides is None else sides.shape}"
            )
        planes, x, y = hu.shape
        beyond = np.add(lowest, (x, y, planes))
        if min(lowest) < 0 or (beyond > self._grid.shape).any():
            raise ValueError(
                f"a slab must be within the {self._grid.shape} voxels of the grid, got "
                f"{lowest} to {tuple((beyond - 1).tolist())}"
            )


def _of_part(counts: NDArray[np.int64], part: int) -> NDArray[np.int64]:
    return counts.sum(axis=0) if part == _WHOLE else counts[part]


def _densities(histogram: NDArray[np.int64]) -> dict[str, Any]:
    """Return the density fields of `PartStatistics`; none for an empty histogram of HU."""
    total = int(histogram.sum())
    if not total:
        return {}
    mean = float(histogram @ _HU) / total
    variance = float(histogram @ (_HU - mean) ** 2) / total
    cumulative = np.cumsum(histogram)
    return {
        "mean_hu": mean,
        "sd_hu": variance**0.5,
        "percentiles_hu": {
            percent: int(_HU[np.searchsorted(cumulative, percent / 100 * total)])
            for percent in PERCENTILES
        },
        "low_attenuation_share": float(histogram[_between(LOW_HU)].sum()) / total,
        "high_attenuation_share": float(histogram[_between(HIGH_HU)].sum()) / total,
    }


def _between(limits: tuple[int, int]) -> slice:
    low, high = limits
    return slice(low - _LOWEST, high - _LOWEST + 1)


def _voxel(index: NDArray[Any]) -> Voxel:
    x, y, z = index.tolist()
    return x, y, z


def _edges_mm(first: NDArray[Any], last: NDArray[Any], grid: Grid) -> tuple[Point, Point]:
    """Return the lowest and highest R, A and S of the outer corners of a box of voxels, in mm."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T
    voxels = np.where(corners, last + 0.5, first - 0.5)
    mm = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    (r, a, s), (r_high, a_high, s_high) = mm.min(axis=0).tolist(), mm.max(axis=0).tolist()
    return (r, a, s), (r_high, a_high, s_high)


def _counts(mask: Mask, sides: NDArray[np.uint8]) -> list[int]:
    """Count the voxels of a mask without a side (0), right (1) and left (2)."""
    counts = [int(np.count_nonzero(mask & (sides == side))) for side in SIDE_NAMES]
    return [int(np.count_nonzero(mask)) - sum(counts), *counts]
