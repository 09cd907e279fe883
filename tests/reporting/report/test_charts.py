"""Charts: points where they belong, undefined and infinite figures, names that leave room."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from thorax.reporting.report.charts import (
    SHARES,
    SURE,
    VOLUMES,
    _spread,
    agreement,
    distribution,
    learning,
    reliability,
)
from thorax.reporting.report.results import Results

from .runs import row


def points(svg: str) -> list[str]:
    """Return the links of a chart, in order."""
    return re.findall(r'<a [^>]*href="([^"]+)"', svg)


def test_every_case_is_a_point_that_leads_to_its_section(few: Results) -> None:
    chart = distribution(few, "dice")
    assert chart is not None
    assert sorted(points(chart.svg)) == ["#case-1", "#case-2", "#case-3"]
    hints = re.findall(r"<title>(.*?)</title>", chart.svg)
    assert sorted(hints) == ["a", "b", "c"]
    assert chart.words == "lung: median 0.800, from 0.700 to 0.900."


def test_an_infinite_figure_is_a_point_too_and_an_undefined_one_is_not(few: Results) -> None:
    rows = (row("a", hd95_mm=1.0), row("b", hd95_mm=np.inf), row("c"))
    chart = distribution(replace(few, rows=rows), "hd95_mm")
    assert chart is not None
    assert sorted(points(chart.svg)) == ["#case-1", "#case-2"]
    assert ">∞</text>" in chart.svg
    assert chart.words == "lung: median ∞, from 1.0 to ∞."


def test_only_infinite_figures_can_be_drawn(few: Results) -> None:
    chart = distribution(replace(few, rows=(row("a", hd95_mm=np.inf),)), "hd95_mm")
    assert chart is not None
    assert ">∞</text>" in chart.svg


def test_what_is_never_defined_is_not_drawn(few: Results) -> None:
    assert distribution(few, "lesion_sensitivity") is None
    assert agreement(few, "lung", SHARES) is None
    assert reliability(replace(few, calibration={"lung": ({"voxels": 0.0},)}), "lung") is None
    assert learning(replace(few, history=())) == []


def test_the_limits_of_agreement_are_told(few: Results) -> None:
    """Differences -10, 20, 30: mean 13.3, SD 20.8, so 13.3 ± 40.8."""
    chart = agreement(few, "lung", VOLUMES)
    assert chart is not None
    assert (
        "mean difference is 13, and 95 % of differences are expected from −27 to 54" in chart.words
    )


def test_certainty_is_set_against_the_dice_that_came_out(few: Results) -> None:
    """0.1 and 0.3 above: mean 0.2, SD 0.1414."""
    rows = (row("a", dice=0.8, certainty=0.9), row("b", dice=0.6, certainty=0.9))
    chart = agreement(replace(few, rows=rows), "lung", SURE)
    assert chart is not None
    assert chart.title == "lung: certainty against Dice"
    assert "mean difference is 0.200" in chart.words
    assert "from −0.077 to 0.477" in chart.words


def test_charts_take_nothing_from_the_document_and_give_it_nothing(many: Results) -> None:
    charts = [distribution(many, "dice"), distribution(many, "nsd"), *learning(many)]
    names: list[str] = []
    for chart in filter(None, charts):
        root = ElementTree.fromstring(chart.svg)
        names += [name for element in root.iter() if (name := element.get("id"))]
        assert not [element for element in root.iter() if element.tag.endswith("style")]
        assert "#010203" not in chart.svg
        assert "currentColor" in chart.svg
    assert len(names) == len(set(names))


def test_names_beyond_the_font_and_beyond_the_room_are_drawn(few: Results) -> None:
    """Text stays text, so that the reader's fonts show what matplotlib's own does not have."""
    rows = tuple(replace(one, region="肺" * 40) for one in few.rows)
    chart = distribution(replace(few, rows=rows, regions=("肺" * 40,)), "dice")
    assert chart is not None
    assert f">{'肺' * 21}…</text>" in chart.svg


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [-5.0, 1e300], [np.inf, 0.5]])
def test_points_stay_within_their_strip(values: list[float]) -> None:
    heights = _spread(values, 1.0)
    assert len(heights) == len(values)
    assert np.all(np.abs(heights) <= 0.28)
