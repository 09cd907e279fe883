"""Tables of many runs: a cross-validation by case and fold, a sweep by combination.

Undefined values, of cases with empty truth and prediction, are left out of means.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thorax.common.tables import aligned, read_csv, to_json
from thorax.evaluation.scores import LABELS, read_score_rows
from thorax.evaluation.summary import summarise_values

Row = dict[str, Any]

CASE_COLUMNS = (
    "seed", "fold", "case", "region", "dice", "iou", "truth_ml", "predicted_ml", "ceiling_dice",
    "certainty",
)  # fmt: skip

SUMMARY_COLUMNS = (
    "region", "cases", "dice_mean", "dice_median", "dice_sd", "iou_mean", "ceiling_mean",
)  # fmt: skip

_FILE_ONLY = ("truth_ml", "predicted_ml", "certainty")


def read_scores(text: str, varied: Mapping[str, Any]) -> list[Row]:
    r"""Read the rows of a `scores.csv`; empty cells are NaN.

    Args:
        text: Text of the file.
        varied: Values that identify the run; they are added to every row.

    Raises:
        InputError: A cell is not a number.

    Example:
        >>> read_scores("case,region,dice\nann,lung,0.5\nann,scar,\n", {"fold": 2})[1]
        {'fold': 2, 'case': 'ann', 'region': 'scar', 'dice': nan}
    """
    columns, cells = read_csv(text)
    rows = read_score_rows(cells, source="scores.csv")
    return [
        {
            **varied,
            **{key: getattr(row, key) if key in LABELS else row[key] for key in columns},
        }
        for row in rows
    ]


def summarise_cases(rows: Iterable[Row]) -> list[Row]:
    """Summarise scores over cases, one row per region.

    With several seeds each case counts once, with its mean over the seeds; `dice_sd_of_seeds` is
    the SD over seeds of the mean over cases. SDs are of the sample (n - 1), undefined for one
    value.

    Args:
        rows: Rows of `read_scores`.

    Returns:
        Rows with `SUMMARY_COLUMNS` and `dice_sd_of_seeds`.
    """
    return [
        {"region": region, **_summarise(group)}
        for region, group in _grouped(rows, "region").items()
    ]


def summarise_folds(rows: Iterable[Row]) -> list[Row]:
    """Compute the mean Dice of each region over the cases of a fold, one row per seed and fold."""
    return [
        {
            "seed": seed,
            "fold": fold,
            "cases": len({row["case"] for row in group}),
            **{
                region: _mean(region_rows, "dice")
                for region, region_rows in _grouped(group, "region").items()
            },
        }
        for (seed, fold), group in _grouped(rows, "seed", "fold").items()
    ]


def fold_tables(rows: Sequence[Row]) -> str:
    """Write the tables of a cross-validation as text: cases, folds, then regions over all cases."""
    folds, regions = summarise_folds(rows), summarise_cases(rows)
    seeds = ("dice_sd_of_seeds",) if len({row["seed"] for row in rows}) > 1 else ()
    columns = [key for key in CASE_COLUMNS if key not in _FILE_ONLY]
    tables = (
        aligned(rows, columns),
        "mean Dice by fold\n" + aligned(folds, folds[0]),
        "over all cases\n" + aligned(regions, (*SUMMARY_COLUMNS, *seeds)),
    )
    return "\n\n".join(tables)


def fold_json(rows: Sequence[Row]) -> str:
    """Write the tables of a cross-validation as JSON: ``cases``, ``folds`` and ``regions``."""
    regions = summarise_cases(rows)
    return to_json({"cases": list(rows), "folds": summarise_folds(rows), "regions": regions})


def summarise_sweep(runs: Iterable[tuple[Mapping[str, Any], Sequence[Row]]]) -> list[Row]:
    """Summarise the runs of a sweep, one row per combination and region.

    Args:
        runs: Varied values and rows of each run.
    """
    return [
        {**varied, **{key: row[key] for key in SUMMARY_COLUMNS}}
        for varied, rows in runs
        for row in summarise_cases(rows)
    ]


def sweep_table(combinations: Sequence[Mapping[str, str]], rows: Sequence[Row]) -> str:
    """Write the mean Dice of a sweep as text.

    With two varied keys each region has a matrix: the first key down, the second across. Otherwise
    each combination has a row.

    Args:
        combinations: Varied values of all runs.
        rows: Rows of `summarise_sweep`; a combination without rows is listed as failed.
    """
    keys = list(combinations[0])
    dice = {(*(row[key] for key in keys), row["region"]): row["dice_mean"] for row in rows}
    regions = list(dict.fromkeys(row["region"] for row in rows))
    if len(keys) == 2:
        return "\n\n".join(_matrix(combinations, dice, region) for region in regions)
    lines: list[Row] = [
        {
            **combination,
            **{region: dice.get((*combination.values(), region), "failed") for region in regions},
        }
        for combination in combinations
    ]
    return "mean Dice by region\n" + aligned(lines, [*keys, *regions])


def _summarise(group: Sequence[Row]) -> Row:
    by_case = _grouped(group, "case").values()
    dice = summarise_values(_mean(rows, "dice") for rows in by_case)
    seeds = summarise_values(_mean(rows, "dice") for rows in _grouped(group, "seed").values())
    iou, ceiling = (
        summarise_values(_mean(rows, key) for rows in by_case) for key in ("iou", "ceiling_dice")
    )
    return {
        "cases": dice.cases,
        "dice_mean": dice.mean,
        "dice_median": dice.median,
        "dice_sd": dice.sd,
        "iou_mean": iou.mean,
        "ceiling_mean": ceiling.mean,
        "dice_sd_of_seeds": seeds.sd,
    }


def _matrix(
    combinations: Sequence[Mapping[str, str]], dice: Mapping[Any, float], region: str
) -> str:
    first, second = combinations[0]
    across = list(dict.fromkeys(combination[second] for combination in combinations))
    down = list(dict.fromkeys(combination[first] for combination in combinations))
    lines: list[Row] = [
        {first: value, **{other: dice.get((value, other, region), "failed") for other in across}}
        for value in down
    ]
    return f"mean Dice of {region}: {first} by {second}\n" + aligned(lines, [first, *across])


def _grouped(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    """Group rows by the value of one key, or by the values of several keys as a tuple."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        values = tuple(row.get(key) for key in keys)
        groups.setdefault(values[0] if len(keys) == 1 else values, []).append(row)
    return groups


def _mean(rows: Iterable[Row], key: str) -> float:
    return summarise_values(row[key] for row in rows).mean
