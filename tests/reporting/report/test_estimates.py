"""Statistics over cases, and the order of cases."""

import math
from dataclasses import replace

import pytest

from thorax.reporting.report.estimates import (
    Estimate,
    estimate,
    estimate_rows,
    finite_pairs,
    worst_first,
)
from thorax.reporting.report.results import Results

from .runs import params_of, row


def test_summary_json_has_priority_over_computed_values(few: Results) -> None:
    assert estimate(few, "lung", "dice") == Estimate(0.8, 0.8, 0.71, 0.88, cases=3)
    assert estimate(replace(few, summary={}), "lung", "dice").mean == pytest.approx(0.8)


def test_undefined_values_are_left_out(few: Results) -> None:
    rows = [row("a", dice=0.5), row("b"), row("c", dice=0.7)]
    result = estimate_rows(few, rows, "dice")
    assert result.mean == pytest.approx(0.6)
    assert result.cases == 2
    assert math.isnan(result.low), "two cases have no interval"


def test_rows_without_defined_values_have_no_mean(few: Results) -> None:
    result = estimate_rows(few, [row("a")], "dice")
    assert math.isnan(result.mean)
    assert result.cases == 0


@pytest.mark.parametrize(("convention", "mean"), [("thorax", 4.0), ("surface-distance", math.inf)])
def test_the_convention_decides_if_infinite_distances_enter_means(
    few: Results, convention: str, mean: float
) -> None:
    """One prediction is empty: its distance is infinite."""
    results = replace(few, params=params_of(convention=convention))
    rows = [
        row("a", hd95_mm=3.0, truth_ml=1.0, predicted_ml=1.0),
        row("b", hd95_mm=5.0, truth_ml=1.0, predicted_ml=1.0),
        row("c", hd95_mm=math.inf, truth_ml=1.0, predicted_ml=0.0),
    ]
    result = estimate_rows(results, rows, "hd95_mm")
    assert (result.mean, result.cases, result.infinite) == (mean, 3, 1)


def test_intervals_resample_patients(few: Results) -> None:
    """Eight cases of two patients have no interval."""
    rows = [row(f"{number}", dice=number / 10) for number in range(8)]
    assert not math.isnan(estimate_rows(replace(few, patients={}), rows, "dice").low)
    patients = {f"{number}": f"p{number % 2}" for number in range(8)}
    assert math.isnan(estimate_rows(replace(few, patients=patients), rows, "dice").low)


def test_cases_have_equal_weight_and_patients_are_resampled(few: Results) -> None:
    """Three patients have one case, the fourth has five; a mean of patients would be 0.65."""
    names = ["a", "b", "c", *["d"] * 5]
    rows = [row(f"{number}", dice=0.2 if name == "d" else 0.8) for number, name in enumerate(names)]
    patients = {f"{number}": name for number, name in enumerate(names)}
    result = estimate_rows(replace(few, patients=patients), rows, "dice")
    assert result.mean == pytest.approx((3 * 0.8 + 5 * 0.2) / 8)
    assert 0.2 <= result.low < 0.3


def test_the_lowest_dice_relative_to_its_ceiling_is_first(few: Results) -> None:
    """c: 0.7 of 1, a: 0.9 of 1, b: 0.8 of 0.8."""
    assert worst_first(few) == ["c", "a", "b"]


def test_cases_without_dice_are_last_and_ties_are_by_name(few: Results) -> None:
    rows = (row("d"), row("z", dice=0.7), row("e", dice=0.7), row("e", "infection", dice=0.9))
    assert worst_first(replace(few, rows=rows)) == ["e", "z", "d"]


def test_only_finite_pairs_are_compared() -> None:
    rows = [
        row("a", truth_ml=1.0, predicted_ml=2.0),
        row("b", truth_ml=1.0),
        row("c", truth_ml=math.inf, predicted_ml=1.0),
    ]
    assert [(row.case, a, b) for row, a, b in finite_pairs(rows, "truth_ml", "predicted_ml")] == [
        ("a", 1.0, 2.0)
    ]
