"""Views, colours, outlines and legends shared by all pictures."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from thorax.common.files import whole_file
from thorax.imaging.intensity import Window

VIEW = Window(-1350, 150)
"""The lung window of radiology: centre -600 HU, width 1500 HU."""

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999")
"""The colours of Okabe and Ito, which the colour-blind can tell apart; one a region."""

STYLES: tuple[Literal["solid", "dotted"], ...] = ("solid", "dotted")
"""One a mask."""


@dataclass(frozen=True)
class View:
    """One way to cut a volume.

    Args:
        name: As radiologists call it.
        across: Voxel axis that runs across the picture, from right to left.
        up: Voxel axis that runs up the picture.
        sides: Letters at the left and at the right edge.
    """

    name: str
    across: int
    up: int
    sides: tuple[str, str]


VIEWS = (
    View("axial", 0, 1, ("R", "L")),
    View("coronal", 0, 2, ("R", "L")),
    View("sagittal", 1, 2, ("A", "P")),
)

Extent = tuple[float, float, float, float]


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all; no display is needed."""
    with whole_file(path) as temporary:
        # Without the version of matplotlib in the file, equal pictures are equal bytes.
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def peaks(counts: Sequence[NDArray[np.int64]]) -> tuple[int, int, int]:
    """Where along x, y and z there is most of the last region that is there at all.

    Args:
        counts: For each of the three axes, voxels of each region in each plane across it, shape
            ``(R, size)``. Without any, the middle is returned.
    """
    held = np.flatnonzero(counts[0].sum(axis=1))
    i, j, k = (
        int(count[held[-1]].argmax()) if held.size else count.shape[1] // 2 for count in counts
    )
    return i, j, k


def name_sides(axes: Axes, sides: tuple[str, str]) -> None:
    """Write at the left and at the right edge of a picture which side of the patient is there."""
    for letter, x, edge in zip(sides, (0.02, 0.98), ("left", "right"), strict=True):
        axes.text(x, 0.5, letter, transform=axes.transAxes, color="white", ha=edge, va="center")


def outline(axes: Axes, masks: NDArray[np.bool_], extent: Extent, style: str) -> None:
    """Draw along the edges of voxels; a rim of nothing closes the lines at the border.

    Args:
        axes: The picture.
        masks: One a region, each ``[across, up]``, shape ``(R, …)``.
        extent: Where the outer edges of the first and the last voxel lie, across and up.
        style: Of the lines.
    """
    left, right, low, high = extent
    across, up = (right - left) / masks.shape[1], (high - low) / masks.shape[2]
    for mask, colour in zip(masks, COLOURS, strict=False):
        if mask.any():
            axes.contour(
                np.pad(mask.T.astype(float), 1),
                levels=[0.5],
                origin="lower",
                extent=(left - across, right + across, low - up, high + up),
                colors=[colour],
                linestyles=[style],
                linewidths=1.3,
            )


def explain(figure: Figure, regions: Iterable[str], masks: Collection[str], *, title: str) -> None:
    """Put a title above a figure, and below it a legend of its outlines.

    Args:
        figure: The figure.
        regions: Their names, in the order of `COLOURS`.
        masks: Their names, in the order of `STYLES`.
        title: Stands above the picture.
    """
    lines = [
        Line2D([], [], color=colour, linestyle=style, label=f"{region}, {name}")
        for region, colour in zip(regions, COLOURS, strict=False)
        for name, style in zip(masks, STYLES, strict=False)
    ]
    legend = figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=len(lines),
        frameon=False,
        labelcolor="white",
    )
    heading = figure.suptitle(title, color="white", fontsize=12)
    # Names may hold what would be a formula.
    for text in (heading, *legend.get_texts()):
        text.set_parse_math(False)
