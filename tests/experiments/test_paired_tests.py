"""Paired tests, their correction, and comparisons."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from thorax.experiments.paired_tests import (
    ComparedMetric,
    Comparison,
    PairedTest,
    TestMethod,
    adjust_p_values,
    compare_values,
    compared_metric,
    holm,
    paired_test,
    rank_biserial,
)

# Integers from -20 to 20, with zeros and ties.
DIFFERENCES = st.lists(st.integers(-20, 20), min_size=1, max_size=8)


def p_by_hand(differences: list[int]) -> Fraction:
    """Return the share of sign combinations whose sum is at least as far from 0."""
    observed = abs(sum(differences))
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return Fraction(sum(abs(total) >= observed for total in sums), len(sums))


# The tests


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5], 2 / 32),  # only all + and all - are as far from 0
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        ([-1, 2, 3, 4, 5], 4 / 32),  # and those with the sign of 1 changed
        ([1, 1, -1, -1], 1.0),  # no sum is nearer to 0
        ([3, 0, 0], 1.0),  # one difference is too few
        ([0, 0], 1.0),
        ([], 1.0),
    ],
)
def test_p_of_few_cases_can_be_counted(differences: list[int], p: float) -> None:
    assert paired_test(differences).p == pytest.approx(p)


@given(DIFFERENCES)
def test_the_permutation_test_uses_all_signs(differences: list[int]) -> None:
    result = paired_test([0.01 * value for value in differences])
    assert result.exact
    assert result.p == pytest.approx(float(p_by_hand(differences)))


@given(DIFFERENCES)
def test_the_wilcoxon_test_uses_all_signs_of_ranks(differences: list[int]) -> None:
    nonzero = [value for value in differences if value]
    # Ranks by definition, doubled to be integers: values below, and half of the equal ones.
    ranks = [
        sum(1 + (abs(value) > abs(other)) - (abs(value) < abs(other)) for other in nonzero) + 1
        for value in nonzero
    ]
    signed = [rank if value > 0 else -rank for rank, value in zip(ranks, nonzero, strict=True)]
    assert paired_test(differences, test="wilcoxon").p == pytest.approx(float(p_by_hand(signed)))


def test_wilcoxon_without_ties_equals_scipys() -> None:
    differences = [0.8, -0.3, 1.1, 2.5, -0.1, 0.4, 1.9, 0.6, -0.2, 3.0]
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert paired_test(differences, test="wilcoxon").p == pytest.approx(expected)


def test_an_outlier_has_less_weight_in_ranks() -> None:
    differences = [1, 2, 3, 4, 5, 6, -100]
    assert paired_test(differences).p > 0.9
    assert paired_test(differences, test="wilcoxon").p < 0.5


@pytest.mark.parametrize(
    ("test", "reference"),
    [
        ("permutation", lambda differences: stats.ttest_1samp(differences, 0)),
        ("wilcoxon", lambda differences: stats.wilcoxon(differences, method="asymptotic")),
    ],
)
def test_many_cases_use_random_signs_and_agree_with_scipy(
    test: TestMethod, reference: Callable[[Any], Any]
) -> None:
    differences = np.random.default_rng(3).normal(0.25, 1, 60)
    result = paired_test(differences, test=test)
    assert not result.exact
    assert result.smallest_possible_p == pytest.approx(2 / 10_000)
    assert result.p == pytest.approx(reference(differences).pvalue, abs=0.01)
    assert result == paired_test(differences, test=test)


def test_sums_that_are_equal_in_theory_are_equal() -> None:
    # In floating point the sum is 2.8e-17, not 0, and many sums would be further from 0.
    assert paired_test([0.1, 0.1, 0.1, -0.1, -0.1, -0.1]).p == 1
    assert paired_test([0.1, 0.2, -0.3]).p == 1


@pytest.mark.parametrize(
    ("cases", "smallest"), [(0, 1), (1, 1), (2, 0.5), (5, 0.0625), (6, 0.03125), (13, 2 / 8192)]
)
def test_the_smallest_possible_p_is_that_of_differences_of_one_sign(
    cases: int, smallest: float
) -> None:
    result = paired_test(range(1, cases + 1))
    assert result.smallest_possible_p == smallest
    assert result.p == pytest.approx(smallest)
    # It depends on the number of cases alone, so equal values do not change it.
    assert paired_test([0] * cases) == PairedTest(1.0, smallest, exact=True)


@given(DIFFERENCES, st.sampled_from(["permutation", "wilcoxon"]))
def test_sign_scale_and_order_do_not_change_p(differences: list[int], test: TestMethod) -> None:
    p = paired_test(differences, test=test).p
    for changed in (
        [-value for value in differences],
        [value * 4 for value in differences],
        sorted(differences),
    ):
        assert paired_test(changed, test=test).p == pytest.approx(p)


# Effect size


@pytest.mark.parametrize(
    ("differences", "effect"),
    [
        ([1, 2, 3], 1.0),
        ([-1, -2, -3], -1.0),
        ([1, 2, -3], 0.0),  # ranks 1 + 2 against 3
        ([5, -1, 2, 3], (4 + 2 + 3 - 1) / 10),
        ([2, 2, -2, 0], (2 + 2 - 2) / 6),  # three share the ranks 1 to 3; the 0 has none
    ],
)
def test_effect_is_the_balance_of_rank_sums(differences: list[int], effect: float) -> None:
    assert rank_biserial(differences) == pytest.approx(effect)


@pytest.mark.parametrize("differences", [[], [0, 0]])
def test_without_differences_there_is_no_effect_size(differences: list[int]) -> None:
    assert math.isnan(rank_biserial(differences))


# Correction


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),  # 3·0.01, 2·0.03, and 0.04 not below that
        ([0.4, 0.6, 0.01], [0.8, 0.8, 0.03]),
        ([0.9, 0.9], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_is_between_none_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, after in zip(p_values, adjusted, strict=True):
        assert p <= after <= min(1, p * len(p_values)) or p == after
    assert np.argsort(p_values, kind="stable").tolist() == sorted(
        range(len(p_values)), key=lambda index: (adjusted[index], p_values[index], index)
    )


# Comparisons

DICE = compared_metric("dice")
BEFORE = {"a": 0.70, "b": 0.60, "c": 0.80, "d": 0.75, "e": 0.50, "f": 0.65}
AFTER = {"a": 0.72, "b": 0.65, "c": 0.81, "d": 0.79, "e": 0.56, "f": 0.62}


def compared(
    before: dict[str, float] = BEFORE,
    after: dict[str, float] = AFTER,
    metric: ComparedMetric = DICE,
) -> Comparison:
    return compare_values(("main", before), ("new", after), region="lung", metric=metric)


def test_differences_are_other_minus_baseline() -> None:
    comparison = compared()
    assert (comparison.baseline, comparison.name, comparison.region) == ("main", "new", "lung")
    assert comparison.differences == pytest.approx(
        {"a": 0.02, "b": 0.05, "c": 0.01, "d": 0.04, "e": 0.06, "f": -0.03}
    )
    assert comparison.baseline_mean == pytest.approx(4 / 6)
    assert comparison.mean == pytest.approx(4.15 / 6)
    assert comparison.difference == pytest.approx(0.025)
    # Ranks 2, 5, 1, 4, 6 against 3.
    assert comparison.effect == pytest.approx((18 - 3) / 21)
    assert (comparison.cases, comparison.left_out) == (6, 0)


def test_swapping_the_tables_changes_the_sign_and_keeps_p() -> None:
    forward, backward = compared(), compared(AFTER, BEFORE)
    assert backward.difference == -forward.difference
    assert backward.effect == -forward.effect
    assert backward.test == forward.test
    assert forward.interval
    assert backward.interval
    assert backward.interval.low == pytest.approx(-forward.interval.high, abs=1e-3)
    assert backward.interval.high == pytest.approx(-forward.interval.low, abs=1e-3)


def test_a_constant_added_to_one_table_shifts_the_interval() -> None:
    unshifted, shifted = compared(), compared(after={case: x + 0.1 for case, x in AFTER.items()})
    assert unshifted.interval
    assert shifted.interval
    assert shifted.difference == pytest.approx(unshifted.difference + 0.1)
    assert shifted.interval.low == pytest.approx(unshifted.interval.low + 0.1)
    assert shifted.interval.high == pytest.approx(unshifted.interval.high + 0.1)


def test_only_common_cases_are_compared_in_any_order() -> None:
    shuffled = {case: AFTER[case] for case in "fbdace"}
    assert compared({**BEFORE, "x": 0.1}, {"y": 0.9, **shuffled}) == compared()


@pytest.mark.parametrize("undefined", [math.nan, math.inf])
def test_pairs_without_a_finite_difference_are_left_out_and_counted(undefined: float) -> None:
    comparison = compared({**BEFORE, "x": undefined, "y": 0.5}, {**AFTER, "x": 0.5, "y": undefined})
    assert comparison.left_out == 2
    assert comparison.cases == 6
    assert comparison.difference == compared().difference


def test_rounding_errors_break_no_ties() -> None:
    # In floating point 0.9 - 0.8 and 0.8 - 0.7 differ, and 0.3 - 0.4 is not their opposite.
    comparison = compared({"a": 0.8, "b": 0.7, "c": 0.4}, {"a": 0.9, "b": 0.8, "c": 0.3})
    assert [*comparison.differences.values()] == [0.1, 0.1, -0.1]
    assert comparison.effect == pytest.approx(1 / 3)


def test_signed_errors_are_compared_by_absolute_value() -> None:
    # From 30 too little to 10 too much is 20 better, not 40 more.
    comparison = compared(
        {"a": -30.0, "b": 5.0}, {"a": 10.0, "b": -5.0}, compared_metric("difference_ml")
    )
    assert comparison.differences == {"a": -20.0, "b": 0.0}


def test_without_a_pair_metrics_are_undefined() -> None:
    comparison = compared({"a": math.nan}, {"a": 0.5})
    assert (comparison.cases, comparison.left_out, comparison.interval) == (0, 1, None)
    assert math.isnan(comparison.difference)


def test_all_comparisons_are_corrected_together() -> None:
    # Alone: 2/32, and 2/4 for two cases.
    up = compared(
        {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    )
    two = compared({"a": 0, "b": 0}, {"a": 1, "b": 2})
    first, second = adjust_p_values([up, two])
    assert (first.adjusted_p, second.adjusted_p) == (0.125, 0.5)
    assert (first.least_adjusted_p, second.least_adjusted_p) == (0.125, 0.5)


def test_the_least_adjusted_p_is_that_of_the_best_possible_values() -> None:
    # With six cases p could be 2/64; corrected for two comparisons 4/64.
    flat = compared(
        BEFORE, {case: x + (0.1 if case in "abc" else -0.1) for case, x in BEFORE.items()}
    )
    assert flat.test == PairedTest(1.0, 0.03125, exact=True)
    assert [it.least_adjusted_p for it in adjust_p_values([flat, flat])] == [0.0625, 0.0625]


@pytest.mark.parametrize(
    ("name", "better", "unit"),
    [
        ("dice", "more", ""),
        ("nsd", "more", ""),
        ("lesion_f1", "more", ""),
        ("hd95_mm", "less", "mm"),
        ("mean_distance_mm", "less", "mm"),
        ("brier", "less", ""),
        ("difference_ml", "less", "mL"),
        ("difference_percent", "less", "percentage points"),
        ("predicted_ml", None, "mL"),
        ("predicted_share", None, ""),
        ("of_our_own", None, ""),
    ],
)
def test_columns_have_a_direction_and_a_unit(name: str, better: str | None, unit: str) -> None:
    metric = compared_metric(name)
    assert (metric.name, metric.better, metric.unit) == (name, better, unit)
    assert metric.absolute == name.startswith("difference_")
