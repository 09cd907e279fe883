"""Reruns, interruptions and reports of `dvc repro` on a small phantom."""

import csv
import io
import itertools
import json
import signal
import subprocess
from typing import Any

import pytest

from .project import Project
from .results import RESULTS, STAGES, names_of_test_cases, read_scores, stages_run

pytestmark = pytest.mark.slow


# Reports of DVC


def test_dvc_lists_the_stages_and_their_dependencies(finished: Project) -> None:
    assert [line.split()[0] for line in finished.dvc("stage", "list").splitlines()] == STAGES[1:]
    graph = finished.dvc("dag", "--dot")
    for earlier, later in itertools.pairwise(STAGES):
        assert f'"{earlier}" -> "{later}";' in graph
    assert "covid19" not in graph


def test_dvc_shows_the_metrics(finished: Project) -> None:
    files = json.loads(finished.dvc("metrics", "show", "--json"))[""]["data"]
    dice = files["reports/metrics.json"]["data"]["lung"]["dice"]["mean"]
    assert dice == float(read_scores(finished)[0]["dice"])


def test_dvc_renders_the_plots(project: Project) -> None:
    project.dvc("plots", "show", "--out", "plots")
    page = (project.root / "plots/index.html").read_text()
    for title in ("Training loss by epoch", "Validation Dice by epoch", "Dice of each test case"):
        assert title in page
    assert f"{names_of_test_cases(project)[0]}.png" in page


def test_dvc_reports_changed_parameters(project: Project) -> None:
    project.set({"train.learning_rate": 0.002})
    changed = json.loads(project.dvc("params", "diff", "--json"))["params.yaml"]
    assert list(changed) == ["train.learning_rate"]
    assert changed["train.learning_rate"].items() >= {("old", 0.004), ("new", 0.002)}


# Reruns


def test_nothing_runs_again_without_changes(project: Project) -> None:
    log = project.dvc("repro")
    assert stages_run(log) == []
    assert "Data and pipelines are up to date." in log


@pytest.mark.parametrize(
    ("changes", "first", "skipped"),
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
def test_a_change_reruns_the_stages_that_depend_on_it(
    project: Project, changes: dict[str, Any], first: str, skipped: list[str]
) -> None:
    project.set(changes)
    log = project.dvc("repro", "--dry")
    assert stages_run(log)[0] == first
    for stage in skipped:
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


# Stopped trainings


def wait_for_epoch(training: subprocess.Popen[str], number: int) -> None:
    assert training.stderr
    for line in training.stderr:
        if line.startswith(f"epoch {number}/"):
            return
    pytest.fail(f"the training ended before epoch {number}")


def test_a_killed_training_resumes_to_the_same_bytes(finished: Project, untrained: Project) -> None:
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


def test_an_interrupted_training_leaves_no_traceback_and_no_partial_model(
    untrained: Project,
) -> None:
    with untrained.start("thorax.pipeline.train") as training:
        wait_for_epoch(training, 1)
        training.send_signal(signal.SIGINT)
        stderr = training.stderr.read()
    assert training.returncode == 130
    assert "Traceback" not in stderr
    assert not (untrained.root / "models/segmenter").exists()
    files = (untrained.root / "models/checkpoints").iterdir()
    assert sorted(path.suffix for path in files) == [".npz", ".pictures"]
