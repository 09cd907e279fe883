"""Which cases are compared, and what is told of those that are not."""

import json
import math

import pytest

from thorax.common.errors import InputError
from thorax.experiments.comparison import (
    Question,
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
# Each better by one hundredth, and further from the truth by 1 mm to 6 mm.
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


def refusal(*texts: str, question: Question | None = None) -> str:
    with pytest.raises(InputError) as caught:
        compare_tables(tables(*texts), question or Question())
    return str(caught.value)


def test_cases_are_paired_by_name() -> None:
    (one,), notes = compare_tables(tables(MAIN, NEW), Question())
    assert one.differences == dict.fromkeys("abcdef", 0.01)
    assert (one.test.p, one.adjusted_p) == (2 / 64, 2 / 64)
    assert notes == ["below 10 cases a bootstrap interval is narrower than it says"]


def test_the_metric_is_the_column_asked_for() -> None:
    (one,), _ = compare_tables(tables(MAIN, NEW), Question("hd95_mm"))
    assert one.differences == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
    assert one.metric.better == "less"


def test_every_table_is_compared_against_the_first_and_all_are_corrected() -> None:
    texts = [text + LESIONS for text in (MAIN, NEW, MAIN)]
    comparisons, _ = compare_tables(tables(*texts), Question())
    assert [(one.baseline, one.name, one.region, one.cases) for one in comparisons] == [
        ("main", "new", "lung", 6),
        ("main", "new", "infection", 2),
        ("main", "third", "lung", 6),
        ("main", "third", "infection", 2),
    ]
    assert [one.adjusted_p for one in comparisons] == [4 * 2 / 64, 1, 1, 1]


def test_only_the_regions_asked_for_are_compared_and_corrected_for() -> None:
    texts = [text + LESIONS for text in (MAIN, NEW)]
    (one,), _ = compare_tables(tables(*texts), Question(regions=("lung",)))
    assert one.adjusted_p == 2 / 64


def test_cases_that_one_table_lacks_are_named() -> None:
    more = MAIN + "x,lung,0.5,1,9\ny,lung,0.5,1,9\nx,infection,0.5,1,9\n"
    comparisons, notes = compare_tables(
        tables(more + LESIONS, NEW + LESIONS + "z,lung,1,1,9\n"), Question()
    )
    assert [one.cases for one in comparisons] == [6, 2]
    assert notes[:3] == [
        "not in new, so left out: x, y (lung)",
        "not in new, so left out: x (infection)",
        "not in main, so left out: z (lung)",
    ]


def test_a_region_that_one_table_lacks_is_named() -> None:
    _, notes = compare_tables(tables(MAIN, NEW + LESIONS), Question())
    assert "not in main, so left out: every case (infection)" in notes


def test_pairs_that_are_undefined_or_infinite_are_counted() -> None:
    question = Question("hd95_mm", regions=("infection",))
    (one,), notes = compare_tables(tables(MAIN + LESIONS, NEW + LESIONS), question)
    assert (one.cases, one.left_out) == (1, 2)
    assert "left out, undefined or infinite: 2 of 3 pairs of new and main (infection)" in notes


def test_scores_against_other_masks_are_noticed() -> None:
    moved = NEW.replace("c,lung,0.93,5,3000", "c,lung,0.93,5,3001")
    assert moved != NEW
    _, notes = compare_tables(tables(MAIN, moved), Question())
    assert ("main and new were scored against different masks: truth_ml differs for c") in notes
    # A last digit is rounding.
    _, notes = compare_tables(tables(MAIN, NEW.replace(",3000", ",3000.01")), Question())
    assert not any("masks" in note for note in notes)


def test_tables_without_true_volumes_can_be_compared() -> None:
    short = "case,region,dice\na,lung,0.5\n"
    (one,), notes = compare_tables(tables(short, short), Question())
    assert (one.cases, notes) == (1, [])


def test_tables_without_a_case_in_common_are_refused() -> None:
    other = HEADER + "x,lung,0.5,1,9\n"
    assert refusal(MAIN, other) == (
        "tables must have a case in common, but main has a, b, c, … and new has x"
    )


def test_tables_without_a_region_in_common_are_refused() -> None:
    assert refusal(MAIN, HEADER + LESIONS) == (
        "a region must be in both tables, but new has no lung; it has infection"
    )


def test_an_unknown_region_is_refused() -> None:
    assert refusal(MAIN, NEW, question=Question(regions=("lung", "heart"))) == (
        "a region must be in both tables, but main has no heart; it has lung"
    )


def test_an_unknown_metric_is_refused() -> None:
    assert refusal(MAIN, NEW, question=Question("nsd")) == (
        "the metric must be a column of every table, but main has no nsd; "
        "all have dice, hd95_mm, truth_ml"
    )


def test_figures_that_are_never_defined_on_both_sides_are_refused() -> None:
    nothing = "case,region,dice\na,lung,\n"
    assert refusal(nothing, nothing) == (
        "a case must have a dice in both tables, but it is undefined or infinite in one of them "
        "for every case"
    )


def test_a_region_without_a_pair_is_told_of_and_not_corrected_for() -> None:
    empty = "z,infection,,,0\n"
    (one,), notes = compare_tables(tables(MAIN + empty, NEW + empty), Question())
    assert (one.region, one.adjusted_p) == ("lung", 2 / 64)
    assert "left out, undefined or infinite: 1 of 1 pairs of new and main (infection)" in notes


def test_the_table_is_followed_by_sentences_and_methods() -> None:
    question = Question("hd95_mm")
    comparisons, _ = compare_tables(tables(MAIN, NEW), question)
    lines = comparison_table(comparisons, question).splitlines()
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
        "adjusted p: Holm's, number of comparisons: 1",
        "effect: matched-pairs rank-biserial correlation, from -1 to 1",
        "what is told apart are models: another seed of one recipe may differ as much, so recipes",
        "need tables of several seeds (thorax cross-validate --seeds --csv)",
    ]


def test_json_has_every_figure_and_the_sentence() -> None:
    question = Question(test="wilcoxon")
    comparisons, _ = compare_tables(tables(MAIN + LESIONS, NEW + LESIONS), question)
    said = json.loads(comparison_json(comparisons, question))
    lung, infection = said.pop("comparisons")
    assert said == {
        "metric": "dice",
        "absolute": False,
        "better": "more",
        "baseline": "main",
        "confidence": 0.95,
        "test": "wilcoxon",
    }
    assert lung.pop("conclusion").startswith("6 cases cannot show at 0.05")
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
