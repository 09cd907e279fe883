"""Paired tests, their correction, and what a comparison is made of."""

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
    Comparison,
    Metric,
    PairedTest,
    Test,
    adjust_p_values,
    compare_figures,
    holm,
    metric,
    paired_test,
    rank_biserial,
)

# Whole numbers from -20 to 20, some 0 and some alike.
DIFFERENCES = st.lists(st.integers(-20, 20), min_size=1, max_size=8)


def p_by_hand(differences: list[int]) -> Fraction:
    """Share of all signs that bring the sum as far from 0 as it is."""
    seen = abs(sum(differences))
    sums = [
        sum(sign * one for sign, one in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return Fraction(sum(abs(it) >= seen for it in sums), len(sums))


# The tests


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5], 2 / 32),  # only all + and all - are as far
        ([1, 2, 3, 4, 5, 6], 2 / 64),
        ([-1, 2, 3, 4, 5], 4 / 32),  # and those with the 1 turned
        ([1, 1, -1, -1], 1.0),  # nothing is nearer to 0
        ([3, 0, 0], 1.0),  # one case that differs tells nothing
        ([0, 0], 1.0),
        ([], 1.0),
    ],
)
def test_few_cases_have_a_p_that_can_be_counted(differences: list[int], p: float) -> None:
    assert paired_test(differences).p == pytest.approx(p)


@given(DIFFERENCES)
def test_the_permutation_test_goes_through_all_signs(differences: list[int]) -> None:
    found = paired_test([0.01 * one for one in differences])
    assert found.exact
    assert found.p == pytest.approx(float(p_by_hand(differences)))


@given(DIFFERENCES)
def test_the_wilcoxon_test_goes_through_all_signs_of_ranks(differences: list[int]) -> None:
    other = [one for one in differences if one]
    # Ranks from the definition, doubled to be whole: those below, and half of those alike.
    ranks = [
        sum(1 + (abs(it) > abs(lower)) - (abs(it) < abs(lower)) for lower in other) + 1
        for it in other
    ]
    signed = [rank if one > 0 else -rank for rank, one in zip(ranks, other, strict=True)]
    assert paired_test(differences, test="wilcoxon").p == pytest.approx(float(p_by_hand(signed)))


def test_wilcoxon_is_the_textbook_one_where_there_are_no_ties() -> None:
    differences = [0.8, -0.3, 1.1, 2.5, -0.1, 0.4, 1.9, 0.6, -0.2, 3.0]
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert paired_test(differences, test="wilcoxon").p == pytest.approx(expected)


def test_a_case_that_is_far_off_weighs_less_in_ranks() -> None:
    differences = [1, 2, 3, 4, 5, 6, -100]
    assert paired_test(differences).p > 0.9
    assert paired_test(differences, test="wilcoxon").p < 0.5


@pytest.mark.parametrize(
    ("test", "textbook"),
    [
        ("permutation", lambda differences: stats.ttest_1samp(differences, 0)),
        ("wilcoxon", lambda differences: stats.wilcoxon(differences, method="asymptotic")),
    ],
)
def test_many_cases_have_drawn_signs_and_nearly_the_p_of_the_textbook(
    test: Test, textbook: Callable[[Any], Any]
) -> None:
    differences = np.random.default_rng(3).normal(0.25, 1, 60)
    found = paired_test(differences, test=test)
    assert not found.exact
    assert found.least_p == pytest.approx(2 / 10_000)
    assert found.p == pytest.approx(textbook(differences).pvalue, abs=0.01)
    assert found == paired_test(differences, test=test)


def test_sums_that_are_equal_on_paper_are_equal() -> None:
    # In binary the sum is 2.8e-17, not 0, and a good part of the sums would lie further off.
    assert paired_test([0.1, 0.1, 0.1, -0.1, -0.1, -0.1]).p == 1
    assert paired_test([0.1, 0.2, -0.3]).p == 1


@pytest.mark.parametrize(
    ("cases", "least"), [(0, 1), (1, 1), (2, 0.5), (5, 0.0625), (6, 0.03125), (13, 2 / 8192)]
)
def test_the_least_p_is_that_of_differences_that_all_point_one_way(
    cases: int, least: float
) -> None:
    found = paired_test(range(1, cases + 1))
    assert found.least_p == least
    assert found.p == pytest.approx(least)
    # It is said of the number of cases, so equal figures do not change it.
    assert paired_test([0] * cases) == PairedTest(1.0, least, exact=True)


@given(DIFFERENCES, st.sampled_from(["permutation", "wilcoxon"]))
def test_neither_sign_nor_size_nor_order_change_p(differences: list[int], test: Test) -> None:
    p = paired_test(differences, test=test).p
    for same in (
        [-one for one in differences],
        [one * 4 for one in differences],
        sorted(differences),
    ):
        assert paired_test(same, test=test).p == pytest.approx(p)


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
def test_without_a_difference_there_is_no_effect(differences: list[int]) -> None:
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
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, after in zip(p_values, adjusted, strict=True):
        assert p <= after <= min(1, p * len(p_values)) or p == after
    assert np.argsort(p_values, kind="stable").tolist() == sorted(
        range(len(p_values)), key=lambda place: (adjusted[place], p_values[place], place)
    )


