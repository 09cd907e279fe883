"""The output of a benchmark as text and as JSON."""

import json
from collections.abc import Mapping

import pytest

from thorax.evaluation.summary import Intervals
from thorax.experiments.benchmark.protocols import PROTOCOLS
from thorax.experiments.benchmark.tables import (
    BenchmarkResults,
    benchmark_json,
    benchmark_text,
    published_text,
)
from thorax.experiments.summaries import Row

from .rows import row, rows

CASES = [f"case{number}" for number in range(8)]

OURS = {case: 0.75 + number / 64 for number, case in enumerate(CASES)}


def results(
    protocol: str = "published", others: Mapping[str, list[Row]] | None = None
) -> BenchmarkResults:
    ours = [
        row(case, region, dice, fold=number % 2)
        for number, (case, dice) in enumerate(OURS.items())
        for region in ("lung", "left lung", "right lung", "infection")
    ]
    return BenchmarkResults(
        protocol=PROTOCOLS[protocol],
        rows=ours,
        patients={},
        intervals=Intervals(resamples=200),
        others=others or {},
        notes=["folds 2 and 4: a patient is on both sides"],
    )


def test_the_text_begins_with_protocol_leak_and_table() -> None:
    lines = benchmark_text(results()).splitlines()
    assert lines[0].startswith("protocol published: published folds, 16 training and 4 test cases")
    assert lines[2] == "Note: folds 2 and 4: a patient is on both sides"
    assert lines[4] == "over all cases"
    assert lines[5].split() == [
        "masks", "region", "cases", "Dice", "SD", "low", "high", "NSD", "SD", "low", "high",
    ]  # fmt: skip
    assert [line.split("  ")[1].strip() for line in lines[6:10]] == [
        "lung",
        "left lung",
        "right lung",
        "infection",
    ]
    # The mean of 0.75 and 0.859375; the NSD is 0.125 less.
    assert lines[6].split()[:4] == ["thorax", "lung", "8", "0.8047"]
    assert "  0.6797  " in lines[6]


def test_folds_and_the_caution_about_noise_are_printed() -> None:
    text = benchmark_text(results())
    assert "mean Dice by fold\nseed  fold  cases    lung  left lung  right lung  infection" in text
    assert "   0     1      4  0.8125     0.8125      0.8125     0.8125" in text
    assert "a difference of 0.02 between two means of 20 cases is\nnoise" in text
    assert "NSD: surface Dice at 1 mm for lungs and 3 mm for infection" in text


@pytest.mark.parametrize(
    ("protocol", "same", "other"),
    [
        ("swapped", ["nnU-Net 3D, a network for lungs", "nnU-Net 2D"], "MIScnn"),
        ("published", ["nnU-Net 3D, a network for infection", "nnU-Net 3D, one"], "MIScnn"),
    ],
)
def test_published_results_of_the_same_protocol_are_separate(
    protocol: str, same: list[str], other: str
) -> None:
    first, second, sources = published_text(PROTOCOLS[protocol]).split("\n\n")
    assert first.startswith("published, same protocol: mean Dice; SD and NSD of infection\n")
    rows_of_first = first.splitlines()[2:]
    assert len(rows_of_first) == len(same)
    for line, method in zip(rows_of_first, same, strict=True):
        assert line.startswith(f"Ma 2021  {method}")
    assert second.startswith("published, other protocols, not comparable: mean Dice; SD and ")
    assert len(second.splitlines()) == 2 + 9 - len(same)
    assert other in second
    assert "https://doi.org/10.1002/mp.14676" in sources
    assert "one network collapsed" in sources


def test_no_published_results_are_by_patient() -> None:
    text = published_text(PROTOCOLS["patients"])
    assert text.startswith("no published results with this protocol are known\n\npublished, other")


def test_other_masks_are_compared_case_by_case() -> None:
    """Theirs are better by 1/32 in every case: 2 of 2^8 sign combinations are as extreme."""
    better = {case: dice + 1 / 32 for case, dice in OURS.items()}
    text = benchmark_text(results(others={"tool": rows("lung", better)}))
    assert "\ntool    lung            8  0.8359" in text
    assert "\ndice against thorax\nregion " in text
    assert (
        "tool is better than thorax on lung: dice is higher by 0.0312 on average over 8 cases"
        in text
    )


def test_regions_and_cases_that_a_tool_lacks_are_noted() -> None:
    text = benchmark_text(results(others={"tool": rows("lung", {"case0": 0.5, "case1": 0.5})}))
    assert "Note: not in tool, left out: case2, case3, case4, case5, case6, case7 (lung)" in text


def test_the_json_has_all_tables() -> None:
    content = json.loads(benchmark_json(results(others={"tool": rows("lung", OURS)})))
    assert (content["protocol"], content["split_method"]) == ("published", "covid19")
    assert len(content["cases"]) == 32
    assert list(content["masks"]) == ["tool"]
    assert [(it["masks"], it["region"]) for it in content["regions"]][-1] == ("tool", "lung")
    assert content["regions"][0]["dice_mean"] == pytest.approx(0.804688)
    assert content["comparison"]["comparisons"][0]["difference"] == 0
    assert content["published"][0]["infection"] == 0.673
    assert set(content["sources"]) == {"Ma 2021", "Müller 2021", "Bartoli 2022"}


def test_without_other_masks_nothing_is_compared() -> None:
    assert json.loads(benchmark_json(results()))["comparison"] is None
    assert "adjusted p" not in benchmark_text(results())
