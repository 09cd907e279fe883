"""Scores of a benchmark: lungs, left lung, right lung and infection of every case."""

from collections.abc import Iterable, Mapping, Sequence

from thorax.common.tables import as_csv
from thorax.evaluation.summary import Intervals, ValueSummary, summarise_values
from thorax.experiments.project import Project
from thorax.experiments.runs import RunPlan
from thorax.experiments.score_tables import ScoreTable, parse_table
from thorax.experiments.summaries import Row, read_scores
from thorax.imaging.lung_sides import LUNG

REGIONS = (LUNG, "left lung", "right lung", "infection")
"""Regions in the order of tables; a side of the lung includes its infection."""

COLUMNS = (
    "seed", "fold", "case", "region", "dice", "iou", "nsd", "truth_ml", "predicted_ml",
)  # fmt: skip
"""Columns of rows and of the CSV file, which `thorax compare` reads."""

METRICS = ("dice", "nsd")
"""Metrics that are summarised."""


def read_run(project: Project, plan: RunPlan) -> list[Row]:
    """Read the scores of a finished run, with rows for each side of the lung."""
    whole = read_scores(project.scores(plan.name), plan.varied)
    sides = read_scores(project.scores(plan.name, table="sides.csv"), plan.varied)
    return benchmark_rows(whole, sides)


def benchmark_rows(whole: Iterable[Row], sides: Iterable[Row]) -> list[Row]:
    """Combine the scores of regions with those of the sides of the lung.

    Args:
        whole: Rows with ``region``.
        sides: Rows with ``region`` and ``side``; only those of the lung are used.

    Returns:
        Rows with `COLUMNS`, sorted by case and in the order of `REGIONS`.
    """
    named = [{**row, "region": f"{row['side']} {LUNG}"} for row in sides if row["region"] == LUNG]
    rows = [
        {key: row[key] for key in COLUMNS if key in row}
        for row in (*whole, *named)
        if row["region"] in REGIONS
    ]
    return sorted(rows, key=lambda row: (row["case"], REGIONS.index(row["region"])))


def summarise_regions(
    rows: Sequence[Row], patients: Mapping[str, str], intervals: Intervals
) -> list[Row]:
    """Summarise Dice and NSD of each region over cases.

    A case that several runs tested, because of seeds or swapped folds, counts once, with its mean.

    Args:
        rows: Rows of `benchmark_rows`.
        patients: Patient of each case.
        intervals: Settings of the bootstrap interval of a mean, resampled by patient.

    Returns:
        Rows with ``region``; ``cases``, the number of cases in the mean Dice; and for each metric
        its mean, SD and interval.
    """
    summaries = []
    for region in REGIONS:
        own = [row for row in rows if row["region"] == region]
        if own:
            by_metric = {name: _summarise(own, name, patients, intervals) for name in METRICS}
            values = {
                f"{name}_{key}": value
                for name, summary in by_metric.items()
                for key, value in _statistics(summary).items()
            }
            summaries.append({"region": region, "cases": by_metric["dice"].cases, **values})
    return summaries


def score_table(name: str, rows: Iterable[Row]) -> ScoreTable:
    """Return rows as a table for `thorax.experiments.comparison`."""
    return parse_table(name, as_csv(rows, COLUMNS))


def _summarise(
    rows: Iterable[Row], metric: str, patients: Mapping[str, str], intervals: Intervals
) -> ValueSummary:
    by_case: dict[str, list[float]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(row[metric])
    means = {case: summarise_values(values).mean for case, values in by_case.items()}
    named = [patients.get(case, case) for case in means]
    return summarise_values(means.values(), named, intervals)


def _statistics(summary: ValueSummary) -> dict[str, float]:
    interval = summary.interval
    low, high = (interval.low, interval.high) if interval else (float("nan"),) * 2
    return {"mean": summary.mean, "sd": summary.sd, "low": low, "high": high}
