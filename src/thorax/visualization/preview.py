"""One picture of a scan and of what was found in it, for a first look, without a display.

Three planes with the outlines of the regions, at one scale; what the regions measure; and their
surfaces from the front. Fonts are those that matplotlib brings along, and no text is read as TeX.
"""

from collections.abc import Mapping, Sequence
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
from scipy import ndimage

from thorax.imaging.body import body_box, coarse_step
from thorax.imaging.placement import AxisPlacement, Placement
from thorax.visualization.drawing import COLOURS, VIEW, VIEWS, View, name_sides, outline, peaks
from thorax.visualization.mesh import surface
from thorax.visualization.render import Colour, render

DPI = 110
"""Pixels an inch, as in `figures.save_png`, so that a pixel here is one in the file."""

FONT = "DejaVu Sans"
"""Comes with matplotlib."""

BACKGROUND, INK, FAINT, WARNING = "#0b0e13", "#f2f4f7", "#98a2b3", "#f5c451"

EDGE, GAP, CAPTION, TITLE, FOOT = 26, 24, 28, 62, 40
"""Pixels around everything, between panels, and for the lines above, over and below them."""

PLANES_WIDTH, PLANES_HEIGHT = 800, 720
"""Pixels that the planes may take."""

LEAST_WIDTH, LEAST_HEIGHT = 340, 40
"""Pixels of a column and a row: a thin scan is drawn thin, but its letters need their room."""

SCENE_WIDTH = 640

MOST_WIDTH = 500
"""Pixels to which the legend may widen its column; lines that are still longer are made to fit."""

LINE, LETTER, INDENT = 27, 10, 24
"""Pixels from one line of the legend to the next, of a letter, and before a line."""

AZIMUTH, ELEVATION = 14.0, 8.0
"""Degrees from the front to the patient's left and up, so that depth can be seen."""

GLASS = 0.2
"""Opacity of a region that another lies in."""

HELD = 0.1
"""Share of a region in another, or in its box, from which the other is drawn as glass."""

ROOMY = 80
"""Pixels a side from which a plane has room for letters, marks and a scale bar."""

MOSTLY = 0.9
"""Share of a region in another from which its volume is told as a share of the other's."""

THIN = 5
"""Pixels a side of a plane in which no body is looked for."""

BARS_CM = (10, 5, 2, 1, 0.5, 0.2, 0.1)

DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))
"""Letters above and below 0 mm along x, y and z."""

Triple = tuple[float, float, float]

Span = tuple[int, int]

