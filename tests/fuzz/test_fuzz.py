"""A few damaged files for each reader, the same each time; `run.py` makes them by the thousand."""

import pytest

from .readers import READERS
from .trying import attempt, input_of, outcomes

RUNS = {"keras": 4, "openvino": 10}


@pytest.mark.parametrize("name", READERS)
def test_good_files_are_read_and_damaged_ones_are_read_or_refused(name: str) -> None:
    assert [attempt(READERS[name], seed) for seed in READERS[name].seeds()] == ["ok"] * len(
        READERS[name].seeds()
    )
    found = list(outcomes(name, 0, range(RUNS.get(name, 25))))
    assert set(found) <= {"ok", "refused"}, found
    assert "refused" in found


def test_a_number_makes_the_same_file_again() -> None:
    assert input_of("nifti", 5, 17) == input_of("nifti", 5, 17)
    assert input_of("nifti", 5, 17) != input_of("nifti", 5, 18)


def test_what_is_neither_read_nor_refused_is_found() -> None:
    def break_off(path: object) -> None:
        raise KeyError(path)

    from dataclasses import replace

    assert attempt(replace(READERS["scores"], read=break_off), b"").startswith("KeyError: ")
