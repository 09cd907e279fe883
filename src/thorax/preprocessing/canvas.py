"""Put a scan and the area fractions of its regions on the canvas."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.parallel import ordered
from thorax.common.params import Crop
from thorax.imaging.body import body_box, coarse_planes, lung_box
from thorax.imaging.grid import Grid, NamedSlabs, Slabs
from thorax.imaging.intensity import LOWEST_HU, IntensityScale, whole_hu
from thorax.imaging.overlap import Overlap, overlap
from thorax.imaging.placement import FULL_COVERAGE, Placement, place_box, place_whole
from thorax.imaging.regions import Regions, label_slabs


def find_placement(scan: Slabs, scale: IntensityScale, *, canvas: int, crop: Crop) -> Placement:
    """Compute the placement of a scan on the canvas. A crop requires reading the scan once.

    Args:
        scan: The scan.
        scale: Conversion of its voxel values to HU.
        canvas: Pixels per side.
        crop: ``lungs`` and ``body`` crop to the box around them; ``none`` keeps whole slices.
    """
    # Without a crop the voxels are not needed, so they are not read.
    coarse = np.empty(0) if crop == "none" else scale.to_hu(coarse_planes(scan))
    return placement_of(whole_hu(coarse), scan.grid, canvas=canvas, crop=crop)


def placement_of(coarse_hu: NDArray[np.int16], grid: Grid, *, canvas: int, crop: Crop) -> Placement:
    """Compute the placement of a scan on the canvas from its coarse planes in HU."""
    x, y, _ = grid.shape
    in_plane_mm = grid.spacing_mm[:2]
    if crop == "none":
        return place_whole((x, y), canvas=canvas, spacing_mm=in_plane_mm)
    find_box = lung_box if crop == "lungs" else body_box
    return place_box((x, y), find_box(coarse_hu, (x, y)), canvas=canvas, spacing_mm=in_plane_mm)


def place_scan(
    scan: Slabs, scale: IntensityScale, placement: Placement, *, threads: int = 1
) -> NDArray[np.int16]:
    """Put all planes of a scan on the canvas, in HU; shape ``(N, H, W)``.

    Args:
        scan: The scan.
        scale: Conversion of its voxel values to HU.
        placement: Placement of its planes.
        threads: Number of threads.
    """
    side = placement.x.canvas
    placed = np.empty((scan.grid.shape[2], side, side), dtype=np.int16)

    def place(slab: tuple[int, NDArray[Any]]) -> None:
        start, planes = slab
        hu = whole_hu(scale.to_hu(planes[:, *placement.crop]))
        placed[start : start + len(planes)] = whole_hu(placement.place_crop(hu, fill=LOWEST_HU))

    for _ in ordered(place, scan.slabs(), threads=threads):
        pass
    return placed


def place_regions(
    mask: NamedSlabs, regions: Regions, placement: Placement
) -> tuple[NDArray[np.uint8], dict[str, Overlap]]:
    """Put the regions of a mask on the canvas, and measure the loss of the round trip.

    Returns:
        Area fractions 0..255 of shape ``(N, H, W, R)``, and for each region the overlap of the
        mask with its placed and restored copy. This is the ceiling of any network's Dice.

    Raises:
        InputError: The mask contains a label that belongs to no region.
    """
    side, depth = placement.x.canvas, mask.grid.shape[2]
    fractions = np.empty((depth, side, side, len(regions.names)), dtype=np.uint8)
    ceiling = {name: Overlap() for name in regions.names}
    for start, planes in label_slabs(mask):
        for channel, truth in enumerate(regions.split(planes)):
            placed = placement.place_mask(truth)
            fractions[start : start + len(placed), ..., channel] = placed
            restored = placement.restore(placed) >= FULL_COVERAGE / 2
            ceiling[regions.names[channel]] += overlap(truth, restored)
    return fractions, ceiling
