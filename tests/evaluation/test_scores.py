"""Scores: volumetric, counted by hand, over cases by NumPy's own."""

import json
import math

import numpy as np
import pytest

from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.lesions import Lesions
from thorax.evaluation.scores import Intervals, Score, headline, scores_csv, sides_csv, summarise
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.overlap import Overlap

# Figures


def shown(score: Score) -> dict[str, float]:
    """The figures of a row that are known."""
    return {name: value for name, value in score.row().items() if value == value and value != ""}


def test_a_row_by_hand() -> None:
    """Voxels of 0.5 × 0.5 × 4 mm are 1 mm³, and 1000 of them a millilitre."""
    score = Score("p1", "lung", Overlap(3000, 4000, 6000), 0.001, Overlap(3960, 4000, 4000))
    assert shown(score) == {
        "case": "p1",
        "region": "lung",
        "dice": 0.6,
        "iou": 3 / 7,
        "sensitivity": 0.75,
        "precision": 0.5,
        "truth_ml": 4.0,
        "predicted_ml": 6.0,
        "difference_ml": 2.0,
        "difference_percent": 50.0,
        "ceiling_dice": 0.99,
    }


def test_disease_is_told_as_a_share_of_the_first_region() -> None:
    """10 of 40 true voxels, 6 of 30 found ones."""
    within = Overlap(25, 40, 30)
    row = Score("p1", "infection", Overlap(5, 10, 6), 0.001, parent_overlap=within).row()
    assert (row["truth_share"], row["predicted_share"]) == (0.25, 0.2)
    row = Score("p1", "infection", Overlap(0, 0, 6), 0.001, parent_overlap=Overlap(0, 0, 30)).row()
    assert math.isnan(row["truth_share"])


def test_distances_are_those_at_the_tolerance_of_the_region() -> None:
    """A voxel, and the next one, 3 mm further: half of both surfaces is shared."""
    truth, found = np.zeros((2, 1, 1, 4), bool)
    truth[0, 0, 1] = found[0, 0, 2] = True
    surfaces = surface_distances(truth, found, (1, 1, 3))
    near, far = (
        Score("p", "lung", Overlap(0, 1, 1), 0.003, surfaces=surfaces, tolerance_mm=tolerance).row()
        for tolerance in (1.0, 3.0)
    )
    assert (near["nsd"], far["nsd"]) == (0.5, 1.0)
    assert near["hd95_mm"] == far["hd95_mm"] == 3


def test_what_an_empty_mask_counts_says_the_convention() -> None:
    nothing = surface_distances(*np.zeros((2, 3, 3, 3), bool), (1, 1, 1))
    score = Score("p", "lung", Overlap(), 0.1, surfaces=nothing, diagonal_mm=500.0)
    assert math.isnan(score.row()["dice"])
    assert score.row(find_convention("metrics-reloaded"))["dice"] == 1


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
            "cases": 3,
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
    assert dice == {"mean": 0.6, "median": 0.6, "sd": None, "cases": 1, "pooled": 0.6}


def test_figures_without_any_case_are_none_and_not_nan() -> None:
    """JSON knows no NaN."""
    lung = summarise(CASES[3:])["lung"]
    nothing = {"mean": None, "median": None, "sd": None, "cases": 0, "pooled": None}
    assert lung["dice"] == lung["iou"] == nothing
    assert (lung["ceiling_dice"], lung["cases"]) == (None, 0)
    json.dumps(lung, allow_nan=False)


def test_infinite_distances_are_left_out_of_means_and_counted() -> None:
    """One case is missed whole; the other is 2 mm off."""
    truth, found = np.zeros((2, 4, 3, 3), bool)
    truth[1], found[2] = True, True
    surfaces = [surface_distances(truth, mask, (2, 1, 1)) for mask in (found, found & False)]
    scores = [
        Score("a", "lung", Overlap(0, 9, 9), 0.1, surfaces=surfaces[0]),
        Score("b", "lung", Overlap(0, 9, 0), 0.1, surfaces=surfaces[1], diagonal_mm=10.0),
    ]
    ours = summarise(scores)["lung"]["hd95_mm"]
    assert (ours["mean"], ours["cases"], ours["infinite"]) == (2, 1, 1)
    worst = summarise(scores, find_convention("metrics-reloaded"))["lung"]["hd95_mm"]
    assert (worst["mean"], worst["cases"], worst["infinite"]) == (6, 2, 0)
    assert summarise(scores, find_convention("surface-distance"))["lung"]["hd95_mm"]["mean"] is None


