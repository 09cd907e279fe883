"""Training: it learns, keeps the best weights, and goes on after any end as if there was none."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import thorax.training
from thorax.batches import epoch_batches
from thorax.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from thorax.errors import InputError
from thorax.losses import bce
from thorax.params import TrainParams
from thorax.training import Job, Row, compile_network, fit

from .continued_training import KILLED
from .learning import pointwise, save_record, stack_source

ROOT = Path(__file__).parents[1]
SIDE = 4
PlanJob = Callable[..., Job]


@pytest.fixture
def plan(tmp_path: Path) -> PlanJob:
    """Return a function that plans to tell 750 HU from 250 HU, on 8 planes of two cases."""
    planes = np.full((4, SIDE, SIDE), 250)
    planes[:, 1:3, 1:3] = 750
    fractions = np.where(planes > 500, 255, 0)[..., None]
    paths = [save_record(tmp_path / f"{case}.tfrecord", planes, fractions) for case in "ab"]

    def plan_job(*, watched: Sequence[Path] = (), **params: Any) -> Job:
        settings = {
            "context": 0,
            "window": (0, 1000),
            "epochs": 3,
            "batch": 4,
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "precision": "float32",
        }
        return Job(
            source=stack_source(paths, 8, canvas=SIDE),
            watched=watched,
            regions=["bright"],
            params=TrainParams(**settings | params),
            seed=7,
            checkpoint=tmp_path / "checkpoints" / "run.npz",
        )

    return plan_job


def compiled(job: Job, *, weight: float = 0.0, bias: float = 0.0, scale_loss: bool = False) -> Any:
    """Return a network of two weights, compiled."""
    network = pointwise([[weight]], [bias], canvas=SIDE)
    compile_network(network, bce, job, scale_loss=scale_loss)
    return network


def train(job: Job, network: Any | None = None) -> tuple[list[Row], Any, list[Row]]:
    """Train; return the history, the network, and what was told."""
    network = network or compiled(job)
    told: list[Row] = []
    return fit(network, job, tell=told.append), network, told


def numbers(network: Any) -> list[float]:
    """Return the weight and the bias of a network of two weights."""
    return [float(array.ravel()[0]) for array in network.get_weights()]


# Learning


def test_it_learns(plan: PlanJob) -> None:
    """From 0.69 = log 2, which is guessing; bright pixels in, dark ones out."""
    history, network, told = train(plan(epochs=12))
    assert 0.5 < history[0]["loss"] < 0.75
    assert history[-1]["loss"] < history[0]["loss"] / 2
    weight, bias = numbers(network)
    assert weight * 0.25 + bias < 0 < weight * 0.75 + bias
    assert told == history
    assert [row["epoch"] for row in history] == list(range(1, 13))


def test_a_batch_larger_than_the_data_is_all_of_the_data(plan: PlanJob) -> None:
    job = plan(batch=64, epochs=1)
    assert (job.batch, job.steps) == (8, 1)
    history, network, _ = train(job)
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert numbers(network) != [0, 0]


def test_stacks_that_fill_no_batch_make_no_step(plan: PlanJob) -> None:
    job = plan(batch=3)
    assert (job.batch, job.steps) == (3, 2)


def test_a_loss_that_is_no_number_is_told(plan: PlanJob) -> None:
    job = plan()
    network = compiled(job, weight=math.nan)
    with pytest.raises(
        InputError,
        match=r"the loss is nan in epoch 1; lower `train.learning_rate` or set "
        r"`train.precision: float32`",
    ):
        train(job, network)
    assert not job.checkpoint.exists(), "training would go on with what cannot be mended"


# The optimizer


def rate(network: Any, step: int) -> float:
    network.optimizer.iterations.assign(step)
    return float(network.optimizer.learning_rate)


def test_the_learning_rate_warms_up_and_falls_to_nothing(plan: PlanJob) -> None:
    """20 epochs of 2 steps: 2 steps of warm-up, then half a cosine over 38."""
    network = compiled(plan(epochs=20, learning_rate=0.01))
    assert 0 < rate(network, 0) < rate(network, 1) < rate(network, 2)
    assert rate(network, 2) == pytest.approx(0.01)
    assert rate(network, 21) == pytest.approx(0.005)
    assert rate(network, 40) == pytest.approx(0, abs=1e-9)


def test_even_the_only_step_of_a_training_learns(plan: PlanJob) -> None:
    network = compiled(plan(epochs=1, batch=8))
    assert rate(network, 0) > 0


@pytest.mark.parametrize("scale_loss", [False, True])
def test_weights_decay_and_biases_do_not(plan: PlanJob, scale_loss: bool) -> None:
    """Without a slope, the first step of rate 0.5/2 takes 1/4 · 0.2 of the weight."""
    job = plan(epochs=20, weight_decay=0.2)
    network = compiled(job, weight=1.0, bias=1.0, scale_loss=scale_loss)
    network.optimizer.build(network.trainable_variables)
    first = rate(network, 0)
    network.optimizer.apply([keras.ops.zeros_like(v) for v in network.trainable_variables])
    assert numbers(network) == pytest.approx([1 - first * 0.2, 1.0])


# Which weights are kept


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets validation give these Dice, and the weights of each epoch."""

    def script(*dice: float | tuple[float, float]) -> list[list[float]]:
        coming, weights = iter(dice), []

        def validate(network: Any, *_: Any, **__: Any) -> dict[str, float]:
            weights.append(numbers(network))
            value = next(coming)
            pair = value if isinstance(value, tuple) else (value,)
            return dict(zip(("bright", "other"), pair, strict=False))

        monkeypatch.setattr(thorax.training, "validate", validate)
        return weights

    return script


