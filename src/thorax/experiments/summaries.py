"""Tables of many runs: of a cross-validation by case and fold, of a sweep by combination.

Figures that are undefined, because truth and prediction are both empty, are left out of means.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thorax.common.tables import aligned, read_csv, to_json
from thorax.imaging.overlap import mean_defined

Row = dict[str, Any]

CASE_COLUMNS = (
    "seed", "fold", "case", "region", "dice", "iou", "truth_ml", "predicted_ml", "ceiling_dice",
    "certainty",
)  # fmt: skip

SUMMARY_COLUMNS = (
    "region", "cases", "dice_mean", "dice_median", "dice_sd", "iou_mean", "ceiling_mean",
)  # fmt: skip

_FILE_ONLY = ("truth_ml", "predicted_ml", "certainty")

_NAMES = ("case", "site", "region", "side")


def read_scores(text: str, varied: Mapping[str, Any]) -> list[Row]:
    r"""The rows of a `scores.csv`, each with what tells its run from others; empty cells are NaN.

    Example:
        >>> read_scores("case,region,dice\nann,lung,0.5\nann,scar,\n", {"fold": 2})[1]
        {'fold': 2, 'case': 'ann', 'region': 'scar', 'dice': nan}
    """
    return [
        {
            **varied,
            **{key: cell if key in _NAMES else _number(cell) for key, cell in row.items()},
        }
        for row in read_csv(text)[1]
    ]


def summarise_cases(rows: Iterable[Row]) -> list[Row]:
    """Figures over cases, one row a region.

    With several seeds each case counts once, with its mean over the seeds; `dice_sd_of_seeds` is
    the SD, over seeds, of the mean over cases. SDs are of the sample (n - 1) and undefined for one.

    Args:
        rows: As `read_scores` gives them.

    Returns:
        Rows with `SUMMARY_COLUMNS` and `dice_sd_of_seeds`.
    """
    return [
        {"region": region, **_summary(group)} for region, group in _grouped(rows, "region").items()
    ]


def summarise_folds(rows: Iterable[Row]) -> list[Row]:
    """Mean Dice of each region over the cases of each seed and fold; one row a fold."""
    return [
        {
            "seed": seed,
            "fold": fold,
            "cases": len({row["case"] for row in group}),
            **{region: _mean(some, "dice") for region, some in _grouped(group, "region").items()},
        }
        for (seed, fold), group in _grouped(rows, "seed", "fold").items()
    ]


def fold_tables(rows: Sequence[Row]) -> str:
    """The tables of a cross-validation for people: cases, folds, then regions over all."""
    folds, regions = summarise_folds(rows), summarise_cases(rows)
    seeds = ("dice_sd_of_seeds",) if len({row["seed"] for row in rows}) > 1 else ()
    shown = [key for key in CASE_COLUMNS if key not in _FILE_ONLY]
    tables = (
        aligned(rows, shown),
        "mean Dice by fold\n" + aligned(folds, folds[0]),
        "over all cases\n" + aligned(regions, (*SUMMARY_COLUMNS, *seeds)),
    )
    return "\n\n".join(tables)


def fold_json(rows: Sequence[Row]) -> str:
    """The tables of a cross-validation as JSON: ``cases``, ``folds`` and ``regions``."""
    regions = summarise_cases(rows)
    return to_json({"cases": list(rows), "folds": summarise_folds(rows), "regions": regions})


def summarise_sweep(runs: Iterable[tuple[Mapping[str, Any], Sequence[Row]]]) -> list[Row]:
    """Figures over cases, one row a combination and region.

    Args:
        runs: The varied values of a run, and its rows.
    """
    return [
        {**varied, **{key: row[key] for key in SUMMARY_COLUMNS}}
        for varied, rows in runs
        for row in summarise_cases(rows)
    ]


def sweep_table(combinations: Sequence[Mapping[str, str]], rows: Sequence[Row]) -> str:
    """The table of a sweep for people: mean Dice by region.

    Where two keys vary, each region has a matrix: the first key downwards, the second across.
    Otherwise each combination has a row.

    Args:
        combinations: The varied values of all runs.
        rows: As `summarise_sweep` gives them; a combination that has none is shown as failed.
    """
    keys = list(combinations[0])
    found = {(*(row[key] for key in keys), row["region"]): row["dice_mean"] for row in rows}
    regions = list(dict.fromkeys(row["region"] for row in rows))
    if len(keys) == 2:
        return "\n\n".join(_matrix(combinations, found, region) for region in regions)
    lines: list[Row] = [
        {**one, **{region: found.get((*one.values(), region), "failed") for region in regions}}
        for one in combinations
    ]
    return "mean Dice by region\n" + aligned(lines, [*keys, *regions])


def _summary(group: Sequence[Row]) -> Row:
    by_case = _grouped(group, "case").values()
    dices = [_mean(rows, "dice") for rows in by_case]
    dices = [dice for dice in dices if not math.isnan(dice)]
    seeds = [_mean(rows, "dice") for rows in _grouped(group, "seed").values()]
    return {
        "cases": len(dices),
        "dice_mean": mean_defined(dices),
        "dice_median": statistics.median(dices) if dices else math.nan,
        "dice_sd": _spread(dices),
        "iou_mean": mean_defined(_mean(rows, "iou") for rows in by_case),
        "ceiling_mean": mean_defined(_mean(rows, "ceiling_dice") for rows in by_case),
        "dice_sd_of_seeds": _spread([mean for mean in seeds if not math.isnan(mean)]),
    }


def _matrix(
    combinations: Sequence[Mapping[str, str]], found: Mapping[Any, float], region: str
) -> str:
    first, second = combinations[0]
    across = list(dict.fromkeys(one[second] for one in combinations))
    down = list(dict.fromkeys(one[first] for one in combinations))
    lines: list[Row] = [
        {first: value, **{other: found.get((value, other, region), "failed") for other in across}}
        for value in down
    ]
    return f"mean Dice of {region}: {first} by {second}\n" + aligned(lines, [first, *across])


def _grouped(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    """Rows by what they have under one key, or under several as a tuple; in their order."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        values = tuple(row.get(key) for key in keys)
        groups.setdefault(values[0] if len(keys) == 1 else values, []).append(row)
    return groups


def _mean(rows: Iterable[Row], key: str) -> float:
    return mean_defined(row[key] for row in rows)


def _spread(figures: Sequence[float]) -> float:
    return statistics.stdev(figures) if len(figures) > 1 else math.nan


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan
