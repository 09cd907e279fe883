"""Charts of the report: every test case is a point that links to its section."""

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
from matplotlib.ticker import EngFormatter, MaxNLocator

from thorax.common.text import counted, shown
from thorax.evaluation.bland_altman import LimitsOfAgreement, bland_altman
from thorax.evaluation.scores import ScoreRow
from thorax.reporting.report.estimates import FEW, finite_pairs
from thorax.reporting.report.metrics import METRICS
from thorax.reporting.report.results import MetricValues, Results
from thorax.reporting.report.svg import INK, LOOK, RULE, inline_svg
from thorax.reporting.report.tables import anchors
from thorax.visualization.drawing import COLOURS

MARKERS = "os^DvPX*"
"""One marker per site."""

LONGEST = 22
"""Maximum length of a name in a chart; tables show the whole name."""

WIDE, SMALL = (4.1, 2.8), (4.1, 2.2)

POINT: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.6, "zorder": 3, "clip_on": False}

JITTER = 0.28
"""Maximum vertical shift that separates points of nearly equal values."""

_Point = tuple[ScoreRow, float, float]


@dataclass(frozen=True)
class Chart:
    """A chart with its caption.

    Args:
        svg: The chart.
        title: Title.
        text: Description in sentences.
    """

    svg: Markup
    title: str
    text: str


def draw_chart(
    paint: Callable[[Drawing], None],
    *,
    key: str,
    title: str,
    text: str,
    size: tuple[float, float] = WIDE,
    hints: Mapping[str, str] | None = None,
) -> Chart:
    """Draw a chart with the settings of the report, independent of the user's settings."""
    with style.context(cast(Any, LOOK), after_reset=True), warnings.catch_warnings():
        # Text stays text: the fonts of the page may have glyphs that this font lacks.
        warnings.filterwarnings("ignore", r"Glyph \d+ ")
        drawing = Drawing(figsize=size, layout="constrained")
        paint(drawing)
        svg = inline_svg(drawing, key=key, title=title, text=text, hints=hints or {})
    return Chart(svg, title, text)


def short(name: str) -> str:
    """Shorten a name to leave room for the chart.

    Example:
        >>> short("consolidation_of_the_upper_lobe")
        'consolidation_of_the_…'
    """
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def hints(results: Results) -> dict[str, str]:
    """Return the name of the case that each link leads to."""
    return {f"#{key}": case for case, key in anchors(results).items()}


def distribution_chart(results: Results, name: str) -> Chart | None:
    """Draw one metric of every case, one strip per region; None if it is never defined."""
    metric = METRICS[name]
    regions = [
        region
        for region in results.regions
        if any(not math.isnan(row[name]) for row in results.rows_for(region))
    ]
    if not regions:
        return None
    return draw_chart(
        lambda drawing: _strips(drawing, results, regions, name),
        key=f"strip-{name}",
        title=f"{metric.heading} of each test case",
        text=_strip_text(results, regions, name),
        size=(WIDE[0], 0.5 + 0.8 * len(regions)),
        hints=hints(results),
    )


def _strip_text(results: Results, regions: Sequence[str], name: str) -> str:
    metric = METRICS[name]
    parts = []
    for region in regions:
        values = [row[name] for row in results.rows_for(region) if not math.isnan(row[name])]
        low, middle, high = min(values), float(np.median(values)), max(values)
        numbers = (shown(value, metric.digits) for value in (middle, low, high))
        parts.append("{}: median {}, range {} to {}".format(region, *numbers))
    return f"{'; '.join(parts)}."


def _strips(drawing: Drawing, results: Results, regions: Sequence[str], name: str) -> None:
    """Draw one strip per region, each with its own scale: lungs score higher than lesions."""
    rows_of_axes = drawing.subplots(len(regions), 1, squeeze=False)
    for (axes,), region in zip(rows_of_axes, regions, strict=True):
        _strip(axes, results, region, name)
    rows_of_axes[-1][0].set_xlabel(METRICS[name].heading)
    site_legend(drawing, results)


