"""Groups of scans by a column of the patients."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.evaluation.cohort.scans import Cohort, CohortScan

MOST_GROUPS = 8
"""Most groups that a chart can show."""

UNGROUPED = "not stated"
"""Name of the scans without a value."""


@dataclass(frozen=True)
class Grouping:
    """Scans in groups.

    Args:
        column: Column of the patients.
        groups: Name of each group → its scans.
    """

    column: str
    groups: Mapping[str, tuple[CohortScan, ...]]


_NUMBER = re.compile(r"(\d+)")


def group_scans(cohort: Cohort, column: str) -> Grouping:
    """Group the scans by the values of a column; scans without a value are the last group.

    Raises:
        InputError: There is no such column, or it has more than `MOST_GROUPS` values.
    """
    if column not in cohort.patient_columns:
        raise InputError(
            f"--group must be a column of the patients, {listed(cohort.patient_columns)}, got "
            f"`{column}`"
        )
    groups: dict[str, list[CohortScan]] = {}
    for scan in cohort.scans:
        groups.setdefault(_value(scan, column), []).append(scan)
    if len(groups.keys() - {UNGROUPED}) > MOST_GROUPS:
        raise InputError(
            f"--group must be a column with at most {MOST_GROUPS} values, but `{column}` has "
            f"{len(groups.keys() - {UNGROUPED})}: {listed(sorted(groups), at_most=3)}; add a "
            "column with classes, such as 40-59"
        )
    names = sorted(groups, key=lambda name: (name == UNGROUPED, _natural(name)))
    return Grouping(column, {name: tuple(groups[name]) for name in names})


def _value(scan: CohortScan, column: str) -> str:
    return str((scan.patient or {}).get(column, "")).strip() or UNGROUPED


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that orders 9 before 10.

    Example:
        >>> sorted(["stage 10", "stage 9", "none"], key=_natural)
        ['none', 'stage 9', 'stage 10']
    """
    return [
        (int(part), "") if part.isdecimal() else (-1, part.lower()) for part in _NUMBER.split(name)
    ]
