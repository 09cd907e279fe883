"""Pictures of a watched case during training: planes of the canvas, truth and prediction."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thorax.imaging.placement import FULL_COVERAGE
from thorax.preprocessing.records import CaseRecord
from thorax.visualization.drawing import STYLES, VIEW, VIEWS, explain, name_sides, outline

AXIAL = VIEWS[0]

PANELS = 3
"""Planes in a picture."""


def snapshot(
    case: CaseRecord, found: NDArray[np.float32], regions: Sequence[str], *, title: str
) -> Figure:
    """Draw the planes of a case where truth and prediction differ most.

    Args:
        case: Planes in HU and fractions on the canvas.
        found: Probabilities, shape ``(N, H, W, R)``.
        regions: Their names.
        title: Stands above the picture.

    Returns:
        A figure with the planes from feet to head; truth solid, prediction dotted.
    """
    masks = case.fractions >= FULL_COVERAGE / 2, found >= 0.5
    _, width, height = case.planes.shape
    edges = (-0.5, width - 0.5, -0.5, height - 0.5)
    figure = Figure(figsize=(12, 4.6), facecolor="black", layout="constrained")
    panels = figure.subplots(1, PANELS, squeeze=False)[0]
    for axes, plane in zip(panels, telling_planes(*masks), strict=False):
        _show(axes, case.planes[plane], plane)
        for style, mask in zip(STYLES, masks, strict=True):
            outline(axes, np.moveaxis(mask[plane], -1, 0), edges, style)
    for axes in panels:
        axes.set_axis_off()
    explain(figure, regions, ("truth", "prediction"), title=title)
    return figure


def telling_planes(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> list[int]:
    """The planes with most differing pixels, one from each third of the scan, in their order.

    Args:
        truth: Shape ``(N, H, W, R)``.
        found: Of the same shape.

    Example:
        >>> truth, found = np.zeros((2, 6, 4, 4, 1), bool)
        >>> found[1, 0, 0], found[2, :2, 0], found[5, 0, 0] = True, True, True
        >>> telling_planes(truth, found)
        [1, 2, 5]
    """
    differing = np.count_nonzero(truth != found, axis=(1, 2, 3))
    thirds = [part for part in np.array_split(np.arange(len(truth)), PANELS) if part.size]
    return [int(part[differing[part].argmax()]) for part in thirds]


def _show(axes: Axes, plane: NDArray[np.int16], number: int) -> None:
    axes.imshow(VIEW.apply(plane).T, cmap="gray", origin="lower", vmin=0, vmax=1)
    axes.invert_xaxis()
    axes.autoscale(False)
    axes.set_title(f"plane {number}", color="white", fontsize=11)
    name_sides(axes, AXIAL.sides)
