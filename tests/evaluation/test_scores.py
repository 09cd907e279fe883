"""Scores of cases, their tables and their summaries."""

import json
import math

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.lesions import Lesions
from thorax.evaluation.scores import Score, read_score_rows, scores_csv, sides_csv
from thorax.evaluation.summary import (
    Intervals,
    headline_metrics,
    summarise_scores,
    summarise_values,
)
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.overlap import Overlap

# Metrics of one case


def defined(score: Score) -> dict[str, float]:
    """Return the metrics of a row that are defined."""
    return {name: value for name, value in score.row().items() if value == value and value != ""}


def test_metrics_of_a_row() -> None:
    """Voxels of 0.5 × 0.5 × 4 mm are 1 mm³; 1000 of them are a millilitre."""
    score = Score("p1", "lung", Overlap(3000, 4000, 6000), 0.001, Overlap(3960, 4000, 4000))
    assert defined(score) == {
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


def test_shares_are_relative_to_the_first_region() -> None:
    """10 of 40 true voxels, 6 of 30 predicted voxels."""
    lung = Overlap(25, 40, 30)
    row = Score("p1", "infection", Overlap(5, 10, 6), 0.001, parent_overlap=lung).row()
    assert (row["truth_share"], row["predicted_share"]) == (0.25, 0.2)
    row = Score("p1", "infection", Overlap(0, 0, 6), 0.001, parent_overlap=Overlap(0, 0, 30)).row()
    assert math.isnan(row["truth_share"])


def test_surface_dice_uses_the_tolerance_of_the_region() -> None:
    """Two neighbouring voxels, 3 mm apart: half of both surfaces is shared."""
    truth, predicted = np.zeros((2, 1, 1, 4), bool)
    truth[0, 0, 1] = predicted[0, 0, 2] = True
    distances = surface_distances(truth, predicted, (1, 1, 3))
    near, far = (
        Score("p", "lung", Overlap(0, 1, 1), 0.003, surfaces=distances.scores(tolerance)).row()
        for tolerance in (1.0, 3.0)
    )
    assert (near["nsd"], far["nsd"]) == (0.5, 1.0)
    assert near["hd95_mm"] == far["hd95_mm"] == 3


def test_the_convention_decides_metrics_of_empty_masks() -> None:
    empty = surface_distances(*np.zeros((2, 3, 3, 3), bool), (1, 1, 1))
    score = Score("p", "lung", Overlap(), 0.1, surfaces=empty.scores(1.0), diagonal_mm=500.0)
    assert math.isnan(score.row()["dice"])
    assert score.row(find_convention("metrics-reloaded"))["dice"] == 1


EMPTY = Overlap(0, 0, 0)
CASES = [
    # Dice 0.6, IoU 3/7.
    Score("a", "lung", Overlap(3, 4, 6), 0.001, Overlap(4, 4, 4)),
    # Dice 1, IoU 1.
    Score("b", "lung", Overlap(10, 10, 10), 0.001, Overlap(9, 10, 10)),
    # Dice 0, IoU 0.
    Score("c", "lung", Overlap(0, 20, 0), 0.001, Overlap(0, 0, 0)),
    # Both masks are empty: undefined.
    Score("d", "lung", EMPTY, 0.001),
]


def test_statistics_over_cases() -> None:
    """Pooled: 13 common voxels of 34 true and 16 predicted ones: 26/50 and 13/37."""
    lung = summarise_scores(CASES)["lung"]
    dice, iou = [0.6, 1, 0], [3 / 7, 1, 0]
    for name, values, pooled in (("dice", dice, 26 / 50), ("iou", iou, 13 / 37)):
        assert lung[name] == {
            "mean": pytest.approx(np.mean(values), abs=1e-6),
            "median": pytest.approx(np.median(values), abs=1e-6),
            "sd": pytest.approx(np.std(values, ddof=1), abs=1e-6),
            "cases": 3,
            "pooled": pytest.approx(pooled, abs=1e-6),
        }


def test_undefined_cases_are_left_out_of_means_and_counts() -> None:
    assert summarise_scores(CASES)["lung"]["cases"] == 3
    assert summarise_scores(CASES)["lung"]["dice"]["mean"] == 0.533333


def test_the_ceiling_is_a_mean_over_defined_values() -> None:
    """1 and 0.9; undefined for the third case, not measured for the fourth."""
    assert summarise_scores(CASES)["lung"]["ceiling_dice"] == 0.95
    assert summarise_scores(CASES[3:])["lung"]["ceiling_dice"] is None


def test_regions_are_summarised_separately_in_their_order() -> None:
    infection = Score("a", "infection", Overlap(1, 1, 3), 0.001)
    summary = summarise_scores([CASES[0], infection, CASES[1]])
    assert list(summary) == ["lung", "infection"]
    assert summary["lung"]["cases"] == 2
    assert summary["infection"]["dice"]["mean"] == summary["infection"]["dice"]["pooled"] == 0.5


def test_one_case_has_no_sd() -> None:
    dice = summarise_scores(CASES[:1])["lung"]["dice"]
    assert dice == {"mean": 0.6, "median": 0.6, "sd": None, "cases": 1, "pooled": 0.6}


def test_metrics_without_cases_are_none_and_not_nan() -> None:
    """JSON has no NaN."""
    lung = summarise_scores(CASES[3:])["lung"]
    undefined = {"mean": None, "median": None, "sd": None, "cases": 0, "pooled": None}
    assert lung["dice"] == lung["iou"] == undefined
    assert (lung["ceiling_dice"], lung["cases"]) == (None, 0)
    json.dumps(lung, allow_nan=False)


def test_infinite_distances_are_left_out_of_means_and_counted() -> None:
    """One prediction is empty, the other is shifted by 2 mm."""
    truth, predicted = np.zeros((2, 4, 3, 3), bool)
    truth[1], predicted[2] = True, True
    surfaces = [
        surface_distances(truth, mask, (2, 1, 1)).scores(1.0)
        for mask in (predicted, predicted & False)
    ]
    scores = [
        Score("a", "lung", Overlap(0, 9, 9), 0.1, surfaces=surfaces[0]),
        Score("b", "lung", Overlap(0, 9, 0), 0.1, surfaces=surfaces[1], diagonal_mm=10.0),
    ]
    ours = summarise_scores(scores)["lung"]["hd95_mm"]
    assert (ours["mean"], ours["cases"], ours["infinite"]) == (2, 1, 1)
    worst = summarise_scores(scores, find_convention("metrics-reloaded"))["lung"]["hd95_mm"]
    assert (worst["mean"], worst["cases"], worst["infinite"]) == (6, 2, 0)
    assert (
        summarise_scores(scores, find_convention("surface-distance"))["lung"]["hd95_mm"]["mean"]
        is None
    )


def test_means_have_intervals_if_requested() -> None:
    dices = np.linspace(0.9, 0.99, 10)
    scores = [
        Score(str(number), "lung", Overlap(round(1000 * dice), 1000, 1000), 0.1)
        for number, dice in enumerate(dices)
    ]
    dice = summarise_scores(scores, intervals=Intervals(resamples=500))["lung"]["dice"]
    assert dice["method"] == "bca"
    assert 0.9 < dice["low"] < dice["mean"] < dice["high"] < 0.99
    few = summarise_scores(scores[:2], intervals=Intervals())["lung"]["dice"]
    assert (few["low"], few["high"], few["method"]) == (None, None, None)


def test_intervals_resample_patients_and_means_are_over_cases() -> None:
    """Twelve cases of three patients have no interval; twelve cases of twelve patients have one."""
    dices = np.linspace(0.5, 0.96, 12)
    several, single = (
        [
            Score(str(case), "lung", Overlap(round(1e6 * dice), 10**6, 10**6), 0.1, patient=patient)
            for case, (dice, patient) in enumerate(zip(dices, patients, strict=True))
        ]
        for patients in ("abc" * 4, [""] * 12)
    )
    settings = Intervals(resamples=200)
    by_patient = summarise_scores(several, intervals=settings)["lung"]["dice"]
    by_case = summarise_scores(single, intervals=settings)["lung"]["dice"]
    assert by_patient["mean"] == by_case["mean"] == pytest.approx(0.73)
    assert by_patient["cases"] == by_case["cases"] == 12
    assert (by_patient["low"], by_patient["method"]) == (None, None)
    assert by_case["low"] < by_case["mean"] < by_case["high"]


def test_headline_metrics_are_few() -> None:
    """DVC shows each value as a column."""
    lung = headline_metrics(summarise_scores(CASES, intervals=Intervals(resamples=100)))["lung"]
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


def test_lesions_and_sides_have_separate_columns() -> None:
    """2 of 4 lesions detected, 1 of 3 predicted components a true positive."""
    score = Score("a", "scar", Overlap(1, 2, 2), 0.1, lesions=Lesions(4, 3, 2, 1), side="left")
    assert scores_csv([score]).splitlines()[1].endswith(",4,3,2,1,0.5,0.333333,0.4,,,")
    assert sides_csv([score]).splitlines()[1].startswith("a,,scar,left,0.5,")


# Statistics of values


def test_statistics_leave_undefined_values_out() -> None:
    """Deviations of 0.25, 0 and -0.25 from 0.5: squares add up to 0.125, over 3 - 1."""
    summary = summarise_values([0.25, math.nan, 0.5, 0.75])
    assert (summary.mean, summary.median, summary.cases) == (0.5, 0.5, 3)
    assert summary.sd == 0.25
    assert summary.interval is None


def test_an_infinite_value_leaves_only_the_median_finite() -> None:
    summary = summarise_values([1.0, 2.0, math.inf], intervals=Intervals(resamples=100))
    assert (summary.mean, summary.median, summary.cases) == (math.inf, 2.0, 3)
    assert math.isnan(summary.sd)
    assert summary.interval is None


# Reading tables


def test_cells_are_labels_or_numbers() -> None:
    cells = {
        "case": "007",
        "region": "lung",
        "seed": "1",
        "dice": "0.5",
        "nsd": "",
        "hd95_mm": "inf",
    }
    (row,) = read_score_rows([cells], source="scores.csv")
    assert (row.case, row.region, row.seed, row.site, row.side) == ("007", "lung", "1", "", "")
    assert (row["dice"], row["hd95_mm"]) == (0.5, math.inf)
    assert math.isnan(row["nsd"]), "empty"
    assert math.isnan(row["brier"]), "no such column"


def test_only_the_named_metrics_are_read() -> None:
    cells = {"case": "a", "region": "lung", "scanner": "ward 3", "dice": "0.5"}
    (row,) = read_score_rows([cells], ["dice"], source="scores.csv")
    assert row.metrics == {"dice": 0.5}


def test_a_cell_that_is_not_a_number_is_rejected() -> None:
    cells = {"case": "a", "region": "lung", "dice": "good"}
    with pytest.raises(InputError) as error:
        list(read_score_rows([cells], source="scores.csv"))
    assert str(error.value) == (
        "scores.csv: `dice` must be a number, got 'good' in row a, lung; correct the file or "
        "create it again"
    )
