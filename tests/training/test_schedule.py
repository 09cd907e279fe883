"""Learning rates at single steps, computed by hand."""

import math
from collections.abc import Sequence

import pytest

from thorax.training.schedule import (
    LearningRate,
    epochs_of,
    is_best,
    plateau_halvings,
    should_stop_early,
)

from ..settings import train_params

STEPS = 100
BASELINE = {"epoch": 0, "dice": 0.99}


def rows(dice: Sequence[float | None]) -> list[dict[str, float]]:
    """Return one row per epoch; None: an epoch without validation."""
    return [
        {"epoch": epoch} | ({} if value is None else {"dice": value})
        for epoch, value in enumerate(dice, start=1)
    ]


def rate(step: int, **changes: object) -> float:
    """Return the rate at a step of 100; by default it rises to 1 in 10 steps."""
    params = train_params(**{"learning_rate": 1.0, "warm_up": 0.1} | changes)
    return float(LearningRate(params, steps=STEPS)(step))


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "constant", "plateau"])
def test_the_rate_rises_linearly(schedule: str) -> None:
    assert [rate(step, schedule=schedule) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [
        pytest.param("cosine", 0.5, 0.0, id="half a cosine"),
        pytest.param("polynomial", 0.5**0.9, 0.0, id="(1 - 45/90)^0.9"),
        pytest.param("constant", 1.0, 1.0, id="constant"),
        pytest.param("plateau", 1.0, 1.0, id="falls with the validation Dice only"),
    ],
)
def test_the_rate_falls_by_its_schedule(schedule: str, middle: float, end: float) -> None:
    """From step 10 to 100; the middle of that is 55."""
    assert rate(55, schedule=schedule) == pytest.approx(middle)
    assert rate(STEPS, schedule=schedule) == pytest.approx(end, abs=1e-6)


def test_one_cycle_rises_on_a_cosine_over_at_least_three_tenths() -> None:
    """Step 14 is the 15th of 30: half way up. Down from 30 to 100: 65 is half way."""
    rates = [rate(step, schedule="one_cycle") for step in (14, 29, 65, 100)]
    assert rates == pytest.approx([0.5, 1.0, 0.5, 0.0], abs=1e-6)
    longer = rate(29, schedule="one_cycle", warm_up=0.6)
    assert longer == pytest.approx(0.5), "the 30th of 60 steps"


def test_without_warm_up_the_first_step_has_the_highest_rate() -> None:
    assert rate(0, warm_up=0.0) == 1.0


def test_the_maximum_is_the_learning_rate() -> None:
    assert max(rate(step, learning_rate=0.25) for step in range(STEPS)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("dice", "patience", "expected"),
    [
        pytest.param([], 2, 0, id="no epoch"),
        pytest.param([0.1, 0.2, 0.3], 1, 0, id="always better"),
        pytest.param([0.5, 0.5], 1, 1, id="equal is not better"),
        pytest.param([0.5, 0.4, 0.4, 0.4, 0.4], 2, 2, id="twice two epochs"),
        pytest.param([0.5, 0.4, 0.6, 0.4, 0.4], 2, 1, id="a better epoch restarts the count"),
        pytest.param([0.5, math.nan, math.nan], 2, 1, id="undefined is not better"),
    ],
)
def test_the_plateau_is_counted_from_the_history(
    dice: list[float], patience: int, expected: int
) -> None:
    assert plateau_halvings(rows(dice), patience=patience) == expected


@pytest.mark.parametrize(
    ("dice", "patience", "expected"),
    [
        pytest.param([0.9, 0.1, 0.1], 0, False, id="0 never stops"),
        pytest.param([0.9, 0.1], 2, False, id="one epoch without improvement"),
        pytest.param([0.9, 0.1, 0.1], 2, True, id="two epochs without improvement"),
        pytest.param([0.9, 0.1, 0.9], 2, True, id="equal is not better"),
        pytest.param([0.1, 0.2, 0.3], 2, False, id="always better"),
        pytest.param([math.nan, 0.0, math.nan], 2, False, id="0 is better than undefined"),
        pytest.param([math.nan] * 3, 2, True, id="always undefined"),
    ],
)
def test_early_stopping_after_epochs_without_improvement(
    dice: list[float], patience: int, expected: bool
) -> None:
    assert should_stop_early(rows(dice), patience=patience) is expected


# Epochs without validation, None below, and epoch 0


@pytest.mark.parametrize(
    ("dice", "patience", "expected"),
    [
        pytest.param([None, 0.5, None, 0.4], 2, 1, id="two epochs, one validation"),
        pytest.param([None, 0.5, None, 0.4, None], 2, 1, id="an epoch without validation"),
        pytest.param([None, 0.5, None, 0.4, None, 0.4], 3, 1, id="at the second validation"),
        pytest.param([None, 0.5, None, 0.4, None, 0.6], 3, 0, id="better in time"),
        pytest.param([None, None], 1, 0, id="never validated"),
    ],
)
def test_the_plateau_counts_epochs_at_validations(
    dice: list[float | None], patience: int, expected: int
) -> None:
    assert plateau_halvings(rows(dice), patience=patience) == expected
    assert plateau_halvings([BASELINE, *rows(dice)], patience=patience) == expected


@pytest.mark.parametrize(
    ("dice", "patience", "expected"),
    [
        pytest.param([None, 0.5, None, 0.4], 2, True, id="two epochs, one validation"),
        pytest.param([None, 0.5, None, 0.4], 3, False, id="too early"),
        pytest.param([None, 0.5, None, 0.4, None], 3, False, id="only after a validation"),
        pytest.param([None, 0.5, None, 0.4, None, 0.5], 3, True, id="at the next validation"),
        pytest.param([None, 0.5, None, 0.6], 2, False, id="better"),
        pytest.param([None, math.nan, None, math.nan], 2, True, id="undefined"),
        pytest.param([None, None, None], 1, False, id="never validated"),
        pytest.param([0.1], 1, False, id="the first"),
    ],
)
def test_early_stopping_counts_epochs_at_validations(
    dice: list[float | None], patience: int, expected: bool
) -> None:
    assert should_stop_early(rows(dice), patience=patience) is expected
    assert should_stop_early([BASELINE, *rows(dice)], patience=patience) is expected


def test_the_initial_weights_alone_stop_nothing() -> None:
    assert not should_stop_early([BASELINE], patience=1)
    assert (epochs_of([BASELINE]), epochs_of([]), epochs_of([BASELINE, *rows([0.1])])) == (0, 0, 1)


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.5], True),
        ([0.5, None], False),
        ([0.5, None, 0.5], True),
        ([0.5, None, 0.4], False),
        ([None, 0.1], True),
    ],
)
def test_the_best_epoch_is_one_with_validation_and_not_epoch_0(
    dice: list[float | None], expected: bool
) -> None:
    *before, last = rows(dice)
    assert is_best(last, before) is expected
    assert is_best(last, [BASELINE, *before]) is expected
