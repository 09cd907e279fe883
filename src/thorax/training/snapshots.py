"""Picture of a validation case during training: truth and prediction on the canvas."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thorax.imaging.placement import FULL_COVERAGE
from thorax.preprocessing.records import CaseRecord
from thorax.visualization.drawing import (
    LINE_STYLES,
    LUNG_WINDOW,
    VIEWS,
    add_legend,
    draw_outlines,
    label_sides,
)

AXIAL = VIEWS[0]

PANELS = 3
"""Slices in a picture."""


def snapshot(
    case: CaseRecord, predicted: NDArray[np.float32], regions: Sequence[str], *, title: str
) -> Figure:
    """Draw the slices of a case in which truth and prediction differ most.

    Args:
        case: Slices in HU and area fractions on the canvas.
        predicted: Probabilities, shape ``(N, H, W, R)``.
        regions: Names of the regions.
        title: Title of the picture.

    Returns:
        A figure with the slices from feet to head; truth solid, prediction dotted.
    """
    masks = case.fractions >= FULL_COVERAGE / 2, predicted >= 0.5
    _, width, height = case.planes.shape
    edges = (-0.5, width - 0.5, -0.5, height - 0.5)
    figure = Figure(figsize=(12, 4.6), facecolor="black", layout="constrained")
    panels = figure.subplots(1, PANELS, squeeze=False)[0]
    for axes, plane in zip(panels, most_different_planes(*masks), strict=False):
        _draw_plane(axes, case.planes[plane], plane)
        for style, mask in zip(LINE_STYLES, masks, strict=True):
            draw_outlines(axes, np.moveaxis(mask[plane], -1, 0), edges, style)
    for axes in panels:
        axes.set_axis_off()
    add_legend(figure, regions, ("truth", "prediction"), title=title)
    return figure


def most_different_planes(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> list[int]:
    """Return the slice with most differing pixels of each third of the scan, in order.

    Args:
        truth: Shape ``(N, H, W, R)``.
        predicted: The same shape.

    Example:
        >>> truth, predicted = np.zeros((2, 6, 4, 4, 1), bool)
        >>> predicted[1, 0, 0], predicted[2, :2, 0], predicted[5, 0, 0] = True, True, True
        >>> most_different_planes(truth, predicted)
        [1, 2, 5]
    """
    differing = np.count_nonzero(truth != predicted, axis=(1, 2, 3))
    thirds = [part for part in np.array_split(np.arange(len(truth)), PANELS) if part.size]
    return [int(part[differing[part].argmax()]) for part in thirds]


def _draw_plane(axes: Axes, plane: NDArray[np.int16], number: int) -> None:
    axes.imshow(LUNG_WINDOW.apply(plane).T, cmap="gray", origin="lower", vmin=0, vmax=1)
    axes.invert_xaxis()
    axes.autoscale(False)
    axes.set_title(f"plane {number}", color="white", fontsize=11)
    label_sides(axes, AXIAL.sides)
