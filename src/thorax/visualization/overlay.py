"""Pictures for people: a scan in three planes with the outlines of its regions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thorax.imaging.intensity import HU, IntensityScale
from thorax.imaging.regions import Regions
from thorax.visualization.drawing import (
    STYLES,
    VIEW,
    VIEWS,
    Extent,
    View,
    explain,
    name_sides,
    outline,
    peaks,
)

if TYPE_CHECKING:
    from thorax.io import Scan

Cuts = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def overlay(
    scan: "Scan",
    masks: Mapping[str, "Scan"],
    regions: Regions,
    *,
    domain: IntensityScale = HU,
    title: str = "",
) -> Figure:
    """Draw three planes of a scan with the outlines of its regions.

    The planes are those that show most of the last region that the first mask holds (disease,
    where there is any). The patient is seen from the front, the right and the feet, as
    radiologists do: what is on the left of the picture is on the patient's right.

    Args:
        scan: The scan.
        masks: What to outline, by name: the first with solid lines, the second with dotted ones.
        regions: Which label values make which region.
        domain: What the voxel values of the scan mean; HU unless given.
        title: Stands above the picture.
    """
    at = busiest(next(iter(masks.values())), regions)
    background = [domain.to_hu(cut) for cut in cuts(scan, at)]
    outlined = [cuts(mask, at) for mask in masks.values()]
    sizes = [
        shape * step for shape, step in zip(scan.grid.shape, scan.grid.spacing_mm, strict=True)
    ]
    figure = Figure(figsize=(13, 5.2), facecolor="black", layout="constrained")
    widths = [sizes[view.across] for view in VIEWS]
    panels = figure.subplots(1, 3, width_ratios=widths)
    for number, (axes, view) in enumerate(zip(panels, VIEWS, strict=True)):
        extent = (0.0, sizes[view.across], 0.0, sizes[view.up])
        _show(axes, background[number], view, extent)
        for style, mask in zip(STYLES, outlined, strict=False):
            outline(axes, regions.split(mask[number]), extent, style)
    explain(figure, regions.names, masks, title=title)
    return figure


def busiest(mask: "Scan", regions: Regions) -> tuple[int, int, int]:
    """Indices of the sagittal, coronal and axial planes that show most of the last region there.

    Where the mask is empty, the middle of the volume.
    """
    x, y, z = mask.grid.shape
    counts = [np.zeros((len(regions.names), size), dtype=np.int64) for size in (x, y, z)]
    for start, planes in mask.slabs():
        split = regions.split(planes)
        counts[0] += split.sum(axis=(1, 3))
        counts[1] += split.sum(axis=(1, 2))
        counts[2][:, start : start + len(planes)] = split.sum(axis=(2, 3))
    return peaks(counts)


def cuts(volume: "Scan", at: tuple[int, int, int]) -> Cuts:
    """Axial, coronal and sagittal plane through a voxel, each ``[across, up]``."""
    i, j, k = at
    coronal: dict[int, NDArray[Any]] = {}
    sagittal: dict[int, NDArray[Any]] = {}
    axial = volume.planes(k, k + 1)[0]
    for start, planes in volume.slabs():
        coronal[start], sagittal[start] = planes[:, :, j], planes[:, i, :]
    return axial, *(
        np.concatenate([parts[start] for start in sorted(parts)]).T for parts in (coronal, sagittal)
    )


def _show(axes: Axes, cut: NDArray[Any], view: View, extent: Extent) -> None:
    axes.imshow(VIEW.apply(cut.T), cmap="gray", origin="lower", extent=extent, vmin=0, vmax=1)
    axes.invert_xaxis()
    axes.autoscale(False)
    axes.set_axis_off()
    axes.set_title(view.name, color="white", fontsize=11, parse_math=False)
    name_sides(axes, view.sides)
