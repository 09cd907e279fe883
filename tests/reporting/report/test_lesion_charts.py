"""Dice by true volume: points, text, and the logarithmic axis."""

import math
import re
from dataclasses import replace

import pytest

from thorax.reporting.report.charts import Chart
from thorax.reporting.report.lesion_charts import volume_chart
from thorax.reporting.report.results import Results

from .runs import row


def chart_of(results: Results, *pairs: tuple[float, float]) -> Chart | None:
    """Return the chart of cases with these true volumes and Dice."""
    rows = (
        row(f"case-{number}", truth_ml=volume_ml, dice=dice)
        for number, (volume_ml, dice) in enumerate(pairs)
    )
    return volume_chart(replace(results, rows=tuple(rows)), "lung")


def labels(chart: Chart) -> list[float]:
    """Return the labelled volumes: the numbers above 1, those up to 1 may be of the Dice."""
    numbers = map(float, re.findall(r">([\d.]+)</text>", chart.svg))
    return sorted(number for number in numbers if number > 1)


def test_each_case_with_volume_and_dice_is_a_point(few: Results) -> None:
    chart = chart_of(few, (0.5, 0.2), (5.0, 0.5), (1500.0, 0.9), (0.0, 0.0), (3.0, math.nan))
    assert chart is not None
    links = re.findall(r'<a [^>]*href="([^"]+)"', chart.svg)
    assert sorted(links) == ["#case-1", "#case-2", "#case-3"]
    assert chart.text == (
        "3 cases of 0.5 to 1,500 mL; 2 cases without a true volume or Dice are left out."
    )


def test_halves_of_the_cases_are_compared(few: Results) -> None:
    """The median of 0.1 and 0.3, and of 0.7 and 0.9; the case in the middle is in no half."""
    chart = chart_of(few, (300, 0.9), (1, 0.1), (2, 0.3), (40, 0.4), (200, 0.7))
    assert chart is not None
    assert chart.text == (
        "5 cases of 1 to 300 mL; median Dice 0.200 in the smaller half and 0.800 in the larger "
        "half."
    )


def test_without_volumes_there_is_no_chart(few: Results) -> None:
    assert chart_of(few, (0.0, 0.0), (math.nan, 0.5)) is None


@pytest.mark.parametrize(
    ("volumes_ml", "expected"),
    [((7.0, 7.0), [5, 10, 20]), ((20.0, 900.0), [20, 50, 100, 200, 500, 1000]),
     ((0.5, 900.0), [10, 100, 1000])],
)  # fmt: skip
def test_the_axis_has_labels_for_any_range(
    few: Results, volumes_ml: tuple[float, float], expected: list[float]
) -> None:
    chart = chart_of(few, *((volume_ml, 0.5) for volume_ml in volumes_ml))
    assert chart is not None
    assert labels(chart) == expected