Extent = tuple[float, float]

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the picture."""

Line = tuple[str, str, str]
"""Colour of the square before a line of the legend, or none; colour of the text; text."""


@dataclass(frozen=True, eq=False)
class SliceView:
    """A plane of a scan at native resolution.

    Args:
        hu: Shape ``[across, up]`` as the views of `figures.VIEWS` say.
        masks: One a region, shape ``(R, across, up)``.
    """

    hu: NDArray[np.int16] | NDArray[np.float32]
    masks: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PreviewData:
    """What a preview needs.

    Args:
        cuts: Axial, coronal and sagittal, in the order of `figures.VIEWS`.
        at: The voxel, along x, y and z, that all three go through.
        at_mm: Where it lies, RAS+.
        spacing_mm: Of the scan's voxels along x, y and z.
        regions: Their names.
        canvases: Binary masks on the canvas, shape ``(R, N, H, W)``.
        canvas_spacing_mm: Of the canvas' voxels along x, y and z.
        volumes_ml: Of each region; one that is left out is not measured.
        sides_ml: Volume of a region on the patient's right and left, where that is known.
        title: Stands above the picture, mostly the name of the file.
        warnings: What a reader must know before trusting the masks.
    """

    cuts: tuple[SliceView, SliceView, SliceView]
    at: tuple[int, int, int]
    at_mm: Triple
    spacing_mm: Triple
    regions: tuple[str, ...]
    canvases: NDArray[np.bool_]
    canvas_spacing_mm: Triple
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    sides_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    title: str = ""
    warnings: tuple[str, ...] = ()


def busiest_pixel(canvases: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Where along H, W and N there is most of the last region that is there; else the middle.

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
    return peaks([np.count_nonzero(canvases, axis=axes) for axes in ((1, 3), (1, 2), (2, 3))])


def scan_voxel(placement: Placement, pixel: tuple[int, int, int]) -> tuple[int, int, int]:
    """The voxel ``(x, y, z)`` of the scan in the middle of a pixel ``(H, W, N)`` of the canvas."""
    across, along, plane = pixel
    return _middle(placement.x, across), _middle(placement.y, along), plane


@dataclass(frozen=True)
class Page:
    """Where things stand in the picture, in pixels."""

    width: float
    height: float
    planes: tuple[Box, Box, Box]
    legend: Box
    scene: Box


def preview(shown: PreviewData) -> Figure:
    """Draw three planes, the surfaces of the regions and what they measure.

    The patient is seen from the feet, the front and the right, as in `figures.overlay`. Write the
    figure by `figures.save_png`; equal previews are equal bytes.

    Args:
        shown: What is to be seen.
    """
    spans = _spans(shown)
    extents = [
        (start * step, stop * step)
        for (start, stop), step in zip(spans, shown.spacing_mm, strict=True)
    ]
    legend = _legend(shown)
    page = _lay_out(
        [stop - start for start, stop in extents], legend, FOOT if shown.warnings else 0
    )
    figure = Figure((page.width / DPI, page.height / DPI), DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    for number in range(len(VIEWS)):
        _draw_plane(figure, page.planes[number], shown, number=number, extents=extents)
    _draw_legend(figure, page.legend, legend)
    _draw_scene(figure, page.scene, shown)
    width = page.width - 2 * EDGE
    _write(figure, (EDGE, EDGE - 4), shown.title, size=14, width=width)
    _warn(figure, (EDGE, page.height - EDGE - 8), shown.warnings, width)
    return figure


def _middle(axis: AxisPlacement, pixel: int) -> int:
    """The voxel in the middle of those that a pixel of the canvas covers; over padding, none."""
    weights = axis.placing[pixel].astype(np.float64)
    if not weights.any():
        return axis.size // 2
    return int(np.rint(weights @ np.arange(axis.size) / weights.sum()))


def _spans(shown: PreviewData) -> list[Span]:
    """The part of the planes that is drawn: body and regions across and along, all planes."""
    x, y = shown.cuts[0].hu.shape
    body = [_box(cut.hu) for cut in shown.cuts]
    found = [_reach(cut.masks) for cut in shown.cuts]
    across = _hull([body[0][0], body[1][0], found[0][0], found[1][0]], x)
    back, front = _hull([body[0][1], found[0][1], found[2][0]], y)
    # In a sagittal plane the couch is as large as the body, so that its back is left out.
    return [across, (back, max(front, body[2][0][1])), (0, shown.cuts[1].hu.shape[1])]


def _reach(masks: NDArray[np.bool_]) -> tuple[Span, Span]:
    """From where to where the regions of a plane reach along both axes; (0, 0) if nowhere."""
    parts = ndimage.find_objects(masks.any(axis=0).astype(np.uint8))
    if not parts:
        return (0, 0), (0, 0)
    across, up = parts[0]
    return (across.start, across.stop), (up.start, up.stop)


def _box(hu: NDArray[Any]) -> tuple[Span, Span]:
    """Box of the body in one plane; (0, 0) twice where the plane is too thin to tell."""
    width, height = hu.shape
    step = coarse_step((width, height))
    if min(width, height) < THIN * step:
        return (0, 0), (0, 0)
    return body_box(hu[None, ::step, ::step], (width, height))


def _hull(spans: Sequence[Span], size: int) -> Span:
    held = [span for span in spans if span[1] > span[0]] or [(0, size)]
    return min(start for start, _ in held), max(stop for _, stop in held)


def _lay_out(sizes_mm: Sequence[float], legend: Sequence[Line], foot: float) -> Page:
    """Axial above coronal, sagittal beside coronal, the legend in the corner, surfaces beside."""
    x, y, z = sizes_mm
    scale = min(PLANES_WIDTH / (x + y), PLANES_HEIGHT / (y + z))
    words = max((len(text) for _, _, text in legend), default=0) * LETTER + INDENT
    columns = max(x * scale, LEAST_WIDTH), max(y * scale, LEAST_WIDTH, min(words, MOST_WIDTH))
    rows = max(y * scale, len(legend) * LINE), max(z * scale, LEAST_HEIGHT)
    left = EDGE, EDGE + columns[0] + GAP, EDGE + sum(columns) + 2 * GAP
    top = TITLE + CAPTION, TITLE + rows[0] + GAP + 2 * CAPTION
    height = top[1] + rows[1]
    return Page(
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
    figure: Figure, box: Box, shown: PreviewData, *, number: int, extents: Sequence[Extent]
) -> None:
    view, cut = VIEWS[number], shown.cuts[number]
    across, up = (shown.spacing_mm[axis] for axis in (view.across, view.up))
    whole = (0.0, cut.hu.shape[0] * across, 0.0, cut.hu.shape[1] * up)
    axes = _axes(figure, box)
    grey = VIEW.apply(cut.hu.T)
    look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    axes.imshow(grey, origin="lower", extent=whole, **look)
    outline(axes, cut.masks, whole, "solid")
    axes.set_xlim(extents[view.across][::-1])
    axes.set_ylim(extents[view.up])
    _write(figure, (box[0], box[1] - CAPTION + 4), _caption(view, shown.at_mm), size=10)
    if box[2] >= ROOMY:
        name_sides(axes, view.sides)
    for text in axes.texts:
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    if min(box[2:]) >= ROOMY:
        places = [(at + 0.5) * step for at, step in zip(shown.at, shown.spacing_mm, strict=True)]
        _mark_others(axes, (places[view.across], places[view.up]))
        _measure(axes, box, extents[view.across], extents[view.up])


def _caption(view: View, at_mm: Triple) -> str:
    """Which plane it is, as viewers write it: ``axial, S 12 mm``."""
    axis = 3 - view.across - view.up
    place = round(at_mm[axis])
    return f"{view.name}, {DIRECTIONS[axis][int(place < 0)]} {abs(place)} mm"


def _mark_others(axes: Axes, places_mm: tuple[float, float]) -> None:
    """Short lines at the edges, where the two other planes run through this one."""
    for low, high in ((0.0, 0.02), (0.98, 1.0)):
        axes.axvline(places_mm[0], low, high, color=INK, linewidth=1, alpha=0.6)
        axes.axhline(places_mm[1], low, high, color=INK, linewidth=1, alpha=0.6)


def _measure(axes: Axes, box: Box, across: Extent, up: Extent) -> None:
    """A scale bar in the lower left corner, where there is room for one."""
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


def _legend(shown: PreviewData) -> list[Line]:
    """Lines of the legend: for each region its volume, and that on each side where it is known."""
    lines = []
    for number, (name, colour) in enumerate(zip(shown.regions, COLOURS, strict=False)):
        lines.append((colour, INK, f"{name} {_volume(shown, number)}".rstrip()))
        if name in shown.sides_ml:
            right, left = (_ml(volume) for volume in shown.sides_ml[name])
            lines.append(("", FAINT, f"right {right}, left {left}"))
    return lines


def _volume(shown: PreviewData, number: int) -> str:
    """What a region measures, and its share of the region that it lies in."""
    name = shown.regions[number]
    volume = shown.volumes_ml.get(name)
    if volume is None:
        return ""
    holder = _holder(shown, number)
    return _ml(volume) + (
        f", {_share(volume, shown.volumes_ml[holder])} of {holder}" if holder else ""
    )


def _holder(shown: PreviewData, number: int) -> str | None:
    """The first of the regions before it that holds most of a region and was measured."""
    own = shown.canvases[number]
    count = np.count_nonzero(own)
    for name, other in zip(shown.regions[:number], shown.canvases, strict=False):
        held = np.count_nonzero(own & other)
        if count > 0 and held >= MOSTLY * count and shown.volumes_ml.get(name):
            return name
    return None


def _ml(volume_ml: float) -> str:
    """Volume for people.

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


