"""Views, colours, outlines and legends common to all pictures."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from thorax.common.files import whole_file
from thorax.imaging.intensity import Window

LUNG_WINDOW = Window(-1350, 150)
"""Lung window of radiology: centre -600 HU, width 1500 HU."""

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999")
"""Colours of Okabe and Ito, safe for colour-blind readers; one per region."""

LINE_STYLES: tuple[Literal["solid", "dotted"], ...] = ("solid", "dotted")
"""Line styles, one per mask."""


COMPRESSION = 2
"""Level of zlib: a fifth of the time of the default 6, files are a fifth larger."""


@dataclass(frozen=True)
class View:
    """Orientation of a slice.

    Args:
        name: ``axial``, ``coronal`` or ``sagittal``.
        across: Voxel axis across the picture, from right to left.
        up: Voxel axis up the picture.
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
    """Write a figure as PNG, atomically."""
    with whole_file(path) as temporary:
        write_png(figure, temporary)


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG to a file of any name, not atomically."""
    # Without the version of matplotlib in the file, equal pictures give equal bytes.
    figure.savefig(
        path,
        format="png",
        dpi=110,
        metadata={"Software": None},
        pil_kwargs={"compress_level": COMPRESSION},
    )


def busiest_indices(counts: Sequence[NDArray[np.int64]]) -> tuple[int, int, int]:
    """Index along x, y and z with the most voxels of the last region that is not empty.

    Args:
        counts: For each axis, voxel counts of each region in each plane across the axis, shape
            ``(R, size)``. If all are 0, the middle is returned.
    """
    present = np.flatnonzero(counts[0].sum(axis=1))
    i, j, k = (
        int(count[present[-1]].argmax()) if present.size else count.shape[1] // 2
        for count in counts
    )
    return i, j, k


def label_sides(axes: Axes, sides: tuple[str, str]) -> None:
    """Label the left and right edge of a picture with the side of the patient."""
    for letter, x, edge in zip(sides, (0.02, 0.98), ("left", "right"), strict=True):
        axes.text(x, 0.5, letter, transform=axes.transAxes, color="white", ha=edge, va="center")


def draw_outlines(axes: Axes, masks: NDArray[np.bool_], extent: Extent, style: str) -> None:
    """Draw the outlines of masks along voxel edges; they are closed at the border.

    Args:
        axes: The picture.
        masks: One mask ``[across, up]`` per region, shape ``(R, …)``.
        extent: Positions of the outer edges of the first and last voxel, across and up.
        style: Line style.
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


def add_legend(
    figure: Figure, regions: Iterable[str], masks: Collection[str], *, title: str
) -> None:
    """Add a title above a figure, and a legend of the outlines below, in as many rows as needed.

    Args:
        figure: The figure.
        regions: Names of the regions, in the order of `COLOURS`.
        masks: Names of the masks, in the order of `LINE_STYLES`.
        title: Title.
    """
    handles = [
        Line2D([], [], color=colour, linestyle=style, label=f"{region}, {name}")
        for region, colour in zip(regions, COLOURS, strict=False)
        for name, style in zip(masks, LINE_STYLES, strict=False)
    ]
    figure.suptitle(title, color="white", fontsize=12, wrap=True, parse_math=False)
    rows = (1, *range(len(masks), len(handles), len(masks)), len(handles))
    for count in rows:
        legend = _add_handles(figure, handles, columns=-(-len(handles) // count))
        if count == rows[-1] or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()


def _add_handles(figure: Figure, handles: Sequence[Line2D], *, columns: int) -> Legend:
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        labelcolor="white",
    )
    # File names may contain dollar signs.
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend
