"""Reliability of probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.evaluation.calibration import ReliabilityCounts, count_reliability

TOP = 20
levels_of = arrays(np.uint8, (3, 4), elements=st.integers(0, TOP))
truths = arrays(bool, (3, 4))


@given(levels_of, truths, st.integers(1, 25))
def test_figures_agree_with_sums_over_voxels(
    levels: np.ndarray, truth: np.ndarray, bins: int
) -> None:
    counts = count_reliability(levels, truth, top=TOP)
    kept = [
        (int(level), bool(inside))
        for level, inside in zip(levels.ravel(), truth.ravel(), strict=True)
        if level or inside
    ]
    rows = counts.curve(bins)
    assert counts.voxels == len(kept) == sum(row["voxels"] for row in rows)
    if kept:
        squares = [(level / TOP - inside) ** 2 for level, inside in kept]
        assert counts.brier == pytest.approx(sum(squares) / len(kept))
    for place, row in enumerate(rows):
        # A level is in the bin of its lower bound; level TOP is in the last.
        held = [each for each in kept if min(each[0] * bins // TOP, bins - 1) == place]
        means = [sum(each) / len(held) if held else math.nan for each in zip(*held, strict=True)]
        means = means or [math.nan, math.nan]
        assert row["voxels"] == len(held)
        assert row["mean_probability"] == pytest.approx(means[0] / TOP, nan_ok=True)
        assert row["observed"] == pytest.approx(means[1], nan_ok=True)


@given(levels_of, truths, st.integers(0, 3))
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(
    levels: np.ndarray, truth: np.ndarray, cut: int
) -> None:
    parts = [
        count_reliability(levels[part], truth[part], TOP) for part in (slice(cut), slice(cut, None))
    ]
    added = sum(parts, ReliabilityCounts.none(TOP))
    whole = count_reliability(levels, truth, TOP)
    assert added.inside.tolist() == whole.inside.tolist()
    assert added.outside.tolist() == whole.outside.tolist()


def test_curve_of_ten_voxels() -> None:
    """Four at 0.2, of which one is true; five at 0.8, of which four are; one true at 1."""
    levels = np.array([2] * 4 + [8] * 5 + [10], np.uint8)
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 1, 0, 1], bool)
    counts = count_reliability(levels, truth, top=10)
    low, high = counts.curve(bins=2)
    assert low == {
        "low": 0.0,
        "high": 0.5,
        "mean_probability": pytest.approx(0.2),
        "observed": 0.25,
        "voxels": 4,
    }
    assert high["mean_probability"] == pytest.approx((5 * 0.8 + 1) / 6)
    assert high["observed"] == pytest.approx(5 / 6)
    # Bins of a tenth: |0.25 - 0.2| for four, |0.8 - 0.8| for five, |1 - 1| for one.
    assert counts.expected_error == pytest.approx(0.4 * 0.05)
    assert counts.brier == pytest.approx((0.64 + 3 * 0.04 + 4 * 0.04 + 0.64 + 0) / 10)


def test_level_0_outside_the_truth_is_left_out_and_inside_it_is_not() -> None:
    counts = count_reliability(np.zeros(4, np.uint8), np.array([0, 0, 0, 1], bool))
    assert counts.voxels == 1
    assert counts.brier == 1
    assert counts.expected_error == 1


def test_probabilities_that_are_right_have_no_error() -> None:
    counts = count_reliability(np.array([0, 255], np.uint8), np.array([0, 1], bool))
    assert (counts.brier, counts.expected_error) == (0, 0)


def test_sixteen_bits() -> None:
    counts = count_reliability(
        np.array([65535, 32768], np.uint16), np.array([1, 0], bool), top=65535
    )
    assert counts.brier == pytest.approx((32768 / 65535) ** 2 / 2)


def test_bounds_of_ten_bins() -> None:
    rows = ReliabilityCounts.none().curve()
    assert [row["low"] for row in rows] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert rows[-1]["high"] == 1


def test_nothing_counted_is_undefined() -> None:
    nothing = count_reliability(np.zeros((2, 2), np.uint8), np.zeros((2, 2), bool))
    assert nothing.voxels == 0
    assert math.isnan(nothing.brier)
    assert math.isnan(nothing.expected_error)
    assert all(math.isnan(row["observed"]) and row["voxels"] == 0 for row in nothing.curve())


@pytest.mark.parametrize(
    ("levels", "top", "message"),
    [
        (np.zeros((2, 3), np.uint8), 255, r"one shape, got \(2, 3\) and \(2, 2\)"),
        (np.zeros((2, 2), np.float32), 255, "whole numbers, got float32"),
        (np.full((2, 2), 101, np.uint8), 100, "levels must be 0 to 100, got 101"),
        (np.full((2, 2), -1, np.int8), 100, "levels must be 0 to 100, got -1"),
    ],
)
def test_levels_that_do_not_fit_are_refused(levels: np.ndarray, top: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_reliability(levels, np.ones((2, 2), bool), top)


def test_counts_of_different_levels_are_not_added() -> None:
    with pytest.raises(ValueError, match="one number of levels, got 256 and 101"):
        ReliabilityCounts.none() + ReliabilityCounts.none(100)


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
        ReliabilityCounts.none().curve(0)
