"""What figures are for empty masks, by convention."""

import math
from itertools import product

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.evaluation import empty_masks as conventions
from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.lesions import count_lesions
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.overlap import overlap

NAMES = ("thorax", "nnunet", "surface-distance", "metrics-reloaded")
EMPTY = {"truth": (True, False), "predicted": (False, True), "both": (True, True)}
DIAGONAL = 512.0
VALUES = {"–": math.nan, "∞": math.inf, "D": DIAGONAL, "0": 0.0, "1": 1.0}
FIGURES = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "nsd",
    "hd95_mm",
    "mean_distance_mm",
    "lesion_sensitivity",
    "lesion_precision",
    "lesion_f1",
)


def documented() -> dict[tuple[str, str, str], tuple[float, float]]:
    """(convention, figure, what is empty) → shown and counted, from the table in the docstring."""
    lines = [line for line in (conventions.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(cells[0][1:]) == NAMES
    found = {}
    for figure, *entries in cells[1:]:
        for name, entry in zip(NAMES, entries, strict=True):
            for kind, text in zip(EMPTY, entry.split(" / "), strict=True):
                shown, _, counted = text.partition(" → ")
                found[name, figure, kind] = VALUES[shown], VALUES[counted or shown]
    return found


def applied(name: str, kind: str, figures: dict[str, float]) -> conventions.Applied:
    truth, predicted = EMPTY[kind]
    return find_convention(name).apply(
        figures, truth_empty=truth, predicted_empty=predicted, diagonal_mm=DIAGONAL
    )


@pytest.mark.parametrize(("name", "kind"), list(product(NAMES, EMPTY)))
def test_the_table_in_the_docstring_holds(name: str, kind: str) -> None:
    table = documented()
    row = applied(name, kind, dict.fromkeys(FIGURES, 0.123))
    for figure in FIGURES:
        found = row.shown[figure], row.counted[figure]
        assert found == pytest.approx(table[name, figure, kind], nan_ok=True), figure


def test_the_table_names_every_figure() -> None:
    assert {figure for _, figure, _ in documented()} == set(FIGURES)


@pytest.mark.parametrize("kind", EMPTY)
def test_the_rule_of_the_house_is_what_the_figures_are_by_themselves(kind: str) -> None:
    voxel, nothing = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    truth, predicted = (nothing if empty else voxel for empty in EMPTY[kind])
    counts, pieces = overlap(truth, predicted), count_lesions(truth, predicted, voxel_ml=1)
    distances = surface_distances(truth, predicted, (1, 1, 1))
    figures = {
        "dice": counts.dice,
        "iou": counts.iou,
        "sensitivity": counts.sensitivity,
        "precision": counts.precision,
        "nsd": distances.nsd(1),
        "hd95_mm": distances.hausdorff_mm(95),
        "mean_distance_mm": distances.mean_mm,
        "lesion_sensitivity": pieces.sensitivity,
        "lesion_precision": pieces.precision,
        "lesion_f1": pieces.f1,
    }
    assert applied("thorax", kind, figures).shown == pytest.approx(figures, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_figures_stay_where_no_mask_is_empty(name: str) -> None:
    figures = {"dice": 0.8, "hd95_mm": 3.0, "lesion_f1": math.nan}
    row = find_convention(name).apply(
        figures, truth_empty=False, predicted_empty=False, diagonal_mm=DIAGONAL
    )
    assert row.shown == pytest.approx(figures, nan_ok=True)
    assert row.counted == pytest.approx(figures, nan_ok=True)
    assert row.left_out == ()


def test_figures_that_are_not_named_stay_and_those_not_given_are_not_made_up() -> None:
    row = applied("metrics-reloaded", "both", {"truth_ml": 0.0, "dice": math.nan})
    assert row.shown == {"truth_ml": 0.0, "dice": 1.0}


def test_distances_left_out_of_means_are_named() -> None:
    figures = dict.fromkeys(FIGURES, 0.5)
    assert applied("thorax", "predicted", figures).left_out == ("hd95_mm", "mean_distance_mm")
    assert applied("thorax", "both", figures).left_out == ()
    assert applied("surface-distance", "predicted", figures).left_out == ()


def test_the_row_that_was_given_stays_as_it_was() -> None:
    figures = {"dice": 0.5}
    applied("nnunet", "truth", figures)
    assert figures == {"dice": 0.5}


def test_an_unknown_convention_is_refused() -> None:
    message = (
        "the convention for empty masks must be one of thorax, nnunet, surface-distance, "
        "metrics-reloaded, got 'monai'; see evaluate.convention in params.yaml"
    )
    with pytest.raises(InputError) as refused:
        find_convention("monai")
    assert str(refused.value) == message
