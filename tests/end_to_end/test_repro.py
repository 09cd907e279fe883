"""`dvc repro` on a small phantom: what it makes, what it makes again, and what it leaves alone."""

import csv
import io
import itertools
import json
import re
import signal
import subprocess
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from thorax.cli import main

from .project import Project

STAGES = [
    "data/phantom/dvc.yaml:phantom",
    "prepare",
    "train",
    "export",
    "predict",
    "evaluate",
    "report",
]
RESULTS = (
    "models/segmenter/*",
    "data/predictions/*.nii.gz",
    "data/predictions/probabilities/*",
    "reports/*.csv",
    "reports/metrics.json",
    "reports/summary.json",
    "reports/overlays/*",
)
"""What does not tell of the time that it took."""


def stages_run(log: str) -> list[str]:
    return re.findall(r"^Running stage '(.+)':$", log, re.MULTILINE)


def held_out(project: Project) -> list[str]:
    """Return the names of the test cases, as the segmenter tells them."""
    spec = json.loads((project.root / "models/segmenter/spec.json").read_text())
    return spec["provenance"]["split"]["test"]


def read_csv(project: Project, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((project.root / name).read_text().splitlines()))


def rows(project: Project) -> list[dict[str, str]]:
    return read_csv(project, "reports/scores.csv")


# What it makes


def test_every_stage_runs_in_its_turn(finished: Project) -> None:
    assert stages_run(finished.log) == STAGES


def test_the_metrics_hold_dice_and_iou_of_each_region(finished: Project) -> None:
    metrics = json.loads((finished.root / "reports/metrics.json").read_text())
    assert list(metrics) == ["lung", "infection"]
    for figures in metrics.values():
        for kind in ("dice", "iou"):
            assert 0 <= figures[kind]["pooled"] <= 1
            assert 0 <= figures[kind]["mean"] <= 1
        assert figures["cases"] == 1


def test_something_is_learnt(finished: Project) -> None:
    history = read_csv(finished, "reports/history.csv")
    assert [row["epoch"] for row in history] == [str(number) for number in range(1, 11)]
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    assert float(history[-1]["dice"]) > float(history[0]["dice"])
    assert float(rows(finished)[0]["dice"]) > 0.5


def test_the_scores_have_a_row_for_each_test_case_and_region(finished: Project) -> None:
    expected = [(case, region) for case in held_out(finished) for region in ("lung", "infection")]
    assert [(row["case"], row["region"]) for row in rows(finished)] == expected


def test_each_test_case_has_a_picture(finished: Project) -> None:
    pictures = finished.bytes_of("reports/overlays/*")
    assert list(pictures) == [f"reports/overlays/{case}.png" for case in held_out(finished)]
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())


def test_the_report_shows_each_test_case_and_asks_nothing_of_a_network(finished: Project) -> None:
    page = (finished.root / "reports/report.html").read_text()
    text = (finished.root / "reports/report.md").read_text()
    for case in held_out(finished):
        assert case in page
        assert case in text.replace("\\_", "_")
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page.partition("<script")[0])


def test_probabilities_are_held_against_the_truth(finished: Project) -> None:
    bins = read_csv(finished, "reports/calibration.csv")
    assert {row["region"] for row in bins} == {"lung", "infection"}
    assert len(bins) == 20
    assert all(float(row["brier"]) < 0.25 for row in rows(finished) if row["region"] == "lung")


def test_each_test_case_has_a_mask_that_lies_on_its_scan(finished: Project) -> None:
    data = finished.root / "data"
    masks = sorted(path.name for path in (data / "predictions").glob("*.nii.gz"))
    assert masks == [f"{case}.nii.gz" for case in held_out(finished)]
    for name in masks:
        scan = nibabel.load(data / "phantom/scans" / name)
        mask = nibabel.load(data / "predictions" / name)
        assert mask.shape == scan.shape
        np.testing.assert_array_equal(mask.affine, scan.affine)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 3}


def test_no_checkpoint_is_left_behind(finished: Project) -> None:
    assert list((finished.root / "models/checkpoints").iterdir()) == []


# The command line comes to the same


def test_predicting_by_hand_gives_the_bytes_of_the_stage(project: Project) -> None:
    name = f"{held_out(project)[0]}.nii.gz"
    said = project.run("thorax", "predict", f"data/phantom/scans/{name}", "mine.nii.gz")
    # So short a training leaves doubts, which go to stderr.
    assert said.endswith("mine.nii.gz\n")
    (by_stage,) = project.bytes_of(f"data/predictions/{name}").values()
    (by_hand,) = project.bytes_of("mine.nii.gz").values()
    assert by_hand == by_stage


def test_scoring_by_hand_gives_the_digits_of_the_stage(finished: Project) -> None:
    for row in rows(finished):
        name = f"{row['case']}.nii.gz"
        masks = [finished.root / "data" / part / name for part in ("phantom/masks", "predictions")]
        regions = ("--region", "lung=1,2,3", "--region", "infection=3")
        said = CliRunner().invoke(main, ["score", *map(str, masks), *regions]).stdout
        figures = {line.split()[1]: line.split()[2:] for line in said.splitlines()}
        by_hand = [float(figure) for figure in figures[row["region"]][:2]]
        assert by_hand == pytest.approx([float(row["dice"]), float(row["iou"])], abs=1e-6)


