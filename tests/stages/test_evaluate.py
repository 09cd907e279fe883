"""Evaluating: figures that can be counted by eye, on the grid of the scan."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.overlap import Overlap
from thorax.scores import Score
from thorax.stages import prepare
from thorax.stages.evaluate import main, table

Fails = Callable[[Callable[[], None]], str]


@pytest.fixture
def prepared(project: Path) -> Path:
    prepare.main()
    (project / "data/predictions").mkdir()
    return project


def predict(project: Path, case: str, mask: np.ndarray, save: Callable[..., Path]) -> None:
    save(project / f"data/predictions/{case}.nii.gz", mask)


def test_the_truth_itself_scores_1(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case in ("anna-1", "ben-1"):
        shutil.copy(f"data/chests/masks/{case}.nii.gz", "data/predictions")
    main()
    metrics = json.loads((prepared / "reports/metrics.json").read_text())
    for region in ("lung", "infection"):
        assert metrics[region]["dice"] == {"mean": 1.0, "median": 1.0, "sd": 0.0, "pooled": 1.0}
        assert metrics[region]["ceiling_dice"] == 1.0
        assert metrics[region]["cases"] == 2
    assert capsys.readouterr().err.count("1.0000") == 12


def test_half_a_lung_too_little_is_counted_by_eye(
    prepared: Path, save_nifti: Callable[..., Path]
) -> None:
    """The lung of ben-1 has 2×4×3 voxels and 4 infected ones; a voxel has 1.6 µL."""
    found = np.zeros((8, 6, 3), np.uint8)
    found[2:4, 1:5, 0] = 1
    save_nifti("data/predictions/ben-1.nii.gz", found)
    main()
    # Lung: 8 found of 24 + 4 true ones. Dice 2·8 / (8 + 28), IoU 8 / 28.
    assert (prepared / "reports/scores.csv").read_text() == (
        "case,region,dice,iou,truth_ml,predicted_ml,ceiling_dice\n"
        "ben-1,lung,0.444444,0.285714,0.0448,0.0128,1\n"
        "ben-1,infection,0,0,0.0064,0,1\n"
    )


def test_pictures_of_another_run_are_gone(prepared: Path) -> None:
    (prepared / "reports/overlays").mkdir(parents=True)
    (prepared / "reports/overlays/anna-2.png").touch()
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    main()
    assert [path.name for path in (prepared / "reports/overlays").iterdir()] == ["ben-1.png"]


def test_predictions_that_are_not_there_are_told_of(prepared: Path, fails: Fails) -> None:
    (prepared / "data/predictions").rmdir()
    assert fails(main) == "there is no data/predictions; run `dvc repro predict`"


def test_a_final_model_has_nothing_to_score(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was trained on everything; what DVC waits for is written all the same."""
    main()
    assert "nothing to score" in capsys.readouterr().err
    reports = prepared / "reports"
    assert json.loads((reports / "metrics.json").read_text()) == {}
    assert len((reports / "scores.csv").read_text().splitlines()) == 1
    assert (reports / "overlays").is_dir()


def test_a_mask_of_no_case_is_named(prepared: Path, fails: Fails) -> None:
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions/zoe-1.nii.gz")
    assert fails(main) == "dataset `chests` has no case `zoe-1`"


def test_reports_that_cannot_be_written_are_told_of(prepared: Path, fails: Fails) -> None:
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    (prepared / "reports").write_text("I am no folder")
    assert fails(main).startswith("cannot write reports/overlays: ")


def test_the_table_lines_up() -> None:
    perfect, empty = Overlap(10, 10, 10), Overlap(0, 0, 0)
    scores = [
        Score("ben-1", "lung", perfect, 0.5, perfect),
        Score("ben-1", "infection", empty, 0.5),
    ]
    assert math.isnan(empty.dice)
    assert table(scores).splitlines() == [
        "case                     region          Dice     IoU  truth mL  found mL  ceiling",
        "ben-1                    lung          1.0000  1.0000       5.0       5.0   1.0000",
        "ben-1                    infection        nan     nan       0.0       0.0      nan",
    ]
