"""Sentences about comparisons; every number in them is given here."""

from dataclasses import replace

import pytest

from thorax.evaluation.bootstrap import Interval
from thorax.experiments.conclusions import conclusion, level_of, metric_label
from thorax.experiments.paired_tests import Comparison, PairedTest, compared_metric

TWELVE = {f"case{number}": 0.01 * number for number in range(1, 13)}
SIGNIFICANT = Comparison(
    baseline="main",
    name="new",
    region="lung",
    metric=compared_metric("dice"),
    differences=TWELVE,
    left_out=0,
    baseline_mean=0.90,
    mean=0.9123,
    difference=0.0123,
    interval=Interval(0.0041, 0.0204, "bca"),
    test=PairedTest(0.0039, 0.0005, exact=True),
    effect=0.8,
    adjusted_p=0.0078,
    least_adjusted_p=0.001,
)
NOT_SIGNIFICANT = replace(
    SIGNIFICANT,
    interval=Interval(-0.002, 0.0204, "bca"),
    test=PairedTest(0.12, 0.0005, exact=True),
    adjusted_p=0.24,
)
FIVE = replace(
    SIGNIFICANT,
    differences={"a": 0.1, "b": 0.2, "c": 0.1, "d": 0.3, "e": 0.1},
    test=PairedTest(0.0625, 0.0625, exact=True),
    adjusted_p=0.0625,
    least_adjusted_p=0.0625,
)


def in_mm(comparison: Comparison, difference: float, low: float, high: float) -> Comparison:
    return replace(
        comparison,
        metric=compared_metric("hd95_mm"),
        difference=difference,
        interval=Interval(low, high, "bca"),
        effect=0.8 if difference > 0 else -0.8,
    )


def test_a_significant_difference_has_direction_size_cases_interval_and_p() -> None:
    assert conclusion(SIGNIFICANT, 0.95) == (
        "new is better than main on lung: dice is higher by 0.0123 on average over 12 cases "
        "(95 % interval +0.00410 to +0.0204, corrected p = 0.00780)."
    )


def test_smaller_distances_are_better() -> None:
    assert conclusion(in_mm(SIGNIFICANT, -1.5, -2.25, -0.75), 0.95) == (
        "new is better than main on lung: hd95_mm is lower by 1.50 mm on average over 12 cases "
        "(95 % interval -2.25 to -0.750, corrected p = 0.00780)."
    )
    assert conclusion(in_mm(SIGNIFICANT, 12.5, 2, 25), 0.95).startswith(
        "new is worse than main on lung: hd95_mm is higher by 12.5 mm on average over 12 cases"
    )


@pytest.mark.parametrize(
    ("name", "difference", "sentence"),
    [
        ("dice", -0.5, "new is worse than main on lung: dice is lower by 0.500 on average"),
        ("brier", 0.5, "new is worse than main on lung: brier is higher by 0.500 on"),
        ("mean_distance_mm", -0.5, "new is better than main on lung: mean_distance_mm is lower"),
        (
            "difference_ml",
            -1234.0,
            "new is better than main on lung: absolute difference_ml is lower by 1234 mL on",
        ),
        (
            "difference_percent",
            2.0,
            "new is worse than main on lung: absolute difference_percent is higher by 2.00 "
            "percentage points on",
        ),
        ("predicted_ml", 20.0, "new differs from main on lung: predicted_ml is higher by 20.0 mL"),
        ("of_our_own", -2.0, "new differs from main on lung: of_our_own is lower by 2.00 on"),
    ],
)
def test_better_and_worse_follow_the_metric(name: str, difference: float, sentence: str) -> None:
    comparison = replace(
        SIGNIFICANT,
        metric=compared_metric(name),
        difference=difference,
        interval=Interval(*sorted((difference * 0.5, difference * 2)), "bca"),
        effect=0.9 if difference > 0 else -0.9,
    )
    assert conclusion(comparison, 0.95).startswith(sentence)


def test_five_cases_cannot_show_anything_at_5_percent() -> None:
    assert conclusion(FIVE, 0.95) == (
        "5 cases cannot show a difference between new and main on lung at 0.05, whatever the "
        "values "
        "are (p is at least 0.0625): dice is higher by 0.0123 on average (better)."
    )
    # At 10 % they can.
    assert conclusion(FIVE, 0.9).startswith("new is better than main on lung: dice is higher")


