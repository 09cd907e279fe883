"""Some damaged files for each reader, always the same; `run.py` makes thousands."""

import pytest

from .readers import READERS
from .trying import attempt, input_of, outcomes

RUNS = {"keras": 4, "openvino": 10}


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read_and_damaged_ones_are_read_or_rejected(name: str) -> None:
    assert [attempt(READERS[name], seed) for seed in READERS[name].seeds()] == ["ok"] * len(
        READERS[name].seeds()
    )
    results = list(outcomes(name, 0, range(RUNS.get(name, 25))))
    assert set(results) <= {"ok", "rejected"}, results
    assert "rejected" in results


def test_a_number_determines_the_file() -> None:
    assert input_of("nifti", 5, 17) == input_of("nifti", 5, 17)
    assert input_of("nifti", 5, 17) != input_of("nifti", 5, 18)


def test_other_errors_are_findings() -> None:
    def fail(path: object) -> None:
        raise KeyError(path)

    from dataclasses import replace

    assert attempt(replace(READERS["scores"], read=fail), b"").startswith("KeyError: ")
