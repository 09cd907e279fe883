"""Bootstrap intervals of means over cases, resampled by patient."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from thorax.evaluation.bootstrap import Interval, Method, bootstrap_mean

VALUES = [0.62, 0.81, 0.77, 0.9, 0.84, 0.71, 0.88, 0.79]
PATIENTS = ["ann", "ann", "ann", "ben", "ben", "cleo", "dora", "emil"]
METHODS: tuple[Method, ...] = ("bca", "percentile")


def limits(
    values: list[float], patients: list[str] | None = None, **options: object
) -> tuple[float, float]:
    interval = bootstrap_mean(values, patients, **options)  # type: ignore[arg-type]
    assert interval
    return interval.low, interval.high


def test_limits_match_the_enumeration_of_all_resamples() -> None:
    # 4^4 equally likely resamples can be enumerated.
    values = [1.0, 2.0, 3.0, 10.0]
    samples = np.array(np.meshgrid(*[values] * 4)).reshape(4, -1).mean(axis=0)
    assert limits(values, method="percentile") == pytest.approx(
        np.quantile(samples, [0.025, 0.975]), abs=0.26
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
def test_an_interval_is_shifted_and_scaled_with_its_values(method: Method) -> None:
    low, high = limits(VALUES, method=method)
    shifted = limits([value + 3 for value in VALUES], method=method)
    scaled = limits([value * 10 for value in VALUES], method=method)
    assert shifted == pytest.approx((low + 3, high + 3))
    assert scaled == pytest.approx((low * 10, high * 10))


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_number_of_patients(method: Method) -> None:
    peaks = []
    for count in (200, 2000):
        values = np.linspace(0, 1, count).tolist()
        tracemalloc.start()
        limits(values, method=method)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0], "ten times as many patients"


def test_higher_confidence_gives_a_wider_interval() -> None:
    (low, high), (wide_low, wide_high) = limits(VALUES), limits(VALUES, confidence=0.99)
    assert wide_low < low < high < wide_high


def test_equal_seeds_give_equal_intervals_and_other_seeds_do_not() -> None:
    assert bootstrap_mean(VALUES, seed=7) == bootstrap_mean(VALUES, seed=7)
    assert limits(VALUES, seed=7, resamples=99) != limits(VALUES, seed=8, resamples=99)


def test_undefined_and_infinite_values_are_left_out() -> None:
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
def test_one_more_value_is_enough(count: int, confidence: float) -> None:
    values = [float(number) for number in range(count)]
    low, high = limits(values, confidence=confidence)
    assert 0 <= low < sum(values) / count < high <= count - 1


@pytest.mark.parametrize("method", METHODS)
def test_an_interval_names_its_method(method: Method) -> None:
    interval = bootstrap_mean(VALUES, method=method)
    assert interval
    assert interval.method == method


# Several cases per patient


@pytest.mark.parametrize("method", METHODS)
def test_with_one_case_per_patient_the_interval_equals_scipys_exactly(method: Method) -> None:
    low, high = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=9999, method=method, rng=np.random.default_rng(0)
    ).confidence_interval
    assert limits(VALUES, method=method) == (low, high)
    assert limits(VALUES, [*"hgfedcba"], method=method) == (low, high)


@pytest.mark.parametrize("method", METHODS)
def test_a_patient_is_resampled_with_all_cases(method: Method) -> None:
    """The reference resamples indices of patients with scipy and loops over their cases.

    All values are multiples of 1/8, so that sums are exact in every order.
    """
    values = [0.25, 0.5, 0.375, 1.0, 0.875, 0.625, 0.125, 0.75]
    groups = [values[:3], values[3:5], values[5:6], values[6:7], values[7:]]

    def mean_of(indices: object) -> float:
        values = [value for index in np.array(indices) for value in groups[int(index)]]
        return sum(values) / len(values)

    low, high = stats.bootstrap(
        (range(5),),
        mean_of,
        vectorized=False,
        n_resamples=999,
        method=method,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert limits(values, PATIENTS, method=method, resamples=999) == pytest.approx((low, high))


def test_repeated_scans_do_not_narrow_the_interval() -> None:
    """Each scan three times: as separate patients the interval would be narrower by √3."""
    names = [str(number) for number in range(8)]
    assert limits(VALUES * 3, names * 3) == pytest.approx(limits(VALUES))
    (low, high), (narrow_low, narrow_high) = limits(VALUES), limits(VALUES * 3)
    assert (high - low) / (narrow_high - narrow_low) == pytest.approx(math.sqrt(3), rel=0.1)


def test_three_patients_are_too_few_with_any_number_of_cases() -> None:
    values = [float(number) for number in range(12)]
    assert bootstrap_mean(values, [*"abcabcabcabc"]) is None
    assert bootstrap_mean(values, [*"abcdabcdabcd"])


@pytest.mark.parametrize("method", METHODS)
def test_patients_with_equal_means_have_an_interval_of_no_width(method: Method) -> None:
    """Each patient has a case of 0.1 and a case of 0.3, with mean 0.2."""
    interval = bootstrap_mean([0.1, 0.3] * 5, [*"aabbccddee"], method=method)
    assert interval
    assert (interval.low, interval.high) == (pytest.approx(0.2), pytest.approx(0.2))
    assert interval.method == "percentile"


def test_a_patient_with_only_undefined_cases_is_left_out() -> None:
    assert bootstrap_mean([math.nan, *VALUES], ["zoe", *PATIENTS]) == bootstrap_mean(
        VALUES, PATIENTS
    )


def test_every_value_needs_a_patient() -> None:
    with pytest.raises(ValueError, match="shorter"):
        bootstrap_mean(VALUES, PATIENTS[:3])
