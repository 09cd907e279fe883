"""Downsampled scans and masks: fewer voxels, 8 bits, gzip NIfTI in memory."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from thorax.imaging.grid import Box, Grid, Slabs, Volume
from thorax.imaging.intensity import HU, LOWEST_HU, IntensityScale
from thorax.imaging.placement import AxisPlacement
from thorax.imaging.regions import Regions

SCAN_SIDE, MASK_SIDE = 192, 320
"""Maximum voxels per axis; more for masks, whose outlines show the resolution and compress well."""

SCAN_STEP_MM, MASK_STEP_MM = 2.0, 1.25
"""Minimum spacing of the reduced voxels."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """Values of the 256 grey levels of a reduced scan.

    Args:
        low: Value of level 0; lower values are clipped.
        high: Value of level 255; higher values are clipped.
    """

    low: float
    high: float

    @property
    def step(self) -> float:
        """Difference between neighbouring levels."""
        return (self.high - self.low) / 255.0

    def encode(self, values: Floats) -> NDArray[np.uint8]:
        """Round values to levels.

        Example:
            >>> Levels(-1000, 20).encode(np.array([-3024.0, -990, 0, 700], np.float32)).tolist()
            [0, 2, 250, 255]
        """
        return np.rint(np.clip((values - self.low) / self.step, 0, 255)).astype(np.uint8)


HU_LEVELS = Levels(-1024, 1016)
"""8 HU per level: 50 levels in the mediastinal window of 400 HU, 147 in the lung window."""


def reduce_scan(
    scan: Slabs, box: Box, *, levels: Levels = HU_LEVELS, intensity: IntensityScale = HU
) -> bytes:
    """Downsample a scan: block means of at least 2 mm, at most 192 voxels per axis, 8 bits.

    Args:
        scan: The scan; it is read slab by slab.
        box: Part of the slices to keep.
        levels: Values of the grey levels.
        intensity: Intensity scale of the scan.

    Returns:
        A gzip NIfTI file; slope and intercept give HU. Equal scans give equal bytes.
    """
    grid = reduced_grid(cropped(scan.grid, box), side=SCAN_SIDE, step_mm=SCAN_STEP_MM)

    def hu_of(planes: NDArray[Any]) -> NDArray[Any]:
        return np.nan_to_num(intensity.to_hu(planes), nan=LOWEST_HU)[None]

    (means_hu,) = _block_means(scan, box, grid, hu_of)
    return _nifti(Volume(levels.encode(means_hu), grid), levels)


def reduce_mask(mask: Slabs, box: Box, regions: Regions, *, grid: Grid | None = None) -> Volume:
    """Downsample a mask: a region is set where it fills more than half of a reduced voxel.

    Args:
        mask: The mask; it is read slab by slab.
        box: Part of the slices to keep.
        regions: Label values of each region; labels are written by `Regions.merge`.
        grid: Grid of the scan, if that of the mask is rounded; None: that of the mask.

    Returns:
        uint8 labels in voxels of at least 1.25 mm, at most 320 per axis; they cover the same box as
        a scan with the same crop.

    Raises:
        InputError: The mask contains labels of no region.
    """
    whole = cropped(mask.grid if grid is None else grid, box)
    reduced = reduced_grid(whole, side=MASK_SIDE, step_mm=MASK_STEP_MM)
    fractions = _block_means(mask, box, reduced, regions.split)
    return Volume(regions.merge(fractions > 0.5), reduced)


def cropped(grid: Grid, box: Box) -> Grid:
    """Return the grid of a part of the slices."""
    (left, right), (back, front) = box
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :2] @ (left, back)
    return Grid((right - left, front - back, grid.shape[2]), affine)


def mask_bytes(mask: Volume) -> bytes:
    """Write labels as a gzip NIfTI file; equal labels give equal bytes."""
    return _nifti(mask, Levels(0, 255))


def reduced_grid(grid: Grid, *, side: int, step_mm: float) -> Grid:
    """Return the grid of larger voxels that covers the same box.

    Args:
        grid: Grid of the scan.
        side: Maximum voxels per axis; in the slice voxels stay nearly square.
        step_mm: Minimum spacing; voxels that are larger keep their size.

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
    # The outer corner of the first voxel stays, its centre moves inwards.
    affine[:3, 3] += grid.affine[:3, :3] @ ((ratios - 1) / 2)
    return Grid((x, y, z), affine)


def _block_means(scan: Slabs, box: Box, grid: Grid, channels_of: Callable[[Any], Any]) -> Floats:
    """Compute the mean of the voxels inside each larger voxel.

    Args:
        scan: A scan or a mask.
        box: Part of the slices to keep.
        grid: Larger voxels, which cover the box.
        channels_of: Converts slices to channels: ``(N, X, Y)`` to ``(C, N, X, Y)``.

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
        channels = channels_of(planes[:, left:right, back:front])
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
    """Write a gzip NIfTI file without date and name, so that equal volumes give equal bytes."""
    picture = nibabel.Nifti1Image(volume.voxels, volume.grid.affine)
    picture.header.set_slope_inter(levels.step, levels.low)
    picture.header.set_xyzt_units("mm")
    stored = picture.header.copy()
    stored["vox_offset"] = 352
    stored["magic"] = b"n+1"
    raw = stored.binaryblock + bytes(4) + volume.voxels.tobytes(order="F")
    return gzip.compress(raw, 6, mtime=0)
