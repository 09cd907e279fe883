"""Overlap counts, and metrics of empty masks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import distance

from thorax.imaging.overlap import Overlap, overlap

pairs = arrays(bool, (2, 4, 3, 3))

TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
PREDICTED = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 0]])


def test_counts_of_two_masks() -> None:
    assert overlap(TRUTH, PREDICTED) == Overlap(both=1, truth=4, predicted=5)


def test_dice_and_iou_of_two_masks() -> None:
    counts = overlap(TRUTH, PREDICTED)
    assert counts.dice == pytest.approx(2 / 9)
    assert counts.iou == pytest.approx(1 / 8)


def test_sensitivity_and_precision_of_two_masks() -> None:
    counts = overlap(TRUTH, PREDICTED)
    assert counts.sensitivity == pytest.approx(1 / 4)
    assert counts.precision == pytest.approx(1 / 5)


def test_sensitivity_of_an_empty_truth_and_precision_of_an_empty_prediction_are_undefined() -> None:
    assert math.isnan(Overlap(0, 0, 5).sensitivity)
    assert math.isnan(Overlap(0, 4, 0).precision)


@given(pairs)
def test_dice_and_iou_agree_with_the_distances_of_scipy(masks: np.ndarray) -> None:
    truth, predicted = masks
    truth.flat[0] = True
    counts = overlap(truth, predicted)
    assert counts.dice == pytest.approx(1 - distance.dice(truth.ravel(), predicted.ravel()))
    assert counts.iou == pytest.approx(1 - distance.jaccard(truth.ravel(), predicted.ravel()))


@given(pairs, st.integers(0, 4))
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(masks: np.ndarray, cut: int) -> None:
    truth, predicted = masks
    lower, upper = overlap(truth[:cut], predicted[:cut]), overlap(truth[cut:], predicted[cut:])
    assert lower + upper == overlap(truth, predicted)


def test_adding_empty_counts_changes_nothing() -> None:
    assert Overlap() + Overlap(1, 2, 3) == Overlap(1, 2, 3)


@pytest.mark.parametrize("score", ["dice", "iou"])
def test_two_empty_masks_are_undefined(score: str) -> None:
    empty = np.zeros((4, 4), bool)
    assert math.isnan(getattr(overlap(empty, empty), score))


@pytest.mark.parametrize("score", ["dice", "iou"])
def test_one_empty_mask_gives_0(score: str) -> None:
    empty = np.zeros((4, 4), bool)
    assert getattr(overlap(TRUTH, empty), score) == 0
    assert getattr(overlap(empty, PREDICTED), score) == 0


@pytest.mark.parametrize("score", ["dice", "iou"])
def test_equal_masks_give_1(score: str) -> None:
    assert getattr(overlap(TRUTH, TRUTH), score) == 1


def test_every_label_above_0_belongs_to_the_mask() -> None:
    assert overlap(np.array([0, 2, 255]), np.array([0.0, 0.5, 0.0])) == Overlap(1, 2, 1)


def test_masks_of_different_shapes_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(4, 4\) and \(4,\)"):
        overlap(TRUTH, PREDICTED[0])
