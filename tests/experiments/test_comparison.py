"""Comparison of score tables: paired cases, notes, text and JSON."""

import json
import math

import pytest

from thorax.common.errors import InputError
from thorax.experiments.comparison import (
    ComparisonOptions,
    compare_tables,
    comparison_json,
    comparison_table,
)
from thorax.experiments.score_tables import ScoreTable, parse_table

HEADER = "case,region,dice,hd95_mm,truth_ml\n"
MAIN = HEADER + "".join(
    f"{case},lung,0.{dice},{distance},3000\n"
    for case, dice, distance in zip("abcdef", (90, 91, 92, 93, 94, 95), range(6), strict=True)
)
# Each Dice is higher by 0.01, each distance larger by 1 mm to 6 mm.
NEW = HEADER + "".join(
    f"{case},lung,0.{dice},{distance},3000\n"
    for case, dice, distance in zip(
        "fedcba", (96, 95, 94, 93, 92, 91), range(11, 0, -2), strict=True
    )
)
LESIONS = "a,infection,0.5,1,20\nb,infection,,,0\nc,infection,0.7,inf,30\n"


def tables(*texts: str) -> list[ScoreTable]:
    names = ("main", "new", "third")[: len(texts)]
    return [parse_table(name, text) for name, text in zip(names, texts, strict=True)]


def error_of(*texts: str, options: ComparisonOptions | None = None) -> str:
    with pytest.raises(InputError) as error:
        compare_tables(tables(*texts), options or ComparisonOptions())
    return str(error.value)


def test_cases_are_paired_by_name() -> None:
    (comparison,), notes = compare_tables(tables(MAIN, NEW), ComparisonOptions())
    assert comparison.differences == dict.fromkeys("abcdef", 0.01)
    assert (comparison.test.p, comparison.adjusted_p) == (2 / 64, 2 / 64)
    assert notes == ["with fewer than 10 cases a bootstrap interval is too narrow"]


def test_the_metric_is_the_requested_column() -> None:
    (comparison,), _ = compare_tables(tables(MAIN, NEW), ComparisonOptions("hd95_mm"))
    assert comparison.differences == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
    assert comparison.metric.better == "less"


def test_every_table_is_compared_with_the_first_and_all_are_corrected() -> None:
    texts = [text + LESIONS for text in (MAIN, NEW, MAIN)]
    comparisons, _ = compare_tables(tables(*texts), ComparisonOptions())
    assert [(it.baseline, it.name, it.region, it.cases) for it in comparisons] == [
        ("main", "new", "lung", 6),
        ("main", "new", "infection", 2),
        ("main", "third", "lung", 6),
        ("main", "third", "infection", 2),
    ]
    assert [it.adjusted_p for it in comparisons] == [4 * 2 / 64, 1, 1, 1]


def test_only_requested_regions_are_compared_and_corrected_for() -> None:
    texts = [text + LESIONS for text in (MAIN, NEW)]
    (comparison,), _ = compare_tables(tables(*texts), ComparisonOptions(regions=("lung",)))
    assert comparison.adjusted_p == 2 / 64


def test_cases_of_only_one_table_are_listed() -> None:
    more = MAIN + "x,lung,0.5,1,9\ny,lung,0.5,1,9\nx,infection,0.5,1,9\n"
    comparisons, notes = compare_tables(
        tables(more + LESIONS, NEW + LESIONS + "z,lung,1,1,9\n"), ComparisonOptions()
    )
    assert [it.cases for it in comparisons] == [6, 2]
    assert notes[:3] == [
        "not in new, left out: x, y (lung)",
        "not in new, left out: x (infection)",
        "not in main, left out: z (lung)",
    ]


def test_a_region_of_only_one_table_is_listed() -> None:
    _, notes = compare_tables(tables(MAIN, NEW + LESIONS), ComparisonOptions())
    assert "not in main, left out: all cases (infection)" in notes


def test_pairs_that_are_undefined_or_infinite_are_counted() -> None:
    options = ComparisonOptions("hd95_mm", regions=("infection",))
    (comparison,), notes = compare_tables(tables(MAIN + LESIONS, NEW + LESIONS), options)
    assert (comparison.cases, comparison.left_out) == (1, 2)
    assert "left out, undefined or infinite: 2 of 3 pairs of new and main (infection)" in notes


def test_scores_against_different_masks_are_reported() -> None:
    moved = NEW.replace("c,lung,0.93,5,3000", "c,lung,0.93,5,3001")
    assert moved != NEW
    _, notes = compare_tables(tables(MAIN, moved), ComparisonOptions())
    assert ("main and new were scored against different masks: truth_ml differs for c") in notes
    # A difference in the last digit is rounding.
    _, notes = compare_tables(tables(MAIN, NEW.replace(",3000", ",3000.01")), ComparisonOptions())
    assert not any("masks" in note for note in notes)