# What dvc says of it


def test_dvc_names_the_stages_and_how_they_hang_together(finished: Project) -> None:
    assert [line.split()[0] for line in finished.dvc("stage", "list").splitlines()] == STAGES[1:]
    graph = finished.dvc("dag", "--dot")
    for earlier, later in itertools.pairwise(STAGES):
        assert f'"{earlier}" -> "{later}";' in graph
    assert '"data/covid19/dvc.yaml:download" ->' not in graph


def test_dvc_shows_the_metrics(finished: Project) -> None:
    shown = json.loads(finished.dvc("metrics", "show", "--json"))[""]["data"]
    dice = shown["reports/metrics.json"]["data"]["lung"]["dice"]["mean"]
    assert dice == float(rows(finished)[0]["dice"])


def test_dvc_draws_the_plots(project: Project) -> None:
    project.dvc("plots", "show", "--out", "drawn")
    page = (project.root / "drawn/index.html").read_text()
    for title in ("Training loss by epoch", "Validation Dice by epoch", "Dice of each test case"):
        assert title in page
    assert f"{held_out(project)[0]}.png" in page


def test_dvc_tells_which_params_were_changed(project: Project) -> None:
    project.set({"train.learning_rate": 0.002})
    changed = json.loads(project.dvc("params", "diff", "--json"))["params.yaml"]
    assert list(changed) == ["train.learning_rate"]
    assert changed["train.learning_rate"].items() >= {("old", 0.001), ("new", 0.002)}


def test_the_model_is_an_artifact_that_the_export_makes(finished: Project) -> None:
    pipeline = yaml.safe_load((finished.root / "dvc.yaml").read_text())
    assert pipeline["artifacts"]["segmenter"]["path"] in pipeline["stages"]["export"]["outs"]


# What runs again, and what does not


def test_nothing_runs_again_when_nothing_changed(project: Project) -> None:
    log = project.dvc("repro")
    assert stages_run(log) == []
    assert "Data and pipelines are up to date." in log


@pytest.mark.parametrize(
    ("changes", "first", "left_alone"),
    [
        ({"predict.threshold": 0.4}, "export", ["prepare", "train"]),
        ({"loss": "dice"}, "train", ["prepare"]),
        ({"split.fold": 1}, "train", ["prepare"]),
        ({"network.width": 8}, "train", ["prepare"]),
        ({"prepare.crop": "body"}, "prepare", ["data/phantom/dvc.yaml:phantom"]),
        ({"phantom.cases": 6}, "data/phantom/dvc.yaml:phantom", []),
        ({"seed": 1}, "data/phantom/dvc.yaml:phantom", []),
    ],
    ids=["threshold", "loss", "fold", "network", "crop", "cases", "seed"],
)
def test_a_change_runs_what_depends_on_it_and_nothing_before(
    project: Project, changes: dict[str, Any], first: str, left_alone: list[str]
) -> None:
    project.set(changes)
    log = project.dvc("repro", "--dry")
    assert stages_run(log)[0] == first
    for stage in left_alone:
        assert f"Stage '{stage}' didn't change, skipping" in log


def test_the_same_seed_gives_the_same_bytes(finished: Project, untrained: Project) -> None:
    log = untrained.dvc(
        "repro", "--force", "--single-item", "train", "export", "predict", "evaluate"
    )
    assert stages_run(log) == ["train", "export", "predict", "evaluate"]
    assert untrained.bytes_of(*RESULTS) == finished.bytes_of(*RESULTS)


def test_an_experiment_trains_with_another_loss_and_prepares_nothing(project: Project) -> None:
    log = project.dvc("exp", "run", "--set-param", "loss=bce")
    assert stages_run(log) == ["train", "export", "predict", "evaluate", "report"]
    table = list(csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv"))))
    assert {row["loss"] for row in table} == {"focal_dice", "bce"}
    assert len({row["lung.dice.mean"] for row in table}) == 2


# What is stopped


def wait_for_epoch(training: subprocess.Popen[str], number: int) -> None:
    assert training.stderr
    for line in training.stderr:
        if line.startswith(f"epoch {number}/"):
            return
    pytest.fail(f"the training came to its end before epoch {number}")


def test_a_killed_training_goes_on_to_the_same_bytes(finished: Project, untrained: Project) -> None:
    with untrained.start("thorax.pipeline.train") as training:
        wait_for_epoch(training, 2)
        training.kill()
    assert training.returncode == -signal.SIGKILL
    assert not (untrained.root / "models/segmenter").exists()
    log = untrained.dvc("repro")
    assert "epoch 1/" not in log
    assert "epoch 2/" not in log
    assert "epoch 10/" in log
    assert untrained.bytes_of(*RESULTS) == finished.bytes_of(*RESULTS)


def test_an_interrupted_training_ends_without_a_traceback_or_half_a_model(
    untrained: Project,
) -> None:
    with untrained.start("thorax.pipeline.train") as training:
        wait_for_epoch(training, 1)
        training.send_signal(signal.SIGINT)
        said = training.stderr.read()
    assert training.returncode == 130
    assert "Traceback" not in said
    assert not (untrained.root / "models/segmenter").exists()
    kept = (untrained.root / "models/checkpoints").iterdir()
    assert sorted(path.suffix for path in kept) == [".npz", ".pictures"]
