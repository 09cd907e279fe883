"""The charts of the report: every test case is a point, and leads to its section."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from thorax.common.text import counted, shown
from thorax.evaluation.bland_altman import bland_altman
from thorax.reporting.report.estimates import FEW, pairs
from thorax.reporting.report.metrics import METRICS
from thorax.reporting.report.results import Figures, Results, Row
from thorax.reporting.report.svg import INK, LOOK, RULE, inline_svg
from thorax.reporting.report.tables import anchors
from thorax.visualization.drawing import COLOURS

MARKERS = "os^DvPX*"
"""One a site."""

LONGEST = 22
"""Letters of a name in a chart; pages and tables show all of it."""

WIDE, SMALL = (4.1, 2.8), (4.1, 2.2)

POINT: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.6, "zorder": 3, "clip_on": False}

SPREAD = 0.28
"""How far points of nearly one value are moved apart, up and down."""

Point = tuple[Row, float, float]


@dataclass(frozen=True)
class Chart:
    """A chart and what it shows.

    Args:
        svg: The picture.
        title: What it shows.
        words: The same, at more length.
    """

    svg: Markup
    title: str
    words: str


def chart(
    paint: Callable[[Drawing], None],
    *,
    key: str,
    title: str,
    words: str,
    size: tuple[float, float] = WIDE,
    hints: Mapping[str, str] | None = None,
) -> Chart:
    """Draw under the settings of the report alone, whatever the machine's are."""
    with style.context(cast(Any, LOOK), after_reset=True), warnings.catch_warnings():
        # Text stays text: what this font lacks, that of the page may have.
        warnings.filterwarnings("ignore", r"Glyph \d+ ")
        drawing = Drawing(figsize=size, layout="constrained")
        paint(drawing)
        svg = inline_svg(drawing, key=key, title=title, words=words, hints=hints or {})
    return Chart(svg, title, words)


def short(name: str) -> str:
    """A name that leaves room for the chart.

    Example:
        >>> short("consolidation_of_the_upper_lobe")
        'consolidation_of_the_…'
    """
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def hints(results: Results) -> dict[str, str]:
    """Link → name of the case that it leads to."""
    return {f"#{place}": case for case, place in anchors(results).items()}


def distribution(results: Results, name: str) -> Chart | None:
    """One figure of every case, a row a region; None where it is never defined."""
    figure = METRICS[name]
    regions = [
        region
        for region in results.regions
        if any(not math.isnan(row[name]) for row in results.rows_for(region))
    ]
    if not regions:
        return None
    return chart(
        lambda drawing: _strips(drawing, results, regions, name),
        key=f"strip-{name}",
        title=f"{figure.heading} of each test case",
        words=_strip_words(results, regions, name),
        size=(WIDE[0], 0.5 + 0.8 * len(regions)),
        hints=hints(results),
    )


def _strip_words(results: Results, regions: Sequence[str], name: str) -> str:
    figure = METRICS[name]
    told = []
    for region in regions:
        values = [row[name] for row in results.rows_for(region) if not math.isnan(row[name])]
        low, middle, high = min(values), float(np.median(values)), max(values)
        numbers = (shown(value, figure.digits) for value in (middle, low, high))
        told.append("{}: median {}, from {} to {}".format(region, *numbers))
    return f"{'; '.join(told)}."


def _strips(drawing: Drawing, results: Results, regions: Sequence[str], name: str) -> None:
    """One strip a region, each with its own scale: lungs are found far better than lesions."""
    rows_of_axes = drawing.subplots(len(regions), 1, squeeze=False)
    for (axes,), region in zip(rows_of_axes, regions, strict=True):
        _strip(axes, results, region, name)
    rows_of_axes[-1][0].set_xlabel(METRICS[name].heading)
    _explain_sites(drawing, results)


def _strip(axes: Axes, results: Results, region: str, name: str) -> None:
    rows = [row for row in results.rows_for(region) if not math.isnan(row[name])]
    finite = [row[name] for row in rows if math.isfinite(row[name])]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    edge = high + 0.12 * ((high - low) or 1.0)
    heights = _spread([row[name] for row in rows], (edge - low) or 1.0)
    _box(axes, finite)
    colour = COLOURS[results.regions.index(region) % len(COLOURS)]
    points = [(row, min(row[name], edge), y) for row, y in zip(rows, heights, strict=True)]
    _points(axes, results, points, colour)
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([0], [short(region)])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    if len(finite) < len(rows):
        _add_infinity(axes, high, edge)


