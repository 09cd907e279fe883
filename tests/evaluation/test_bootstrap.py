"""Bootstrap intervals of means over cases, drawn by patient."""

import math

import numpy as np
import pytest
from scipy import stats

from thorax.evaluation.bootstrap import Interval, Method, bootstrap_mean

VALUES = [0.62, 0.81, 0.77, 0.9, 0.84, 0.71, 0.88, 0.79]
WARDS = ["ann", "ann", "ann", "ben", "ben", "cleo", "dora", "emil"]
METHODS: tuple[Method, ...] = ("bca", "percentile")


def limits(
    values: list[float], patients: list[str] | None = None, **options: object
) -> tuple[float, float]:
    interval = bootstrap_mean(values, patients, **options)  # type: ignore[arg-type]
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


# Several cases of a patient


@pytest.mark.parametrize("method", METHODS)
def test_with_a_case_each_the_interval_is_scipys_of_a_mean_to_the_last_bit(method: Method) -> None:
    low, high = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=9999, method=method, rng=np.random.default_rng(0)
    ).confidence_interval
    assert limits(VALUES, method=method) == (low, high)
    assert limits(VALUES, [*"hgfedcba"], method=method) == (low, high)


@pytest.mark.parametrize("method", METHODS)
def test_a_patient_is_drawn_with_all_of_its_cases(method: Method) -> None:
    """Written down with a loop, for scipy to draw places in a list of patients.

    All values are eighths, so that sums are exact in whatever order they are added up.
    """
    values = [0.25, 0.5, 0.375, 1.0, 0.875, 0.625, 0.125, 0.75]
    groups = [values[:3], values[3:5], values[5:6], values[6:7], values[7:]]

    def mean_of(places: object) -> float:
        drawn = [value for place in np.array(places) for value in groups[int(place)]]
        return sum(drawn) / len(drawn)

    low, high = stats.bootstrap(
        (range(5),),
        mean_of,
        vectorized=False,
        n_resamples=999,
        method=method,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert limits(values, WARDS, method=method, resamples=999) == pytest.approx((low, high))


def test_scans_that_were_only_repeated_tell_nothing_new() -> None:
    """Each scan three times: as cases of their own the interval would be narrower by √3."""
    names = [str(number) for number in range(8)]
    assert limits(VALUES * 3, names * 3) == pytest.approx(limits(VALUES))
    (low, high), (narrow_low, narrow_high) = limits(VALUES), limits(VALUES * 3)
    assert (high - low) / (narrow_high - narrow_low) == pytest.approx(math.sqrt(3), rel=0.1)


def test_three_patients_are_too_few_however_many_cases_they_have() -> None:
    values = [float(number) for number in range(12)]
    assert bootstrap_mean(values, [*"abcabcabcabc"]) is None
    assert bootstrap_mean(values, [*"abcdabcdabcd"])


@pytest.mark.parametrize("method", METHODS)
def test_patients_who_are_alike_have_an_interval_of_no_width(method: Method) -> None:
    """Each has a case of 0.1 and one of 0.3, which are 0.2 on average."""
    found = bootstrap_mean([0.1, 0.3] * 5, [*"aabbccddee"], method=method)
    assert found
    assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.2))
    assert found.method == "percentile"


def test_a_patient_whose_cases_are_undefined_is_not_drawn() -> None:
    assert bootstrap_mean([math.nan, *VALUES], ["zoe", *WARDS]) == bootstrap_mean(VALUES, WARDS)


def test_each_value_needs_its_patient() -> None:
    with pytest.raises(ValueError, match="shorter"):
        bootstrap_mean(VALUES, WARDS[:3])