def _draw_scene(figure: Figure, box: Box, shown: PreviewData) -> None:
    """The surfaces of the regions; what lies in another shows through it."""
    left, top, width, height = box
    meshes = [surface(mask, spacing_mm=shown.canvas_spacing_mm) for mask in shown.canvases]
    _write(figure, (left, top - CAPTION + 4), "from the front", size=10)
    axes = _axes(figure, box)
    axes.imshow(
        render(
            meshes,
            colours=_colours(shown.canvases),
            size=(int(height), int(width)),
            azimuth=AZIMUTH,
            elevation=ELEVATION,
        ),
        interpolation="none",
    )
    if shown.canvases.any():
        name_sides(axes, VIEWS[1].sides)
        return
    measured = any(shown.volumes_ml.values())
    words = "too small to be drawn" if measured else "no region was found"
    middle = (left + width / 2, top + height / 2)
    _write(figure, middle, words, size=11, colour=FAINT).set_horizontalalignment("center")


def _colours(canvases: NDArray[np.bool_]) -> list[Colour]:
    """Colour of each region; those that hold another one are glass."""
    return [
        (*to_rgb(colour), GLASS if _holds_another(number, canvases) else 1.0)
        for number, colour in zip(range(len(canvases)), COLOURS, strict=False)
    ]


def _holds_another(number: int, canvases: NDArray[np.bool_]) -> bool:
    """Whether part of a smaller region lies in one, or in its box, where regions do not nest."""
    own = canvases[number]
    size = np.count_nonzero(own)
    box = ndimage.find_objects(own.astype(np.uint8))[0] if size else ()
    for mask in canvases:
        count = np.count_nonzero(mask)
        inside = own & mask if count > size / 2 else mask[box]
        if 0 < count < size and np.count_nonzero(inside) >= HELD * count:
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
    """Write a line whose upper left corner is at a pixel; make it fit into the width."""
    across, up = figure.get_size_inches() * DPI
    text = figure.text(
        place[0] / across,
        1 - place[1] / up,
        plain(words),
        va="top",
        color=colour,
        family=FONT,
        size=size,
        parse_math=False,
        usetex=False,
    )
    _squeeze(text, width)
    return text


def _squeeze(text: Text, width: float) -> None:
    """Make letters smaller, to three quarters at most; then leave words out at the end."""
    wide = text.get_window_extent().width
    if wide <= width:
        return
    text.set_fontsize(float(text.get_fontsize()) * max(0.75, 0.99 * width / wide))
    words = text.get_text()
    while words and text.get_window_extent().width > width:
        words = words[: int(len(words) * min(0.98, width / text.get_window_extent().width))]
        text.set_text(words.rstrip() + "…")


def plain(words: str) -> str:
    """One line of characters that the font has; for each other one a replacement character.

    Example:
        >>> plain("a_1$  肺")
        'a_1$ �'
    """
    font = get_font(findfont(FontProperties(family=FONT)))
    line = " ".join(words.split())
    return "".join(letter if font.get_char_index(ord(letter)) else "\ufffd" for letter in line)
