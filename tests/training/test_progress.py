"""Progress of a training: lines, live plots and pictures, also after an interruption."""

import csv
import gc
import math
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.training.progress import ProgressPaths, ProgressReporter
from thorax.training.validation import CaseDice

from ..learning import pointwise, save_record

ROW = {
    "epoch": 1,
    "loss": 0.5,
    "learning_rate": 0.001,
    "gradient_norm": 2.0,
    "dice": 0.75,
    "dice_lung": 1.0,
    "dice_infection": 0.5,
}


@pytest.fixture
def paths(tmp_path: Path) -> ProgressPaths:
    return ProgressPaths(tmp_path / "live", tmp_path / "validation", tmp_path / "saved")


def report(
    paths: ProgressPaths, lines: list[str] | None = None, **changes: Any
) -> ProgressReporter:
    """Return a reporter that appends its lines to a list."""
    defaults: dict[str, Any] = {
        "epochs": 4,
        "picture_interval": 2,
        "regions": ["lung"],
        "window": Window(0, 1),
    }
    log = [].append if lines is None else lines.append
    return ProgressReporter(**defaults | changes, paths=paths, log=log)


def plotted(paths: ProgressPaths, name: str) -> list[float]:
    """Return the values of a live plot, as DVC reads them."""
    with (paths.live / f"plots/metrics/{name}.tsv").open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream, delimiter="\t")]


