"""Preview of a segmentation in one picture.

It has three slices with the outlines of the regions at the same scale, the volumes of the regions,
and their surfaces from the front. Fonts are those of matplotlib, and no text is parsed as TeX.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray

from thorax.imaging.body import body_box, coarse_step
from thorax.imaging.grid import mask_box
from thorax.imaging.placement import AxisPlacement, Placement
from thorax.visualization.drawing import (
    COLOURS,
    LUNG_WINDOW,
    VIEWS,
    View,
    busiest_indices,
    draw_outlines,
    label_sides,
)
from thorax.visualization.mesh import Mesh
from thorax.visualization.render import Colour, render_surfaces

DPI = 110
"""Pixels per inch, as in `drawing.save_png`, so that a pixel here is a pixel of the file."""

FONT = "DejaVu Sans"
"""Distributed with matplotlib."""

BACKGROUND, INK, FAINT, WARNING = "#0b0e13", "#f2f4f7", "#98a2b3", "#f5c451"

EDGE, GAP, CAPTION, TITLE, FOOT = 26, 24, 28, 62, 40
"""Pixels of the margin, between panels, and of captions, title and warnings."""

PLANES_WIDTH, PLANES_HEIGHT = 800, 720
"""Maximal size of all slices, in pixels."""

MIN_WIDTH, MIN_HEIGHT = 340, 40
"""Minimal size of a column and a row, in pixels: captions of thin scans need room."""

SCENE_WIDTH = 640

MAX_LEGEND_WIDTH = 500
"""Maximal width of the legend, in pixels; longer lines are shrunk."""

LINE, LETTER, INDENT = 27, 10, 24
"""Height of a line of the legend, width of a letter, and indentation, in pixels."""

AZIMUTH, ELEVATION = 14.0, 8.0
"""Viewing angles in degrees, from the front to the patient's left and upwards."""

GLASS = 0.2
"""Opacity of a region that contains another."""

GLASS_SHARE = 0.1
"""Share of a region inside another, or its bounding box, from which the other is transparent."""

MIN_LABEL_PIXELS = 80
"""Side of a slice in pixels from which there is room for letters, marks and a scale bar."""

PARENT_SHARE = 0.9
"""Share of a region inside another from which its volume is also given as a percentage of it."""

MIN_BODY_PIXELS = 5
"""Side of a slice, in coarse pixels, below which no body is searched."""

BARS_CM = (10, 5, 2, 1, 0.5, 0.2, 0.1)

DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))
"""Letters above and below 0 mm along x, y and z."""

Triple = tuple[float, float, float]

Span = tuple[int, int]

Extent = tuple[float, float]

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the picture."""

Line = tuple[str, str, str]
"""A line of the legend: colour of the square, or empty; colour of the text; text."""


@dataclass(frozen=True, eq=False)
class SliceView:
    """A slice of a scan at native resolution.

    Args:
        hu: Shape ``[across, up]``, axes as in `drawing.VIEWS`.
        masks: One mask per region, shape ``(R, across, up)``.
    """

    hu: NDArray[np.int16] | NDArray[np.float32]
    masks: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PreviewData:
    """Content of a preview.

    Args:
        slices: Axial, coronal and sagittal, in the order of `drawing.VIEWS`.
        at: Voxel, along x, y and z, in which the three slices intersect.
        at_mm: Position of that voxel, RAS+.
        spacing_mm: Voxel spacing of the scan along x, y and z.
        regions: Names of the regions.
        canvases: Binary masks on the canvas, shape ``(R, N, H, W)``.
        surfaces: Surface of each region, see `mesh.surface`.
        volumes_ml: Region name → volume; a missing volume is not printed.
        sides_ml: Region name → volume on the patient's right and left.
        title: Title of the picture, usually the file name.
        warnings: Quality warnings below the picture.
    """

    slices: tuple[SliceView, SliceView, SliceView]
    at: tuple[int, int, int]
    at_mm: Triple
    spacing_mm: Triple
    regions: tuple[str, ...]
    canvases: NDArray[np.bool_]
    surfaces: tuple[Mesh, ...]
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    sides_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    title: str = ""
    warnings: tuple[str, ...] = ()


def busiest_pixel(canvases: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Index along H, W and N with the most pixels of the last region that is not empty.

    For empty masks, the middle.

    Args:
        canvases: Shape ``(R, N, H, W)``.

    Example:
        >>> canvases = np.zeros((2, 5, 8, 8), bool)
        >>> busiest_pixel(canvases)
        (4, 4, 2)
        >>> canvases[0] = canvases[1, 4, 1, 2] = True
        >>> busiest_pixel(canvases)
        (1, 2, 4)
    """
    return busiest_indices(
        [np.count_nonzero(canvases, axis=axes) for axes in ((1, 3), (1, 2), (2, 3))]
    )


