"""Bland and Altman's limits of agreement."""

import math
import statistics

import pytest

from thorax.evaluation.bland_altman import Agreement, bland_altman

# Lung volumes in mL, differences -10, 20, 0, 30.
TRUTH = [3000.0, 4000.0, 5000.0, 6000.0]
PREDICTED = [2990.0, 4020.0, 5000.0, 6030.0]


def test_limits_lie_two_sds_around_the_mean_difference() -> None:
    found = bland_altman(TRUTH, PREDICTED)
    assert found
    # Squares about the mean of 10: 400 + 100 + 100 + 400 = 1000, over 3.
    assert found.mean == 10
    assert found.sd == pytest.approx(math.sqrt(1000 / 3))
    assert found.low == pytest.approx(10 - 1.96 * 18.257419)
    assert found.high == pytest.approx(10 + 1.96 * 18.257419)
    assert found.cases == 4


def test_bland_and_altmans_own_example_of_peak_flow() -> None:
    # Wright's large meter and the small one, L/min, 17 people (table 1 of the paper).
    # The paper gives a mean of -2.1 and an SD of 38.8.
    large = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    small = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = bland_altman(small, large)
    assert found
    assert round(found.mean, 1) == -2.1
    assert round(found.sd, 1) == 38.8
    assert (round(found.low, 1), round(found.high, 1)) == (-78.1, 73.9)


def test_measuring_the_other_way_round_turns_the_signs() -> None:
    there, back = bland_altman(TRUTH, PREDICTED), bland_altman(PREDICTED, TRUTH)
    assert there
    assert back == Agreement(-there.mean, there.sd, -there.high, -there.low, there.cases)


def test_a_constant_error_is_bias_alone() -> None:
    assert bland_altman([1.0, 2.0, 4.0], [3.0, 4.0, 6.0]) == Agreement(2, 0, 2, 2, 3)


def test_the_sd_is_that_of_a_sample() -> None:
    found = bland_altman([0.0, 0.0], [1.0, 3.0])
    assert found
    assert found.sd == pytest.approx(statistics.stdev([1, 3]))


@pytest.mark.parametrize("undefined", [math.nan, math.inf])
def test_pairs_that_are_not_whole_do_not_count(undefined: float) -> None:
    whole = bland_altman(TRUTH, PREDICTED)
    assert bland_altman([*TRUTH, 1.0], [*PREDICTED, undefined]) == whole
    assert bland_altman([undefined, *TRUTH], [undefined, *PREDICTED]) == whole


@pytest.mark.parametrize("count", [0, 1])
def test_below_two_cases_there_is_no_spread(count: int) -> None:
    assert bland_altman(TRUTH[:count], PREDICTED[:count]) is None


def test_cases_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="must be of the same cases, got 4 and 3"):
        bland_altman(TRUTH, PREDICTED[:3])