def test_a_line_has_loss_dice_by_region_speed_and_time_left(
    paths: ProgressPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four epochs took 20 s: three more take 60 s."""
    clock = iter([0.0, 100.0, 120.0])
    monkeypatch.setattr("thorax.training.progress.time.monotonic", lambda: next(clock))
    lines: list[str] = []
    reporter = report(paths, lines)
    reporter.on_resume([])
    reporter.on_epoch_end(ROW, stacks_per_s=71.4)
    assert lines == [
        "epoch 1/4  loss 0.5000  dice_lung 1.0000  dice_infection 0.5000  71 stacks/s  "
        "1:00 min left"
    ]


def test_the_initial_weights_have_a_line_and_a_point(paths: ProgressPaths) -> None:
    lines: list[str] = []
    reporter = report(paths, lines)
    reporter.on_resume([])
    reporter.on_first_validation({"epoch": 0, "dice": 0.125, "dice_lung": 0.125})
    reporter.on_epoch_end(ROW, stacks_per_s=1.0)
    assert lines[0] == "initial weights  dice_lung 0.1250"
    assert plotted(paths, "dice_lung") == [0.125, 1.0]
    assert plotted(paths, "loss") == [0.5]


def test_the_dice_of_training_cases_is_printed_and_plotted(paths: ProgressPaths) -> None:
    lines: list[str] = []
    reporter = report(paths, lines)
    reporter.on_resume([])
    reporter.on_epoch_end(ROW | {"train_dice": 0.9, "train_dice_lung": 0.95}, stacks_per_s=1.0)
    assert "dice_infection 0.5000  train_dice 0.9000  1 stacks/s" in lines[0]
    assert plotted(paths, "train_dice_lung") == [0.95]


def test_live_points_of_epochs_without_validation_are_left_out(paths: ProgressPaths) -> None:
    reporter = report(paths)
    reporter.on_resume([{"epoch": 1, "loss": 0.5}, ROW | {"epoch": 2}])
    assert plotted(paths, "dice_lung") == [1.0]
    with (paths.live / "plots/metrics/dice_lung.tsv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream, delimiter="\t")] == ["1"]


def test_a_resumed_training_counts_epochs_and_not_rows(paths: ProgressPaths) -> None:
    lines: list[str] = []
    report(paths, lines).on_resume([{"epoch": 0, "dice": 0.1}, ROW])
    assert lines == ["resuming after epoch 1"]


def test_a_resumed_training_plots_the_epochs_before(paths: ProgressPaths) -> None:
    lines: list[str] = []
    reporter = report(paths, lines)
    reporter.on_resume([ROW, ROW | {"epoch": 2, "loss": 0.25}])
    reporter.on_epoch_end(ROW | {"epoch": 3, "loss": 0.125}, stacks_per_s=1.0)
    assert lines[0] == "resuming after epoch 2"
    assert plotted(paths, "loss") == [0.5, 0.25, 0.125]


def test_live_plots_restart_with_each_training(paths: ProgressPaths) -> None:
    for loss in (0.5, 0.25):
        reporter = report(paths)
        reporter.on_resume([])
        reporter.on_epoch_end(ROW | {"loss": loss}, stacks_per_s=1.0)
    assert plotted(paths, "loss") == [0.25]


def init_repository(folder: Path) -> None:
    """Make a folder a repository of git and DVC, without a commit."""
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    with Repo.init(str(folder)):
        pass


def test_a_repository_without_a_commit_is_refused(
    paths: ProgressPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="but git reports: Empty git repo; make a first commit"):
        report(paths).on_resume([])


def test_the_repository_of_live_plots_is_closed(
    paths: ProgressPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVCLive reads the last commit and leaves a packed one open."""
    init_repository(tmp_path)
    for command in (
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "a"],
        ["git", "gc", "--quiet"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    report(paths).on_resume([])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_undefined_metrics_are_not_plotted(paths: ProgressPaths) -> None:
    reporter = report(paths)
    reporter.on_resume([ROW | {"dice_infection": math.nan}])
    assert plotted(paths, "dice_lung") == [1.0]
    assert not (paths.live / "plots/metrics/dice_infection.tsv").exists()


@pytest.fixture
def cases(tmp_path: Path) -> list[CaseDice]:
    records = [
        save_record(tmp_path / f"{name}.tfrecord", [[[0] * 4] * 4] * 2, [[[[0]] * 4] * 4] * 2)
        for name in ("good", "bad", "unknown")
    ]
    return [
        CaseDice(path, (dice,)) for path, dice in zip(records, (0.9, 0.1, math.nan), strict=True)
    ]


@pytest.mark.parametrize(
    ("interval", "epochs"),
    [
        pytest.param(0, [], id="none at all"),
        pytest.param(1, [1, 2, 3, 4], id="each epoch"),
        pytest.param(3, [3, 4], id="every third, and the last"),
    ],
)
def test_pictures_are_drawn_at_the_interval(
    paths: ProgressPaths,
    cases: list[CaseDice],
    monkeypatch: pytest.MonkeyPatch,
    interval: int,
    epochs: list[int],
) -> None:
    monkeypatch.setattr("thorax.training.progress.snapshot", lambda *_, **__: _figure())
    reporter = report(paths, picture_interval=interval)
    reporter.on_resume([])
    network = pointwise([[1.0]], [0.0], canvas=4)
    for epoch in (1, 2, 3, 4):
        reporter.on_validation_end(epoch, network, cases, last=epoch == 4)
    expected = [f"epoch_{epoch:03d}_{rank}.png" for epoch in epochs for rank in ("best", "worst")]
    assert sorted(path.name for path in paths.pictures.iterdir()) == expected


def test_the_best_and_the_worst_case_are_drawn(
    paths: ProgressPaths, cases: list[CaseDice], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    monkeypatch.setattr(
        "thorax.training.progress.snapshot", lambda *_, title: titles.append(title) or _figure()
    )
    reporter = report(paths, picture_interval=1)
    reporter.on_resume([])
    reporter.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:2], last=False)
    assert titles == [
        "bad, worst case after epoch 1: Dice on the canvas lung 0.100",
        "good, best case after epoch 1: Dice on the canvas lung 0.900",
    ]


def _figure() -> Any:
    from matplotlib.figure import Figure

    return Figure()


def test_a_single_case_is_drawn_once(paths: ProgressPaths, cases: list[CaseDice]) -> None:
    reporter = report(paths, picture_interval=1)
    reporter.on_resume([])
    reporter.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:1], last=False)
    assert [path.name for path in paths.pictures.iterdir()] == ["epoch_001_worst.png"]


def test_pictures_survive_a_repeated_stage(paths: ProgressPaths, cases: list[CaseDice]) -> None:
    """DVC removes the outputs of a stage before it runs the stage again."""
    first = report(paths, picture_interval=1)
    first.on_resume([])
    first.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:1], last=False)
    drawn = (paths.pictures / "epoch_001_worst.png").read_bytes()
    shutil.rmtree(paths.pictures)
    report(paths).on_resume([ROW])
    assert (paths.pictures / "epoch_001_worst.png").read_bytes() == drawn


def test_pictures_of_another_training_are_removed(
    paths: ProgressPaths, cases: list[CaseDice]
) -> None:
    first = report(paths, picture_interval=1)
    first.on_resume([])
    first.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:1], last=False)
    report(paths).on_resume([])
    assert list(paths.pictures.iterdir()) == []
    report(paths).on_resume([ROW])
    assert list(paths.pictures.iterdir()) == []
