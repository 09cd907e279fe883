"""Charts of the training by epoch."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from thorax.reporting.report.charts import MARKERS, SMALL, Chart, draw_chart, short
from thorax.reporting.report.results import MetricValues, Results
from thorax.reporting.report.svg import INK
from thorax.visualization.drawing import COLOURS


def training_charts(results: Results) -> list[Chart]:
    """Draw loss, Dice, learning rate and gradient norm by epoch, if recorded."""
    dice = _dice_columns(results)
    trained = [name for name in (f"train_{name}" for name in dice) if _has(results, name)]
    title = "Dice of validation and training cases" if trained else "Validation Dice"
    charts = [
        _epochs(results, ["loss"], title="Training loss", log=True),
        _epochs(results, [*dice, *trained], title=f"{title} on the canvas"),
        _epochs(results, ["learning_rate"], title="Learning rate"),
        _epochs(results, ["gradient_norm"], title="Gradient norm", log=True),
    ]
    return [chart for chart in charts if chart]


def _dice_columns(results: Results) -> list[str]:
    """Columns of the history with the Dice of a region; the mean if there are none."""
    columns = results.history[0] if results.history else ()
    return [name for name in columns if name.startswith("dice_")] or ["dice"]


def _has(results: Results, name: str) -> bool:
    return bool(_finite_points(results.history, name))


def _epochs(
    results: Results, names: Sequence[str], *, title: str, log: bool = False
) -> Chart | None:
    curves = {name: _finite_points(results.history, name) for name in names}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    ends = [f"{_curve_name(name)} {curve[-1][1]:.4g}".strip() for name, curve in curves.items()]
    return draw_chart(
        lambda drawing: _lines(drawing.subplots(), curves, log),
        key=f"epochs-{names[0].partition('_')[0]}",
        title=f"{title} by epoch",
        text=f"Last epoch: {', '.join(ends)}.",
        size=SMALL,
    )


def _curve_name(name: str) -> str:
    """Return the name of a curve in a chart; empty if it needs none.

    Example:
        >>> [_curve_name(name) for name in ("loss", "dice_lung", "train_dice_lung", "train_dice")]
        ['', 'lung', 'lung (training)', 'training']
    """
    validated = name.removeprefix("train_")
    region = short(validated.removeprefix("dice_")) if validated.startswith("dice_") else ""
    if validated == name:
        return region
    return f"{region} (training)" if region else "training"


def _finite_points(history: Sequence[MetricValues], name: str) -> list[tuple[float, float]]:
    points = [
        (row.get("epoch", float(number)), row.get(name, math.nan))
        for number, row in enumerate(history, start=1)
    ]
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _lines(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]], log: bool) -> None:
    validated = list(dict.fromkeys(name.removeprefix("train_") for name in curves))
    for name, curve in curves.items():
        x, y = zip(*curve, strict=True)
        number = validated.index(name.removeprefix("train_"))
        axes.plot(
            x,
            y,
            color=_colour(number) if len(curves) > 1 else INK,
            linewidth=1.5,
            linestyle="dashed" if name.startswith("train_") else "solid",
            marker=MARKERS[number % len(MARKERS)],
            markersize=3,
            label=_curve_name(name) or name,
        )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    if log and all(y > 0 for curve in curves.values() for _, y in curve):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if any(name.startswith("train_") for name in curves):
        _two_legends(axes, validated)
    elif len(curves) > 1:
        axes.legend(fontsize=8, ncols=3)


def _two_legends(axes: Axes, names: Sequence[str]) -> None:
    """Name regions by colour and cases by line, above the chart: its points leave no free place."""
    handles = [
        Line2D([], [], color=_colour(number), marker=MARKERS[number % len(MARKERS)], markersize=3)
        for number in range(len(names))
    ]
    handles += [Line2D([], [], color=INK, linestyle=line) for line in ("solid", "dashed")]
    labels = [*(_curve_name(name) or name for name in names), "validation", "training"]
    axes.legend(
        handles, labels, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
