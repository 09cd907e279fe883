"""Detection of lesions by size."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.evaluation.lesion_sizes import SizeClass, size_classes, size_index, wilson_interval
from thorax.evaluation.lesions import Lesion


def test_lesions_are_counted_by_their_own_size() -> None:
    """A small detected lesion inside a large predicted component is counted in two classes."""
    lesions = [
        Lesion("truth", 0.05, 1.0, True),
        Lesion("truth", 0.09, 0.5, True),
        Lesion("truth", 0.02, 0.0, False),
        Lesion("predicted", 20.0, 0.01, True),
        Lesion("predicted", 0.05, 0.0, False),
    ]
    assert size_classes(lesions)[0] == SizeClass(
        "< 0.1", lesions=3, detected=2, median_overlap=0.5, predicted=1, false_positives=1
    )
    assert size_classes(lesions)[0].sensitivity == 2 / 3
    empty, largest, all_sizes = size_classes(lesions)[2:]
    assert (empty.lesions, empty.predicted) == (0, 0)
    assert math.isnan(empty.sensitivity)
    assert math.isnan(empty.median_overlap)
    assert (largest.lesions, largest.predicted, largest.false_positives) == (0, 1, 0)
    assert all_sizes == SizeClass(
        "all", lesions=3, detected=2, median_overlap=0.5, predicted=2, false_positives=1
    )


@pytest.mark.parametrize(
    ("volume_ml", "index"),
    [(0.001, 0), (0.0999, 0), (0.1, 1), (9 * (0.1 / 9), 1), (1.0, 2), (9.99, 2), (10.0, 3)],
)
def test_a_class_includes_its_lower_limit_despite_rounding(volume_ml: float, index: int) -> None:
    assert size_index(volume_ml) == index


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([1.2816, 1.95996, 2.5758]))
def test_the_interval_is_that_of_wilsons_formula(successes: int, trials: int, z: float) -> None:
    """The limits are the shares p at which |p̂ - p| is z standard errors √(p (1 - p) / n)."""
    successes = min(successes, trials)
    interval = wilson_interval(successes, trials, confidence=math.erf(z / math.sqrt(2)))
    assert interval is not None
    share = successes / trials
    for limit in interval:
        assert (share - limit) ** 2 == pytest.approx(z**2 * limit * (1 - limit) / trials, abs=1e-9)
    assert -1e-12 <= interval[0] <= share <= interval[1] <= 1 + 1e-12


def test_without_trials_there_is_no_interval() -> None:
    assert wilson_interval(0, 0) is None


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="`successes` must be 0 to `trials`, got 3 of 2"):
        wilson_interval(3, 2)
