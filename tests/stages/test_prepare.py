"""Preparing: a record a case, or one line that says which case will not do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.stages.prepare import main

Fails = Callable[[Callable[[], None]], str]


def test_each_case_gets_a_record_and_a_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    index = json.loads((project / "data/records/index.json").read_text())
    assert (index["dataset"], index["canvas"], index["crop"]) == ("chests", 8, "none")
    assert [entry["case"] for entry in index["records"]] == ["anna-1", "anna-2", "ben-1"]
    told = [line for line in capsys.readouterr().err.splitlines() if "ceiling" in line]
    assert told == [
        "anna-1: 3 planes, ceiling of Dice: lung 1.0000, infection 1.0000",
        "anna-2: 3 planes, ceiling of Dice: lung 1.0000, infection 1.0000",
        "ben-1: 3 planes, ceiling of Dice: lung 1.0000, infection 1.0000",
    ]


def test_a_case_without_a_mask_is_named(project: Path, fails: Fails) -> None:
    (project / "data/chests/masks/ben-1.nii.gz").unlink()
    assert fails(main) == "every case needs a scan and a mask of one name, but ben-1 has no mask"


def test_a_dataset_without_cases_is_refused(project: Path, fails: Fails) -> None:
    for part in ("scans", "masks"):
        shutil.rmtree(project / "data/chests" / part)
        (project / "data/chests" / part).mkdir()
    assert fails(main) == "there is no NIfTI scan in data/chests/scans"


def test_a_mask_of_another_shape_is_named(
    project: Path, save_nifti: Callable[..., Path], fails: Fails
) -> None:
    save_nifti("data/chests/masks/ben-1.nii.gz", np.zeros((8, 6, 4), np.uint8))
    assert fails(main) == (
        "case `ben-1`: a mask must have the shape of its scan, but "
        "data/chests/masks/ben-1.nii.gz has (8, 6, 4) and "
        "data/chests/scans/ben-1.nii.gz has (8, 6, 3)"
    )
    assert not (project / "data/records/index.json").exists()


def test_records_that_cannot_be_written_are_told_of(project: Path, fails: Fails) -> None:
    (project / "data/records").write_text("I am no folder")
    assert "cannot write data/records/" in fails(main)
    assert (project / "data/records").read_text() == "I am no folder"