def _strip(axes: Axes, results: Results, region: str, name: str) -> None:
    rows = [row for row in results.rows_for(region) if not math.isnan(row[name])]
    finite = [row[name] for row in rows if math.isfinite(row[name])]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    edge = high + 0.12 * ((high - low) or 1.0)
    heights = jitter([row[name] for row in rows], (edge - low) or 1.0)
    _box(axes, finite)
    colour = COLOURS[results.regions.index(region) % len(COLOURS)]
    points = [(row, min(row[name], edge), y) for row, y in zip(rows, heights, strict=True)]
    draw_points(axes, results, points, colour)
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([0], [short(region)])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    if len(finite) < len(rows):
        _add_infinity(axes, high, edge)


def _add_infinity(axes: Axes, high: float, edge: float) -> None:
    """Mark infinity on the axis, beyond a dotted line at the end of the scale."""
    axes.axvline((high + edge) / 2, color=INK, linewidth=0.6, linestyle="dotted")
    ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= high]
    axes.set_xticks([*ticks, edge], [*(f"{tick:g}" for tick in ticks), "∞"])


def _box(axes: Axes, values: Sequence[float]) -> None:
    """Draw the median, and with enough cases the box of the middle half."""
    if not values:
        return
    low, middle, high = np.percentile(values, (25, 50, 75))
    if len(values) >= FEW:
        corner = (low, -JITTER)
        outline: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Rectangle(corner, high - low, 2 * JITTER, **outline))
    axes.plot([middle] * 2, [-JITTER - 0.08, JITTER + 0.08], color=INK, linewidth=1.6)


