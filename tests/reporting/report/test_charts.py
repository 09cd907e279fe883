"""Charts: points and links, undefined and infinite values, long names."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from thorax.reporting.report.charts import (
    CERTAINTY_AGREEMENT,
    SHARE_AGREEMENT,
    VOLUME_AGREEMENT,
    agreement_chart,
    distribution_chart,
    jitter,
    reliability_chart,
)
from thorax.reporting.report.results import Results
from thorax.reporting.report.training_charts import training_charts

from .runs import row


def links(svg: str) -> list[str]:
    """Return the links of a chart, in order."""
    return re.findall(r'<a [^>]*href="([^"]+)"', svg)


def test_every_case_is_a_point_that_links_to_its_section(few: Results) -> None:
    chart = distribution_chart(few, "dice")
    assert chart is not None
    assert sorted(links(chart.svg)) == ["#case-1", "#case-2", "#case-3"]
    hints = re.findall(r"<title>(.*?)</title>", chart.svg)
    assert sorted(hints) == ["a", "b", "c"]
    assert chart.text == "lung: median 0.800, range 0.700 to 0.900."


def test_an_infinite_value_is_a_point_and_an_undefined_one_is_not(few: Results) -> None:
    rows = (row("a", hd95_mm=1.0), row("b", hd95_mm=np.inf), row("c"))
    chart = distribution_chart(replace(few, rows=rows), "hd95_mm")
    assert chart is not None
    assert sorted(links(chart.svg)) == ["#case-1", "#case-2"]
    assert ">∞</text>" in chart.svg
    assert chart.text == "lung: median ∞, range 1.0 to ∞."


def test_sites_that_share_a_marker_are_all_named(few: Results) -> None:
    """There are eight markers, so the ninth site has that of the first."""
    rows = tuple(row(f"case-{site}", site=f"site {site}", dice=0.5) for site in range(1, 11))
    chart = distribution_chart(replace(few, rows=rows), "dice")
    assert chart is not None
    assert re.findall(r">(site [^<]*)</text>", chart.svg) == [
        "site 1, site 8", "site 10, site 9",
        *(f"site {site}" for site in range(2, 8)),
    ]  # fmt: skip


def test_only_infinite_values_can_be_drawn(few: Results) -> None:
    chart = distribution_chart(replace(few, rows=(row("a", hd95_mm=np.inf),)), "hd95_mm")
    assert chart is not None
    assert ">∞</text>" in chart.svg


def test_values_that_are_never_defined_are_not_drawn(few: Results) -> None:
    assert distribution_chart(few, "lesion_sensitivity") is None
    assert agreement_chart(few, "lung", SHARE_AGREEMENT) is None
    assert reliability_chart(replace(few, calibration={"lung": ({"voxels": 0.0},)}), "lung") is None
    assert training_charts(replace(few, history=())) == []


def test_the_limits_of_agreement_are_stated(few: Results) -> None:
    """Differences -10, 20, 30: mean 13.3, SD 20.8, so 13.3 ± 40.8."""
    chart = agreement_chart(few, "lung", VOLUME_AGREEMENT)
    assert chart is not None
    assert chart.text == "3 cases: mean difference 13, limits of agreement −27 to 54."


def test_certainty_is_compared_with_the_dice(few: Results) -> None:
    """Differences 0.1 and 0.3: mean 0.2, SD 0.1414."""
    rows = (row("a", dice=0.8, certainty=0.9), row("b", dice=0.6, certainty=0.9))
    chart = agreement_chart(replace(few, rows=rows), "lung", CERTAINTY_AGREEMENT)
    assert chart is not None
    assert chart.title == "lung: certainty minus Dice"
    assert chart.text == "2 cases: mean difference 0.200, limits of agreement −0.077 to 0.477."


def test_charts_share_no_names_or_styles_with_the_page(many: Results) -> None:
    charts = [
        distribution_chart(many, "dice"),
        distribution_chart(many, "nsd"),
        *training_charts(many),
    ]
    names: list[str] = []
    for chart in filter(None, charts):
        root = ElementTree.fromstring(chart.svg)
        names += [name for element in root.iter() if (name := element.get("id"))]
        assert not [element for element in root.iter() if element.tag.endswith("style")]
        assert "#010203" not in chart.svg
        assert "currentColor" in chart.svg
    assert len(names) == len(set(names))


def test_long_names_and_missing_glyphs_are_drawn(few: Results) -> None:
    """Text stays text, so that the reader's fonts supply missing glyphs."""
    rows = tuple(replace(old, region="肺" * 40) for old in few.rows)
    chart = distribution_chart(replace(few, rows=rows, regions=("肺" * 40,)), "dice")
    assert chart is not None
    assert f">{'肺' * 21}…</text>" in chart.svg


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [-5.0, 1e300], [np.inf, 0.5]])
def test_points_stay_within_their_strip(values: list[float]) -> None:
    heights = jitter(values, 1.0)
    assert len(heights) == len(values)
    assert np.all(np.abs(heights) <= 0.28)
