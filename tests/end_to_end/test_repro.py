"""Outputs of one `dvc repro` on a small phantom."""

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from thorax.cli import main

from .project import Project
from .results import STAGES, names_of_test_cases, read_csv, read_scores, stages_run


def test_the_stages_run_in_order(finished: Project) -> None:
    assert stages_run(finished.log) == STAGES


def test_metrics_have_dice_and_iou_of_each_region(finished: Project) -> None:
    metrics = json.loads((finished.root / "reports/metrics.json").read_text())
    assert list(metrics) == ["lung", "infection"]
    for region in metrics.values():
        for kind in ("dice", "iou"):
            assert 0 <= region[kind]["pooled"] <= 1
            assert 0 <= region[kind]["mean"] <= 1
        assert region["cases"] == 1


def test_the_network_learns(finished: Project) -> None:
    history = read_csv(finished, "reports/history.csv")
    assert [row["epoch"] for row in history] == [str(number) for number in range(1, 11)]
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    assert float(history[-1]["dice"]) > float(history[0]["dice"])
    assert float(read_scores(finished)[0]["dice"]) > 0.5


def test_scores_have_one_row_per_test_case_and_region(finished: Project) -> None:
    expected = [
        (case, region) for case in names_of_test_cases(finished) for region in ("lung", "infection")
    ]
    assert [(row["case"], row["region"]) for row in read_scores(finished)] == expected


def test_each_test_case_has_an_overlay(finished: Project) -> None:
    overlays = finished.bytes_of("reports/overlays/*")
    assert list(overlays) == [
        f"reports/overlays/{case}.png" for case in names_of_test_cases(finished)
    ]
    assert all(content.startswith(b"\x89PNG") for content in overlays.values())


def test_the_report_shows_each_test_case_and_loads_nothing_from_the_network(
    finished: Project,
) -> None:
    page = (finished.root / "reports/report.html").read_text()
    text = (finished.root / "reports/report.md").read_text()
    for case in names_of_test_cases(finished):
        assert case in page
        assert case in text.replace("\\_", "_")
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page.partition("<script")[0])


def test_calibration_is_measured(finished: Project) -> None:
    bins = read_csv(finished, "reports/calibration.csv")
    assert {row["region"] for row in bins} == {"lung", "infection"}
    assert len(bins) == 20
    assert all(
        float(row["brier"]) < 0.25 for row in read_scores(finished) if row["region"] == "lung"
    )


def test_each_test_case_has_a_mask_on_the_grid_of_its_scan(finished: Project) -> None:
    data = finished.root / "data"
    masks = sorted(path.name for path in (data / "predictions").glob("*.nii.gz"))
    assert masks == [f"{case}.nii.gz" for case in names_of_test_cases(finished)]
    for name in masks:
        scan = nibabel.load(data / "phantom/scans" / name)
        mask = nibabel.load(data / "predictions" / name)
        assert mask.shape == scan.shape
        np.testing.assert_array_equal(mask.affine, scan.affine)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 3}


def test_the_checkpoint_is_deleted(finished: Project) -> None:
    assert list((finished.root / "models/checkpoints").iterdir()) == []


def test_the_model_is_a_dvc_artifact_and_an_output_of_export(finished: Project) -> None:
    pipeline = yaml.safe_load((finished.root / "dvc.yaml").read_text())
    assert pipeline["artifacts"]["segmenter"]["path"] in pipeline["stages"]["export"]["outs"]


# The command line gives the same results


def test_the_predict_command_gives_the_bytes_of_the_stage(
    finished: Project, tmp_path: Path
) -> None:
    name = f"{names_of_test_cases(finished)[0]}.nii.gz"
    mask = tmp_path / "mask.nii.gz"
    scan, model = f"data/phantom/scans/{name}", "models/segmenter.onnx"
    output = finished.run("thorax", "predict", scan, str(mask), "--model", model)
    # After so short a training, quality warnings on stderr come first.
    assert output.endswith(f"{mask}\n")
    assert mask.read_bytes() == (finished.root / "data/predictions" / name).read_bytes()


def test_the_score_command_gives_the_metrics_of_the_stage(finished: Project) -> None:
    for row in read_scores(finished):
        name = f"{row['case']}.nii.gz"
        masks = [finished.root / "data" / part / name for part in ("phantom/masks", "predictions")]
        regions = ("--region", "lung=1,2,3", "--region", "infection=3")
        output = CliRunner().invoke(main, ["score", *map(str, masks), *regions]).stdout
        metrics = {line.split()[1]: line.split()[2:] for line in output.splitlines()}
        scored = [float(value) for value in metrics[row["region"]][:2]]
        assert scored == pytest.approx([float(row["dice"]), float(row["iou"])], abs=1e-6)