def test_too_few_cases_for_the_number_of_comparisons() -> None:
    six = replace(
        in_mm(FIVE, 0.4, 0.1, 0.9),
        differences=dict.fromkeys("abcdef", 1.0),
        test=PairedTest(0.03125, 0.03125, exact=True),
        adjusted_p=0.125,
        least_adjusted_p=0.125,
    )
    assert conclusion(six, 0.95) == (
        "6 cases cannot show a difference between new and main on lung at 0.05, whatever the "
        "values "
        "are (corrected p is at least 0.125): hd95_mm is higher by 0.400 mm on average (worse)."
    )


def test_a_single_case_is_in_the_singular() -> None:
    single = replace(FIVE, differences={"a": 0.1}, least_adjusted_p=1.0, adjusted_p=1.0)
    assert conclusion(single, 0.95).startswith(
        "1 case cannot show a difference between new and main"
    )


def test_no_significant_difference_has_the_meaning_of_both_limits() -> None:
    assert conclusion(NOT_SIGNIFICANT, 0.95) == (
        "12 cases do not show a difference between new and main on lung (corrected p = 0.240): "
        "dice is higher by "
        "0.0123 on average (better), 95 % interval -0.00200 (worse) to +0.0204 (better)."
    )
    assert conclusion(in_mm(NOT_SIGNIFICANT, -1, -3, 1), 0.95).endswith(
        "hd95_mm is lower by 1.00 mm on average (better), 95 % interval -3.00 (better) to +1.00 "
        "(worse)."
    )


def test_an_interval_without_a_significant_test_shows_no_difference() -> None:
    comparison = replace(SIGNIFICANT, test=PairedTest(0.03, 0.0005, exact=True), adjusted_p=0.06)
    assert conclusion(comparison, 0.95).startswith(
        "12 cases do not show a difference between new and main on lung"
    )


def test_a_test_not_confirmed_by_the_interval_gives_no_verdict() -> None:
    sentence = (
        "The test shows a difference between new and main on lung (corrected p = 0.00780), but the "
        "mean does not confirm it: dice is higher by 0.0123 on average over 12 cases "
    )
    around_zero = replace(SIGNIFICANT, interval=Interval(-0.001, 0.02, "bca"))
    assert conclusion(around_zero, 0.95) == sentence + "(95 % interval -0.00100 to +0.0200)."
    # Ranks and mean may point in opposite directions.
    assert conclusion(replace(SIGNIFICANT, effect=-0.8), 0.95).startswith(sentence)
    assert (
        conclusion(replace(SIGNIFICANT, interval=None), 0.95)
        == sentence + "(too few for an interval)."
    )


def test_equal_values_are_reported_as_equal() -> None:
    same = replace(FIVE, differences=dict.fromkeys("abcde", 0.0), difference=0.0)
    assert conclusion(same, 0.95) == "new and main have the same dice on lung in each of 5 cases."
    single = replace(same, differences={"a": 0.0})
    assert conclusion(single, 0.95) == "new and main have the same dice on lung in 1 case."


def test_differences_with_mean_0_have_no_direction() -> None:
    even = replace(NOT_SIGNIFICANT, difference=0.0, interval=Interval(-0.01, 0.0, "bca"))
    assert conclusion(even, 0.95) == (
        "12 cases do not show a difference between new and main on lung (corrected p = 0.240): "
        "dice is the same "
        "on average, 95 % interval -0.0100 (worse) to 0."
    )


def test_a_p_of_a_single_comparison_is_not_called_corrected() -> None:
    alone = replace(SIGNIFICANT, adjusted_p=0.0039)
    assert ", p = 0.00390)" in conclusion(alone, 0.95)


def test_a_tiny_p_is_written_as_a_bound() -> None:
    tiny = replace(SIGNIFICANT, test=PairedTest(2e-5, 1e-6, exact=True), adjusted_p=4e-5)
    assert conclusion(tiny, 0.95).endswith(", corrected p < 0.0001).")


def test_the_level_is_1_minus_the_confidence() -> None:
    assert [level_of(confidence) for confidence in (0.95, 0.9, 0.99)] == [0.05, 0.1, 0.01]


def test_absolute_values_are_named_so() -> None:
    assert metric_label(compared_metric("difference_ml")) == "absolute difference_ml"
    assert metric_label(compared_metric("dice")) == "dice"