def jitter(values: Sequence[float], width: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Compute heights that separate points of nearly equal values; deterministic.

    Example:
        >>> jitter([0.1, 0.9, 0.9], 1.0).tolist()
        [0.0, 0.0, 0.14]
    """
    points_in: dict[int, int] = {}
    heights = np.zeros(len(values))
    for index in np.argsort(values, kind="stable"):
        slot = round(24 * min(values[index], 1e300) / width) if math.isfinite(values[index]) else -1
        points_in[slot] = points_in.get(slot, -1) + 1
        step = (points_in[slot] + 1) // 2 * (-1) ** (points_in[slot] + 1)
        heights[index] = np.clip(step * JITTER / 2, -JITTER, JITTER)
    return heights


def draw_points(axes: Axes, results: Results, points: Iterable[_Point], colour: str) -> None:
    """Draw each case as a point that links to its section; the marker is the site."""
    keys = anchors(results)
    for row, x, y in points:
        marker = MARKERS[results.sites.index(row.site) % len(MARKERS)] if results.sites else "o"
        collection = axes.scatter([x], [y], s=26, marker=marker, facecolor=colour, **POINT)
        collection.set_urls([f"#{keys[row.case]}"])


def site_legend(drawing: Drawing, results: Results) -> None:
    """Name the sites of each marker above the chart; nothing if there is one site."""
    # With more sites than markers, several share one.
    by_marker = {mark: results.sites[n :: len(MARKERS)] for n, mark in enumerate(MARKERS)}
    look: dict[str, Any] = {"linestyle": "", "color": INK, "markersize": 4}
    handles = [
        Line2D([], [], marker=marker, label=short(", ".join(sites)), **look)
        for marker, sites in by_marker.items()
        if sites
    ]
    if handles:
        drawing.legend(
            handles=handles, loc="outside upper left", ncols=3, fontsize=8, handletextpad=0.2
        )


@dataclass(frozen=True)
class AgreementKind:
    """Two metrics that should be equal, for a Bland-Altman plot.

    Args:
        truth: Column of the reference value.
        predicted: Column of the other value.
        title: Title of the chart.
        x_label: Label of the mean of both.
        y_label: Label of the difference.
        digits: Number of decimals.
    """

    truth: str
    predicted: str
    title: str
    x_label: str
    y_label: str
    digits: int


def _predicted_minus_true(truth: str, predicted: str, name: str, digits: int) -> AgreementKind:
    title, x_label = f"predicted minus true {name}", f"mean of true and predicted {name}"
    return AgreementKind(truth, predicted, title, x_label, "predicted − true", digits)


VOLUME_AGREEMENT = _predicted_minus_true("truth_ml", "predicted_ml", "volume (mL)", 0)

SHARE_AGREEMENT = _predicted_minus_true(
    "truth_share", "predicted_share", "share of the first region", 3
)

CERTAINTY_AGREEMENT = AgreementKind(
    "dice",
    "certainty",
    "certainty minus Dice",
    "mean of certainty and Dice",
    "certainty − Dice",
    3,
)


def agreement_chart(results: Results, region: str, kind: AgreementKind) -> Chart | None:
    """Draw the Bland-Altman plot of a region; None if no case has both values."""
    pairs = finite_pairs(results.rows_for(region), kind.truth, kind.predicted)
    if not pairs:
        return None
    number = results.regions.index(region)
    limits = bland_altman([a for _, a, _ in pairs], [b for _, _, b in pairs])

    def paint(drawing: Drawing) -> None:
        axes = drawing.subplots()
        points = [(row, (a + b) / 2, b - a) for row, a, b in pairs]
        draw_points(axes, results, points, COLOURS[number % len(COLOURS)])
        lines = (limits.low, limits.mean, limits.high) if limits else ()
        _levels(axes, lines, kind.digits)
        axes.set_xlabel(kind.x_label)
        axes.set_ylabel(kind.y_label)
        site_legend(drawing, results)

    return draw_chart(
        paint,
        key=f"agreement-{kind.truth}-{number}",
        title=f"{region}: {kind.title}",
        text=_agreement_text(limits, len(pairs), kind.digits),
        hints=hints(results),
    )


def _agreement_text(limits: LimitsOfAgreement | None, cases: int, digits: int) -> str:
    if limits is None:
        return f"{counted(cases, 'case')}: too few for limits of agreement."
    mean, low, high = (shown(value, digits) for value in (limits.mean, limits.low, limits.high))
    return f"{counted(cases, 'case')}: mean difference {mean}, limits of agreement {low} to {high}."


def _levels(axes: Axes, levels: Sequence[float], digits: int) -> None:
    """Draw horizontal lines, labelled at the right edge."""
    axes.axhline(0, color=RULE, linewidth=1)
    for level, kind in zip(levels, ("dashed", "solid", "dashed"), strict=False):
        axes.axhline(level, color=INK, linewidth=0.9, linestyle=kind)
        transform = axes.get_yaxis_transform()
        axes.text(1.01, level, shown(level, digits), transform=transform, va="center", fontsize=8)
    axes.margins(x=0.08, y=0.18)


def reliability_chart(results: Results, region: str) -> Chart | None:
    """Draw the reliability curve of a region; None if no voxels were counted."""
    bins = [row for row in results.calibration[region] if row.get("voxels", 0) > 0]
    if not bins:
        return None
    number = results.regions.index(region)
    colour = COLOURS[number % len(COLOURS)]
    voxels = sum(row["voxels"] for row in bins)
    return draw_chart(
        lambda drawing: _curve(drawing, bins, colour),
        key=f"reliability-{number}",
        title=f"{region}: reliability of the probabilities",
        text=f"{voxels:,.0f} voxels. On the diagonal, the share of true voxels equals the "
        "probability. Below: number of voxels in each bin.",
        size=(WIDE[0], 3.6),
    )


def _curve(drawing: Drawing, bins: Sequence[MetricValues], colour: str) -> None:
    above, below = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="dashed")
    x = [row["mean_probability"] for row in bins]
    above.plot(x, [row["observed"] for row in bins], color=INK, linewidth=0.8)
    above.scatter(x, [row["observed"] for row in bins], s=28, facecolor=colour, **POINT)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of true voxels")
    above.grid()
    widths = [row["high"] - row["low"] for row in bins]
    counts = [row["voxels"] for row in bins]
    edge = {"edgecolor": INK, "linewidth": 0.6}
    below.bar([row["low"] for row in bins], counts, widths, align="edge", color=colour, **edge)
    below.set(yscale="log", xlabel="probability", ylabel="voxels", ylim=(0.8, max(counts) * 3))
    below.yaxis.set_major_formatter(EngFormatter(sep=""))
    below.minorticks_off()
