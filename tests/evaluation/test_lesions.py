"""Lesion-wise detection."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.evaluation.lesions import Lesion, Lesions, list_lesions

pairs = arrays(bool, (2, 3, 2, 4))


def line(text: str) -> np.ndarray:
    """Return a mask of one row; # is inside."""
    return np.array([[[letter == "#" for letter in text]]])


def components(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Return connected components, by following neighbours from voxel to voxel."""
    left = {tuple(map(int, voxel)) for voxel in np.argwhere(mask)}
    complete = []
    while left:
        component, edge = set(), [left.pop()]
        while edge:
            x, y, z = edge.pop()
            component.add((x, y, z))
            near = {
                (x + i, y + j, z + k) for i, j, k in itertools.product((-1, 0, 1), repeat=3)
            } & left
            left -= near
            edge += near
        complete.append(component)
    return complete


def brute_count(
    truth: np.ndarray, predicted: np.ndarray, smallest: int, overlap: float
) -> tuple[int, int, int, int]:
    lesions, pieces = (
        [part for part in components(mask) if len(part) >= smallest] for mask in (truth, predicted)
    )
    in_truth, in_prediction = set().union(*lesions), set().union(*pieces)
    return (
        len(lesions),
        len(pieces),
        sum(len(part & in_prediction) > overlap * len(part) for part in lesions),
        sum(len(part & in_truth) > overlap * len(part) for part in pieces),
    )


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.5]))
def test_counts_agree_with_components_followed_voxel_by_voxel(
    masks: np.ndarray, smallest: int, overlap: float
) -> None:
    counted = Lesions.of(
        list_lesions(*masks, voxel_ml=0.001, smallest_ml=smallest * 0.001, overlap=overlap)
    )
    assert counted == Lesions(*brute_count(*masks, smallest, overlap))


def test_one_detected_one_missed_one_false_positive() -> None:
    truth, predicted = line(".##..##...."), line("..##.....##")
    assert Lesions.of(list_lesions(truth, predicted, voxel_ml=1)) == Lesions(2, 2, 1, 1)


def test_each_lesion_has_its_volume_and_the_share_that_is_overlapped() -> None:
    """The prediction covers a quarter of the first lesion, and half of it is true."""
    lesions = list_lesions(line("####..#.."), line("...##...#"), voxel_ml=0.5)
    assert lesions == [
        Lesion("truth", volume_ml=2.0, overlap=0.25, matched=True),
        Lesion("truth", volume_ml=0.5, overlap=0.0, matched=False),
        Lesion("predicted", volume_ml=1.0, overlap=0.5, matched=True),
        Lesion("predicted", volume_ml=0.5, overlap=0.0, matched=False),
    ]
    assert Lesions.of(lesions) == Lesions(truth=2, predicted=2, detected=1, true_positives=1)


def test_without_lesions_the_list_is_empty() -> None:
    assert list_lesions(line("..."), line("..."), voxel_ml=1) == []
    assert Lesions.of([]) == Lesions()


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_volumes_and_overlaps_add_up_to_the_masks(masks: np.ndarray) -> None:
    truth, predicted = masks
    lesions = list_lesions(truth, predicted, voxel_ml=0.5)
    for name, mask in (("truth", truth), ("predicted", predicted)):
        own = [lesion for lesion in lesions if lesion.mask == name]
        assert sum(lesion.volume_ml for lesion in own) == 0.5 * mask.sum()
        common = sum(lesion.volume_ml * lesion.overlap for lesion in own)
        assert common == pytest.approx(0.5 * (truth & predicted).sum())


def test_two_merged_lesions_are_detected_by_one_true_positive() -> None:
    counted = Lesions.of(list_lesions(line(".##..##."), line(".######."), voxel_ml=1))
    assert counted == Lesions(truth=2, predicted=1, detected=2, true_positives=1)
    assert (counted.sensitivity, counted.precision, counted.f1) == (1, 1, 1)


def test_a_lesion_predicted_in_two_parts_has_two_true_positives() -> None:
    counted = Lesions.of(list_lesions(line(".######."), line(".##..##."), voxel_ml=1))
    assert counted == Lesions(truth=1, predicted=2, detected=1, true_positives=2)


def test_voxels_that_share_a_corner_are_one_lesion() -> None:
    diagonal = np.zeros((2, 2, 2), bool)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = True
    assert Lesions.of(list_lesions(diagonal, diagonal, voxel_ml=1)) == Lesions(1, 1, 1, 1)


def test_adjacent_masks_do_not_overlap() -> None:
    assert Lesions.of(list_lesions(line(".##.."), line("...##"), voxel_ml=1)) == Lesions(1, 1, 0, 0)


@pytest.mark.parametrize(("overlap", "detected"), [(0.0, 1), (0.24, 1), (0.25, 0), (0.5, 0)])
def test_a_lesion_is_detected_if_more_than_the_share_overlaps(
    overlap: float, detected: int
) -> None:
    """A quarter of the lesion is overlapped, and all of the prediction."""
    counted = Lesions.of(list_lesions(line("####"), line("#..."), voxel_ml=1, overlap=overlap))
    assert counted == Lesions(1, 1, detected, 1)


def test_small_components_are_removed_from_both_masks_first() -> None:
    truth, predicted = line("#..###...#"), line(".##.#..###")
    counted = Lesions.of(list_lesions(truth, predicted, voxel_ml=0.5, smallest_ml=1.0))
    assert counted == Lesions(truth=1, predicted=2, detected=0, true_positives=0)


def test_a_component_of_the_smallest_volume_is_kept_despite_rounding() -> None:
    block = np.ones((3, 3, 3), bool)
    assert Lesions.of(list_lesions(block, block, voxel_ml=0.0007, smallest_ml=0.0189)).truth == 1
    assert Lesions.of(list_lesions(block, block, voxel_ml=0.0007, smallest_ml=0.01891)).truth == 0


@pytest.mark.parametrize(
    ("truth", "predicted", "sensitivity", "precision", "f1"),
    [
        ("....", "....", math.nan, math.nan, math.nan),
        ("....", "##..", math.nan, 0, 0),
        ("##..", "....", 0, math.nan, 0),
        ("#...", "..#.", 0, 0, 0),
    ],
)
def test_metrics_of_empty_masks_and_without_a_hit(
    truth: str, predicted: str, sensitivity: float, precision: float, f1: float
) -> None:
    counted = Lesions.of(list_lesions(line(truth), line(predicted), voxel_ml=1))
    metrics = [counted.sensitivity, counted.precision, counted.f1]
    assert metrics == pytest.approx([sensitivity, precision, f1], nan_ok=True)


def test_f1_is_the_harmonic_mean() -> None:
    counted = Lesions(truth=4, predicted=5, detected=2, true_positives=4)
    assert (counted.sensitivity, counted.precision) == (0.5, 0.8)
    assert counted.f1 == pytest.approx(2 / (1 / 0.5 + 1 / 0.8))


def test_counts_of_scans_can_be_added() -> None:
    assert Lesions(1, 2, 3, 4) + Lesions(10, 20, 30, 40) == Lesions(11, 22, 33, 44)
    assert sum([Lesions(1, 1, 1, 1)] * 3, Lesions()) == Lesions(3, 3, 3, 3)


def test_masks_of_different_shape_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"three axes, got \(1, 1, 3\) and \(1, 1, 4\)"):
        Lesions.of(list_lesions(line("..."), line("...."), voxel_ml=1))


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_outside_0_to_1_is_rejected(overlap: float) -> None:
    with pytest.raises(ValueError, match=f"`overlap` must be 0 or more and below 1, got {overlap}"):
        Lesions.of(list_lesions(line("#"), line("#"), voxel_ml=1, overlap=overlap))
