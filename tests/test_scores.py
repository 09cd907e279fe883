"""Scores: volumetric, counted by hand, over cases by NumPy's own."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.errors import InputError
from thorax.overlap import Overlap
from thorax.regions import Regions
from thorax.scans import Scan
from thorax.scores import Score, found_regions, score_masks, scores_csv, summarise

SaveNifti = Callable[..., Path]

REGIONS = Regions({"lung": (1, 2), "infection": (2,)})
AFFINE = np.diag([0.5, 0.5, 4.0, 1.0])


# Two planes of 2×3 voxels.
TRUTH = np.array([[[1, 1, 0], [1, 2, 0]], [[0, 0, 0], [2, 2, 2]]], np.uint8)
FOUND = np.array([[[1, 0, 0], [2, 2, 0]], [[0, 0, 1], [2, 1, 0]]], np.uint8)


@pytest.fixture
def masks(save_nifti: SaveNifti) -> tuple[Scan, Scan]:
    """Return a mask that is true, and one that was found."""
    true, found = (np.moveaxis(labels, 0, 2) for labels in (TRUTH, FOUND))
    return Scan(save_nifti("truth.nii.gz", true, AFFINE)), Scan(
        save_nifti("found.nii.gz", found, AFFINE)
    )


def test_voxels_are_counted_by_region(masks: tuple[Scan, Scan]) -> None:
    """Lung 1 and 2: 7 true, 6 found, 5 both; infection 2: 4 true, 3 found, 2 both."""
    assert score_masks(*masks, REGIONS) == {
        "lung": Overlap(both=5, truth=7, predicted=6),
        "infection": Overlap(both=2, truth=4, predicted=3),
    }


def test_all_slabs_are_counted(save_nifti: SaveNifti) -> None:
    """50 planes are four slabs; the file of the prediction has its highest plane first."""
    truth, found = np.zeros((2, 1, 50), np.uint8), np.zeros((2, 1, 50), np.uint8)
    truth[0], found[0, 0, 10:] = 1, 1
    found[1, 0, 49] = 1
    flipped = np.diag([1.0, 1, -1, 1])
    flipped[2, 3] = 49
    counts = score_masks(
        Scan(save_nifti("truth.nii.gz", truth, np.eye(4))),
        Scan(save_nifti("found.nii.gz", found[:, :, ::-1], flipped)),
        Regions({"lung": (1,)}),
    )
    assert counts == {"lung": Overlap(both=40, truth=50, predicted=41)}


def test_masks_on_other_grids_are_refused(masks: tuple[Scan, Scan], save_nifti: SaveNifti) -> None:
    narrow = Scan(save_nifti("narrow.nii", np.zeros((2, 2, 2), np.uint8), AFFINE))
    with pytest.raises(InputError, match=r"narrow\.nii has \(2, 2, 2\) and .*truth.* \(2, 3, 2\)"):
        score_masks(masks[0], narrow, REGIONS)
    moved = AFFINE.copy()
    moved[2, 3] = 4.0
    elsewhere = Scan(save_nifti("elsewhere.nii", np.zeros((2, 3, 2), np.uint8), moved))
    with pytest.raises(InputError, match=r"elsewhere\.nii lies elsewhere in the patient than"):
        score_masks(masks[0], elsewhere, REGIONS)


def test_labels_that_no_region_names_are_refused(masks: tuple[Scan, Scan]) -> None:
    with pytest.raises(InputError, match=r"label values \[2\] belong to no region"):
        score_masks(*masks, Regions({"lung": (1,)}))


# Regions that are found


def test_each_label_of_either_mask_is_a_region(save_nifti: SaveNifti) -> None:
    masks = (
        Scan(save_nifti(f"{label}.nii", np.array([[[0, label, 3]]], np.uint8)))
        for label in (200, 7)
    )
    regions = found_regions(*masks)
    assert dict(regions.labels) == {"label_3": (3,), "label_7": (7,), "label_200": (200,)}


def test_empty_masks_have_no_regions(save_nifti: SaveNifti) -> None:
    mask = Scan(save_nifti("empty.nii", np.zeros((2, 2, 2), np.uint8)))
    with pytest.raises(InputError, match=r"must show 1 to 8 label values .* show 0"):
        found_regions(mask, mask)


def test_a_ct_taken_for_a_mask_has_too_many_regions(save_nifti: SaveNifti) -> None:
    ct = Scan(save_nifti("ct.nii", np.arange(12, dtype=np.int16).reshape(2, 2, 3)))
    with pytest.raises(InputError, match=r"must show 1 to 8 label values .*ct\.nii show 11"):
        found_regions(ct)


def test_negative_labels_are_refused(save_nifti: SaveNifti) -> None:
    ct = Scan(save_nifti("ct.nii", np.array([[[-1000, 40]]], np.int16)))
    with pytest.raises(InputError, match=r"must be made of label values 1\.\.255, got \[-1000\]"):
        found_regions(ct)


# Figures


def test_a_row_by_hand() -> None:
    """Voxels of 0.5 × 0.5 × 4 mm are 1 mm³, and 1000 of them a millilitre."""
    score = Score("p1", "lung", Overlap(3000, 4000, 6000), 0.001, Overlap(3960, 4000, 4000))
    assert score.row() == {
        "case": "p1",
        "region": "lung",
        "dice": 0.6,
        "iou": 3 / 7,
        "truth_ml": 4.0,
        "predicted_ml": 6.0,
        "ceiling_dice": 0.99,
    }


def test_the_volume_of_a_voxel_is_that_of_the_grid(masks: tuple[Scan, Scan]) -> None:
    """0.5 · 0.5 · 4 mm³; 7 voxels of lung are 7 mm³."""
    counts = score_masks(*masks, REGIONS)
    row = Score("p1", "lung", counts["lung"], masks[0].grid.voxel_ml).row()
    assert row["truth_ml"] == pytest.approx(0.007)
    assert row["predicted_ml"] == pytest.approx(0.006)
    assert math.isnan(row["ceiling_dice"])


NOTHING = Overlap(0, 0, 0)
CASES = [
    # Dice 0.6, IoU 3/7.
    Score("a", "lung", Overlap(3, 4, 6), 0.001, Overlap(4, 4, 4)),
    # Dice 1, IoU 1.
    Score("b", "lung", Overlap(10, 10, 10), 0.001, Overlap(9, 10, 10)),
    # Dice 0, IoU 0.
    Score("c", "lung", Overlap(0, 20, 0), 0.001, Overlap(0, 0, 0)),
    # Nothing there and nothing found: undefined.
    Score("d", "lung", NOTHING, 0.001),
]


def test_figures_over_cases() -> None:
    """13 of 34 and 16 voxels in all: 26/50 and 13/37."""
    lung = summarise(CASES)["lung"]
    dice, iou = [0.6, 1, 0], [3 / 7, 1, 0]
    for name, values, pooled in (("dice", dice, 26 / 50), ("iou", iou, 13 / 37)):
        assert lung[name] == {
            "mean": pytest.approx(np.mean(values), abs=1e-6),
            "median": pytest.approx(np.median(values), abs=1e-6),
            "sd": pytest.approx(np.std(values, ddof=1), abs=1e-6),
            "pooled": pytest.approx(pooled, abs=1e-6),
        }


def test_undefined_cases_are_left_out_and_it_is_told_how_many_are_in() -> None:
    assert summarise(CASES)["lung"]["cases"] == 3
    assert summarise(CASES)["lung"]["dice"]["mean"] == 0.533333


def test_the_ceiling_is_a_mean_of_where_it_is_defined() -> None:
    """1 and 0.9; undefined for the third, not known for the fourth."""
    assert summarise(CASES)["lung"]["ceiling_dice"] == 0.95
    assert summarise(CASES[3:])["lung"]["ceiling_dice"] is None


def test_regions_are_summed_up_apart_in_their_order() -> None:
    other = Score("a", "infection", Overlap(1, 1, 3), 0.001)
    summary = summarise([CASES[0], other, CASES[1]])
    assert list(summary) == ["lung", "infection"]
    assert summary["lung"]["cases"] == 2
    assert summary["infection"]["dice"]["mean"] == summary["infection"]["dice"]["pooled"] == 0.5


def test_one_case_has_no_deviation() -> None:
    dice = summarise(CASES[:1])["lung"]["dice"]
    assert dice == {"mean": 0.6, "median": 0.6, "sd": None, "pooled": 0.6}


def test_figures_without_any_case_are_none_and_not_nan() -> None:
    """JSON knows no NaN."""
    lung = summarise(CASES[3:])["lung"]
    nothing = {"mean": None, "median": None, "sd": None, "pooled": None}
    assert lung == {"dice": nothing, "iou": nothing, "ceiling_dice": None, "cases": 0}


def test_scores_as_csv() -> None:
    assert scores_csv([*CASES[:1], CASES[3], Score('e, "f"', "lung", Overlap(0, 0, 5), 0.1)]) == (
        "case,region,dice,iou,truth_ml,predicted_ml,ceiling_dice\n"
        "a,lung,0.6,0.428571,0.004,0.006,1\n"
        "d,lung,,,0,0,\n"
        '"e, ""f""",lung,0,0,0,0.5,\n'
    )
