"""Published results, by row."""

import math

import pytest

from thorax.experiments.benchmark.protocols import PROTOCOLS
from thorax.experiments.benchmark.published import BARTOLI, MA, MISCNN, RESULTS, SOURCES

VALUES = ("lung", "left", "right", "infection", "infection_nsd")


def test_every_row_has_a_source_and_every_source_an_address() -> None:
    assert {result.source for result in RESULTS} == set(SOURCES)
    assert all("https://doi.org/10." in source for source in SOURCES.values())


def test_every_row_states_which_cases_were_used_and_has_a_value() -> None:
    for result in RESULTS:
        assert result.cases
        values = [getattr(result, name) for name in VALUES]
        assert any(map(math.isfinite, values))
        assert all(0 < value < 1 for value in values if math.isfinite(value))
        assert result.protocol in {*PROTOCOLS, ""}


@pytest.mark.parametrize(
    ("source", "protocol", "infection"),
    [
        (MA, "swapped", [0.673, 0.609]),
        (MA, "published", [0.777]),
        (MA, "", [0.642, 0.588, 0.537]),
        (MISCNN, "", [0.761]),
        (BARTOLI, "", [0.70]),
    ],
)
def test_the_dice_of_infection_is_as_published(
    source: str, protocol: str, infection: list[float]
) -> None:
    assert [
        result.infection
        for result in RESULTS
        if (result.source, result.protocol) == (source, protocol)
        and math.isfinite(result.infection)
    ] == infection


def test_sides_have_the_names_of_our_regions() -> None:
    row = RESULTS[0].row()
    assert (row["left lung"], row["right lung"]) == (0.858, 0.879)
    assert math.isnan(row["lung"])
