"""Overlay: a scan in three slices with the outlines of its regions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thorax.imaging.intensity import HU, IntensityScale
from thorax.imaging.regions import Regions, label_slabs
from thorax.visualization.drawing import (
    LINE_STYLES,
    LUNG_WINDOW,
    VIEWS,
    Extent,
    View,
    add_legend,
    busiest_indices,
    draw_outlines,
    label_sides,
)

if TYPE_CHECKING:
    from thorax.io import Scan

OrthogonalSlices = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def overlay(
    scan: "Scan",
    masks: Mapping[str, "Scan"],
    regions: Regions,
    *,
    intensity: IntensityScale = HU,
    title: str = "",
) -> Figure:
    """Draw an axial, a coronal and a sagittal slice with the outlines of the regions.

    The slices are those with the largest area of the last region that is not empty in the first
    mask (disease, if there is any). They are in radiological convention, seen from the feet, the
    front and the right: the left of the picture is the patient's right.

    Args:
        scan: The scan.
        masks: Name → mask; the first has solid outlines, the second dotted ones.
        regions: Regions of the masks.
        intensity: Conversion of the voxel values of the scan to HU.
        title: Title of the picture.
    """
    at = busiest_voxel(next(iter(masks.values())), regions)
    background = [intensity.to_hu(image) for image in orthogonal_slices(scan, at)]
    outlined = [orthogonal_slices(mask, at) for mask in masks.values()]
    sizes = [
        shape * step for shape, step in zip(scan.grid.shape, scan.grid.spacing_mm, strict=True)
    ]
    figure = Figure(figsize=(13, 5.2), facecolor="black", layout="constrained")
    widths = [sizes[view.across] for view in VIEWS]
    panels = figure.subplots(1, 3, width_ratios=widths)
    for number, (axes, view) in enumerate(zip(panels, VIEWS, strict=True)):
        extent = (0.0, sizes[view.across], 0.0, sizes[view.up])
        _draw_slice(axes, background[number], view, extent)
        for style, mask in zip(LINE_STYLES, outlined, strict=False):
            draw_outlines(axes, regions.split(mask[number]), extent, style)
    add_legend(figure, regions.names, masks, title=title)
    return figure


def busiest_voxel(mask: "Scan", regions: Regions) -> tuple[int, int, int]:
    """Indices x, y and z of the slices with the most voxels of the last region of a mask.

    The last region that is not empty counts. For an empty mask, the middle of the volume.
    """
    x, y, z = mask.grid.shape
    counts = [np.zeros((len(regions.names), size), dtype=np.int64) for size in (x, y, z)]
    for start, planes in label_slabs(mask):
        split = regions.split(planes)
        counts[0] += split.sum(axis=(1, 3))
        counts[1] += split.sum(axis=(1, 2))
        counts[2][:, start : start + len(planes)] = split.sum(axis=(2, 3))
    return busiest_indices(counts)


def orthogonal_slices(volume: "Scan", at: tuple[int, int, int]) -> OrthogonalSlices:
    """Axial, coronal and sagittal slice through a voxel, each ``[across, up]``."""
    i, j, k = at
    coronal: dict[int, NDArray[Any]] = {}
    sagittal: dict[int, NDArray[Any]] = {}
    axial = volume.planes(k, k + 1)[0]
    for start, planes in volume.slabs():
        coronal[start], sagittal[start] = planes[:, :, j], planes[:, i, :]
    return axial, *(
        np.concatenate([parts[start] for start in sorted(parts)]).T for parts in (coronal, sagittal)
    )


def _draw_slice(axes: Axes, image: NDArray[Any], view: View, extent: Extent) -> None:
    axes.imshow(
        LUNG_WINDOW.apply(image.T), cmap="gray", origin="lower", extent=extent, vmin=0, vmax=1
    )
    axes.invert_xaxis()
    axes.autoscale(False)
    axes.set_axis_off()
    axes.set_title(view.name, color="white", fontsize=11, parse_math=False)
    label_sides(axes, view.sides)
