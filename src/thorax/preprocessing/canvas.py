"""Put a scan and the area fractions of its regions on the canvas."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.crop import Crop
from thorax.common.parallel import ordered
from thorax.imaging.body import body_box, coarse_planes, lung_box
from thorax.imaging.grid import Box, Grid, NamedSlabs, Slabs
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
    return placement_of(whole_hu(coarse), scale, scan.grid, canvas=canvas, crop=crop)


def placement_of(
    coarse_hu: NDArray[np.int16], scale: IntensityScale, grid: Grid, *, canvas: int, crop: Crop
) -> Placement:
    """Compute the placement of a scan on the canvas from its coarse planes in HU."""
    box = None
    if crop == "lungs":
        box = lung_box(coarse_hu, grid.shape[:2], calibrated=scale.calibrated)
    elif crop == "body":
        box = body_box(coarse_hu, grid.shape[:2])
    return placement_around(box, grid, canvas=canvas)


def placement_around(box: Box | None, grid: Grid, *, canvas: int) -> Placement:
    """Compute the placement of a box of each plane; None: of whole planes."""
    plane_shape, spacing_mm = grid.shape[:2], grid.spacing_mm[:2]
    if box is None:
        return place_whole(plane_shape, canvas=canvas, spacing_mm=spacing_mm)
    return place_box(plane_shape, box, canvas=canvas, spacing_mm=spacing_mm)


def place_scan(scan: Slabs, scale: IntensityScale, placement: Placement) -> NDArray[np.int16]:
    """Put all planes of a scan on the canvas, in HU; shape ``(N, H, W)``.

    Args:
        scan: The scan.
        scale: Conversion of its voxel values to HU.
        placement: Placement of its planes.
    """
    crops = ((start, planes[:, *placement.crop]) for start, planes in scan.slabs())
    return place_crops(crops, scale, placement, depth=scan.grid.shape[2], threads=1)


def place_crops(
    crops: Iterable[tuple[int, NDArray[Any]]],
    scale: IntensityScale,
    placement: Placement,
    *,
    depth: int,
    threads: int,
) -> NDArray[np.int16]:
    """Put the crops of all planes on the canvas, in HU; shape ``(N, H, W)``.

    Args:
        crops: First plane and voxels ``(n, x, y)`` within the crop, slab by slab.
        scale: Conversion of the voxel values to HU.
        placement: Placement of the planes.
        depth: Number of planes.
        threads: Number of threads.
    """
    side = placement.x.canvas
    placed = np.empty((depth, side, side), dtype=np.int16)

    def place(slab: tuple[int, NDArray[Any]]) -> None:
        start, voxels = slab
        hu = whole_hu(scale.to_hu(voxels))
        placed[start : start + len(hu)] = whole_hu(placement.place_crop(hu, fill=LOWEST_HU))

    for _ in ordered(place, crops, threads=threads):
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
