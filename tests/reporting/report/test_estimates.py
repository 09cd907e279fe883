"""Figures over cases, and the order in which to look at them."""

import math
from dataclasses import replace

import pytest

from thorax.reporting.report.estimates import (
    Estimate,
    estimate,
    expected_error,
    over,
    pairs,
    worst_first,
)
from thorax.reporting.report.results import Results

from .runs import params_of, row


def test_what_summary_json_says_goes_before_what_is_worked_out(few: Results) -> None:
    assert estimate(few, "lung", "dice") == Estimate(0.8, 0.8, 0.71, 0.88, cases=3)
    assert estimate(replace(few, metrics={}), "lung", "dice").mean == pytest.approx(0.8)


def test_undefined_figures_are_left_out(few: Results) -> None:
    rows = [row("a", dice=0.5), row("b"), row("c", dice=0.7)]
    found = over(few, rows, "dice")
    assert found.mean == pytest.approx(0.6)
    assert found.cases == 2
    assert math.isnan(found.low), "two cases have no interval"


def test_nothing_defined_gives_nothing(few: Results) -> None:
    found = over(few, [row("a")], "dice")
    assert math.isnan(found.mean)
    assert found.cases == 0


@pytest.mark.parametrize(("convention", "mean"), [("thorax", 4.0), ("surface-distance", math.inf)])
def test_infinite_distances_count_as_the_convention_says(
    few: Results, convention: str, mean: float
) -> None:
    """One prediction is empty: its distance is infinite."""
    told = replace(few, params=params_of(convention=convention))
    rows = [
        row("a", hd95_mm=3.0, truth_ml=1.0, predicted_ml=1.0),
        row("b", hd95_mm=5.0, truth_ml=1.0, predicted_ml=1.0),
        row("c", hd95_mm=math.inf, truth_ml=1.0, predicted_ml=0.0),
    ]
    found = over(told, rows, "hd95_mm")
    assert (found.mean, found.cases, found.infinite) == (mean, 3, 1)


def test_intervals_are_over_patients(few: Results) -> None:
    """Eight cases of two patients are two values, which have no interval."""
    rows = [row(f"{number}", dice=number / 10) for number in range(8)]
    assert not math.isnan(over(replace(few, patients={}), rows, "dice").low)
    patients = {f"{number}": f"p{number % 2}" for number in range(8)}
    assert math.isnan(over(replace(few, patients=patients), rows, "dice").low)


def test_cases_of_a_patient_count_alike_in_the_mean_and_are_drawn_together(few: Results) -> None:
    """Three patients have a case each, the fourth five; averaged first, all would be at 0.65."""
    names = ["a", "b", "c", *["d"] * 5]
    rows = [row(f"{place}", dice=0.2 if name == "d" else 0.8) for place, name in enumerate(names)]
    patients = {f"{place}": name for place, name in enumerate(names)}
    found = over(replace(few, patients=patients), rows, "dice")
    assert found.mean == pytest.approx((3 * 0.8 + 5 * 0.2) / 8)
    assert 0.2 <= found.low < 0.3


def test_the_lowest_dice_relative_to_its_ceiling_comes_first(few: Results) -> None:
    """c: 0.7 of 1, a: 0.9 of 1, b: 0.8 of 0.8."""
    assert worst_first(few) == ["c", "a", "b"]


def test_cases_without_dice_come_last_and_ties_go_by_name(few: Results) -> None:
    rows = (row("d"), row("z", dice=0.7), row("e", dice=0.7), row("e", "infection", dice=0.9))
    assert worst_first(replace(few, rows=rows)) == ["e", "z", "d"]


def test_a_curve_without_voxels_has_no_error() -> None:
    assert math.isnan(expected_error([{"voxels": 0.0}]))


def test_only_finite_pairs_are_compared() -> None:
    rows = [
        row("a", truth_ml=1.0, predicted_ml=2.0),
        row("b", truth_ml=1.0),
        row("c", truth_ml=math.inf, predicted_ml=1.0),
    ]
    assert [(one.case, a, b) for one, a, b in pairs(rows, "truth_ml", "predicted_ml")] == [
        ("a", 1.0, 2.0)
    ]
