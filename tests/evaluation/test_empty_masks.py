"""Values of metrics for empty masks, by convention."""

import math
from itertools import product

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.evaluation import empty_masks as conventions
from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.lesions import Lesions, list_lesions
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.overlap import overlap

NAMES = ("thorax", "nnunet", "surface-distance", "metrics-reloaded")
EMPTY = {"truth": (True, False), "predicted": (False, True), "both": (True, True)}
DIAGONAL = 512.0
VALUES = {"–": math.nan, "∞": math.inf, "D": DIAGONAL, "0": 0.0, "1": 1.0}
METRICS = (
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
    """(convention, metric, empty masks) → reported and averaged, from the docstring table."""
    lines = [line for line in (conventions.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(cells[0][1:]) == NAMES
    values = {}
    for metric, *entries in cells[1:]:
        for name, entry in zip(NAMES, entries, strict=True):
            for kind, text in zip(EMPTY, entry.split(" / "), strict=True):
                reported, _, averaged = text.partition(" → ")
                values[name, metric, kind] = VALUES[reported], VALUES[averaged or reported]
    return values


def applied(name: str, kind: str, metrics: dict[str, float]) -> conventions.AppliedMetrics:
    truth, predicted = EMPTY[kind]
    return find_convention(name).apply(
        metrics, truth_empty=truth, predicted_empty=predicted, diagonal_mm=DIAGONAL
    )


@pytest.mark.parametrize(("name", "kind"), list(product(NAMES, EMPTY)))
def test_the_table_in_the_docstring_holds(name: str, kind: str) -> None:
    table = documented()
    row = applied(name, kind, dict.fromkeys(METRICS, 0.123))
    for metric in METRICS:
        values = row.reported[metric], row.averaged[metric]
        assert values == pytest.approx(table[name, metric, kind], nan_ok=True), metric


def test_the_table_names_every_metric() -> None:
    assert {metric for _, metric, _ in documented()} == set(METRICS)


@pytest.mark.parametrize("kind", EMPTY)
def test_the_thorax_convention_matches_the_metric_functions(kind: str) -> None:
    full, blank = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    truth, predicted = (blank if empty else full for empty in EMPTY[kind])
    counts, lesions = (
        overlap(truth, predicted),
        Lesions.of(list_lesions(truth, predicted, voxel_ml=1)),
    )
    distances = surface_distances(truth, predicted, (1, 1, 1))
    metrics = {
        "dice": counts.dice,
        "iou": counts.iou,
        "sensitivity": counts.sensitivity,
        "precision": counts.precision,
        "nsd": distances.nsd(1),
        "hd95_mm": distances.hausdorff_mm(95),
        "mean_distance_mm": distances.mean_mm,
        "lesion_sensitivity": lesions.sensitivity,
        "lesion_precision": lesions.precision,
        "lesion_f1": lesions.f1,
    }
    assert applied("thorax", kind, metrics).reported == pytest.approx(metrics, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_keep_their_values_if_no_mask_is_empty(name: str) -> None:
    metrics = {"dice": 0.8, "hd95_mm": 3.0, "lesion_f1": math.nan}
    row = find_convention(name).apply(
        metrics, truth_empty=False, predicted_empty=False, diagonal_mm=DIAGONAL
    )
    assert row.reported == pytest.approx(metrics, nan_ok=True)
    assert row.averaged == pytest.approx(metrics, nan_ok=True)
    assert row.left_out == ()


def test_other_metrics_keep_their_values_and_missing_ones_are_not_added() -> None:
    row = applied("metrics-reloaded", "both", {"truth_ml": 0.0, "dice": math.nan})
    assert row.reported == {"truth_ml": 0.0, "dice": 1.0}


def test_distances_left_out_of_means_are_named() -> None:
    metrics = dict.fromkeys(METRICS, 0.5)
    assert applied("thorax", "predicted", metrics).left_out == ("hd95_mm", "mean_distance_mm")
    assert applied("thorax", "both", metrics).left_out == ()
    assert applied("surface-distance", "predicted", metrics).left_out == ()


def test_the_given_row_is_not_changed() -> None:
    metrics = {"dice": 0.5}
    applied("nnunet", "truth", metrics)
    assert metrics == {"dice": 0.5}


def test_an_unknown_convention_is_rejected() -> None:
    message = (
        "the convention for empty masks must be one of thorax, nnunet, surface-distance, "
        "metrics-reloaded, got 'monai'; see evaluate.convention in params.yaml"
    )
    with pytest.raises(InputError) as error:
        find_convention("monai")
    assert str(error.value) == message
