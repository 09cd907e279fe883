"""Bootstrap intervals of means over patients."""

import math

import numpy as np
import pytest
from scipy import stats

from thorax.intervals import Interval, Method, bootstrap_mean

VALUES = [0.62, 0.81, 0.77, 0.9, 0.84, 0.71, 0.88, 0.79]
METHODS: tuple[Method, ...] = ("bca", "percentile")


def limits(values: list[float], **options: object) -> tuple[float, float]:
    interval = bootstrap_mean(values, **options)  # type: ignore[arg-type]
    assert interval
    return interval.low, interval.high


def test_limits_are_those_of_all_samples_that_could_be_drawn() -> None:
    # 4^4 samples, each as likely as another: enough to write them all down.
    values = [1.0, 2.0, 3.0, 10.0]
    every = np.array(np.meshgrid(*[values] * 4)).reshape(4, -1).mean(axis=0)
    assert limits(values, method="percentile") == pytest.approx(
        np.quantile(every, [0.025, 0.975]), abs=0.26
    )


def test_skewed_values_have_a_skewed_bca_interval() -> None:
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 9.0]
    (low, high), (plain_low, plain_high) = (limits(values, method=method) for method in METHODS)
    assert low > plain_low
    assert high > plain_high


def test_many_normal_values_have_the_interval_of_the_t_distribution() -> None:
    values = np.random.default_rng(4).normal(5, 2, 400)
    textbook = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert limits([*values]) == pytest.approx(textbook, abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_an_interval_moves_and_grows_with_its_values(method: Method) -> None:
    low, high = limits(VALUES, method=method)
    moved = limits([value + 3 for value in VALUES], method=method)
    grown = limits([value * 10 for value in VALUES], method=method)
    assert moved == pytest.approx((low + 3, high + 3))
    assert grown == pytest.approx((low * 10, high * 10))


def test_more_confidence_takes_a_wider_interval() -> None:
    (low, high), (wide_low, wide_high) = limits(VALUES), limits(VALUES, confidence=0.99)
    assert wide_low < low < high < wide_high


def test_a_seed_draws_the_same_again_and_another_seed_does_not() -> None:
    assert bootstrap_mean(VALUES, seed=7) == bootstrap_mean(VALUES, seed=7)
    assert limits(VALUES, seed=7, resamples=99) != limits(VALUES, seed=8, resamples=99)


def test_undefined_and_infinite_values_do_not_count() -> None:
    assert bootstrap_mean([math.nan, *VALUES, math.inf, -math.inf]) == bootstrap_mean(VALUES)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.1, 0.7])
def test_equal_values_have_an_interval_of_no_width(value: float, method: Method) -> None:
    assert bootstrap_mean([value] * 6, method=method) == Interval(value, value, "percentile")


@pytest.mark.parametrize(
    ("count", "confidence"),
    [
        (0, 0.95),
        (1, 0.95),
        (2, 0.95),
        (3, 0.95),  # 1 in 27 is more than 2.5 %
        (4, 0.995),  # 1 in 256 is more than 0.25 %
    ],
)
def test_too_few_values_have_no_interval(count: int, confidence: float) -> None:
    values = [float(number) for number in range(count)]
    assert bootstrap_mean(values, confidence=confidence) is None


@pytest.mark.parametrize(("count", "confidence"), [(3, 0.9), (4, 0.95), (5, 0.995)])
def test_one_value_more_is_enough(count: int, confidence: float) -> None:
    values = [float(number) for number in range(count)]
    low, high = limits(values, confidence=confidence)
    assert 0 <= low < sum(values) / count < high <= count - 1


@pytest.mark.parametrize("method", METHODS)
def test_an_interval_says_how_it_was_made(method: Method) -> None:
    interval = bootstrap_mean(VALUES, method=method)
    assert interval
    assert interval.method == method
