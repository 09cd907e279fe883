"""Chart of the Dice by the volume of the true region."""

import math
from collections.abc import Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from thorax.common.text import counted, shown
from thorax.evaluation.scores import ScoreRow
from thorax.reporting.report.charts import Chart, draw_chart, draw_points, hints, site_legend
from thorax.reporting.report.estimates import FEW
from thorax.reporting.report.results import Results
from thorax.visualization.drawing import COLOURS

Point = tuple[ScoreRow, float, float]
"""Scores of a case, its true volume in mL, and its Dice."""

WIDE_RANGE = 100.0
"""Ratio of volumes above which only powers of ten are labelled."""


def volume_chart(results: Results, region: str) -> Chart | None:
    """Draw the Dice of each case over its true volume; None if no case has both.

    Small lesions have a low Dice for errors of a few voxels, so a mean over cases depends on their
    volumes.
    """
    rows = results.rows_for(region)
    points = [(row, row["truth_ml"], row["dice"]) for row in rows]
    points = [point for point in points if 0 < point[1] < math.inf and math.isfinite(point[2])]
    if not points:
        return None
    number = results.regions.index(region)

    def paint(drawing: Drawing) -> None:
        axes = drawing.subplots()
        draw_points(axes, results, points, COLOURS[number % len(COLOURS)])
        _volume_axis(axes, [volume_ml for _, volume_ml, _ in points])
        axes.set(ylim=(0, 1), xlabel="true volume (mL)", ylabel="Dice")
        axes.grid(axis="y")
        site_legend(drawing, results)

    return draw_chart(
        paint,
        key=f"volume-{number}",
        title=f"{region}: Dice by true volume",
        text=_text(points, left_out=len(rows) - len(points)),
        hints=hints(results),
    )


def _volume_axis(axes: Axes, volumes_ml: Sequence[float]) -> None:
    """Set a logarithmic axis with a margin beside the points, at least one power of ten wide."""
    low, high = min(volumes_ml), max(volumes_ml)
    middle, half = math.sqrt(low * high), math.sqrt(max((high / low) ** 1.16, 10.0))
    axes.set_xscale("log")
    axes.set_xlim(middle / half, middle * half)
    labelled = (1.0,) if high / low > WIDE_RANGE else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=labelled))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _text(points: Sequence[Point], *, left_out: int) -> str:
    volumes = sorted(volume_ml for _, volume_ml, _ in points)
    ends = dict.fromkeys(_volume(volume_ml) for volume_ml in (volumes[0], volumes[-1]))
    parts = [f"{counted(len(points), 'case')} of {' to '.join(ends)} mL"]
    if len(points) >= FEW:
        in_order = [dice for _, _, dice in sorted(points, key=lambda point: point[1])]
        half = len(in_order) // 2
        smaller, larger = (shown(median(part)) for part in (in_order[:half], in_order[-half:]))
        parts.append(f"median Dice {smaller} in the smaller half and {larger} in the larger half")
    if left_out:
        parts.append(f"{counted(left_out, 'case')} without a true volume or Dice are left out")
    return f"{'; '.join(parts)}."


def _volume(volume_ml: float) -> str:
    """Format a volume with three digits.

    Example:
        >>> [_volume(volume_ml) for volume_ml in (0.0312, 54.92, 1234.5)]
        ['0.0312', '54.9', '1,234']
    """
    return f"{volume_ml:.3g}" if volume_ml < 999.5 else shown(volume_ml, 0)
