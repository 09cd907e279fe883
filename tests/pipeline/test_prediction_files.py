"""Files that the stage `predict` writes for `evaluate`."""

import math
from pathlib import Path

import pytest

from thorax.pipeline.prediction_files import read_certainty, write_certainty


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_certainty_is_read_as_written() -> None:
    """An empty region has no certainty."""
    write_certainty([("ann", "lung", 0.875), ("ann", "scar", None)])
    read = read_certainty()
    assert read["ann", "lung"] == 0.875
    assert math.isnan(read["ann", "scar"])
    assert len(read) == 2


def test_predictions_of_other_tools_have_no_certainty() -> None:
    assert read_certainty() == {}
