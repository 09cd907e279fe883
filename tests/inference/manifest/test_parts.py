"""Parts of a batch, from the command line and from the variables of job arrays."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.common.errors import InputError
from thorax.inference.manifest.parts import Part, parse_part, part_of_array


@given(count=st.integers(1, 9), length=st.integers(0, 30))
def test_parts_share_all_scans_evenly(count: int, length: int) -> None:
    scans = list(range(length))
    parts = [Part(number, count).select(scans) for number in range(1, count + 1)]
    assert sorted(scan for part in parts for scan in part) == scans
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "1/4/2", "one/two", "1.0/4"]
)
def test_a_part_that_is_none_is_named(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"such as 3/16, got {text!r}")):
        parse_part(text)


SLURM = {
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "15",
    "SLURM_ARRAY_TASK_STEP": "1",
    "SLURM_ARRAY_TASK_COUNT": "16",
}
GRID_ENGINE = {
    "SGE_TASK_ID": "5",
    "SGE_TASK_FIRST": "1",
    "SGE_TASK_LAST": "32",
    "SGE_TASK_STEPSIZE": "2",
}


@pytest.mark.parametrize(
    "environment",
    [
        SLURM,
        GRID_ENGINE,
        {"LSB_JOBINDEX": "3", "LSB_JOBINDEX_END": "16", "LSB_JOBINDEX_STEP": "1"},
        {"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "16"},
        {"JOB_COMPLETION_INDEX": "2", "THORAX_PARTS": "16"},
        {"PBS_ARRAY_INDEX": "3", "THORAX_PARTS": "16"},
        {"PBS_ARRAYID": "3", "THORAX_PARTS": "16"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_the_third_of_sixteen_tasks(environment: dict[str, str]) -> None:
    part = part_of_array(environment)
    assert part == Part(3, 16, next(iter(environment)))


@pytest.mark.parametrize(
    "environment", [{}, {"SGE_TASK_ID": "undefined"}, {"LSB_JOBINDEX": "0"}, {"THORAX_PARTS": "4"}]
)
def test_no_array(environment: dict[str, str]) -> None:
    assert part_of_array(environment) is None


@pytest.mark.parametrize("number", [3, 7])
def test_an_array_with_gaps_is_refused(number: int) -> None:
    """`--array=3,7` has two tasks, but part 3/16 is not the first half."""
    gaps = {
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_TASK_MIN": "3",
        "SLURM_ARRAY_TASK_MAX": "7",
        "SLURM_ARRAY_TASK_STEP": "1",
        "SLURM_ARRAY_TASK_COUNT": "2",
    }
    with pytest.raises(InputError, match=f"no gaps .* SLURM_ARRAY_TASK_ID is {number}; name the"):
        part_of_array(gaps)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PBS_ARRAY_INDEX": "3"}, "the number of tasks is unknown; set THORAX_PARTS"),
        ({"PBS_ARRAY_INDEX": "0", "THORAX_PARTS": "16"}, "start at 1, but PBS_ARRAY_INDEX is 0"),
        ({"PBS_ARRAY_INDEX": "17", "THORAX_PARTS": "16"}, "PBS_ARRAY_INDEX is 17"),
        ({"PBS_ARRAY_INDEX": "3", "THORAX_PARTS": "all"}, "THORAX_PARTS must be a whole number"),
        (SLURM | {"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID must be a whole number"),
        (GRID_ENGINE | {"SGE_TASK_ID": "4"}, "SGE_TASK_ID is 4"),
    ],
)
def test_variables_that_name_no_part(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        part_of_array(environment)
