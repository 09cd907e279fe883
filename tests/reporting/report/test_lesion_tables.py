"""Lesions by size, and false positives on scans without the region."""

from dataclasses import replace

import pytest

from thorax.evaluation.lesion_rows import LesionRow
from thorax.evaluation.lesions import Lesion
from thorax.reporting.report.lesion_tables import (
    empty_truth_sentences,
    empty_truth_table,
    lesion_regions,
    size_table,
)
from thorax.reporting.report.markdown import render_markdown
from thorax.reporting.report.results import Results
from thorax.reporting.report.sections import lesion_section
from thorax.reporting.report.tables import ReportTable

from .runs import params_of, row

NOT_MEASURED = (
    "No test case is without scar: false positives on scans without it were not measured."
)


def cells(table: ReportTable | None) -> list[list[str]]:
    """Return the text of each row, with the small print in parentheses."""
    assert table is not None
    return [
        [f"{cell.text} ({cell.detail})" if cell.detail else cell.text for cell in row]
        for group in table.groups
        for row in group
    ]


@pytest.fixture(scope="module")
def scored(few: Results) -> Results:
    """Return two cases with a scar, one of them missed, and two cases without."""
    lesions = (
        LesionRow("a", "scar", Lesion("truth", 5.0, 0.6, True)),
        LesionRow("a", "scar", Lesion("predicted", 3.0, 1.0, True)),
        LesionRow("b", "scar", Lesion("truth", 2.0, 0.0, False)),
        LesionRow("c", "scar", Lesion("predicted", 0.5, 0.0, False)),
        LesionRow("c", "scar", Lesion("predicted", 0.25, 0.0, False)),
        LesionRow("a", "other", Lesion("truth", 5.0, 0.6, True)),
    )
    return replace(
        few,
        regions=("lung", "scar"),
        rows=(
            row("a", "lung", dice=0.9, truth_ml=9.0, predicted_ml=9.0),
            row("a", "scar", dice=0.75, truth_ml=5.0, lesions=1.0, lesions_predicted=1.0),
            row("b", "scar", dice=0.0, truth_ml=2.0, lesions=1.0, lesions_predicted=0.0),
            row("c", "scar", truth_ml=0.0, predicted_ml=0.75, lesions=0.0, lesions_predicted=2.0),
            row("d", "scar", truth_ml=0.0, predicted_ml=0.0, lesions=0.0, lesions_predicted=0.0),
        ),
        summary={},
        lesions=lesions,
    )


def test_detection_by_size_is_counted_by_eye(scored: Results) -> None:
    """Wilson's interval of 1 of 2 is 0.095 to 0.905; two false positives on four scans."""
    assert lesion_regions(scored) == ["scar"]
    none = ["0", "0", "–", "–"]
    detected = ["2", "1", "0.500 (0.095 to 0.905)", "0.300"]
    assert cells(size_table(scored)) == [
        ["scar", "< 0.1", *none, "0", "0", "0.00"],
        ["scar", "0.1 to 1", *none, "2", "2", "0.50"],
        ["scar", "1 to 10", *detected, "1", "0", "0.00"],
        ["scar", "≥ 10", *none, "0", "0", "0.00"],
        ["scar", "all", *detected, "3", "2", "0.50"],
    ]


def test_the_interval_has_the_confidence_of_the_parameters(scored: Results) -> None:
    """With 90 %, z is 1.645: 0.5 ± 1.645 / √(4 · 2) / √(1 + 1.645² / 2)."""
    table = size_table(replace(scored, params=params_of(confidence=0.9)))
    assert table is not None
    assert cells(table)[2][4] == "0.500 (0.121 to 0.879)"
    assert table.notes[0].startswith("Sensitivity is given with its 90 % interval (Wilson)")


def test_all_of_the_prediction_is_false_where_the_truth_is_empty(scored: Results) -> None:
    """Two components of 0.75 mL on one of two scans."""
    assert cells(empty_truth_table(scored)) == [["scar", "2", "1", "1.0", "0.38"]]
    assert empty_truth_sentences(scored) == ()


def test_without_such_a_scan_a_sentence_says_so(scored: Results) -> None:
    diseased = replace(scored, rows=scored.rows[:3])
    assert empty_truth_table(diseased) is None
    assert empty_truth_sentences(diseased) == (NOT_MEASURED,)
    assert NOT_MEASURED in lesion_section(diseased).paragraphs
    assert NOT_MEASURED in render_markdown(diseased)


def test_the_markdown_has_the_same_tables(scored: Results) -> None:
    text = render_markdown(scored)
    assert "| scar | 1 to 10 | 2 | 1 | 0.500 (0.095 to 0.905) | 0.300 | 1 | 0 | 0.00 |" in text
    assert "| scar | 2 | 1 | 1.0 | 0.38 |" in text
    assert "No test case is without" not in text


def test_regions_that_were_not_scored_by_lesion_have_no_table(few: Results) -> None:
    assert size_table(few) is None
    assert empty_truth_table(few) is None
    section = lesion_section(few)
    assert section.paragraphs == (
        "No region was scored lesion by lesion: `evaluate.lesions` names none of them.",
    )
    assert (section.tables, section.charts) == ((), ())


def test_a_missing_list_of_lesions_is_named(scored: Results) -> None:
    section = lesion_section(replace(scored, lesions=None))
    assert section.paragraphs == ("reports/lesions.csv is missing.",)
    assert [table.caption for table in section.tables] == [
        "False positives on scans without the region"
    ]
