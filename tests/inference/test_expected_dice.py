"""The expected Dice of a mask without a reference."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from thorax.common.errors import InputError
from thorax.inference.expected_dice import fit_expected_dice
from thorax.models.spec import ExpectedDiceModel


def test_a_fit_of_three_cases() -> None:
    """Differences of 0.02, 0.04 and 0.06 have a mean of 0.04 and an SD of 0.02.

    Student's t with two degrees of freedom is 2.920 at 0.95 (tables).
    """
    width = 2.920 * 0.02 * math.sqrt(4 / 3)
    fit = fit_expected_dice([(0.80, 0.82), (0.84, 0.88), (0.88, 0.94)])
    assert fit is not None
    assert (fit.cases, fit.bias) == (3, 0.04)
    assert fit.half_width == pytest.approx(width, abs=1e-4)
    assert fit.least_certainty == 0.80  # more than 0.84 - 2 * width


@pytest.mark.parametrize(
    "cases",
    [[], [(0.9, 0.95)] * 2, [(0.9, 0.95)] * 2 + [(math.nan, 0.9), (0.9, math.nan)]],
    ids=["none", "two", "two without NaN"],
)
def test_too_few_cases_give_no_fit(cases: list[tuple[float, float]]) -> None:
    assert fit_expected_dice(cases) is None


def test_nine_of_ten_further_cases_are_within_the_interval() -> None:
    """Coverage of the interval over many draws of six cases and a seventh."""
    draws = np.random.default_rng(0).normal(0.05, 0.02, (2000, 7))
    within = 0
    for *cases, further in draws.tolist():
        fit = fit_expected_dice((0.8, 0.8 + bias) for bias in cases)
        assert fit is not None
        expected = fit.dice(0.8)
        within += expected.low <= 0.8 + further <= expected.high
    assert within / len(draws) == pytest.approx(0.9, abs=3 * math.sqrt(0.9 * 0.1 / len(draws)))


def test_the_fit_of_many_cases_approaches_the_normal_distribution() -> None:
    biases = np.linspace(-0.05, 0.05, 1001)
    fit = fit_expected_dice((0.5, 0.5 + bias) for bias in biases.tolist())
    assert fit is not None
    assert fit.half_width == pytest.approx(norm.ppf(0.95) * biases.std(ddof=1), rel=0.01)


def test_least_certainty_is_a_limit_that_few_cases_fall_below() -> None:
    """A single outlier at 0.5 does not lower the limit to 0.5: it is 0.6168."""
    fit = fit_expected_dice([(0.9, 0.95)] * 9 + [(0.5, 0.55)])
    assert fit is not None
    assert fit.least_certainty == pytest.approx(0.86 - 1.833 * 0.12649 * math.sqrt(1.1), abs=1e-4)


@pytest.mark.parametrize("case", [(0.9, 95.0), (-0.1, 0.5)], ids=["percent", "negative"])
def test_values_outside_0_to_1_are_rejected(case: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="certainty and Dice must be between 0 and 1, got"):
        fit_expected_dice([case] * 3)


def test_the_expected_dice_is_between_0_and_1() -> None:
    expected = ExpectedDiceModel(3, bias=0.1, half_width=0.2, least_certainty=0.5).dice(0.98)
    assert (expected.dice, expected.low, expected.high) == (1.0, 0.88, 1.0)
    assert str(expected) == "1.00 (0.88 to 1.00)"


def test_many_cases_give_a_slope() -> None:
    """Dice is 2 x certainty - 1 on 25 cases; one outlier does not tilt the line."""
    line = [(0.80 + 0.005 * n, 0.60 + 0.01 * n) for n in range(25)]
    fit = fit_expected_dice([*line, (0.99, 0.10)])
    assert fit is not None
    assert fit.slope == pytest.approx(2.0, abs=0.02)
    assert fit.dice(0.90).dice == pytest.approx(0.80, abs=0.01)
    assert str(fit).startswith("2.00 × certainty -1.0")


def test_nine_of_ten_poor_cases_are_below_the_limit_of_many_cases() -> None:
    """Ten cases are 0.08 below the median, with certainties of 0.70 to 0.79."""
    good = [(0.95, 0.98)] * 30
    poor = [(0.70 + 0.01 * n, 0.90) for n in range(10)]
    fit = fit_expected_dice(good + poor)
    assert fit is not None
    assert fit.least_certainty == 0.78


def test_equal_certainties_have_no_slope() -> None:
    fit = fit_expected_dice([(0.9, 0.92), (0.9, 0.94)] * 15)
    assert fit is not None
    assert (fit.slope, fit.bias) == (1.0, 0.03)


def test_a_steep_line() -> None:
    """Dice is 3 x certainty - 1.95, from 0.45 to 0.81: the line is far below 0 at certainty 0."""
    line = [(0.80 + 0.005 * n, 0.45 + 0.015 * n) for n in range(25)]
    fit = fit_expected_dice(line)
    assert fit is not None
    assert (fit.slope, fit.bias) == pytest.approx((3.0, -1.95), abs=1e-3)
    assert fit.dice(0.90).dice == pytest.approx(0.75, abs=1e-3)
