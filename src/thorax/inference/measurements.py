"""Figures of the regions of a scan: volumes, densities, extents, added up slab by slab."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.grid import FACES, Grid
from thorax.imaging.lung_sides import side_names

LOW_HU = (-32768, -951)
"""Below -950 HU at full inspiration: emphysema (Gevenois et al., AJRCCM 1995;152:653-657)."""

HIGH_HU = (-600, -250)
"""Ground glass and reticulation: the high attenuation area of Lederer et al., AJRCCM
2009;180:407-414."""

PERCENTILES = (5, 50, 95)

_LOWEST, _VALUES = -32768, 65536

_HU = np.arange(_VALUES, dtype=np.float64) + _LOWEST

_WHOLE = 0

Json = dict[str, Any]

Mask = NDArray[np.bool_]


class RegionMeasurements:
    """Adds up the figures of a scan's regions, in whole and by side.

    What is kept is a histogram of HU and a box for each region and side, so the figures of slabs
    are those of the scan exactly, in whatever order they come.

    Args:
        names: Names of the regions; the first is the one that the others are set against.
        grid: Grid of the scan, canonical axes.

    Example:
        >>> volumes = RegionMeasurements(("lung",), Grid((2, 1, 1), np.diag([10.0, 10.0, 5.0, 1.0])))
        >>> hu = np.array([[[-800], [40]]], np.int16)
        >>> volumes.add(0, hu, np.array([[[[True], [False]]]]), None)
        >>> whole = volumes.result()["regions"]["lung"]["whole"]
        >>> whole["voxels"], whole["mean_hu"], whole["touches"]
        (1, -800.0, ['left', 'back', 'front', 'feet', 'head'])
    """

    def __init__(self, names: tuple[str, ...], grid: Grid) -> None:
        self._names = names
        self._grid = grid
        self._sided = False
        parts = (len(names), 1 + len(side_names))
        # Of each region: all that has no side (0), right (1), left (2).
        self._histograms = np.zeros((*parts, _VALUES), dtype=np.int64)
        self._within_first = np.zeros(parts, dtype=np.int64)
        # Of each region: the whole (0), right (1), left (2); first voxel and last along x, y, z.
        self._first = np.full((*parts, 3), np.iinfo(np.int64).max)
        self._last = np.full((*parts, 3), -1)

    def add(
        self,
        start: int,
        hu: NDArray[np.int16],
        masks: Mask,
        sides: NDArray[np.uint8] | None,
    ) -> None:
        """Add the planes from ``start`` on.

        Args:
            start: Index of the lowest plane of the slab.
            hu: Shape ``(n, X, Y)``.
            masks: One a region, shape ``(R, n, X, Y)``.
            sides: 0 none, 1 right, 2 left, shape ``(n, X, Y)``; None where sides are not told.

        Raises:
            ValueError: Shapes do not belong together or to the grid.
        """
        self._check(start, hu, masks, sides)
        self._sided |= sides is not None
        for region, mask in enumerate(masks):
            box = _box(mask)
            if box is None:
                continue
            inside = mask[box]
            own = np.zeros_like(inside, dtype=np.uint8) if sides is None else sides[box]
            self._count(region, hu[box][inside], own[inside])
            self._within_first[region] += _counts(own[inside & masks[0][box]])
            self._extend(region, start, box, inside if sides is None else own * inside)

    def result(self) -> Json:
        """Return all figures, ready for JSON.

        Returns:
            ``shape``, ``spacing_mm`` and ``voxel_ml`` of the scan and ``regions``: region name →
            ``whole``, and where sides are told ``right`` and ``left`` → ``voxels``, ``volume_ml``,
            ``mean_hu``, ``sd_hu``, ``percentiles_hu``, ``low_attenuation_share`` (below -950 HU),
            ``high_attenuation_share`` (-600..-250 HU), ``box_voxels`` (first and last along x, y,
            z), ``box_mm`` (RAS+, outer edges), ``touches`` (faces of the field of view). Regions
            after the first have ``share_of_<first>``: how much of the first they take up. What is
            undefined, as the mean of an empty region, is None.
        """
        return {
            "shape": list(self._grid.shape),
            "spacing_mm": list(self._grid.spacing_mm),
            "voxel_ml": self._grid.voxel_ml,
            "regions": {
                name: {part: self._figures(region, index) for index, part in self._parts().items()}
                for region, name in enumerate(self._names)
            },
        }

    def _parts(self) -> dict[int, str]:
        return {_WHOLE: "whole"} | (side_names if self._sided else {})

    def _count(self, region: int, hu: NDArray[np.int16], sides: NDArray[np.uint8]) -> None:
        keys = hu.astype(np.int64)
        keys -= _LOWEST
        keys += sides.astype(np.int64) * _VALUES
        histograms = self._histograms[region]
        histograms += np.bincount(keys, minlength=histograms.size).reshape(histograms.shape)

    def _extend(
        self, region: int, start: int, box: tuple[slice, ...], sides: NDArray[np.uint8] | Mask
    ) -> None:
        offset = np.array([box[1].start, box[2].start, box[0].start + start])
        for part in self._parts():
            found = _box(sides > 0 if part == _WHOLE else sides == part)
            if found is not None:
                z, x, y = found
                low, high = (
                    np.array([x.start, y.start, z.start]),
                    np.array([x.stop, y.stop, z.stop]),
                )
                own = (region, part)
                self._first[own] = np.minimum(self._first[own], low + offset)
                self._last[own] = np.maximum(self._last[own], high - 1 + offset)

    def _figures(self, region: int, part: int) -> Json:
        voxels = int(self._of(self._histograms[region], part).sum())
        figures: Json = {"voxels": voxels, "volume_ml": voxels * self._grid.voxel_ml}
        figures |= _densities(self._of(self._histograms[region], part))
        figures |= self._place(region, part)
        if region > 0:
            first = int(self._of(self._histograms[0], part).sum())
            within = int(self._of(self._within_first[region], part).sum())
            figures[f"share_of_{self._names[0]}"] = within / first if first else None
        return figures

    def _of(self, counts: NDArray[np.int64], part: int) -> NDArray[np.int64]:
        return counts.sum(axis=0) if part == _WHOLE else counts[part]

    def _place(self, region: int, part: int) -> Json:
        first, last = self._first[region, part], self._last[region, part]
        if last[0] < 0:
            return {"box_voxels": None, "box_mm": None, "touches": []}
        ends = np.array([first == 0, last == np.array(self._grid.shape) - 1]).T
        return {
            "box_voxels": [first.tolist(), last.tolist()],
            "box_mm": _edges_mm(first, last, self._grid),
            "touches": [
                face
                for faces, touched in zip(FACES, ends, strict=True)
                for face, touches in zip(faces, touched, strict=True)
                if touches
            ],
        }

    def _check(
        self, start: int, hu: NDArray[Any], masks: Mask, sides: NDArray[np.uint8] | None
    ) -> None:
        x, y, depth = self._grid.shape
        shapes = {hu.shape, masks.shape[1:]} | (set() if sides is None else {sides.shape})
        if len(shapes) > 1 or hu.shape[1:] != (x, y) or len(masks) != len(self._names):
            raise ValueError(
                f"a slab must hold {len(self._names)} masks of {x}×{y} voxels a plane, got HU "
                f"{hu.shape}, masks {masks.shape}, sides {None if sides is None else sides.shape}"
            )
        if not 0 <= start <= depth - len(hu):
            raise ValueError(
                f"a slab must lie within {depth} planes, got {start}..{start + len(hu) - 1}"
            )


def volumes_ml(statistics: Json) -> dict[str, float]:
    """Volume of each region in whole, from what `RegionMeasurements.result` gives."""
    regions = statistics["regions"].items()
    return {name: figures["whole"]["volume_ml"] for name, figures in regions}


def _densities(histogram: NDArray[np.int64]) -> Json:
    """Figures of a histogram of HU; None where it is empty."""
    keys = ("mean_hu", "sd_hu", "percentiles_hu", "low_attenuation_share", "high_attenuation_share")
    total = int(histogram.sum())
    if not total:
        return dict.fromkeys(keys)
    mean = float(histogram @ _HU) / total
    spread = float(histogram @ (_HU - mean) ** 2) / total
    reached = np.cumsum(histogram)
    percentiles = {
        str(percent): int(_HU[np.searchsorted(reached, percent / 100 * total)])
        for percent in PERCENTILES
    }
    shares = (float(histogram[_between(limits)].sum()) / total for limits in (LOW_HU, HIGH_HU))
    return dict(zip(keys, (mean, spread**0.5, percentiles, *shares), strict=True))


def _between(limits: tuple[int, int]) -> slice:
    low, high = limits
    return slice(low - _LOWEST, high - _LOWEST + 1)


def _edges_mm(first: NDArray[Any], last: NDArray[Any], grid: Grid) -> list[list[float]]:
    """Lowest and highest R, A and S of the outer corners of a box of voxels, in mm."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T
    voxels = np.where(corners, last + 0.5, first - 0.5)
    mm = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return [mm.min(axis=0).tolist(), mm.max(axis=0).tolist()]


def _counts(sides: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.bincount(sides, minlength=1 + len(side_names))


def _box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """Smallest box of a mask of planes, shape ``(n, X, Y)``; None if it is empty."""
    shadow = np.asarray(mask.any(axis=0))
    across = np.flatnonzero(shadow.any(axis=1))
    if not across.size:
        return None
    along = np.flatnonzero(shadow.any(axis=0))
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    x, y, z = (slice(int(taken[0]), int(taken[-1]) + 1) for taken in (across, along, planes))
    return z, x, y
