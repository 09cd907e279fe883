"""Scans and masks made small enough for a page: fewer voxels, 8 bits, gzip NIfTI in memory."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from thorax.imaging.grid import Box, Grid, Slabs, Volume
from thorax.imaging.intensity import HU, IntensityScale
from thorax.imaging.placement import AxisPlacement
from thorax.imaging.regions import Regions

SCAN_SIDE, MASK_SIDE = 192, 320
"""Voxels a side at most. Outlines are seen at the edge, and compress well, so masks keep more."""

SCAN_STEP_MM, MASK_STEP_MM = 2.0, 1.25
"""Voxels are made no smaller than this."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """The values that the 256 grey levels of a reduced scan stand for.

    Args:
        low: Of level 0, and of all that is lower.
        high: Of level 255, and of all that is higher.
    """

    low: float
    high: float

    @property
    def step(self) -> float:
        """From one level to the next."""
        return (self.high - self.low) / 255.0

    def encode(self, values: Floats) -> NDArray[np.uint8]:
        """Round values to levels.

        Example:
            >>> Levels(-1000, 20).encode(np.array([-3024.0, -990, 0, 700], np.float32)).tolist()
            [0, 2, 250, 255]
        """
        return np.rint(np.clip((values - self.low) / self.step, 0, 255)).astype(np.uint8)


HU_LEVELS = Levels(-1024, 1016)
"""8 HU a level: 50 levels in the mediastinal window of 400 HU, 147 in the lung window."""


def reduce_scan(
    scan: Slabs, box: Box, *, levels: Levels = HU_LEVELS, domain: IntensityScale = HU
) -> bytes:
    """Make a scan small: block means of at least 2 mm, at most 192 voxels a side, 8 bits.

    Args:
        scan: The scan; it is read slab by slab.
        box: The part of the planes that is kept.
        levels: What the grey levels stand for.
        domain: What the voxel values mean.

    Returns:
        A gzip NIfTI file whose slope and intercept give HU again; the same for the same scan.
    """
    grid = reduced_grid(cropped(scan.grid, box), side=SCAN_SIDE, step_mm=SCAN_STEP_MM)
    levels_of = levels.encode(
        _shrink(scan, box, grid, lambda planes: domain.to_hu(planes)[None])[0]
    )
    return _nifti(Volume(levels_of, grid), levels)


def reduce_mask(mask: Slabs, box: Box, regions: Regions) -> Volume:
    """Make a mask small: label values, where a region fills more than half of the larger voxel.

    Args:
        mask: The mask; it is read slab by slab.
        box: The part of the planes that is kept.
        regions: Which label values make which region. What is written is `Regions.merge`'s.

    Returns:
        uint8 labels in voxels of at least 1.25 mm, at most 320 a side; they fill the same box of
        space as the scan that was cropped alike.

    Raises:
        InputError: The mask holds labels that no region names.
    """
    grid = reduced_grid(cropped(mask.grid, box), side=MASK_SIDE, step_mm=MASK_STEP_MM)
    fractions = _shrink(mask, box, grid, regions.split)
    return Volume(regions.merge(fractions > 0.5), grid)


def cropped(grid: Grid, box: Box) -> Grid:
    """The grid of the part of the planes in a box."""
    (left, right), (back, front) = box
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :2] @ (left, back)
    return Grid((right - left, front - back, grid.shape[2]), affine)


def mask_bytes(mask: Volume) -> bytes:
    """Write reduced labels as a gzip NIfTI file; the same for the same labels."""
    return _nifti(mask, Levels(0, 255))


def reduced_grid(grid: Grid, *, side: int, step_mm: float) -> Grid:
    """The grid of larger voxels that fills the same box of space.

    Args:
        grid: Of the scan.
        side: Voxels that an axis may have. In the plane they stay nearly square.
        step_mm: Voxels are made no smaller than this, unless they are larger already.

    Example:
        >>> fine = Grid((512, 512, 60), np.diag([0.75, 0.75, 5.0, 1.0]))
        >>> coarse = reduced_grid(fine, side=192, step_mm=2.0)
        >>> coarse.shape, coarse.spacing_mm
        ((192, 192, 60), (2.0, 2.0, 5.0))
    """
    in_plane_mm = max(
        step_mm,
        *(size * mm / side for size, mm in zip(grid.shape[:2], grid.spacing_mm, strict=False)),
    )
    steps_mm = (in_plane_mm, in_plane_mm, max(step_mm, grid.shape[2] * grid.spacing_mm[2] / side))
    x, y, z = (
        min(size, max(1, round(size * mm / step)))
        for size, mm, step in zip(grid.shape, grid.spacing_mm, steps_mm, strict=True)
    )
    ratios = np.array(grid.shape) / (x, y, z)
    affine = grid.affine.copy()
    affine[:3, :3] *= ratios
    # The centre of the first voxel moves inwards, the outer corner of it stays.
    affine[:3, 3] += grid.affine[:3, :3] @ ((ratios - 1) / 2)
    return Grid((x, y, z), affine)


def _shrink(scan: Slabs, box: Box, grid: Grid, turn: Callable[[Any], Any]) -> Floats:
    """Mean of what each larger voxel covers.

    Args:
        scan: A scan or a mask.
        box: The part of the planes that is kept.
        grid: The larger voxels, which fill the box.
        turn: Makes channels of planes: ``(N, X, Y)`` to ``(C, N, X, Y)``.

    Returns:
        Shape ``(C, X', Y', Z')``.
    """
    (left, right), (back, front) = box
    sizes = (right - left, front - back, scan.grid.shape[2])
    across, along, up = (
        csr_array(AxisPlacement(size, 0, size, float(size), fewer).placing)
        for size, fewer in zip(sizes, grid.shape, strict=True)
    )
    upwards = up.T.tocsr()
    slabs: list[NDArray[Any]] = []
    for start, planes in scan.slabs():
        channels = turn(planes[:, left:right, back:front])
        if not slabs:
            slabs = [np.zeros((*grid.shape[2:], *grid.shape[:2]), np.float32) for _ in channels]
        for shrunk, values in zip(slabs, channels, strict=True):
            for number in np.flatnonzero(values.any(axis=(1, 2))):
                small = (along @ (across @ values[number].astype(np.float32)).T).T
                row = upwards[[start + number]].tocoo()
                for place, weight in zip(row.col, row.data, strict=True):
                    shrunk[place] += weight * small
    return np.moveaxis(np.stack(slabs), 1, 3)


def _nifti(volume: Volume, levels: Levels) -> bytes:
    """A gzip NIfTI file without a date or a name, so that equal volumes are equal bytes."""
    picture = nibabel.Nifti1Image(volume.voxels, volume.grid.affine)
    picture.header.set_slope_inter(levels.step, levels.low)
    picture.header.set_xyzt_units("mm")
    stored = picture.header.copy()
    stored["vox_offset"] = 352
    stored["magic"] = b"n+1"
    raw = stored.binaryblock + bytes(4) + volume.voxels.tobytes(order="F")
    return gzip.compress(raw, 6, mtime=0)
