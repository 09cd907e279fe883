"""Distributions of the measures of a cohort: charts, and a table of medians and quartiles."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from thorax.common.text import counted, shown
from thorax.evaluation.cohort.groups import Grouping
from thorax.evaluation.cohort.outliers import Outlier
from thorax.evaluation.cohort.scans import (
    MEASURES,
    SHARE,
    SIDES,
    WHOLE,
    Cohort,
    CohortScan,
    Measure,
)
from thorax.reporting.report.charts import POINT, Chart, draw_chart, jitter, short
from thorax.reporting.report.estimates import FEW
from thorax.reporting.report.svg import INK
from thorax.reporting.report.tables import Cell, ReportTable
from thorax.visualization.drawing import COLOURS

MOST_POINTS = 60
"""Most scans of a strip that are drawn as points; larger ones are histograms."""

BINS = (16, 40)
"""Fewest and most bins of a histogram; between them by the rule of Rice, 2 n^(1/3)."""

HEIGHT = 0.56
"""Height of a histogram; strips are 1 apart."""

GAP = 0.35
"""Additional distance between the groups of two sides."""

WIDTH, MARGIN, ROW = 4.1, 0.55, 0.42
"""Width of a chart, height without strips, and height of a strip, in inches."""

Links = Mapping[str, str]
"""Case → link to its card."""


@dataclass(frozen=True)
class Strip:
    """The values of one region and side, of all scans or of a group.

    Args:
        side: ``whole``, ``right`` or ``left``.
        group: Name of the group; empty without groups.
        colour: Colour.
        values: Case → value.
        outliers: Cases whose value is an outlier.
    """

    side: str
    group: str
    colour: str
    values: Mapping[str, float]
    outliers: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Name of the strip in a chart."""
        return f"{self.side}, {self.group}" if self.group else self.side

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile."""
        low, median, high = np.percentile(list(self.values.values()), (25, 50, 75)).tolist()
        return low, median, high


@dataclass(frozen=True)
class RegionCharts:
    """The charts of a region.

    Args:
        region: Name of the region.
        charts: One chart per measure.
    """

    region: str
    charts: tuple[Chart, ...]


def measure_heading(cohort: Cohort, measure: Measure) -> str:
    """Return the heading of a measure; a share names the region that it refers to."""
    firsts = {scan.first_region for scan in cohort.scans if scan.first_region}
    if measure == SHARE and len(firsts) == 1:
        return f"Share of {firsts.pop()} ({measure.unit})"
    return measure.heading


def make_strips(
    cohort: Cohort,
    grouping: Grouping | None,
    measure: Measure,
    region: str,
    outliers: Iterable[Outlier] = (),
) -> list[Strip]:
    """Return the strips of a measure and region by side and group, without empty ones."""
    groups: Mapping[str, Sequence[CohortScan]] = grouping.groups if grouping else {"": cohort.scans}
    number = cohort.regions.index(region)
    far: dict[str, set[str]] = {side: set() for side in SIDES}
    for outlier in outliers:
        if (outlier.region, outlier.measure) == (region, measure):
            far[outlier.side].add(outlier.case)
    values = {side: cohort.values(measure, region, side) for side in SIDES}
    strips = [
        Strip(
            side,
            group,
            COLOURS[(place if grouping else number) % len(COLOURS)],
            {scan.case: values[side][scan.case] for scan in scans if scan.case in values[side]},
            frozenset(far[side]),
        )
        for side in SIDES
        for place, (group, scans) in enumerate(groups.items())
    ]
    return [strip for strip in strips if strip.values]


def region_charts(
    cohort: Cohort, grouping: Grouping | None, outliers: Sequence[Outlier], links: Links
) -> list[RegionCharts]:
    """Draw one chart per region and measure."""
    regions = []
    for region in cohort.regions:
        strips = {
            measure: make_strips(cohort, grouping, measure, region, outliers)
            for measure in MEASURES
        }
        charts = [
            _chart(cohort, measure, region, own, links) for measure, own in strips.items() if own
        ]
        regions.append(RegionCharts(region, tuple(charts)))
    return regions


def _chart(
    cohort: Cohort, measure: Measure, region: str, strips: Sequence[Strip], links: Links
) -> Chart:
    heading = measure_heading(cohort, measure)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _paint(axes, strips, links)
        axes.set_xlabel(heading)

    return draw_chart(
        paint,
        key=f"chart-{cohort.regions.index(region)}-{measure.field}",
        title=f"{region}: {heading}",
        text=_text(strips, measure),
        size=(WIDTH, MARGIN + ROW * (1 - _places(strips)[-1])),
        hints={link: case for case, link in links.items()},
    )


def _text(strips: Sequence[Strip], measure: Measure) -> str:
    """State medians and quartiles; of groups only for the whole region, as the table has all."""
    grouped = any(strip.group for strip in strips)
    sentences = []
    for strip in strips:
        if strip.side == WHOLE or not grouped:
            low, median, high = (shown(value, measure.digits) for value in strip.quartiles)
            scans = counted(len(strip.values), "scan")
            sentences.append(f"{strip.label}: median {median}, quartiles {low} to {high}, {scans}")
    return f"{'; '.join(sentences)}."


def _places(strips: Sequence[Strip]) -> list[float]:
    """Return the height of each strip: 0 and below, with a gap between the sides of groups."""
    places = [0.0]
    for before, strip in itertools.pairwise(strips):
        gap = GAP if strip.group and strip.side != before.side else 0.0
        places.append(places[-1] - 1 - gap)
    return places


def _paint(axes: Axes, strips: Sequence[Strip], links: Links) -> None:
    places = _places(strips)
    everything = [value for strip in strips for value in strip.values.values()]
    most = max(len(strip.values) for strip in strips)
    edges = np.histogram_bin_edges(everything, int(np.clip(round(2 * most ** (1 / 3)), *BINS)))
    for strip, place in zip(strips, places, strict=True):
        if most <= MOST_POINTS:
            _points(axes, strip, place, float(np.ptp(everything)), links)
        else:
            _histogram(axes, strip, place, edges, links)
    axes.set_ylim(places[-1] - 0.5, 0.5)
    axes.set_yticks(places, [short(strip.label) for strip in strips])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")


def _points(axes: Axes, strip: Strip, place: float, width: float, links: Links) -> None:
    """Draw every scan as a point, the median, and of several scans the box of the quartiles."""
    values = list(strip.values.values())
    heights = place + jitter(values, width or 1.0)
    low, median, high = strip.quartiles
    if len(values) >= FEW:
        outline: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Rectangle((low, place - 0.34), high - low, 0.68, **outline))
    axes.plot([median] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1.6)
    points = dict(zip(strip.values, zip(values, heights, strict=True), strict=True))
    _scatter(axes, points, strip.colour, links)


def _histogram(
    axes: Axes, strip: Strip, place: float, edges: NDArray[np.float64], links: Links
) -> None:
    """Draw a histogram as high as its highest bin; below it quartiles, median and outliers."""
    counts, _ = np.histogram(list(strip.values.values()), edges)
    base, line = place - 0.16, place - 0.29
    heights = base + HEIGHT * counts / counts.max()
    axes.stairs(heights, edges, baseline=base, fill=True, color=strip.colour)
    axes.stairs(heights, edges, baseline=base, color=INK, linewidth=0.6)
    low, median, high = strip.quartiles
    axes.plot([low, high], [line, line], color=INK, linewidth=2.2, solid_capstyle="butt")
    axes.plot([median] * 2, [line - 0.1, line + 0.1], color=INK, linewidth=1.6)
    far = {case: (value, line) for case, value in strip.values.items() if case in strip.outliers}
    _scatter(axes, far, strip.colour, links)


def _scatter(
    axes: Axes, points: Mapping[str, tuple[float, float]], colour: str, links: Links
) -> None:
    """Draw points; those of scans with a card are links to it."""
    plain = [point for case, point in points.items() if case not in links]
    if plain:
        x, y = zip(*plain, strict=True)
        axes.scatter(x, y, s=14, facecolor=colour, **POINT)
    for case in filter(links.__contains__, points):
        linked = axes.scatter(*points[case], s=22, facecolor=colour, **POINT)
        linked.set_urls([links[case]])


def quartile_table(cohort: Cohort, grouping: Grouping | None) -> ReportTable:
    """Make the table of medians and quartiles by region, side and group."""
    measures = [
        measure for measure in MEASURES if any(cohort.values(measure, *key) for key in cohort.parts)
    ]
    rows = (_quartile_rows(cohort, grouping, measures, region) for region in cohort.regions)
    names = ("Region", "Side", *([grouping.column] if grouping else []))
    return ReportTable(
        "Median and quartiles",
        (*names, "Scans", *(measure_heading(cohort, measure) for measure in measures)),
        tuple(map(tuple, rows)),
        text_columns=len(names),
        notes=(
            "LAA-950: low attenuation area, voxels below −950 HU. HAA: high attenuation area, "
            "voxels from −600 to −250 HU. –: not measured.",
        ),
    )


def _quartile_rows(
    cohort: Cohort, grouping: Grouping | None, measures: Sequence[Measure], region: str
) -> Iterator[tuple[Cell, ...]]:
    cells: dict[tuple[str, str], dict[Measure, Strip]] = {}
    for measure in measures:
        for strip in make_strips(cohort, grouping, measure, region):
            cells.setdefault((strip.side, strip.group), {})[measure] = strip
    order = [(side, group) for side in SIDES for group in (grouping.groups if grouping else [""])]
    for side, group in order:
        if (strips := cells.get((side, group))) is not None:
            scans = max(len(strip.values) for strip in strips.values())
            names = (Cell(region), Cell(side), *([Cell(group)] if grouping else []))
            values = (_quartile_cell(strips.get(measure), measure) for measure in measures)
            yield (*names, Cell(f"{scans:,}"), *values)


def _quartile_cell(strip: Strip | None, measure: Measure) -> Cell:
    if strip is None:
        return Cell("–")
    low, median, high = (shown(value, measure.digits) for value in strip.quartiles)
    return Cell(median, f"{low} to {high}")
