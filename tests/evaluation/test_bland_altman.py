"""Bland-Altman limits of agreement."""

import math
import statistics

import pytest

from thorax.evaluation.bland_altman import LimitsOfAgreement, bland_altman

# Lung volumes in mL, differences -10, 20, 0, 30.
TRUTH = [3000.0, 4000.0, 5000.0, 6000.0]
PREDICTED = [2990.0, 4020.0, 5000.0, 6030.0]


def test_limits_are_1_96_sds_around_the_mean_difference() -> None:
    limits = bland_altman(TRUTH, PREDICTED)
    assert limits
    # Squares about the mean of 10: 400 + 100 + 100 + 400 = 1000, over 3.
    assert limits.mean == 10
    assert limits.sd == pytest.approx(math.sqrt(1000 / 3))
    assert limits.low == pytest.approx(10 - 1.96 * 18.257419)
    assert limits.high == pytest.approx(10 + 1.96 * 18.257419)
    assert limits.cases == 4


def test_bland_and_altmans_own_example_of_peak_flow() -> None:
    # Wright's large meter and the small one, L/min, 17 people (table 1 of the paper).
    # The paper gives a mean of -2.1 and an SD of 38.8.
    large = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    small = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    limits = bland_altman(small, large)
    assert limits
    assert round(limits.mean, 1) == -2.1
    assert round(limits.sd, 1) == 38.8
    assert (round(limits.low, 1), round(limits.high, 1)) == (-78.1, 73.9)


def test_swapping_truth_and_prediction_changes_the_signs() -> None:
    limits, swapped = bland_altman(TRUTH, PREDICTED), bland_altman(PREDICTED, TRUTH)
    assert limits
    assert swapped == LimitsOfAgreement(
        -limits.mean, limits.sd, -limits.high, -limits.low, limits.cases
    )


def test_a_constant_error_is_only_bias() -> None:
    assert bland_altman([1.0, 2.0, 4.0], [3.0, 4.0, 6.0]) == LimitsOfAgreement(2, 0, 2, 2, 3)


def test_the_sd_is_that_of_a_sample() -> None:
    limits = bland_altman([0.0, 0.0], [1.0, 3.0])
    assert limits
    assert limits.sd == pytest.approx(statistics.stdev([1, 3]))


@pytest.mark.parametrize("undefined", [math.nan, math.inf])
def test_pairs_with_an_undefined_or_infinite_value_are_left_out(undefined: float) -> None:
    defined = bland_altman(TRUTH, PREDICTED)
    assert bland_altman([*TRUTH, 1.0], [*PREDICTED, undefined]) == defined
    assert bland_altman([undefined, *TRUTH], [undefined, *PREDICTED]) == defined


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_cases_have_no_limits(count: int) -> None:
    assert bland_altman(TRUTH[:count], PREDICTED[:count]) is None


def test_cases_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="must be of the same cases, got 4 and 3"):
        bland_altman(TRUTH, PREDICTED[:3])