def test_means_have_intervals_where_these_are_asked_for() -> None:
    dices = np.linspace(0.9, 0.99, 10)
    scores = [
        Score(str(place), "lung", Overlap(round(1000 * dice), 1000, 1000), 0.1)
        for place, dice in enumerate(dices)
    ]
    dice = summarise(scores, intervals=Intervals(resamples=500))["lung"]["dice"]
    assert dice["method"] == "bca"
    assert 0.9 < dice["low"] < dice["mean"] < dice["high"] < 0.99
    few = summarise(scores[:2], intervals=Intervals())["lung"]["dice"]
    assert (few["low"], few["high"], few["method"]) == (None, None, None)


def test_intervals_are_drawn_by_patient_and_means_go_over_cases() -> None:
    """Twelve cases of three patients have a mean, but no interval; of twelve, they have both."""
    dices = np.linspace(0.5, 0.96, 12)
    several, single = (
        [
            Score(str(case), "lung", Overlap(round(1e6 * dice), 10**6, 10**6), 0.1, patient=patient)
            for case, (dice, patient) in enumerate(zip(dices, patients, strict=True))
        ]
        for patients in ("abc" * 4, [""] * 12)
    )
    how = Intervals(resamples=200)
    by_patient = summarise(several, intervals=how)["lung"]["dice"]
    by_case = summarise(single, intervals=how)["lung"]["dice"]
    assert by_patient["mean"] == by_case["mean"] == pytest.approx(0.73)
    assert by_patient["cases"] == by_case["cases"] == 12
    assert (by_patient["low"], by_patient["method"]) == (None, None)
    assert by_case["low"] < by_case["mean"] < by_case["high"]


def test_the_headline_is_short() -> None:
    """DVC shows each figure as a column."""
    lung = headline(summarise(CASES, intervals=Intervals(resamples=100)))["lung"]
    assert lung["dice"] == {
        "mean": 0.533333, "median": 0.6, "sd": pytest.approx(0.503322), "pooled": 0.52,
    }  # fmt: skip
    assert list(lung) == ["dice", "iou", "ceiling_dice", "cases"]


def test_scores_as_csv() -> None:
    table = scores_csv(
        [*CASES[:1], CASES[3], Score('e, "f"', "lung", Overlap(0, 0, 5), 0.1, site="A")]
    ).splitlines()
    assert table[0] == (
        "case,site,region,dice,iou,sensitivity,precision,nsd,hd95_mm,mean_distance_mm,truth_ml,"
        "predicted_ml,difference_ml,difference_percent,truth_share,predicted_share,lesions,"
        "lesions_predicted,lesions_found,lesions_true,lesion_sensitivity,lesion_precision,"
        "lesion_f1,brier,certainty,ceiling_dice"
    )
    assert table[1] == "a,,lung,0.6,0.428571,0.75,0.5,,,,0.004,0.006,0.002,50,,,,,,,,,,,,1"
    assert table[2] == "d,,lung,,,,,,,,0,0,0,,,,,,,,,,,,,"
    assert table[3] == '"e, ""f""",A,lung,0,0,,0,,,,0,0.5,0.5,,,,,,,,,,,,,'


def test_lesions_and_sides_have_columns_of_their_own() -> None:
    """2 of 4 lesions found, 1 of 3 pieces true."""
    score = Score("a", "scar", Overlap(1, 2, 2), 0.1, lesions=Lesions(4, 3, 2, 1), side="left")
    assert scores_csv([score]).splitlines()[1].endswith(",4,3,2,1,0.5,0.333333,0.4,,,")
    assert sides_csv([score]).splitlines()[1].startswith("a,,scar,left,0.5,")
