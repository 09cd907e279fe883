"""Parts of a batch that run on several machines, as the tasks of a job array."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from thorax.common.errors import InputError

Item = TypeVar("Item")

COUNT_VARIABLE = "THORAX_PARTS"
"""Number of parts, for systems whose array tasks know their own index only."""


@dataclass(frozen=True)
class Part:
    """One of several parts of a batch.

    Args:
        number: Number of the part, from 1.
        count: Number of parts.
        source: Variable that the number was taken from; empty if the user has given it.
    """

    number: int
    count: int
    source: str = ""

    def select(self, items: Sequence[Item]) -> list[Item]:
        """Return the items of this part: every ``count``-th one, so that sizes are alike.

        Example:
            >>> Part(2, 3).select("abcdefg")
            ['b', 'e']
        """
        return list(items[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class _ArrayVariables:
    """Environment variables of a job array.

    Args:
        index: Index of the task.
        first: Lowest index, as a number or a variable.
        last: Highest index; empty if the system does not set it.
        step: Distance of two indices.
        size: Number of tasks.
    """

    index: str
    first: str = "1"
    last: str = ""
    step: str = ""
    size: str = ""


_SYSTEMS = (
    _ArrayVariables(
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
        "SLURM_ARRAY_TASK_COUNT",
    ),
    _ArrayVariables("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    _ArrayVariables("LSB_JOBINDEX", "1", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP"),
    _ArrayVariables("AWS_BATCH_JOB_ARRAY_INDEX", "0", size="AWS_BATCH_JOB_ARRAY_SIZE"),
    _ArrayVariables("JOB_COMPLETION_INDEX", "0"),
    _ArrayVariables("PBS_ARRAY_INDEX"),
    _ArrayVariables("PBS_ARRAYID"),
)
"""SLURM, Grid Engine, LSF, AWS Batch, Kubernetes, OpenPBS, Torque. The manuals of the last three
name no variable with the number of tasks."""

_NO_ARRAY = frozenset({"", "undefined"})


def parse_part(text: str) -> Part:
    """Parse a part such as ``3/16``.

    Raises:
        InputError: It has another form, or the number is not within the count.

    Example:
        >>> parse_part("3/16")
        Part(number=3, count=16, source='')
    """
    match = re.fullmatch("([0-9]+)/([0-9]+)", text.strip(), re.ASCII)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(
            f"a part must be NUMBER/COUNT, with a number from 1 to the count such as 3/16, got "
            f"{text!r}"
        )
    return Part(int(match[1]), int(match[2]))


def part_of_array(environment: Mapping[str, str] = os.environ) -> Part | None:
    """Return the part of this task of a job array; None outside of an array.

    Args:
        environment: Environment variables.

    Raises:
        InputError: The variables do not tell the number of parts, or the array has gaps.

    Example:
        >>> part_of_array({"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "16"})
        Part(number=3, count=16, source='AWS_BATCH_JOB_ARRAY_INDEX')
    """
    for system in _SYSTEMS:
        # Outside of an array, Grid Engine sets "undefined" and LSF sets 0.
        index = environment.get(system.index, "")
        if index not in _NO_ARRAY and (system.index, index) != ("LSB_JOBINDEX", "0"):
            return _part(system, environment)
    return None


def _part(system: _ArrayVariables, environment: Mapping[str, str]) -> Part:
    index, first, step = (
        _number(name, environment) for name in (system.index, system.first, system.step or "1")
    )
    position, remainder = divmod(index - first, step)
    count = _count(system, environment, first, step)
    if remainder or not 0 <= position < count:
        raise InputError(
            f"the indices of an array must have no gaps and start at {first}, but {system.index} "
            f"is {index}; name the part, for example --part 3/16"
        )
    return Part(position + 1, count, system.index)


def _count(system: _ArrayVariables, environment: Mapping[str, str], first: int, step: int) -> int:
    counts = set()
    if system.size in environment:
        counts.add(_number(system.size, environment))
    if system.last in environment:
        counts.add((_number(system.last, environment) - first) // step + 1)
    if not counts and COUNT_VARIABLE in environment:
        counts.add(_number(COUNT_VARIABLE, environment))
    if counts:
        # The indices 3 and 7 alone are two tasks, but 3 to 7 would be five.
        return min(counts) if len(counts) == 1 else 0
    raise InputError(
        f"this is a task of an array ({system.index}), but the number of tasks is unknown; set "
        f"{COUNT_VARIABLE} to it, or name the part, for example --part 3/16 (--part 1/1 segments "
        "all scans)"
    )


def _number(name: str, environment: Mapping[str, str]) -> int:
    """Return a number, or the value of the variable with this name; 1 for a step not set."""
    if name.isdecimal():
        return int(name)
    text = environment.get(name, "1")
    if not re.fullmatch("[0-9]+", text, re.ASCII):
        raise InputError(f"{name} must be a whole number, got {text!r}; name the part with --part")
    return int(text)
