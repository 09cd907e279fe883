"""Thumbnails: a coronal and an axial slice of a case with the outlines of the regions.

Both slices have the same scale in mm, whatever the spacing, and cross the centre of the mask, or
else of the lungs. Outlines are placed by the header of the mask, so that a mask with another grid
than its scan appears displaced.

Scans are subsampled while they are read, so that many cases need little memory. Pillow encodes the
pictures without a figure.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from thorax.imaging.body import coarse_step, lung_box
from thorax.imaging.grid import Grid, Volume
from thorax.imaging.intensity import LOWEST_HU, IntensityScale, Window, whole_hu
from thorax.imaging.placement import AxisPlacement, Placement
from thorax.io import Scan
from thorax.visualization.drawing import COLOURS, LUNG_WINDOW

SIDE = 192
"""Pixels per side of each slice."""

GAP = 4
"""Pixels between the slices."""

MOST_VOXELS = 256
"""Maximum voxels per axis, so that none is much smaller than a pixel."""

MOST_BYTES = 15_000

QUALITIES = (82, 70, 55, 40, 25, 10)
"""JPEG qualities, tried in order until the picture is small enough; noise needs the last."""

RegionLabels = Mapping[str, Sequence[int]]

GreyValues = Callable[[NDArray[Any]], NDArray[np.float32]]

Across = tuple[int, int]

CORONAL: Across = (0, 2)

AXIAL: Across = (0, 1)
"""Axes across and up a picture."""


def thumbnail(
    scan: Path, mask: Path | None, labels: RegionLabels, *, intensity: IntensityScale | None = None
) -> bytes | None:
    """Draw a case as a JPEG of at most 15 kB; no display is needed.

    Pictures are in radiological convention: the patient's right is on the left.

    Args:
        scan: File of the scan.
        mask: File of the mask; no outlines without one, or if it cannot be read.
        labels: Region name → label values.
        intensity: Intensity scale of the scan, displayed in the lung window. None if it is
            unknown: then grey values cover the range of the voxels.

    Returns:
        None if the scan cannot be read. Equal files give equal bytes.
    """
    volume = _read(scan, nan=LOWEST_HU)
    if volume is None:
        return None
    mask_labels = _labels_on(mask, volume.grid)
    _, y, z = _centre(volume, mask_labels, intensity)
    grey = _window(volume.voxels, intensity)
    panels = [
        _panel(
            grey(volume.voxels[plane]), mask_labels[plane], labels, _placement(volume.grid, axes)
        )
        for axes, plane in ((CORONAL, np.s_[:, y, :]), (AXIAL, np.s_[:, :, z]))
    ]
    return encode(np.concatenate([panels[0], np.zeros((SIDE, GAP, 3)), panels[1]], axis=1))


def coarse_volume(scan: Scan) -> Volume:
    """Read a scan or a mask, subsampled to at most `MOST_VOXELS` along each axis.

    Raises:
        InputError: The file cannot be read completely.
    """
    steps = [-(-size // MOST_VOXELS) for size in scan.grid.shape]
    kept = {
        start + number: planes[number, :: steps[0], :: steps[1]].copy()
        for start, planes in scan.slabs()
        for number in range(-start % steps[2], len(planes), steps[2])
    }
    voxels = np.stack([kept[number] for number in sorted(kept)], axis=2)
    affine = scan.grid.affine @ np.diag([*steps, 1])
    x, y, z = voxels.shape
    return Volume(voxels, Grid((x, y, z), affine))


def encode(picture: NDArray[Any]) -> bytes:
    """Encode a picture as a JPEG of at most `MOST_BYTES`, if a quality allows it.

    Args:
        picture: Red, green and blue in 0..255, shape ``(height, width, 3)``.
    """
    image = Image.fromarray(picture.astype(np.uint8))
    for quality in QUALITIES:
        stream = BytesIO()
        # No chroma subsampling: outlines are one pixel wide.
        image.save(stream, "JPEG", quality=quality, optimize=True, subsampling=0)
        if stream.tell() <= MOST_BYTES:
            break
    return stream.getvalue()


def _read(path: Path, *, nan: float) -> Volume | None:
    try:
        return coarse_volume(Scan(path, nan=nan))
    # Readers raise many kinds of errors for damaged files; the audit reports them.
    except Exception:
        return None


def _window(voxels: NDArray[Any], intensity: IntensityScale | None) -> GreyValues:
    """Return the function from voxel values to grey values 0..1."""
    if intensity is not None:
        return lambda plane: LUNG_WINDOW.apply(whole_hu(intensity.to_hu(plane)))
    low, high = np.percentile(voxels[::3, ::3, ::3], [0.5, 99.5])
    return Window(low, max(high, low + 1e-6 * max(1.0, abs(low)))).apply


def _labels_on(mask: Path | None, grid: Grid) -> NDArray[Any]:
    """Resample a mask to a grid by nearest neighbour; 0 outside the mask, or without one."""
    coarse = None if mask is None else _read(mask, nan=0.0)
    if coarse is None:
        return np.zeros(grid.shape, np.uint8)
    is_float = coarse.voxels.dtype.kind == "f"
    labels = np.rint(coarse.voxels) if is_float else coarse.voxels
    if coarse.grid.same_voxels(grid):
        return labels
    affine = np.linalg.inv(coarse.grid.affine) @ grid.affine
    return ndimage.affine_transform(
        labels, affine[:3, :3], affine[:3, 3], output_shape=grid.shape, order=0, cval=0
    )


def _centre(
    volume: Volume, mask: NDArray[Any], intensity: IntensityScale | None
) -> tuple[int, int, int]:
    """Return the voxel at the centre of the mask, else of the lungs, else of the volume."""
    profiles = [(mask > 0).sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    if profiles[0].any():
        x, y, z = (
            int(np.searchsorted(np.cumsum(profile), profile.sum() / 2)) for profile in profiles
        )
        return x, y, z
    x, y, z = (size // 2 for size in volume.grid.shape)
    if intensity is None:
        return x, y, z
    step = coarse_step(volume.grid.shape[:2])
    coarse = np.moveaxis(whole_hu(intensity.to_hu(volume.voxels[::step, ::step])), 2, 0)
    shape = volume.grid.shape[:2]
    (left, right), (back, front) = lung_box(coarse, shape, calibrated=intensity.calibrated)
    return (left + right) // 2, (back + front) // 2, z


def _panel(
    grey: NDArray[np.float32], mask: NDArray[Any], labels: RegionLabels, placement: Placement
) -> NDArray[np.float32]:
    """Draw a slice with its outlines, shape ``(SIDE, SIDE, 3)``, in 0..255."""

    def place(plane: NDArray[Any]) -> NDArray[np.float32]:
        # Rows start at the head or the front, columns at the patient's right.
        return placement.place(plane[None], fill=0.0)[0].T[::-1, ::-1]

    picture = np.repeat(place(grey)[..., None] * 255, 3, axis=2)
    for colour, values in zip(COLOURS, labels.values(), strict=False):
        inside = place(np.isin(mask, values)) >= 0.5
        picture[inside & ~ndimage.binary_erosion(inside)] = np.multiply(to_rgb(colour), 255)
    return picture


def _placement(grid: Grid, axes: Across) -> Placement:
    """Centre a slice in a square as wide as the longest of the three axes."""
    side_mm = max(size * mm for size, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    across, up = (
        AxisPlacement(size, 0, size, side_mm / grid.spacing_mm[axis], SIDE)
        for axis, size in ((axis, grid.shape[axis]) for axis in axes)
    )
    return Placement(across, up)
