"""Scores of two mask files by region and side."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.evaluation.calibration import count_reliability
from thorax.evaluation.lesion_rows import LesionRow
from thorax.evaluation.lesions import Lesion
from thorax.evaluation.scoring import (
    CaseScores,
    MaskPair,
    measure_reliability,
    open_pair,
    score_pair,
)
from thorax.imaging.lung_sides import mask_sides
from thorax.imaging.overlap import Overlap
from thorax.imaging.regions import Regions, regions_in_masks
from thorax.io import Scan

from ..settings import DEFAULTS

SaveNifti = Callable[..., Path]
SETTINGS = DEFAULTS.evaluate


def score_masks(truth: Scan, predicted: Scan, regions: Regions) -> dict[str, Overlap]:
    """Return the overlap of each region of a scored case."""
    pair = open_pair(truth, predicted, regions, sided=False)
    return {score.region: score.overlap for score in score_pair(pair, SETTINGS, case="p").whole}


REGIONS = Regions({"lung": (1, 2), "infection": (2,)})
AFFINE = np.diag([0.5, 0.5, 4.0, 1.0])


# Two planes of 2×3 voxels.
TRUTH = np.array([[[1, 1, 0], [1, 2, 0]], [[0, 0, 0], [2, 2, 2]]], np.uint8)
PREDICTED = np.array([[[1, 0, 0], [2, 2, 0]], [[0, 0, 1], [2, 1, 0]]], np.uint8)


@pytest.fixture
def masks(save_nifti: SaveNifti) -> tuple[Scan, Scan]:
    """Return a true and a predicted mask."""
    truth, predicted = (np.moveaxis(labels, 0, 2) for labels in (TRUTH, PREDICTED))
    return Scan(save_nifti("truth.nii.gz", truth, AFFINE)), Scan(
        save_nifti("predicted.nii.gz", predicted, AFFINE)
    )


def test_voxels_are_counted_by_region(masks: tuple[Scan, Scan]) -> None:
    """Lung 1 and 2: 7 true, 6 predicted, 5 both; infection 2: 4 true, 3 predicted, 2 both."""
    assert score_masks(*masks, REGIONS) == {
        "lung": Overlap(both=5, truth=7, predicted=6),
        "infection": Overlap(both=2, truth=4, predicted=3),
    }


def test_all_slabs_are_counted(save_nifti: SaveNifti) -> None:
    """50 planes are four slabs; the predicted file has its highest plane first."""
    truth, predicted = np.zeros((2, 1, 50), np.uint8), np.zeros((2, 1, 50), np.uint8)
    truth[0], predicted[0, 0, 10:] = 1, 1
    predicted[1, 0, 49] = 1
    flipped = np.diag([1.0, 1, -1, 1])
    flipped[2, 3] = 49
    counts = score_masks(
        Scan(save_nifti("truth.nii.gz", truth, np.eye(4))),
        Scan(save_nifti("predicted.nii.gz", predicted[:, :, ::-1], flipped)),
        Regions({"lung": (1,)}),
    )
    assert counts == {"lung": Overlap(both=40, truth=50, predicted=41)}


def test_masks_on_different_grids_are_rejected(
    masks: tuple[Scan, Scan], save_nifti: SaveNifti
) -> None:
    narrow = Scan(save_nifti("narrow.nii", np.zeros((2, 2, 2), np.uint8), AFFINE))
    with pytest.raises(InputError, match=r"narrow\.nii has \(2, 2, 2\) and .*truth.* \(2, 3, 2\)"):
        score_masks(masks[0], narrow, REGIONS)
    moved = AFFINE.copy()
    moved[2, 3] = 4.0
    elsewhere = Scan(save_nifti("elsewhere.nii", np.zeros((2, 3, 2), np.uint8), moved))
    with pytest.raises(InputError, match=r"elsewhere\.nii is up to 4 mm away from"):
        score_masks(masks[0], elsewhere, REGIONS)


def test_labels_of_no_region_are_rejected(masks: tuple[Scan, Scan]) -> None:
    with pytest.raises(InputError, match=r"label values \[2\] belong to no region"):
        score_masks(*masks, Regions({"lung": (1,)}))


# Regions from label values


def test_every_label_of_the_masks_is_a_region(save_nifti: SaveNifti) -> None:
    masks = (
        Scan(save_nifti(f"{label}.nii", np.array([[[0, label, 3]]], np.uint8)))
        for label in (200, 7)
    )
    regions = regions_in_masks(*masks)
    assert dict(regions.labels) == {"label_3": (3,), "label_7": (7,), "label_200": (200,)}


def test_empty_masks_have_no_regions(save_nifti: SaveNifti) -> None:
    mask = Scan(save_nifti("empty.nii", np.zeros((2, 2, 2), np.uint8)))
    with pytest.raises(InputError, match=r"must have 1 to 8 label values .* have 0"):
        regions_in_masks(mask, mask)


def test_a_ct_given_as_a_mask_has_too_many_labels(save_nifti: SaveNifti) -> None:
    ct = Scan(save_nifti("ct.nii", np.arange(12, dtype=np.int16).reshape(2, 2, 3)))
    with pytest.raises(InputError, match=r"must have 1 to 8 label values .*ct\.nii have 11"):
        regions_in_masks(ct)


def test_negative_labels_are_rejected(save_nifti: SaveNifti) -> None:
    ct = Scan(save_nifti("ct.nii", np.array([[[-1000, 40]]], np.int16)))
    with pytest.raises(
        InputError, match=r"whole numbers 0\.\.255, got -1000 \(int16\) in .*ct\.nii; save"
    ):
        regions_in_masks(ct)


# Metrics


def blocks(save_nifti: SaveNifti, spacing_mm: tuple[float, float, float] = (2, 2, 5)) -> MaskPair:
    """Return two lungs of 6×8×4 voxels, the right one with a lesion of 2×2×2.

    The prediction lacks the outermost layer of the left lung and all of the lesion.
    """
    truth = np.zeros((20, 12, 6), np.uint8)
    truth[2:8, 2:10, 1:5] = truth[12:18, 2:10, 1:5] = 1
    predicted = truth.copy()
    predicted[2] = 0
    truth[14:16, 4:6, 2:4] = 2
    affine = np.diag([*spacing_mm, 1.0])
    masks = (
        Scan(save_nifti(f"{name}.nii.gz", labels, affine))
        for name, labels in (("truth", truth), ("predicted", predicted))
    )
    return open_pair(*masks, REGIONS)


def test_metrics_of_a_case(save_nifti: SaveNifti) -> None:
    """Voxels of 2 × 2 × 5 mm are 0.02 mL. Lung: 384 true voxels, 32 of them in the layer."""
    lung, infection = (
        score.row() for score in score_pair(blocks(save_nifti), SETTINGS, case="p").whole
    )
    assert lung["dice"] == pytest.approx(2 * 352 / (384 + 352))
    assert (lung["sensitivity"], lung["precision"]) == (pytest.approx(352 / 384), 1)
    assert (lung["truth_ml"], lung["predicted_ml"]) == (pytest.approx(7.68), pytest.approx(7.04))
    assert lung["difference_ml"] == pytest.approx(-0.64)
    assert lung["difference_percent"] == pytest.approx(-100 * 32 / 384)
    assert lung["hd95_mm"] == pytest.approx(2)
    assert 0.8 < lung["nsd"] < 1
    assert (infection["dice"], infection["nsd"]) == (0, 0)
    assert infection["hd95_mm"] == math.inf
    assert infection["truth_share"] == pytest.approx(8 / 384)
    assert infection["predicted_share"] == 0
    assert (infection["lesions"], infection["lesions_found"]) == (1, 0)
    assert "lesions" not in lung


def test_each_lesion_of_the_chosen_regions_is_a_row(save_nifti: SaveNifti) -> None:
    """The missed lesion has 2×2×2 voxels of 0.02 mL; the lungs are not scored lesion-wise."""
    scored = score_pair(blocks(save_nifti), SETTINGS, case="p")
    assert [(row.case, row.region, row.lesion.matched) for row in scored.lesions] == [
        ("p", "infection", False)
    ]
    assert scored.lesions[0].lesion.volume_ml == pytest.approx(0.16)
    assert score_pair(blocks(save_nifti), replace(SETTINGS, lesions=[]), case="p").lesions == []


def test_a_wider_tolerance_forgives_the_layer(save_nifti: SaveNifti) -> None:
    wide = replace(SETTINGS, tolerance_mm={"lung": 2.0})
    assert score_pair(blocks(save_nifti), wide, case="p").whole[0].row()["nsd"] == 1


def test_scores_are_as_small_for_large_masks(save_nifti: SaveNifti) -> None:
    """Those of a thousand scans must fit into memory: no distance of a surface element is kept."""
    sizes = []
    for side in (4, 40):
        mask = Scan(save_nifti(f"{side}.nii", np.ones((side, side, side), np.uint8)))
        scored = score_pair(open_pair(mask, mask, REGIONS), SETTINGS, case="p")
        sizes.append(len(pickle.dumps(scored)))
    assert sizes[1] < sizes[0] + 100


def test_sides_add_up_to_the_whole(save_nifti: SaveNifti) -> None:
    """The right lung is at large x (RAS+); only it is predicted completely."""
    scored = score_pair(blocks(save_nifti), SETTINGS, case="p")
    whole = {score.region: score.overlap for score in scored.whole}
    sides = {(score.region, score.side): score.overlap for score in scored.sides}
    assert list(sides) == [
        ("lung", "right"), ("lung", "left"), ("infection", "right"), ("infection", "left"),
    ]  # fmt: skip
    for region in REGIONS.names:
        assert sides[region, "right"] + sides[region, "left"] == whole[region]
    assert sides["lung", "right"] == Overlap(192, 192, 192)
    assert sides["lung", "left"] == Overlap(160, 192, 160)
    assert sides["infection", "left"] == Overlap(0, 0, 0)


def test_labels_that_tell_the_side_have_priority_over_the_shape(save_nifti: SaveNifti) -> None:
    """The right lung, 2, fills all but a third of the chest; 3 is infection at its far end.

    Without its label, the part of it beyond the middle would be left.
    """
    truth = np.zeros((30, 12, 6), np.uint8)
    truth[2:10, 2:10, 1:5], truth[10:28, 2:10, 1:5], truth[24:28, 2:10, 1:5] = 1, 2, 3
    regions = Regions({"lung": (1, 2, 3), "infection": (3,)})
    mask = Scan(save_nifti("mask.nii.gz", truth, np.eye(4)))
    labels = {"left": (1,), "right": (2,)}

    def sides(*of_masks: dict[str, tuple[int, ...]]) -> dict[tuple[str, str], Overlap]:
        scored = score_pair(open_pair(mask, mask, regions, sides=of_masks), SETTINGS, case="p")
        return {(score.region, score.side): score.overlap for score in scored.sides}

    by_label = sides(labels, labels)
    assert by_label["lung", "left"] == Overlap(256, 256, 256)
    assert by_label["lung", "right"] == Overlap(576, 576, 576)
    assert by_label["infection", "right"] == Overlap(128, 128, 128)
    assert sides({}, {})["lung", "left"].truth > 256
    assert sides(labels, {})["lung", "left"].truth == 256
    assert sides(labels, {})["lung", "left"].predicted > 256


def test_every_score_has_case_site_and_patient(save_nifti: SaveNifti) -> None:
    scored = score_pair(blocks(save_nifti), SETTINGS, case="ann-1", site="ward", patient="ann")
    assert {(score.case, score.site, score.patient) for score in scored.whole + scored.sides} == {
        ("ann-1", "ward", "ann")
    }


def test_without_lungs_there_are_no_sides(save_nifti: SaveNifti) -> None:
    mask = Scan(save_nifti("scar.nii", np.ones((4, 4, 2), np.uint8)))
    pair = open_pair(mask, mask, Regions({"scar": (1,)}))
    scored = score_pair(pair, SETTINGS, case="p")
    assert [score.region for score in scored.whole] == ["scar"]
    assert scored.sides == []


def test_empty_masks_are_scored_too(save_nifti: SaveNifti) -> None:
    mask = Scan(save_nifti("none.nii", np.zeros((4, 4, 2), np.uint8)))
    lung, infection = score_pair(open_pair(mask, mask, REGIONS), SETTINGS, case="p").whole
    for row in (lung.row(), infection.row()):
        assert math.isnan(row["dice"])
        assert math.isnan(row["nsd"])
        assert row["truth_ml"] == row["difference_ml"] == 0


def test_predicted_labels_may_differ(save_nifti: SaveNifti) -> None:
    truth = np.array([[[1, 1, 2, 2]]], np.uint8)
    masks = Scan(save_nifti("ours.nii", truth)), Scan(save_nifti("theirs.nii", 5 - truth))
    theirs = Regions({"lung": (3, 4), "infection": (3,)})
    pair = open_pair(*masks, REGIONS, predicted_regions=theirs)
    assert [score.overlap.dice for score in score_pair(pair, SETTINGS, case="p").whole] == [1, 1]


def test_lungs_of_a_fine_grid_are_separated_on_a_coarse_one() -> None:
    lung = np.zeros((5, 300, 200), bool)
    lung[1:4, 40:130, 50:150] = lung[1:4, 170:260, 50:150] = True
    sides = mask_sides(lung)
    assert sides.shape == lung.shape
    assert (sides[1:4, 40:130, 50:150] == 2).all(), "small x is the patient's left"
    assert (sides[1:4, 170:260, 50:150] == 1).all()


def test_probabilities_are_compared_with_the_truth(save_nifti: SaveNifti) -> None:
    """Two voxels at 0.8, of which one is true, and a true one at 0."""
    truth = np.array([[[1, 0, 2, 0]]], np.uint8)
    levels = np.array([[[204, 204, 0, 0]]], np.float32) / 255
    scans = (Scan(save_nifti(f"{name}.nii", v)) for name, v in (("p", levels), ("t", truth)))
    probabilities, mask = scans
    counts = measure_reliability({"lung": probabilities}, mask, REGIONS)["lung"]
    assert counts.voxels == 3
    assert counts.brier == pytest.approx((0.2**2 + 0.8**2 + 1) / 3, abs=1e-6)


def test_scores_of_cases_can_be_added() -> None:
    counts = count_reliability(np.array([255, 0], np.uint8), np.array([1, 1], bool))
    rows = [LesionRow(case, "scar", Lesion("truth", 1.0, 0.5, True)) for case in ("a", "b")]
    both = CaseScores(reliability={"lung": counts}, lesions=rows[:1]) + CaseScores(
        reliability={"lung": counts, "scar": counts}, lesions=rows[1:]
    )
    assert both.lesions == rows
    assert both.reliability["lung"].voxels == 4
    assert both.reliability["scar"].voxels == 2
    assert (CaseScores() + CaseScores()).reliability == {}
