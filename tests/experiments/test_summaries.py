"""Tables of cross-validations and sweeps."""

import json
import math

import pytest

from thorax.common.tables import aligned
from thorax.experiments.summaries import (
    CASE_COLUMNS,
    SUMMARY_COLUMNS,
    Row,
    fold_json,
    fold_tables,
    read_scores,
    summarise_cases,
    summarise_folds,
    summarise_sweep,
    sweep_table,
)

NAN = math.nan
HEAD = "case,region,dice,iou,truth_ml,predicted_ml,ceiling_dice\n"


def row(seed: int, fold: int, case: str, dice: float, *, region: str = "lung") -> Row:
    values = (seed, fold, case, region, dice, dice / 2, 10.0, 9.0, 0.99, 0.9)
    return dict(zip(CASE_COLUMNS, values, strict=True))


def test_scores_are_read_as_numbers_and_empty_cells_as_undefined() -> None:
    text = f"{HEAD}ann,lung,0.9,0.8,10,9,0.99\n007,infection,,,0,0,\n"
    ann, bond = read_scores(text, {"seed": 1, "fold": 2})
    assert ann == {
        "seed": 1,
        "fold": 2,
        "case": "ann",
        "region": "lung",
        "dice": 0.9,
        "iou": 0.8,
        "truth_ml": 10.0,
        "predicted_ml": 9.0,
        "ceiling_dice": 0.99,
    }
    assert bond["case"] == "007"
    assert math.isnan(bond["dice"])
    assert math.isnan(bond["ceiling_dice"])


def test_a_region_has_mean_median_and_sd_over_cases() -> None:
    dices = [("ann", 0.9), ("ben", 0.6), ("cid", 0.3), ("dot", 0.2)]
    (lung,) = summarise_cases(row(0, 0, case, dice) for case, dice in dices)
    assert lung["region"] == "lung"
    assert lung["cases"] == 4
    assert lung["dice_mean"] == pytest.approx(0.5)
    assert lung["dice_median"] == pytest.approx(0.45)
    # Deviations 0.4, 0.1, -0.2, -0.3: squares add up to 0.30, over 4 - 1.
    assert lung["dice_sd"] == pytest.approx(math.sqrt(0.1))
    assert lung["iou_mean"] == pytest.approx(0.25)
    assert lung["ceiling_mean"] == pytest.approx(0.99)
    assert math.isnan(lung["dice_sd_of_seeds"])


def test_with_several_seeds_a_case_counts_once() -> None:
    rows = [row(0, 0, "ann", 0.8), row(0, 1, "ben", 0.4), row(1, 1, "ann", 0.6)]
    (lung,) = summarise_cases([*rows, row(1, 0, "ben", 0.2)])
    assert lung["cases"] == 2
    assert lung["dice_mean"] == pytest.approx(0.5)
    # Ann has 0.7 over both seeds, Ben 0.3; seed 0 has 0.6 over both cases, seed 1 has 0.4.
    assert lung["dice_sd"] == pytest.approx(math.sqrt(0.08))
    assert lung["dice_sd_of_seeds"] == pytest.approx(math.sqrt(0.02))


def test_undefined_values_are_left_out() -> None:
    (lung,) = summarise_cases([row(0, 0, "ann", 0.8), row(0, 0, "ben", NAN)])
    assert lung["cases"] == 1
    assert lung["dice_mean"] == lung["dice_median"] == 0.8
    assert math.isnan(lung["dice_sd"])


def test_a_region_without_defined_values_has_no_mean() -> None:
    (lung,) = summarise_cases([row(0, 0, "ann", NAN)])
    assert lung["cases"] == 0
    assert math.isnan(lung["dice_mean"])
    assert math.isnan(lung["dice_median"])


def test_a_fold_has_the_mean_over_its_cases() -> None:
    rows = [row(0, 0, "ann", 0.8), row(0, 0, "ben", 0.4), row(0, 1, "cid", 0.9)]
    assert summarise_folds(rows) == [
        {"seed": 0, "fold": 0, "cases": 2, "lung": pytest.approx(0.6)},
        {"seed": 0, "fold": 1, "cases": 1, "lung": 0.9},
    ]