def test_tables_without_true_volumes_can_be_compared() -> None:
    short = "case,region,dice\na,lung,0.5\n"
    (comparison,), notes = compare_tables(tables(short, short), ComparisonOptions())
    assert (comparison.cases, notes) == (1, [])


def test_tables_without_a_common_case_are_rejected() -> None:
    other = HEADER + "x,lung,0.5,1,9\n"
    assert error_of(MAIN, other) == (
        "tables must have a case in common, but main has a, b, c and 3 more and new has x; give "
        "tables of the same dataset"
    )


def test_tables_without_a_common_region_are_rejected() -> None:
    assert error_of(MAIN, HEADER + LESIONS) == (
        "a region must be in both tables, but new has no lung; it has infection"
    )


def test_an_unknown_region_is_rejected() -> None:
    assert error_of(MAIN, NEW, options=ComparisonOptions(regions=("lung", "heart"))) == (
        "a region must be in both tables, but main has no heart; it has lung"
    )


def test_an_unknown_metric_is_rejected() -> None:
    assert error_of(MAIN, NEW, options=ComparisonOptions("nsd")) == (
        "the metric must be a column of every table, but main has no nsd; "
        "all have dice, hd95_mm, truth_ml"
    )


def test_values_that_are_never_defined_in_both_tables_are_rejected() -> None:
    undefined = "case,region,dice\na,lung,\n"
    assert error_of(undefined, undefined) == (
        "a case must have a dice in both tables, but it is undefined or infinite in one of them "
        "for every case; choose another metric"
    )


def test_a_region_without_a_pair_is_reported_and_not_corrected_for() -> None:
    empty = "z,infection,,,0\n"
    (comparison,), notes = compare_tables(tables(MAIN + empty, NEW + empty), ComparisonOptions())
    assert (comparison.region, comparison.adjusted_p) == ("lung", 2 / 64)
    assert "left out, undefined or infinite: 1 of 1 pairs of new and main (infection)" in notes


def test_the_table_is_followed_by_sentences_and_methods() -> None:
    options = ComparisonOptions("hd95_mm")
    comparisons, _ = compare_tables(tables(MAIN, NEW), options)
    lines = comparison_table(comparisons, options).splitlines()
    assert lines[0] == "hd95_mm against main"
    assert lines[1].split() == [
        *("region", "table", "cases", "left", "out", "baseline", "mean", "difference"),
        *("low", "high", "p", "adjusted", "p", "effect"),
    ]
    row = lines[2].split()
    assert row[:7] == ["lung", "new", "6", "0", "2.5000", "6.0000", "3.5000"]
    assert row[9:] == ["0.0312", "0.0312", "1.0000"]
    assert lines[3] == ""
    assert lines[4].startswith("new is worse than main on lung: hd95_mm is higher by 3.50 mm")
    assert lines[6:] == [
        "low, high: 95 % BCa bootstrap interval of the mean difference over cases",
        "p: two-sided permutation test, all signs of the paired differences",
        "adjusted p: Holm's correction, number of comparisons: 1",
        "effect: matched-pairs rank-biserial correlation, from -1 to 1",
        "The comparison is between two trained models. Another seed may change scores as much; to",
        "compare settings, use tables of several seeds (thorax cross-validate --seeds --csv).",
    ]


def test_json_has_every_value_and_the_sentence() -> None:
    options = ComparisonOptions(test="wilcoxon")
    comparisons, _ = compare_tables(tables(MAIN + LESIONS, NEW + LESIONS), options)
    answer = json.loads(comparison_json(comparisons, options))
    lung, infection = answer.pop("comparisons")
    assert answer == {
        "metric": "dice",
        "absolute": False,
        "better": "more",
        "baseline": "main",
        "confidence": 0.95,
        "test": "wilcoxon",
    }
    assert lung.pop("conclusion").startswith("6 cases cannot show a difference")
    assert lung == {
        "region": "lung",
        "table": "new",
        "cases": 6,
        "left_out": 0,
        "baseline": 0.925,
        "mean": 0.935,
        "difference": 0.01,
        "low": 0.01,
        "high": 0.01,
        "interval_method": "percentile",
        "p": 0.03125,
        "adjusted_p": 0.0625,
        "least_adjusted_p": 0.0625,
        "exact": True,
        "effect": 1.0,
        "differences": dict.fromkeys("abcdef", 0.01),
    }
    assert infection["low"] is None
    assert infection["interval_method"] is None
    assert infection["effect"] is None
    assert not math.isnan(infection["p"])
