"""Groups of scans by a column of the patients."""

from decimal import Decimal
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.evaluation.cohort.groups import group_scans
from thorax.evaluation.cohort.scans import Cohort, CohortScan, PatientValue


def cohort(*values: PatientValue | None) -> Cohort:
    """Return scans s0, s1 … whose patients have these values; None: no patient."""
    return Cohort(
        tuple(
            CohortScan(
                f"s{number}",
                "done",
                Path("a"),
                Path("b"),
                patient=None if value is None else {"stage": value},
            )
            for number, value in enumerate(values)
        ),
        ("age", "stage"),
    )


def names(*values: PatientValue | None) -> dict[str, list[str]]:
    groups = group_scans(cohort(*values), "stage").groups
    return {group: [scan.case for scan in scans] for group, scans in groups.items()}


def test_scans_are_grouped_and_those_without_a_value_come_last() -> None:
    assert names("b", "", "a", None, "b") == {
        "a": ["s2"],
        "b": ["s0", "s4"],
        "not stated": ["s1", "s3"],
    }


def test_numbers_are_sorted_by_value() -> None:
    assert list(names(Decimal(10), Decimal(9), "9-10", "GOLD 2")) == ["9", "9-10", "10", "GOLD 2"]


def test_eight_groups_are_the_most() -> None:
    assert len(names(*map(str, range(8)), None)) == 9
    with pytest.raises(InputError) as error:
        names(*map(str, range(9)))
    assert str(error.value) == (
        "--group must be a column with at most 8 values, but `stage` has 9: 0, 1, 2 and 6 more; "
        "add a column with classes, such as 40-59"
    )


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(InputError) as error:
        group_scans(cohort("a"), "sex")
    assert str(error.value) == "--group must be a column of the patients, age and stage, got `sex`"