@pytest.mark.parametrize(
    ("dice", "best"),
    [
        pytest.param([0.2, 0.9, 0.5], 2, id="in the middle"),
        pytest.param([0.9, 0.5, 0.2], 1, id="the first"),
        pytest.param([0.2, 0.5, 0.9], 3, id="the last"),
        pytest.param([0.9, 0.9, 0.2], 2, id="of equals, the later"),
        pytest.param([math.nan, 0.1, 0.0], 2, id="undefined counts as nothing"),
        pytest.param([math.nan] * 3, 3, id="always undefined: the last"),
        pytest.param([(0.9, 0.1), (0.6, 0.6), (0.1, 0.9)], 2, id="mean over regions"),
        pytest.param([(0.9, math.nan), (0.8, 0.8), (0.1, 0.9)], 1, id="of those defined"),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(
    plan: PlanJob, scripted: Any, dice: list[Any], best: int
) -> None:
    weights = scripted(*dice)
    history, network, _ = train(plan(watched=[Path("a")]))
    assert len({tuple(epoch) for epoch in weights}) == 3, "each epoch moves the weights"
    assert numbers(network) == weights[best - 1]
    assert [row["dice_bright"] for row in history] == pytest.approx(
        [one[0] if isinstance(one, tuple) else one for one in dice], nan_ok=True
    )


def test_a_row_tells_the_dice_of_each_region_and_their_mean(plan: PlanJob, scripted: Any) -> None:
    scripted((0.5, 0.75), (math.nan, 0.25), (math.nan, math.nan))
    history, _, _ = train(plan(watched=[Path("a")]))
    told = [(row["dice_bright"], row["dice_other"], row["dice"]) for row in history]
    expected = [(0.5, 0.75, 0.625), (math.nan, 0.25, 0.25), (math.nan, math.nan, math.nan)]
    np.testing.assert_equal(told, expected)


def test_without_validation_the_last_weights_are_kept(plan: PlanJob) -> None:
    job = plan()
    network = compiled(job)
    weights: list[list[float]] = []
    history = fit(network, job, tell=lambda _: weights.append(numbers(network)))
    assert numbers(network) == weights[-1] != weights[-2]
    assert [list(row) for row in history] == [["epoch", "loss"]] * 3


def test_the_watched_cases_are_scored(plan: PlanJob) -> None:
    """At once right, with these weights: 8·0.25 - 4 < 0 < 8·0.75 - 4."""
    source = plan().source
    job = plan(epochs=1, learning_rate=1e-6, watched=source.paths)
    history, _, _ = train(job, compiled(job, weight=8, bias=-4))
    assert history[0]["dice_bright"] == 1.0


# Going on


def test_each_epoch_is_kept_before_it_is_told(plan: PlanJob) -> None:
    """Else whoever stops at what is told would lose the epoch."""
    job = plan()
    kept: list[Any] = []
    history = fit(compiled(job), job, tell=lambda _: kept.append(load_checkpoint(job.checkpoint)))
    assert [checkpoint.history for checkpoint in kept] == [history[:1], history[:2], history]


@pytest.mark.parametrize(
    ("dice", "best"), [([0.9, 0.5, 0.2], 1), ([0.2, 0.9, 0.5], 2), ([0.2, 0.5, 0.9], 3)]
)
def test_the_best_so_far_is_kept_over_an_end(
    plan: PlanJob, scripted: Any, dice: list[float], best: int
) -> None:
    weights, job = scripted(*dice), plan(watched=[Path("a")])

    def stop(row: Row) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(compiled(job), job, tell=stop)
    history, network, told = train(job, compiled(job, weight=99.0))
    assert [row["epoch"] for row in told] == [3]
    assert [row["dice_bright"] for row in history] == dice
    assert numbers(network) == weights[best - 1]


def test_each_epoch_has_its_own_batches_and_those_that_are_done_do_not_come_again(
    plan: PlanJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def note(source: Any, **how: int) -> Any:
        drawn.append(how)
        return epoch_batches(source, **how)

    monkeypatch.setattr(thorax.training, "epoch_batches", note)
    job = plan()

    def stop(row: Row) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(compiled(job), job, tell=stop)
    train(job)
    assert drawn == [{"batch": 4, "seed": 7, "epoch": epoch} for epoch in (0, 1, 2)]


def test_a_training_that_is_done_is_not_done_again(plan: PlanJob) -> None:
    job = plan()
    done, network, _ = train(job)
    again, other, told = train(job)
    assert again == done
    assert told == []
    assert numbers(other) == numbers(network)


@pytest.mark.parametrize(
    ("variables", "best"),
    [
        pytest.param([(1, 1, 1, 1)], [(1, 1, 1, 1), (1,)], id="too few variables"),
        pytest.param(None, [(1,)], id="too few of the best"),
        pytest.param(None, [(1, 1, 1, 2), (2,)], id="best weights of other shapes"),
        pytest.param("wider", [(1, 1, 1, 1), (1,)], id="variables of other shapes"),
    ],
)
def test_a_checkpoint_of_another_network_is_ignored(
    plan: PlanJob, variables: Any, best: list[tuple[int, ...]]
) -> None:
    job = plan(epochs=1)
    train(job)
    own = load_checkpoint(job.checkpoint)
    assert own is not None
    if variables is None:
        kept = own.variables
    elif variables == "wider":
        kept = [np.zeros((*array.shape, 2), array.dtype) for array in own.variables]
    else:
        kept = [np.zeros(shape) for shape in variables]
    other = Checkpoint(kept, [np.full(shape, 7.0) for shape in best], [{"epoch": 1, "loss": 0.0}])
    save_checkpoint(job.checkpoint, other)
    history, network, told = train(job)
    assert told == history
    assert history[0]["loss"] > 0
    assert max(map(abs, numbers(network))) < 7


def test_a_damaged_checkpoint_is_ignored(plan: PlanJob) -> None:
    job = plan(epochs=1)
    train(job)
    job.checkpoint.write_bytes(job.checkpoint.read_bytes()[:-50])
    assert len(train(job)[2]) == 1


@pytest.mark.parametrize("scale_loss", [False, True])
def test_a_training_that_is_stopped_goes_on_as_if_it_was_not(
    plan: PlanJob, scale_loss: bool
) -> None:
    """With a scaled loss, its scale is part of the state."""
    job = plan(epochs=4, weight_decay=0.1)
    whole, network, _ = train(job, compiled(job, scale_loss=scale_loss))
    job.checkpoint.unlink()

    def stop(row: Row) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(compiled(job, scale_loss=scale_loss), job, tell=stop)
    history, continued, told = train(job, compiled(job, weight=99.0, scale_loss=scale_loss))
    assert [row["epoch"] for row in told] == [3, 4]
    assert history == whole
    assert numbers(continued) == numbers(network)


def run_apart(killed_after: int, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Train as a user would, in a process of its own."""
    module = f"{Path(__file__).parent.name}.continued_training"
    return subprocess.run(
        [sys.executable, "-m", module, str(killed_after), *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_training_that_is_killed_goes_on_to_the_very_same_end(tmp_path: Path) -> None:
    """Weights and history are equal to the last bit: order, augmentation, optimizer and all."""
    died = run_apart(1, tmp_path / "killed")
    assert died.returncode == KILLED, died.stderr
    assert not (tmp_path / "killed" / "weights.npz").exists()
    done = run_apart(0, tmp_path / "killed", tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[0]["loss"] > history[2]["loss"]
    assert json.loads((tmp_path / "killed" / "history.json").read_text()) == history
    with (
        np.load(tmp_path / "whole" / "weights.npz") as one,
        np.load(tmp_path / "killed" / "weights.npz") as other,
    ):
        # Kernels and biases of 6 convolutions, one on the way up, and the last.
        assert len(one.files) == len(other.files) == 2 * 8
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])