def _add_infinity(axes: Axes, high: float, edge: float) -> None:
    """Put infinity on the axis, beyond a line at which the scale ends."""
    axes.axvline((high + edge) / 2, color=INK, linewidth=0.6, linestyle="dotted")
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= high]
    axes.set_xticks([*ticks, edge], [*(f"{tick:g}" for tick in ticks), "∞"])


def _box(axes: Axes, values: Sequence[float]) -> None:
    """The middle half of the cases and their median; of few cases the median alone."""
    if not values:
        return
    low, middle, high = np.percentile(values, (25, 50, 75))
    if len(values) >= FEW:
        corner = (low, -SPREAD)
        look: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Rectangle(corner, high - low, 2 * SPREAD, **look))
    axes.plot([middle] * 2, [-SPREAD - 0.08, SPREAD + 0.08], color=INK, linewidth=1.6)


def _spread(values: Sequence[float], width: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Heights that keep points of nearly one value apart, by rank and not by chance.

    Example:
        >>> _spread([0.1, 0.9, 0.9], 1.0).tolist()
        [0.0, 0.0, 0.14]
    """
    held: dict[int, int] = {}
    heights = np.zeros(len(values))
    for index in np.argsort(values, kind="stable"):
        slot = round(24 * min(values[index], 1e300) / width) if math.isfinite(values[index]) else -1
        held[slot] = held.get(slot, -1) + 1
        step = (held[slot] + 1) // 2 * (-1) ** (held[slot] + 1)
        heights[index] = np.clip(step * SPREAD / 2, -SPREAD, SPREAD)
    return heights


def _points(axes: Axes, results: Results, points: Iterable[Point], colour: str) -> None:
    """Each case as a point that leads to its section; its shape tells the site."""
    place = anchors(results)
    for row, x, y in points:
        marker = MARKERS[results.sites.index(row.site) % len(MARKERS)] if results.sites else "o"
        drawn = axes.scatter([x], [y], s=26, marker=marker, facecolor=colour, **POINT)
        drawn.set_urls([f"#{place[row.case]}"])


def _explain_sites(drawing: Drawing, results: Results) -> None:
    handles = [
        Line2D([], [], marker=marker, linestyle="", color=INK, markersize=4, label=short(site))
        for site, marker in zip(results.sites, MARKERS, strict=False)
    ]
    if handles:
        drawing.legend(
            handles=handles, loc="outside upper left", ncols=3, fontsize=8, handletextpad=0.2
        )


@dataclass(frozen=True)
class Kind:
    """Two figures of which the one should be the other.

    Args:
        truth: Column of the one.
        predicted: Column of the other.
        title: What is taken from what, and of what.
        across: What both have in common.
        up: The difference, as a formula.
        digits: After the point.
    """

    truth: str
    predicted: str
    title: str
    across: str
    up: str
    digits: int


def _found(truth: str, predicted: str, what: str, digits: int) -> Kind:
    title, across = f"difference of found and true {what}", f"mean of true and found {what}"
    return Kind(truth, predicted, title, across, "found − true", digits)


VOLUMES = _found("truth_ml", "predicted_ml", "volume (mL)", 0)

SHARES = _found("truth_share", "predicted_share", "share of the first region", 3)

SURE = Kind("dice", "certainty", "certainty against Dice", "mean of both", "certainty − Dice", 3)


def agreement(results: Results, region: str, kind: Kind) -> Chart | None:
    """Bland and Altman's plot of a region; None where no case has both figures."""
    found = pairs(results.rows_for(region), kind.truth, kind.predicted)
    if not found:
        return None
    number = results.regions.index(region)
    limits = bland_altman([a for _, a, _ in found], [b for _, _, b in found])

    def paint(drawing: Drawing) -> None:
        axes = drawing.subplots()
        points = [(row, (a + b) / 2, b - a) for row, a, b in found]
        _points(axes, results, points, COLOURS[number % len(COLOURS)])
        lines = (limits.low, limits.mean, limits.high) if limits else ()
        _levels(axes, lines, kind.digits)
        axes.set_xlabel(kind.across)
        axes.set_ylabel(kind.up)
        _explain_sites(drawing, results)

    return chart(
        paint,
        key=f"agreement-{kind.truth}-{number}",
        title=f"{region}: {kind.title}",
        words=_agreement_words(limits, len(found), kind.digits),
        hints=hints(results),
    )


def _agreement_words(limits: Any, cases: int, digits: int) -> str:
    if limits is None:
        return f"{counted(cases, 'case')}: too few for limits of agreement."
    mean, low, high = (shown(value, digits) for value in (limits.mean, limits.low, limits.high))
    return (
        f"Over {counted(cases, 'case')} the mean difference is {mean}, and 95 % of differences are "
        f"expected from {low} to {high}."
    )


def _levels(axes: Axes, levels: Sequence[float], digits: int) -> None:
    """Lines across, labelled at the right edge."""
    axes.axhline(0, color=RULE, linewidth=1)
    for level, kind in zip(levels, ("dashed", "solid", "dashed"), strict=False):
        axes.axhline(level, color=INK, linewidth=0.9, linestyle=kind)
        place = axes.get_yaxis_transform()
        axes.text(1.01, level, shown(level, digits), transform=place, va="center", fontsize=8)
    axes.margins(x=0.08, y=0.18)


def reliability(results: Results, region: str) -> Chart | None:
    """How often what was given a probability was true; None where nothing was counted."""
    bins = [row for row in results.calibration[region] if row.get("voxels", 0) > 0]
    if not bins:
        return None
    number = results.regions.index(region)
    colour = COLOURS[number % len(COLOURS)]
    voxels = sum(row["voxels"] for row in bins)
    return chart(
        lambda drawing: _curve(drawing, bins, colour),
        key=f"reliability-{number}",
        title=f"{region}: reliability of the probabilities",
        words=f"Over {voxels:,.0f} voxels. On the diagonal, of the voxels that were given a "
        "probability just that share is true. Below: voxels in each bin.",
        size=(WIDE[0], 3.6),
    )


def _curve(drawing: Drawing, bins: Sequence[Figures], colour: str) -> None:
    above, below = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="dashed")
    x = [row["mean_probability"] for row in bins]
    above.plot(x, [row["observed"] for row in bins], color=INK, linewidth=0.8)
    above.scatter(x, [row["observed"] for row in bins], s=28, facecolor=colour, **POINT)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is true")
    above.grid()
    widths = [row["high"] - row["low"] for row in bins]
    counts = [row["voxels"] for row in bins]
    edge = {"edgecolor": INK, "linewidth": 0.6}
    below.bar([row["low"] for row in bins], counts, widths, align="edge", color=colour, **edge)
    below.set(yscale="log", xlabel="probability", ylabel="voxels", ylim=(0.8, max(counts) * 3))
    below.yaxis.set_major_formatter(EngFormatter(sep=""))
    below.minorticks_off()


