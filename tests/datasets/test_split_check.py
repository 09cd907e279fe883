"""Splits are checked by the file names of a dataset; other problems are left to the audit."""

from dataclasses import replace
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.common.params import load_params
from thorax.datasets.split_check import check_split, members_in

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


def test_members_have_patients_and_no_scan_is_opened(study: Path) -> None:
    (study / "scans/anna-1.nii.gz").write_bytes(b"")
    assert [(member.case, member.patient) for member in members_in(study)] == [
        ("anna-1", "anna"),
        ("anna-2", "anna"),
        ("ben-1", "ben"),
    ]


@pytest.mark.parametrize("part", ["scans", "masks"])
def test_a_missing_file_does_not_change_the_number_of_patients(study: Path, part: str) -> None:
    (study / part / "ben-1.nii.gz").unlink()
    split = replace(PARAMS.split, folds=2, validation=0.0)
    check_split(study, replace(PARAMS, split=split))


def test_an_impossible_split_is_refused(study: Path) -> None:
    with pytest.raises(InputError, match="`folds: 5` needs as many patients, but there are 2"):
        check_split(study, PARAMS)


@pytest.mark.parametrize("damage", ["no folder", "no masks", "pattern"])
def test_problems_of_the_dataset_are_left_to_the_audit(study: Path, damage: str) -> None:
    if damage == "no masks":
        for path in (study / "masks").iterdir():
            path.unlink()
        (study / "masks").rmdir()
    if damage == "pattern":
        (study / "dataset.yaml").write_text("regions: {lung: [1]}\npatient: '(x)'\n")
    check_split(study / "gone" if damage == "no folder" else study, PARAMS)
