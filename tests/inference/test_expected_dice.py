"""What Dice to expect of a mask without its truth."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from thorax.common.errors import InputError
from thorax.inference.expected_dice import fit_expected_dice
from thorax.models.spec import ExpectedDiceModel


def test_three_cases_by_hand() -> None:
    """Differences of 0.02, 0.04 and 0.06 have a mean of 0.04 and an SD of 0.02.

    Student's t of two degrees of freedom is 2.920 at 0.95, as tables have it.
    """
    width = 2.920 * 0.02 * math.sqrt(4 / 3)
    learnt = fit_expected_dice([(0.80, 0.82), (0.84, 0.88), (0.88, 0.94)])
    assert learnt is not None
    assert (learnt.cases, learnt.bias) == (3, 0.04)
    assert learnt.half_width == pytest.approx(width, abs=1e-4)
    assert learnt.least_certainty == 0.80  # more than 0.84 - 2 * width


@pytest.mark.parametrize(
    "cases",
    [[], [(0.9, 0.95)] * 2, [(0.9, 0.95)] * 2 + [(math.nan, 0.9), (0.9, math.nan)]],
    ids=["none", "two", "two that are whole"],
)
def test_too_few_cases_tell_nothing(cases: list[tuple[float, float]]) -> None:
    assert fit_expected_dice(cases) is None


def test_nine_of_ten_further_cases_fall_within() -> None:
    """The law that the interval is made for, over many draws of six cases and a seventh."""
    draws = np.random.default_rng(0).normal(0.05, 0.02, (2000, 7))
    within = 0
    for *known, further in draws.tolist():
        learnt = fit_expected_dice((0.8, 0.8 + shift) for shift in known)
        assert learnt is not None
        told = learnt.dice(0.8)
        within += told.low <= 0.8 + further <= told.high
    assert within / len(draws) == pytest.approx(0.9, abs=3 * math.sqrt(0.9 * 0.1 / len(draws)))


def test_many_cases_come_to_the_quantile_of_the_normal_distribution() -> None:
    shifts = np.linspace(-0.05, 0.05, 1001)
    learnt = fit_expected_dice((0.5, 0.5 + shift) for shift in shifts.tolist())
    assert learnt is not None
    assert learnt.half_width == pytest.approx(norm.ppf(0.95) * shifts.std(ddof=1), rel=0.01)


def test_who_is_less_sure_than_nearly_all_is_in_doubt() -> None:
    """One odd case among many does not lower the limit to where it lies: by hand 0.6168."""
    learnt = fit_expected_dice([(0.9, 0.95)] * 9 + [(0.5, 0.55)])
    assert learnt is not None
    assert learnt.least_certainty == pytest.approx(
        0.86 - 1.833 * 0.12649 * math.sqrt(1.1), abs=1e-4
    )


@pytest.mark.parametrize("case", [(0.9, 95.0), (-0.1, 0.5)], ids=["percent", "negative"])
def test_what_is_no_share_is_refused(case: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="certainty and Dice must lie between 0 and 1, got"):
        fit_expected_dice([case] * 3)


def test_a_dice_is_told_within_its_range() -> None:
    told = ExpectedDiceModel(3, bias=0.1, half_width=0.2, least_certainty=0.5).dice(0.98)
    assert (told.dice, told.low, told.high) == (1.0, 0.88, 1.0)
    assert str(told) == "1.00 (0.88 to 1.00)"
