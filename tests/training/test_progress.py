"""Telling how a training goes: lines, live plots and pictures, as they come and after a stop."""

import csv
import gc
import math
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

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
def places(tmp_path: Path) -> ProgressPaths:
    return ProgressPaths(tmp_path / "live", tmp_path / "validation", tmp_path / "kept")


def watch(places: ProgressPaths, told: list[str] | None = None, **changes: Any) -> ProgressReporter:
    said = [] if told is None else told
    plain: dict[str, Any] = {"epochs": 4, "every": 2, "regions": ["lung"], "window": Window(0, 1)}
    return ProgressReporter(**plain | changes, places=places, log=said.append)


def plotted(places: ProgressPaths, name: str) -> list[float]:
    """Return the values of a live plot, as DVC reads them."""
    with (places.live / f"plots/metrics/{name}.tsv").open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream, delimiter="\t")]


def test_a_line_tells_loss_dice_by_region_speed_and_time_left(
    places: ProgressPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four epochs took 20 s: three more take 60 s."""
    clock = iter([0.0, 100.0, 120.0])
    monkeypatch.setattr("thorax.training.progress.time.monotonic", lambda: next(clock))
    told: list[str] = []
    watcher = watch(places, told)
    watcher.on_resume([])
    watcher.on_epoch_end(ROW, stacks_per_s=71.4)
    assert told == [
        "epoch 1/4  loss 0.5000  dice_lung 1.0000  dice_infection 0.5000  71 stacks/s  1:00 left"
    ]


def test_a_training_that_goes_on_says_so_and_plots_what_was(places: ProgressPaths) -> None:
    told: list[str] = []
    watcher = watch(places, told)
    watcher.on_resume([ROW, ROW | {"epoch": 2, "loss": 0.25}])
    watcher.on_epoch_end(ROW | {"epoch": 3, "loss": 0.125}, stacks_per_s=1.0)
    assert told[0] == "going on after epoch 2"
    assert plotted(places, "loss") == [0.5, 0.25, 0.125]


def test_live_plots_begin_anew_with_each_training(places: ProgressPaths) -> None:
    for loss in (0.5, 0.25):
        watcher = watch(places)
        watcher.on_resume([])
        watcher.on_epoch_end(ROW | {"loss": loss}, stacks_per_s=1.0)
    assert plotted(places, "loss") == [0.25]


def test_a_repository_without_a_commit_is_told_of(
    places: ProgressPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["dvc", "init", "--quiet"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="but git says: Empty git repo; commit once first"):
        watch(places).on_resume([])


def test_the_repository_around_it_is_closed(
    places: ProgressPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVCLive reads the last commit; a packed one stays open unless somebody closes it."""
    for command in (
        ["git", "init", "--quiet"],
        ["dvc", "init", "--quiet"],
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "a"],
        ["git", "gc", "--quiet"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    watch(places).on_resume([])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in said] == []


def test_what_is_undefined_is_not_plotted(places: ProgressPaths) -> None:
    watcher = watch(places)
    watcher.on_resume([ROW | {"dice_infection": math.nan}])
    assert plotted(places, "dice_lung") == [1.0]
    assert not (places.live / "plots/metrics/dice_infection.tsv").exists()


@pytest.fixture
def cases(tmp_path: Path) -> list[CaseDice]:
    paths = [
        save_record(tmp_path / f"{name}.tfrecord", [[[0] * 4] * 4] * 2, [[[[0]] * 4] * 4] * 2)
        for name in ("good", "bad", "unknown")
    ]
    return [CaseDice(path, (dice,)) for path, dice in zip(paths, (0.9, 0.1, math.nan), strict=True)]


@pytest.mark.parametrize(
    ("every", "epochs"),
    [
        pytest.param(0, [], id="none at all"),
        pytest.param(1, [1, 2, 3, 4], id="each epoch"),
        pytest.param(3, [3, 4], id="every third, and the last"),
    ],
)
def test_pictures_come_every_so_often(
    places: ProgressPaths, cases: list[CaseDice], every: int, epochs: list[int]
) -> None:
    watcher = watch(places, every=every)
    watcher.on_resume([])
    network = pointwise([[1.0]], [0.0], canvas=4)
    for epoch in (1, 2, 3, 4):
        watcher.on_validation_end(epoch, network, cases, last=epoch == 4)
    expected = [f"epoch_{epoch:03d}_{rank}.png" for epoch in epochs for rank in ("best", "worst")]
    assert sorted(path.name for path in places.pictures.iterdir()) == expected


def test_best_and_worst_are_told_apart(
    places: ProgressPaths, cases: list[CaseDice], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    monkeypatch.setattr(
        "thorax.training.progress.snapshot", lambda *_, title: titles.append(title) or _figure()
    )
    watcher = watch(places, every=1)
    watcher.on_resume([])
    watcher.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:2], last=False)
    assert titles == [
        "bad, the worst after epoch 1: Dice on the canvas lung 0.100",
        "good, the best after epoch 1: Dice on the canvas lung 0.900",
    ]


def _figure() -> Any:
    from matplotlib.figure import Figure

    return Figure()


def test_a_single_case_is_drawn_once(places: ProgressPaths, cases: list[CaseDice]) -> None:
    watcher = watch(places, every=1)
    watcher.on_resume([])
    watcher.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:1], last=False)
    assert [path.name for path in places.pictures.iterdir()] == ["epoch_001_worst.png"]


def test_pictures_outlive_a_stage_that_is_started_again(
    places: ProgressPaths, cases: list[CaseDice]
) -> None:
    """DVC removes what a stage leaves before it starts it again."""
    first = watch(places, every=1)
    first.on_resume([])
    first.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:1], last=False)
    drawn = (places.pictures / "epoch_001_worst.png").read_bytes()
    shutil.rmtree(places.pictures)
    watch(places).on_resume([ROW])
    assert (places.pictures / "epoch_001_worst.png").read_bytes() == drawn


def test_pictures_of_another_training_are_forgotten(
    places: ProgressPaths, cases: list[CaseDice]
) -> None:
    first = watch(places, every=1)
    first.on_resume([])
    first.on_validation_end(1, pointwise([[1.0]], [0.0], canvas=4), cases[:1], last=False)
    watch(places).on_resume([])
    assert list(places.pictures.iterdir()) == []
    watch(places).on_resume([ROW])
    assert list(places.pictures.iterdir()) == []
