"""Lesions, counted one by one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.evaluation.lesions import Lesions, count_lesions

pairs = arrays(bool, (2, 3, 2, 4))


def line(text: str) -> np.ndarray:
    """A mask of one row; # is in it."""
    return np.array([[[letter == "#" for letter in text]]])


def pieces(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Connected pieces, by following neighbours from voxel to voxel."""
    left = {tuple(map(int, place)) for place in np.argwhere(mask)}
    found = []
    while left:
        piece, edge = set(), [left.pop()]
        while edge:
            x, y, z = edge.pop()
            piece.add((x, y, z))
            near = {
                (x + i, y + j, z + k) for i, j, k in itertools.product((-1, 0, 1), repeat=3)
            } & left
            left -= near
            edge += near
        found.append(piece)
    return found


def brute_count(
    truth: np.ndarray, predicted: np.ndarray, smallest: int, overlap: float
) -> tuple[int, int, int, int]:
    true, found = (
        [piece for piece in pieces(mask) if len(piece) >= smallest] for mask in (truth, predicted)
    )
    in_true, in_found = set().union(*true), set().union(*found)
    return (
        len(true),
        len(found),
        sum(len(piece & in_found) > overlap * len(piece) for piece in true),
        sum(len(piece & in_true) > overlap * len(piece) for piece in found),
    )


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 4), st.sampled_from([0.0, 0.25, 0.5]))
def test_counts_agree_with_pieces_followed_voxel_by_voxel(
    masks: np.ndarray, smallest: int, overlap: float
) -> None:
    counted = count_lesions(*masks, voxel_ml=0.001, smallest_ml=smallest * 0.001, overlap=overlap)
    assert counted == Lesions(*brute_count(*masks, smallest, overlap))


def test_one_found_one_missed_one_made_up() -> None:
    truth, predicted = line(".##..##...."), line("..##.....##")
    assert count_lesions(truth, predicted, voxel_ml=1) == Lesions(2, 2, 1, 1)


def test_two_lesions_merged_are_both_found_by_one_true_prediction() -> None:
    counted = count_lesions(line(".##..##."), line(".######."), voxel_ml=1)
    assert counted == Lesions(truth=2, predicted=1, found=2, true=1)
    assert (counted.sensitivity, counted.precision, counted.f1) == (1, 1, 1)


def test_a_lesion_in_two_parts_is_found_once_by_two_true_predictions() -> None:
    counted = count_lesions(line(".######."), line(".##..##."), voxel_ml=1)
    assert counted == Lesions(truth=1, predicted=2, found=1, true=2)


def test_voxels_that_share_a_corner_are_of_one_lesion() -> None:
    diagonal = np.zeros((2, 2, 2), bool)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = True
    assert count_lesions(diagonal, diagonal, voxel_ml=1) == Lesions(1, 1, 1, 1)


def test_touching_is_not_overlapping() -> None:
    assert count_lesions(line(".##.."), line("...##"), voxel_ml=1) == Lesions(1, 1, 0, 0)


@pytest.mark.parametrize(("overlap", "found"), [(0.0, 1), (0.24, 1), (0.25, 0), (0.5, 0)])
def test_a_lesion_is_found_if_more_than_the_share_is_overlapped(overlap: float, found: int) -> None:
    """A quarter of the lesion is overlapped, and all of the prediction."""
    counted = count_lesions(line("####"), line("#..."), voxel_ml=1, overlap=overlap)
    assert counted == Lesions(1, 1, found, 1)


def test_small_pieces_are_dropped_from_both_sides_before_overlaps() -> None:
    truth, predicted = line("#..###...#"), line(".##.#..###")
    counted = count_lesions(truth, predicted, voxel_ml=0.5, smallest_ml=1.0)
    assert counted == Lesions(truth=1, predicted=2, found=0, true=0)


def test_a_piece_of_the_smallest_volume_stays_although_the_division_rounds() -> None:
    block = np.ones((3, 3, 3), bool)
    assert count_lesions(block, block, voxel_ml=0.0007, smallest_ml=0.0189).truth == 1
    assert count_lesions(block, block, voxel_ml=0.0007, smallest_ml=0.01891).truth == 0


@pytest.mark.parametrize(
    ("truth", "predicted", "sensitivity", "precision", "f1"),
    [
        ("....", "....", math.nan, math.nan, math.nan),
        ("....", "##..", math.nan, 0, 0),
        ("##..", "....", 0, math.nan, 0),
        ("#...", "..#.", 0, 0, 0),
    ],
)
def test_figures_where_there_is_nothing(
    truth: str, predicted: str, sensitivity: float, precision: float, f1: float
) -> None:
    counted = count_lesions(line(truth), line(predicted), voxel_ml=1)
    figures = [counted.sensitivity, counted.precision, counted.f1]
    assert figures == pytest.approx([sensitivity, precision, f1], nan_ok=True)


def test_f1_is_the_harmonic_mean() -> None:
    counted = Lesions(truth=4, predicted=5, found=2, true=4)
    assert (counted.sensitivity, counted.precision) == (0.5, 0.8)
    assert counted.f1 == pytest.approx(2 / (1 / 0.5 + 1 / 0.8))


def test_counts_of_scans_add_up() -> None:
    assert Lesions(1, 2, 3, 4) + Lesions(10, 20, 30, 40) == Lesions(11, 22, 33, 44)
    assert sum([Lesions(1, 1, 1, 1)] * 3, Lesions()) == Lesions(3, 3, 3, 3)


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"three axes, got \(1, 1, 3\) and \(1, 1, 4\)"):
        count_lesions(line("..."), line("...."), voxel_ml=1)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_a_share_beyond_what_can_be_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match=f"`overlap` must be 0 or more and below 1, got {overlap}"):
        count_lesions(line("#"), line("#"), voxel_ml=1, overlap=overlap)