def scan_voxel(placement: Placement, pixel: tuple[int, int, int]) -> tuple[int, int, int]:
    """Voxel ``(x, y, z)`` of the scan at the centre of a pixel ``(H, W, N)`` of the canvas."""
    across, along, plane = pixel
    return _middle(placement.x, across), _middle(placement.y, along), plane


@dataclass(frozen=True)
class PageLayout:
    """Boxes of the parts of the picture, in pixels."""

    width: float
    height: float
    planes: tuple[Box, Box, Box]
    legend: Box
    scene: Box


def draw_preview(data: PreviewData) -> Figure:
    """Draw three slices, the surfaces of the regions and their volumes.

    The patient is seen from the feet, the front and the right, as in `overlay.overlay`. Save the
    figure by `drawing.save_png`; equal previews give equal bytes.

    Args:
        data: Content of the preview.
    """
    spans = _spans(data)
    extents = [
        (start * step, stop * step)
        for (start, stop), step in zip(spans, data.spacing_mm, strict=True)
    ]
    legend = _legend(data)
    page = _layout([stop - start for start, stop in extents], legend, FOOT if data.warnings else 0)
    figure = Figure((page.width / DPI, page.height / DPI), DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    with ThreadPoolExecutor(1) as pool:
        scene = pool.submit(_render_scene, page.scene, data)
        for number in range(len(VIEWS)):
            _draw_plane(figure, page.planes[number], data, number=number, extents=extents)
        _draw_legend(figure, page.legend, legend)
        _draw_scene(figure, page.scene, data, scene.result())
    width = page.width - 2 * EDGE
    _write(figure, (EDGE, EDGE - 4), data.title, size=14, width=width)
    _warn(figure, (EDGE, page.height - EDGE - 8), data.warnings, width)
    return figure


def _middle(axis: AxisPlacement, pixel: int) -> int:
    """Central voxel of those that a canvas pixel covers; for padding, the middle of the axis."""
    weights = axis.placing[pixel].astype(np.float64)
    if not weights.any():
        return axis.size // 2
    return int(np.rint(weights @ np.arange(axis.start, axis.stop) / weights.sum()))


def _spans(data: PreviewData) -> list[Span]:
    """Part of the slices that is drawn: box of body and regions in x and y, everything in z."""
    x, y = data.slices[0].hu.shape
    body = [_body_extent(slice_.hu) for slice_ in data.slices]
    masks = [_mask_extent(slice_.masks) for slice_ in data.slices]
    across = _hull([body[0][0], body[1][0], masks[0][0], masks[1][0]], x)
    back, front = _hull([body[0][1], masks[0][1], masks[2][0]], y)
    # In a sagittal slice the couch is as large as the body, so its back border is not used.
    return [across, (back, max(front, body[2][0][1])), (0, data.slices[1].hu.shape[1])]


def _mask_extent(masks: NDArray[np.bool_]) -> tuple[Span, Span]:
    """Extent of the regions of a slice along both axes; (0, 0) if they are empty."""
    across, up = mask_box(np.asarray(masks.any(axis=0)))
    return (across.start, across.stop), (up.start, up.stop)


def _body_extent(hu: NDArray[Any]) -> tuple[Span, Span]:
    """Extent of the body in a slice along both axes; (0, 0) if the slice is too thin."""
    width, height = hu.shape
    step = coarse_step((width, height))
    if min(width, height) < MIN_BODY_PIXELS * step:
        return (0, 0), (0, 0)
    return body_box(hu[None, ::step, ::step], (width, height))


def _hull(spans: Sequence[Span], size: int) -> Span:
    filled = [span for span in spans if span[1] > span[0]] or [(0, size)]
    return min(start for start, _ in filled), max(stop for _, stop in filled)


def _layout(sizes_mm: Sequence[float], legend: Sequence[Line], foot: float) -> PageLayout:
    """Place axial above coronal, sagittal to its right, the legend above that, surfaces right."""
    x, y, z = sizes_mm
    scale = min(PLANES_WIDTH / (x + y), PLANES_HEIGHT / (y + z))
    words = max((len(text) for _, _, text in legend), default=0) * LETTER + INDENT
    columns = max(x * scale, MIN_WIDTH), max(y * scale, MIN_WIDTH, min(words, MAX_LEGEND_WIDTH))
    rows = max(y * scale, len(legend) * LINE), max(z * scale, MIN_HEIGHT)
    left = EDGE, EDGE + columns[0] + GAP, EDGE + sum(columns) + 2 * GAP
    top = TITLE + CAPTION, TITLE + rows[0] + GAP + 2 * CAPTION
    height = top[1] + rows[1]
    return PageLayout(
        width=round(left[2] + SCENE_WIDTH + EDGE),
        height=round(height + foot + EDGE),
        planes=(
            (left[0], top[0], x * scale, y * scale),
            (left[0], top[1], x * scale, z * scale),
            (left[1], top[1], y * scale, z * scale),
        ),
        legend=(left[1], top[0], columns[1], rows[0]),
        scene=(round(left[2]), top[0], SCENE_WIDTH, round(height - top[0])),
    )


def _axes(figure: Figure, box: Box) -> Axes:
    left, top, width, height = box
    across, up = figure.get_size_inches() * DPI
    axes = figure.add_axes(
        (left / across, 1 - (top + height) / up, width / across, height / up), facecolor="black"
    )
    axes.set_axis_off()
    return axes


def _draw_plane(
    figure: Figure, box: Box, data: PreviewData, *, number: int, extents: Sequence[Extent]
) -> None:
    view, slice_ = VIEWS[number], data.slices[number]
    across, up = (data.spacing_mm[axis] for axis in (view.across, view.up))
    whole = (0.0, slice_.hu.shape[0] * across, 0.0, slice_.hu.shape[1] * up)
    axes = _axes(figure, box)
    grey = LUNG_WINDOW.apply(slice_.hu.T)
    look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    axes.imshow(grey, origin="lower", extent=whole, **look)
    draw_outlines(axes, slice_.masks, whole, "solid")
    axes.set_xlim(extents[view.across][::-1])
    axes.set_ylim(extents[view.up])
    _write(figure, (box[0], box[1] - CAPTION + 4), _caption(view, data.at_mm), size=10)
    if box[2] >= MIN_LABEL_PIXELS:
        label_sides(axes, view.sides)
    for text in axes.texts:
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    if min(box[2:]) >= MIN_LABEL_PIXELS:
        places = [(at + 0.5) * step for at, step in zip(data.at, data.spacing_mm, strict=True)]
        _mark_other_planes(axes, (places[view.across], places[view.up]))
        _draw_scale_bar(axes, box, extents[view.across], extents[view.up])


def _caption(view: View, at_mm: Triple) -> str:
    """Caption of a slice in the style of viewers: ``axial, S 12 mm``."""
    axis = 3 - view.across - view.up
    position = round(at_mm[axis])
    return f"{view.name}, {DIRECTIONS[axis][int(position < 0)]} {abs(position)} mm"


def _mark_other_planes(axes: Axes, places_mm: tuple[float, float]) -> None:
    """Mark the positions of the two other slices by short lines at the edges."""
    for low, high in ((0.0, 0.02), (0.98, 1.0)):
        axes.axvline(places_mm[0], low, high, color=INK, linewidth=1, alpha=0.6)
        axes.axhline(places_mm[1], low, high, color=INK, linewidth=1, alpha=0.6)


def _draw_scale_bar(axes: Axes, box: Box, across: Extent, up: Extent) -> None:
    """Draw a scale bar in the lower left corner, if there is room for one."""
    width = across[1] - across[0]
    fitting = [length for length in BARS_CM if length * 10 <= width / 3]
    if not fitting:
        return
    length, pixel = fitting[0], width / box[2]
    start, height = across[1] - 12 * pixel, up[0] + 12 * pixel
    edged = [withStroke(linewidth=4, foreground="black")]
    axes.plot([start, start - length * 10], [height] * 2, color=INK, lw=2, path_effects=edged)
    axes.text(
        start - length * 5,
        height + 8 * pixel,
        f"{length:g} cm",
        color=INK,
        family=FONT,
        size=8.5,
        ha="center",
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def _legend(data: PreviewData) -> list[Line]:
    """Lines of the legend: volume of each region, and its volume on each side if known."""
    lines = []
    for number, (name, colour) in enumerate(zip(data.regions, COLOURS, strict=False)):
        lines.append((colour, INK, f"{name} {_volume(data, number)}".rstrip()))
        if name in data.sides_ml:
            right, left = (_ml(volume) for volume in data.sides_ml[name])
            lines.append(("", FAINT, f"right {right}, left {left}"))
    return lines


def _volume(data: PreviewData, number: int) -> str:
    """Volume of a region, and percentage of the region that contains it."""
    name = data.regions[number]
    volume = data.volumes_ml.get(name)
    if volume is None:
        return ""
    parent = _parent(data, number)
    return _ml(volume) + (
        f", {_share(volume, data.volumes_ml[parent])} of {parent}" if parent else ""
    )


def _parent(data: PreviewData, number: int) -> str | None:
    """First of the preceding regions that contains most of a region and has a volume."""
    own = data.canvases[number]
    count = np.count_nonzero(own)
    for name, other in zip(data.regions[:number], data.canvases, strict=False):
        common = np.count_nonzero(own & other)
        if count > 0 and common >= PARENT_SHARE * count and data.volumes_ml.get(name):
            return name
    return None


def _ml(volume_ml: float) -> str:
    """Format a volume.

    Example:
        >>> [_ml(volume) for volume in (0, 0.01, 0.31, 9.96, 4811.7)]
        ['0 mL', 'under 0.1 mL', '0.3 mL', '10 mL', '4,812 mL']
    """
    if 0 < volume_ml < 0.1:
        return "under 0.1 mL"
    return f"{volume_ml:.1f} mL" if 0 < volume_ml < 9.95 else f"{volume_ml:,.0f} mL"


def _share(part: float, whole: float) -> str:
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"


def _draw_legend(figure: Figure, box: Box, lines: Sequence[Line]) -> None:
    left, top, width, _ = box
    across, up = figure.get_size_inches() * DPI
    for number, (square, ink, text) in enumerate(lines):
        below = top + number * LINE
        if square:
            corner = (left / across, 1 - (below + 16) / up)
            figure.add_artist(
                Rectangle(corner, 14 / across, 14 / up, facecolor=square, edgecolor="none")
            )
        _write(figure, (left + INDENT, below), text, size=11.5, colour=ink, width=width - INDENT)


def _render_scene(box: Box, data: PreviewData) -> NDArray[np.uint8]:
    """Render the surfaces of the regions; regions that contain another are transparent."""
    _, _, width, height = box
    return render_surfaces(
        data.surfaces,
        colours=_colours(data.canvases),
        size=(int(height), int(width)),
        azimuth=AZIMUTH,
        elevation=ELEVATION,
    )


def _draw_scene(figure: Figure, box: Box, data: PreviewData, scene: NDArray[np.uint8]) -> None:
    left, top, width, height = box
    _write(figure, (left, top - CAPTION + 4), "from the front", size=10)
    axes = _axes(figure, box)
    axes.imshow(scene, interpolation="none")
    if data.canvases.any():
        label_sides(axes, VIEWS[1].sides)
        return
    measured = any(data.volumes_ml.values())
    words = "too small to be drawn" if measured else "no region found"
    middle = (left + width / 2, top + height / 2)
    _write(figure, middle, words, size=11, colour=FAINT).set_horizontalalignment("center")


def _colours(canvases: NDArray[np.bool_]) -> list[Colour]:
    """Colour of each region; transparent if it contains another region."""
    return [
        (*to_rgb(colour), GLASS if _contains_another(number, canvases) else 1.0)
        for number, colour in zip(range(len(canvases)), COLOURS, strict=False)
    ]


def _contains_another(number: int, canvases: NDArray[np.bool_]) -> bool:
    """Check whether a region, or its bounding box, contains part of a smaller region."""
    own = canvases[number]
    size = np.count_nonzero(own)
    box = mask_box(own)
    for mask in canvases:
        count = np.count_nonzero(mask)
        inside = own & mask if count > size / 2 else mask[box]
        if 0 < count < size and np.count_nonzero(inside) >= GLASS_SHARE * count:
            return True
    return False


def _warn(
    figure: Figure, place: tuple[float, float], warnings: Sequence[str], width: float
) -> None:
    if warnings:
        _write(figure, place, "⚠ " + " · ".join(warnings), size=10, colour=WARNING, width=width)


def _write(
    figure: Figure,
    place: tuple[float, float],
    words: str,
    *,
    size: float,
    colour: str = INK,
    width: float = np.inf,
) -> Text:
    """Write a line with its upper left corner at a pixel, shrunk to the width."""
    across, up = figure.get_size_inches() * DPI
    text = figure.text(
        place[0] / across,
        1 - place[1] / up,
        printable_line(words),
        va="top",
        color=colour,
        family=FONT,
        size=size,
        parse_math=False,
        usetex=False,
    )
    _fit_text(text, width)
    return text


def _fit_text(text: Text, width: float) -> None:
    """Reduce the font size to three quarters at most, then shorten the text at its end."""
    wide = text.get_window_extent().width
    if wide <= width:
        return
    text.set_fontsize(float(text.get_fontsize()) * max(0.75, 0.99 * width / wide))
    words = text.get_text()
    while words and text.get_window_extent().width > width:
        words = words[: int(len(words) * min(0.98, width / text.get_window_extent().width))]
        text.set_text(words.rstrip() + "…")


def printable_line(words: str) -> str:
    """Join text to one line, and replace characters that the font lacks.

    Example:
        >>> printable_line("a_1$  肺")
        'a_1$ �'
    """
    font = get_font(findfont(FontProperties(family=FONT)))
    line = " ".join(words.split())
    return "".join(letter if font.get_char_index(ord(letter)) else "\ufffd" for letter in line)
