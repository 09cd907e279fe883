"""A scan on the canvas: its planes, the area fractions of its regions, and how it was placed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from thorax.body import body_box, coarse_step, lung_box
from thorax.errors import InputError
from thorax.geometry import Placement, place_box, place_whole
from thorax.intensity import LOWEST_HU, Domain, whole_hu
from thorax.overlap import Overlap, overlap
from thorax.regions import Regions
from thorax.scans import Scan

FULL = 255
"""A pixel that lies in a region entirely."""
Crop = Literal["lungs", "body", "none"]


@dataclass(frozen=True, eq=False)
class Canvases:
    """What a record holds of a case.

    Args:
        planes: HU on the canvas, int16, shape ``(N, H, W)``.
        fractions: Area fraction of each region in each pixel, 0..255, shape ``(N, H, W, R)``.
    """

    planes: NDArray[np.int16]
    fractions: NDArray[np.uint8]


def find_placement(scan: Scan, domain: Domain, *, canvas: int, crop: Crop) -> Placement:
    """Work out how a scan is put on the canvas; with a crop, this reads the scan once.

    Args:
        scan: The scan.
        domain: What its voxel values mean.
        canvas: Pixels a side.
        crop: ``lungs`` and ``body`` look for the box around them; ``none`` takes the planes
            whole.
    """
    x, y, _ = scan.grid.shape
    in_plane_mm = scan.grid.spacing_mm[:2]
    if crop == "none":
        return place_whole((x, y), canvas=canvas, spacing_mm=in_plane_mm)
    step = coarse_step((x, y))
    coarse = np.concatenate(
        [whole_hu(domain.to_hu(planes[:, ::step, ::step])) for _, planes in scan.slabs()]
    )
    find = lung_box if crop == "lungs" else body_box
    return place_box((x, y), find(coarse, (x, y)), canvas=canvas, spacing_mm=in_plane_mm)


def place_scan(scan: Scan, domain: Domain, placement: Placement) -> NDArray[np.int16]:
    """Put all planes of a scan on the canvas, in HU; shape ``(N, H, W)``."""
    side = placement.x.canvas
    placed = np.empty((scan.grid.shape[2], side, side), dtype=np.int16)
    for start, planes in scan.slabs():
        hu = whole_hu(domain.to_hu(planes))
        placed[start : start + len(planes)] = whole_hu(placement.place(hu, fill=LOWEST_HU))
    return placed


def place_regions(
    mask: Scan, regions: Regions, placement: Placement
) -> tuple[NDArray[np.uint8], dict[str, Overlap]]:
    """Put the regions of a mask on the canvas, and take them off again to see what is lost.

    Returns:
        Area fractions 0..255 of shape ``(N, H, W, R)``, and for each region the overlap of the
        mask with itself placed and restored: the ceiling of what any network can reach.

    Raises:
        InputError: The mask holds a label that no region names.
    """
    side, depth = placement.x.canvas, mask.grid.shape[2]
    fractions = np.empty((depth, side, side, len(regions.names)), dtype=np.uint8)
    ceiling = {name: Overlap() for name in regions.names}
    for start, planes in mask.slabs():
        for channel, truth in enumerate(regions.split(planes)):
            placed = placement.place_mask(truth)
            fractions[start : start + len(placed), ..., channel] = placed
            restored = placement.restore(placed) >= FULL / 2
            ceiling[regions.names[channel]] += overlap(truth, restored)
    return fractions, ceiling


def open_mask(mask: Scan, scan: Scan) -> Scan:
    """Return the mask if it lies on the grid of the scan.

    Raises:
        InputError: Its shape or affine is another.
    """
    if mask.grid.shape != scan.grid.shape:
        raise InputError(
            f"a mask must have the shape of its scan, but {mask.path} has {mask.grid.shape} and "
            f"{scan.path} has {scan.grid.shape}"
        )
    if not mask.grid.matches(scan.grid):
        raise InputError(
            f"a mask must have the affine of its scan, but {mask.path} lies elsewhere in the "
            f"patient than {scan.path}; resample it onto the scan"
        )
    return mask
