"""Rows of a benchmark, and their summaries."""

import math

import pytest

from thorax.evaluation.bootstrap import bootstrap_mean
from thorax.evaluation.summary import Intervals
from thorax.experiments.benchmark.scores import (
    COLUMNS,
    benchmark_rows,
    score_table,
    summarise_regions,
)

from .rows import row, rows

FOUR = {"a1": 0.5, "a2": 0.625, "b1": 0.75, "c1": 0.875}


def test_sides_of_the_lung_become_regions() -> None:
    whole = [{"case": "a", "region": region, "dice": 0.5} for region in ("lung", "infection")]
    sides = [
        {"case": "a", "region": region, "side": side, "dice": dice}
        for region, dice in (("lung", 0.25), ("infection", 0.125))
        for side in ("right", "left")
    ]
    other = [{"case": "0", "region": "nodule", "dice": 1.0}]
    assert benchmark_rows([*whole, *other], sides) == [
        {"case": "a", "region": "lung", "dice": 0.5},
        {"case": "a", "region": "left lung", "dice": 0.25},
        {"case": "a", "region": "right lung", "dice": 0.25},
        {"case": "a", "region": "infection", "dice": 0.5},
    ]


def test_a_region_is_summarised_over_cases() -> None:
    (summary,) = summarise_regions(rows("lung", FOUR), {}, Intervals())
    assert (summary["region"], summary["cases"]) == ("lung", 4)
    assert summary["dice_mean"] == 0.6875
    assert summary["dice_sd"] == pytest.approx(math.sqrt(0.078125 / 3))
    assert summary["nsd_mean"] == 0.5625
    interval = bootstrap_mean(list(FOUR.values()))
    assert interval is not None
    assert (summary["dice_low"], summary["dice_high"]) == (interval.low, interval.high)


def test_the_interval_is_resampled_by_patient() -> None:
    """Three patients are too few; four cases counted as patients are not."""
    patients = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    by_patient = summarise_regions(rows("lung", FOUR), patients, Intervals())[0]
    assert math.isnan(by_patient["dice_low"])
    assert math.isfinite(summarise_regions(rows("lung", FOUR), {}, Intervals())[0]["dice_low"])


def test_a_case_of_several_folds_and_seeds_counts_once() -> None:
    tested = [
        row("a", "lung", 0.25, fold=0),
        row("a", "lung", 0.75, fold=1),
        row("a", "lung", 1.0, fold=1, seed=1),
        row("b", "lung", 0.5, fold=2),
    ]
    (summary,) = summarise_regions(tested, {}, Intervals())
    assert summary["cases"] == 2
    assert summary["dice_mean"] == pytest.approx((2 / 3 + 0.5) / 2)


def test_cases_without_the_region_are_left_out() -> None:
    """Truth and prediction of `c1` are empty, so its Dice is undefined."""
    (summary,) = summarise_regions(rows("infection", {**FOUR, "c1": math.nan}), {}, Intervals())
    assert (summary["cases"], summary["dice_mean"]) == (3, 0.625)


def test_regions_have_a_fixed_order() -> None:
    mixed = [*rows("infection", FOUR), *rows("right lung", FOUR), *rows("lung", FOUR)]
    summaries = summarise_regions(mixed, {}, Intervals())
    assert [summary["region"] for summary in summaries] == ["lung", "right lung", "infection"]


def test_a_table_for_the_comparison_has_all_columns() -> None:
    table = score_table("ours", rows("left lung", FOUR))
    assert table.columns == COLUMNS
    assert table.values("dice") == {"left lung": FOUR}