def learning(results: Results) -> list[Chart]:
    """Loss, validation Dice and learning rate, epoch by epoch; what was not written is left out."""
    found = [
        _epochs(results, ["loss"], title="Training loss", log=True),
        _epochs(results, _watched(results), title="Dice of the watched cases, on the canvas"),
        _epochs(results, ["learning_rate"], title="Learning rate"),
        _epochs(results, ["gradient_norm"], title="Length of the gradient", log=True),
    ]
    return [one for one in found if one]


def _watched(results: Results) -> list[str]:
    """Columns of the history that tell a region's Dice; the mean where there are none."""
    columns = results.history[0] if results.history else ()
    return [name for name in columns if name.startswith("dice_")] or ["dice"]


def _epochs(
    results: Results, names: Sequence[str], *, title: str, log: bool = False
) -> Chart | None:
    curves = {name: _course(results.history, name) for name in names}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    ends = (f"{_curve_name(name, title)} ends at {y[-1][1]:.4g}" for name, y in curves.items())
    return chart(
        lambda drawing: _lines(drawing.subplots(), curves, log),
        key=f"epochs-{names[0].partition('_')[0]}",
        title=f"{title} by epoch",
        words=f"{'; '.join(ends)}.",
        size=SMALL,
    )


def _curve_name(name: str, title: str) -> str:
    return name.removeprefix("dice_") if name.startswith("dice_") else title


def _course(history: Sequence[Figures], name: str) -> list[tuple[float, float]]:
    points = [
        (row.get("epoch", float(number)), row.get(name, math.nan))
        for number, row in enumerate(history, start=1)
    ]
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _lines(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]], log: bool) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        x, y = zip(*curve, strict=True)
        colour = COLOURS[number % len(COLOURS)] if len(curves) > 1 else INK
        marker = MARKERS[number % len(MARKERS)]
        label = short(name.removeprefix("dice_"))
        axes.plot(x, y, color=colour, linewidth=1.5, marker=marker, markersize=3, label=label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    if log and all(y > 0 for curve in curves.values() for _, y in curve):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if len(curves) > 1:
        axes.legend(fontsize=8, ncols=3)
