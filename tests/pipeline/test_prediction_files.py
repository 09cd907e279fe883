"""What the stage predict leaves for evaluate."""

import math
from pathlib import Path

import pytest

from thorax.pipeline.prediction_files import read_certainty, write_certainty


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_certainty_comes_back_as_it_was_written() -> None:
    """Of what was not found at all there is none."""
    write_certainty([("ann", "lung", 0.875), ("ann", "scar", None)])
    read = read_certainty()
    assert read["ann", "lung"] == 0.875
    assert math.isnan(read["ann", "scar"])
    assert len(read) == 2


def test_predictions_of_another_tool_bring_none() -> None:
    assert read_certainty() == {}
