"""The stage `evaluate` computes metrics on the grid of the scan; examples are checked by eye."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.evaluation.scores import Score
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.overlap import Overlap
from thorax.pipeline import prepare
from thorax.pipeline.evaluate import main, scores_table

Fails = Callable[[Callable[[], None]], str]


@pytest.fixture
def prepared(project: Path) -> Path:
    prepare.main()
    (project / "data/predictions").mkdir()
    return project


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_the_reference_itself_scores_1(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case in ("anna-1", "ben-1"):
        shutil.copy(f"data/chests/masks/{case}.nii.gz", "data/predictions")
    main()
    metrics = json.loads((prepared / "reports/metrics.json").read_text())
    for region in ("lung", "infection"):
        assert metrics[region]["dice"] == {"mean": 1.0, "median": 1.0, "sd": 0.0, "pooled": 1.0}
        assert (metrics[region]["nsd"], metrics[region]["hd95_mm"]) == (1.0, 0.0)
        assert metrics[region]["ceiling_dice"] == 1.0
        assert metrics[region]["cases"] == 2
    assert capsys.readouterr().err.count("1.0000") == 16


def test_an_undersegmented_lung_has_the_metrics_counted_by_eye(
    prepared: Path, save_nifti: Callable[..., Path]
) -> None:
    """The lung of ben-1 has 2×4×3 voxels and 4 infected ones; a voxel has 1.6 µL."""
    predicted = np.zeros((8, 6, 3), np.uint8)
    predicted[2:4, 1:5, 0] = 1
    save_nifti("data/predictions/ben-1.nii.gz", predicted)
    main()
    # Lung: 8 of 24 + 4 voxels are segmented. Dice 2·8 / (8 + 28), IoU 8 / 28.
    lung, infection = read_csv(prepared / "reports/scores.csv")
    assert {name: lung[name] for name in ("case", "dice", "iou", "truth_ml", "predicted_ml")} == {
        "case": "ben-1",
        "dice": "0.444444",
        "iou": "0.285714",
        "truth_ml": "0.0448",
        "predicted_ml": "0.0128",
    }
    assert (lung["sensitivity"], lung["precision"]) == ("0.285714", "1")
    assert (infection["dice"], infection["hd95_mm"], infection["truth_ml"]) == (
        "0",
        "inf",
        "0.0064",
    )
    assert (infection["truth_share"], infection["predicted_share"]) == ("0.142857", "0")
    assert (infection["lesions"], infection["lesions_found"]) == ("1", "0")
    summary = json.loads((prepared / "reports/summary.json").read_text())
    assert summary["infection"]["hd95_mm"]["infinite"] == 1
    assert (prepared / "reports/lesions.csv").read_text().splitlines() == [
        "case,region,mask,volume_ml,overlap,matched",
        "ben-1,infection,truth,0.0064,0,0",
    ]


def test_sides_are_scored_separately(prepared: Path) -> None:
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    main()
    rows = read_csv(prepared / "reports/sides.csv")
    assert [(row["region"], row["side"]) for row in rows] == [
        (region, side) for region in ("lung", "infection") for side in ("right", "left")
    ]
    assert sum(float(row["truth_ml"]) for row in rows[:2]) == pytest.approx(0.0448)


def test_calibration_is_measured_from_probabilities(
    prepared: Path, save_nifti: Callable[..., Path]
) -> None:
    """48 voxels have probability 0.8; 28 of them are lung of ben-1."""
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    probabilities = np.zeros((8, 6, 3), np.float32)
    probabilities[2:6, 1:5] = 0.8
    save_nifti("data/predictions/probabilities/ben-1_lung.nii.gz", probabilities)
    main()
    rows = read_csv(prepared / "reports/calibration.csv")
    assert {row["region"] for row in rows} == {"lung"}
    (filled,) = (row for row in rows if row["voxels"] != "0")
    assert filled == {
        "region": "lung", "low": "0.8", "high": "0.9", "mean_probability": "0.8",
        "observed": "0.583333", "voxels": "48",
    }  # fmt: skip
    lung, infection = read_csv(prepared / "reports/scores.csv")
    assert lung["brier"] == "0.29"  # 28/48 · 0.2² + 20/48 · 0.8²
    assert infection["brier"] == ""


def test_certainty_is_a_column_of_the_scores(prepared: Path) -> None:
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    Path("data/predictions/certainty.csv").write_text("case,region,certainty\nben-1,lung,0.75\n")
    main()
    lung, infection = read_csv(prepared / "reports/scores.csv")
    assert (lung["certainty"], infection["certainty"]) == ("0.75", "")


def test_the_convention_of_the_parameters_is_used(
    prepared: Path, set_params: Callable[..., None], save_nifti: Callable[..., Path]
) -> None:
    """The prediction is empty: MetricsReloaded uses the diagonal of the scan for the mean."""
    set_params(evaluate={"convention": "metrics-reloaded"})
    save_nifti("data/predictions/anna-1.nii.gz", np.zeros((8, 6, 3), np.uint8))
    main()
    summary = json.loads((prepared / "reports/summary.json").read_text())
    diagonal = np.linalg.norm(np.array([8, 6, 3]) * [0.8, 0.8, 2.5])
    assert summary["lung"]["hd95_mm"]["mean"] == pytest.approx(diagonal, abs=1e-4)


def test_overlays_of_another_run_are_deleted(prepared: Path) -> None:
    (prepared / "reports/overlays").mkdir(parents=True)
    (prepared / "reports/overlays/anna-2.png").touch()
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    main()
    assert [path.name for path in (prepared / "reports/overlays").iterdir()] == ["ben-1.png"]


def test_missing_predictions_are_reported(prepared: Path, fails: Fails) -> None:
    (prepared / "data/predictions").rmdir()
    assert fails(main) == "there is no data/predictions; run `dvc repro predict`"


def test_a_final_model_has_nothing_to_score(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no test cases; DVC still needs its outputs."""
    main()
    assert "there are no test cases to score\n" in capsys.readouterr().err
    reports = prepared / "reports"
    assert json.loads((reports / "metrics.json").read_text()) == {}
    assert len((reports / "scores.csv").read_text().splitlines()) == 1
    assert len((reports / "lesions.csv").read_text().splitlines()) == 1
    assert (reports / "overlays").is_dir()


def test_a_mask_without_case_is_named(prepared: Path, fails: Fails) -> None:
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions/zoe-1.nii.gz")
    assert fails(main) == "dataset `chests` has no case `zoe-1`"


def test_reports_that_cannot_be_written_are_reported(prepared: Path, fails: Fails) -> None:
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    (prepared / "reports").write_text("I am no folder")
    assert fails(main).startswith("cannot write reports/overlays: ")


def test_the_printed_table_is_aligned() -> None:
    perfect, empty = Overlap(10, 10, 10), Overlap(0, 0, 0)
    cube = np.ones((2, 2, 2), bool)
    same, nothing = (surface_distances(mask, mask, (1, 1, 1)).scores(1.0) for mask in (cube, ~cube))
    scores = [
        Score("ben-1", "lung", perfect, 0.5, perfect, same),
        Score("ben-1", "infection", empty, 0.5, surfaces=nothing),
    ]
    assert math.isnan(empty.dice)
    assert scores_table(scores).splitlines() == [
        "case   region       Dice     IoU     NSD  HD95 mm  truth mL  predicted mL  ceiling",
        "ben-1  lung       1.0000  1.0000  1.0000     0.00       5.0           5.0   1.0000",
        "ben-1  infection       -       -       -        -       0.0           0.0        -",
    ]
