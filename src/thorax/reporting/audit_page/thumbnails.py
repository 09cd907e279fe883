"""One small picture a case: a coronal and an axial plane with the outlines of the regions.

Both planes have one scale and square millimetres, whatever the spacing, and go through the middle
of what the mask holds, or else of the lungs. Outlines lie where the header of the mask puts them
in the patient, so that a mask with another grid than its scan is seen to lie elsewhere.

Only every few voxels are kept while the slabs pass by, so that a hundred cases take little memory,
and a picture is encoded by Pillow alone, without a figure around it.
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
from thorax.visualization.drawing import COLOURS, VIEW

SIDE = 192
"""Pixels a side of each of the two planes."""

GAP = 4
"""Pixels between them."""

MOST_VOXELS = 256
"""Voxels along an axis that are kept, so that none is much smaller than a pixel."""

MOST_BYTES = 15_000

QUALITIES = (82, 70, 55, 40, 25, 10)
"""Of a JPEG, tried one after the other until the picture is small enough; noise needs the last."""

Labels = Mapping[str, Sequence[int]]

Shade = Callable[[NDArray[Any]], NDArray[np.float32]]

Across = tuple[int, int]

CORONAL: Across = (0, 2)

AXIAL: Across = (0, 1)
"""Axes that run across and up a picture."""


def thumbnail(
    scan: Path, mask: Path | None, labels: Labels, *, domain: IntensityScale | None = None
) -> bytes | None:
    """Draw a case as a JPEG of at most 15 kB; no display is needed.

    The patient is seen from the front and from the feet: the right is on the left.

    Args:
        scan: File of the scan.
        mask: File of the mask; without outlines if there is none, or if it cannot be read.
        labels: Region name → the label values whose outline is drawn.
        domain: What the voxel values of the scan mean. None if that is not known: then the
            greys are spread over all values, where otherwise they show the lung window.

    Returns:
        The same bytes for the same files; None if the scan cannot be read.
    """
    shown = _read(scan, nan=LOWEST_HU)
    if shown is None:
        return None
    marked = _marked(mask, shown.grid)
    at = _middle(shown, marked, domain)
    shade = _shade(shown.voxels, domain)
    panels = [
        _panel(shade(shown.voxels[plane]), marked[plane], labels, _placement(shown.grid, axes))
        for axes, plane in ((CORONAL, np.s_[:, at[1], :]), (AXIAL, np.s_[:, :, at[2]]))
    ]
    return encode(np.concatenate([panels[0], np.zeros((SIDE, GAP, 3)), panels[1]], axis=1))


def coarse_volume(scan: Scan) -> Volume:
    """Read a scan or a mask and keep few of its voxels: at most `MOST_VOXELS` along each axis.

    Raises:
        InputError: It cannot be read to its end.
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
    """Write a picture as a JPEG that is small enough.

    Args:
        picture: Red, green and blue in 0..255, shape ``(height, width, 3)``.
    """
    image = Image.fromarray(picture.astype(np.uint8))
    for quality in QUALITIES:
        stream = BytesIO()
        # Colours at full resolution: the outlines are one pixel wide.
        image.save(stream, "JPEG", quality=quality, optimize=True, subsampling=0)
        if stream.tell() <= MOST_BYTES:
            break
    return stream.getvalue()


def _read(path: Path, *, nan: float) -> Volume | None:
    try:
        return coarse_volume(Scan(path, nan=nan))
    # Readers raise errors of many kinds for damaged files; the audit tells of them.
    except Exception:
        return None


def _shade(voxels: NDArray[Any], domain: IntensityScale | None) -> Shade:
    """What turns voxel values into grey values 0..1."""
    if domain is not None:
        return lambda plane: VIEW.apply(whole_hu(domain.to_hu(plane)))
    low, high = np.percentile(voxels[::3, ::3, ::3], [0.5, 99.5])
    return Window(low, max(high, low + 1e-6 * max(1.0, abs(low)))).apply


def _marked(mask: Path | None, grid: Grid) -> NDArray[Any]:
    """The label under every voxel of a grid; 0 where the mask has none, or there is no mask."""
    coarse = None if mask is None else _read(mask, nan=0.0)
    if coarse is None:
        return np.zeros(grid.shape, np.uint8)
    if coarse.grid.matches(grid):
        return coarse.voxels
    way = np.linalg.inv(coarse.grid.affine) @ grid.affine
    return ndimage.affine_transform(
        coarse.voxels, way[:3, :3], way[:3, 3], output_shape=grid.shape, order=0, cval=0
    )


def _middle(
    shown: Volume, marked: NDArray[Any], domain: IntensityScale | None
) -> tuple[int, int, int]:
    """The voxel in the middle of what is marked, or else of the lungs, or else of all."""
    sums = [(marked > 0).sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    if sums[0].any():
        x, y, z = (int(np.searchsorted(np.cumsum(each), each.sum() / 2)) for each in sums)
        return x, y, z
    x, y, z = (size // 2 for size in shown.grid.shape)
    if domain is None:
        return x, y, z
    step = coarse_step(shown.grid.shape[:2])
    coarse = np.moveaxis(whole_hu(domain.to_hu(shown.voxels[::step, ::step])), 2, 0)
    (left, right), (back, front) = lung_box(coarse, shown.grid.shape[:2])
    return (left + right) // 2, (back + front) // 2, z


def _panel(
    grey: NDArray[np.float32], marked: NDArray[Any], labels: Labels, placement: Placement
) -> NDArray[np.float32]:
    """One plane with its outlines, shape ``(SIDE, SIDE, 3)``, in 0..255."""

    def place(plane: NDArray[Any]) -> NDArray[np.float32]:
        # Rows from the head, or the front, down; columns from the patient's right to the left.
        return placement.place(plane[None], fill=0.0)[0].T[::-1, ::-1]

    picture = np.repeat(place(grey)[..., None] * 255, 3, axis=2)
    for colour, values in zip(COLOURS, labels.values(), strict=False):
        inside = place(np.isin(marked, values)) >= 0.5
        picture[inside & ~ndimage.binary_erosion(inside)] = np.multiply(to_rgb(colour), 255)
    return picture


def _placement(grid: Grid, axes: Across) -> Placement:
    """Put a plane in the middle of a square as wide as the longest of the three axes."""
    side_mm = max(size * mm for size, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    across, up = (
        AxisPlacement(size, 0, size, side_mm / grid.spacing_mm[axis], SIDE)
        for axis, size in ((axis, grid.shape[axis]) for axis in axes)
    )
    return Placement(across, up)