# Comparisons

DICE = metric("dice")
BEFORE = {"a": 0.70, "b": 0.60, "c": 0.80, "d": 0.75, "e": 0.50, "f": 0.65}
AFTER = {"a": 0.72, "b": 0.65, "c": 0.81, "d": 0.79, "e": 0.56, "f": 0.62}


def compared(
    before: dict[str, float] = BEFORE, after: dict[str, float] = AFTER, of: Metric = DICE
) -> Comparison:
    return compare_figures(("main", before), ("new", after), region="lung", metric=of)


def test_differences_are_those_of_the_other_less_the_baseline() -> None:
    found = compared()
    assert (found.baseline, found.name, found.region) == ("main", "new", "lung")
    assert found.differences == pytest.approx(
        {"a": 0.02, "b": 0.05, "c": 0.01, "d": 0.04, "e": 0.06, "f": -0.03}
    )
    assert found.baseline_mean == pytest.approx(4 / 6)
    assert found.mean == pytest.approx(4.15 / 6)
    assert found.difference == pytest.approx(0.025)
    # Ranks 2, 5, 1, 4, 6 against 3.
    assert found.effect == pytest.approx((18 - 3) / 21)
    assert (found.cases, found.left_out) == (6, 0)


def test_swapping_the_tables_turns_the_sign_and_keeps_p() -> None:
    there, back = compared(), compared(AFTER, BEFORE)
    assert back.difference == -there.difference
    assert back.effect == -there.effect
    assert back.test == there.test
    assert there.interval
    assert back.interval
    assert back.interval.low == pytest.approx(-there.interval.high, abs=1e-3)
    assert back.interval.high == pytest.approx(-there.interval.low, abs=1e-3)


def test_a_constant_added_to_one_table_moves_the_interval_by_it() -> None:
    there, moved = compared(), compared(after={case: x + 0.1 for case, x in AFTER.items()})
    assert there.interval
    assert moved.interval
    assert moved.difference == pytest.approx(there.difference + 0.1)
    assert moved.interval.low == pytest.approx(there.interval.low + 0.1)
    assert moved.interval.high == pytest.approx(there.interval.high + 0.1)


def test_only_cases_of_both_count_whatever_their_order() -> None:
    shuffled = {case: AFTER[case] for case in "fbdace"}
    assert compared({**BEFORE, "x": 0.1}, {"y": 0.9, **shuffled}) == compared()


@pytest.mark.parametrize("undefined", [math.nan, math.inf])
def test_pairs_that_cannot_be_subtracted_are_left_out_and_counted(undefined: float) -> None:
    found = compared({**BEFORE, "x": undefined, "y": 0.5}, {**AFTER, "x": 0.5, "y": undefined})
    assert found.left_out == 2
    assert found.cases == 6
    assert found.difference == compared().difference


def test_rounding_breaks_no_ties() -> None:
    # 0.9 - 0.8 and 0.8 - 0.7 are not the same to a computer, nor 0.3 - 0.4 their opposite.
    found = compared({"a": 0.8, "b": 0.7, "c": 0.4}, {"a": 0.9, "b": 0.8, "c": 0.3})
    assert [*found.differences.values()] == [0.1, 0.1, -0.1]
    assert found.effect == pytest.approx(1 / 3)


def test_signed_errors_are_compared_by_their_size() -> None:
    # 30 too little and then 10 too much is 20 better, not 40 more.
    found = compared({"a": -30.0, "b": 5.0}, {"a": 10.0, "b": -5.0}, metric("difference_ml"))
    assert found.differences == {"a": -20.0, "b": 0.0}


def test_without_a_pair_nothing_is_made_up() -> None:
    found = compared({"a": math.nan}, {"a": 0.5})
    assert (found.cases, found.left_out, found.interval) == (0, 1, None)
    assert math.isnan(found.difference)


def test_all_that_is_compared_is_corrected_together() -> None:
    # Alone: 2/32, and 2/4 for two cases.
    up = compared(
        {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    )
    two = compared({"a": 0, "b": 0}, {"a": 1, "b": 2})
    first, second = adjust_p_values([up, two])
    assert (first.adjusted_p, second.adjusted_p) == (0.125, 0.5)
    assert (first.least_adjusted_p, second.least_adjusted_p) == (0.125, 0.5)


def test_the_least_corrected_p_is_that_of_other_figures_in_the_same_place() -> None:
    # Alone 1/1 could be 2/64 with six cases; with the other at 1, corrected 4/64.
    flat = compared(
        BEFORE, {case: x + (0.1 if case in "abc" else -0.1) for case, x in BEFORE.items()}
    )
    assert flat.test == PairedTest(1.0, 0.03125, exact=True)
    assert [one.least_adjusted_p for one in adjust_p_values([flat, flat])] == [0.0625, 0.0625]


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
def test_columns_are_known_for_what_is_better(name: str, better: str | None, unit: str) -> None:
    known = metric(name)
    assert (known.name, known.better, known.unit) == (name, better, unit)
    assert known.absolute == name.startswith("difference_")
