"""The stage `prepare` writes one record per case, or names the case that cannot be used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.datasets.audit.measure import measure
from thorax.pipeline.prepare import main

Fails = Callable[[Callable[[], None]], str]


def test_each_case_gets_a_record_and_a_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    index = json.loads((project / "data/records/index.json").read_text())
    assert (index["dataset"], index["canvas"], index["crop"]) == ("chests", 8, "none")
    assert [entry["case"] for entry in index["records"]] == ["anna-1", "anna-2", "ben-1"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "ceiling" in line]
    assert lines == [
        "anna-1: 3 slices, ceiling of Dice: lung 1.0000, infection 1.0000",
        "anna-2: 3 slices, ceiling of Dice: lung 1.0000, infection 1.0000",
        "ben-1: 3 slices, ceiling of Dice: lung 1.0000, infection 1.0000",
    ]


def test_a_case_without_a_mask_is_named(project: Path, fails: Fails) -> None:
    (project / "data/chests/masks/ben-1.nii.gz").unlink()
    assert fails(main) == (
        "data/chests: ben-1: there is a scan, but no mask of this name; add its mask, or remove "
        "the scan [case-files]"
    )


def test_several_errors_have_one_line_each(
    project: Path, save_nifti: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "data/chests/scans/anna-1.nii.gz").write_bytes(b"no picture")
    save_nifti("data/chests/masks/ben-1.nii.gz", np.zeros((8, 6, 4), np.uint8))
    with pytest.raises(InputError) as raised:
        main()
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [
        "data/chests has 2 errors; `thorax data check` explains them:",
        "  anna-1",
        "  ben-1",
    ]
    assert not (project / "data/records").exists()


def test_the_audit_is_saved_and_its_measurements_are_reused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    kept = (project / "data/audit/audit.json").read_bytes()
    assert "WARNINGS" in capsys.readouterr().err
    assert str(project).encode() not in kept

    def fail(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("thorax.datasets.audit.audit.measure", fail)
    main()
    assert (project / "data/audit/audit.json").read_bytes() == kept


def test_other_source_code_measures_and_writes_everything_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main()
    results = [project / "data" / name for name in ("audit/audit.json", "records/ben-1.tfrecord")]
    before = [path.read_bytes() for path in results]
    written = results[1].stat().st_mtime_ns
    main()
    assert results[1].stat().st_mtime_ns == written

    measured = []
    monkeypatch.setattr(
        "thorax.datasets.audit.audit.measure",
        lambda name, *given: measured.append(name) or measure(name, *given),
    )
    monkeypatch.setattr("thorax.pipeline.source.source_digest", lambda: "of other code")
    main()
    assert sorted(measured) == ["anna-1", "anna-2", "ben-1"]
    assert results[1].stat().st_mtime_ns > written
    assert [path.read_bytes() for path in results] == before


def test_a_dataset_without_cases_is_rejected(project: Path, fails: Fails) -> None:
    for part in ("scans", "masks"):
        shutil.rmtree(project / "data/chests" / part)
        (project / "data/chests" / part).mkdir()
    assert fails(main) == "there is no NIfTI scan in data/chests/scans"


def test_a_mask_of_another_shape_is_named(
    project: Path, save_nifti: Callable[..., Path], fails: Fails
) -> None:
    save_nifti("data/chests/masks/ben-1.nii.gz", np.zeros((8, 6, 4), np.uint8))
    assert fails(main) == (
        "data/chests: ben-1: the mask has 8×6×4 voxels, its scan 8×6×3; create the mask from "
        "this scan again, or resample it to the grid of the scan [mask-geometry]"
    )
    assert not (project / "data/records/index.json").exists()


def test_records_that_cannot_be_written_are_reported(project: Path, fails: Fails) -> None:
    (project / "data/records").write_text("I am no folder")
    assert "cannot write data/records/" in fails(main)
    assert (project / "data/records").read_text() == "I am no folder"


def test_an_impossible_split_is_reported_before_any_scan_is_opened(
    project: Path, set_params: Callable[..., None], fails: Fails
) -> None:
    (project / "data/chests/scans/anna-1.nii.gz").write_bytes(b"no scan")
    set_params(split={"folds": 5})
    assert fails(main) == (
        "`folds: 5` needs as many patients, but there are 2; use -S split.folds=2 "
        "-S split.validation=0, or -S split.fold=none for a final model without test cases"
    )
    assert not (project / "data/audit").exists()