def test_the_tables_of_a_cross_validation() -> None:
    rows = [
        row(0, 0, "ann", 0.8),
        row(0, 0, "ann", NAN, region="infection"),
        row(0, 1, "ben", 0.4),
        row(0, 1, "ben", 0.5, region="infection"),
    ]
    assert (
        fold_tables(rows)
        == """\
seed  fold  case  region       Dice     IoU  ceiling
   0     0  ann   lung       0.8000  0.4000   0.9900
   0     0  ann   infection       -       -   0.9900
   0     1  ben   lung       0.4000  0.2000   0.9900
   0     1  ben   infection  0.5000  0.2500   0.9900

mean Dice by fold
seed  fold  cases    lung  infection
   0     0      1  0.8000          -
   0     1      1  0.4000     0.5000

over all cases
region     cases    Dice  median      SD     IoU  ceiling
lung           2  0.6000  0.6000  0.2828  0.3000   0.9900
infection      1  0.5000  0.5000       -  0.2500   0.9900"""
    )


def test_the_sd_of_seeds_is_listed_if_there_are_several() -> None:
    table = fold_tables([row(0, 0, "ann", 0.8), row(1, 0, "ann", 0.6)])
    *_, head, lung = table.splitlines()
    assert head.endswith("  SD of seeds")
    assert lung.endswith("  0.1414")


def test_json_has_null_for_undefined_values() -> None:
    content = json.loads(fold_json([row(0, 1, "ann", NAN), row(0, 1, "ben", 2 / 3)]))
    assert [case["dice"] for case in content["cases"]] == [None, 0.666667]
    assert content["folds"] == [{"seed": 0, "fold": 1, "cases": 2, "lung": 0.666667}]
    assert content["regions"][0]["cases"] == 1
    assert content["regions"][0]["dice_sd"] is None


# Sweeps


def swept(*runs: tuple[dict[str, str], float]) -> list[Row]:
    return summarise_sweep((varied, [row(0, 0, "ann", dice)]) for varied, dice in runs)


def test_a_sweep_has_a_row_for_each_combination_and_region() -> None:
    rows = summarise_sweep(
        [({"loss": "bce"}, [row(0, 0, "ann", 0.8), row(0, 0, "ann", 0.2, region="infection")])]
    )
    assert [list(line) for line in rows] == [["loss", *SUMMARY_COLUMNS]] * 2
    assert [(line["loss"], line["region"], line["dice_mean"]) for line in rows] == [
        ("bce", "lung", 0.8),
        ("bce", "infection", 0.2),
    ]


def test_two_keys_make_a_matrix_that_lists_failed_runs() -> None:
    combinations = [
        {"loss": loss, "network.name": network}
        for loss in ("bce", "dice")
        for network in ("unet", "lean")
    ]
    rows = swept(*zip(combinations[:3], (0.1, 0.2, NAN), strict=True))
    assert (
        sweep_table(combinations, rows)
        == """\
mean Dice of lung: loss by network.name
loss    unet    lean
bce   0.1000  0.2000
dice       -  failed"""
    )


def test_one_key_makes_a_row_per_value() -> None:
    combinations = [{"loss": "bce"}, {"loss": "focal_dice"}]
    rows = swept((combinations[0], 0.5), (combinations[1], 0.75))
    assert (
        sweep_table(combinations, rows)
        == """\
mean Dice by region
loss          lung
bce         0.5000
focal_dice  0.7500"""
    )


def test_three_keys_make_a_row_per_combination() -> None:
    combination = {"loss": "bce", "seed": "1", "split.fold": "0"}
    assert sweep_table([combination], swept((combination, 0.5))).splitlines()[1:] == [
        "loss  seed  split.fold    lung",
        "bce   1     0           0.5000",
    ]


def test_lines_have_no_trailing_spaces() -> None:
    assert aligned([{"case": "ann"}, {"case": "b"}], ["case"]) == "case\nann\nb"
