"""Training: it learns, keeps the best weights, and goes on after any end as if there was none."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import thorax.training.trainer
from thorax.common.errors import InputError
from thorax.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from thorax.training.data import epoch_batches
from thorax.training.devices import DeviceStrategy
from thorax.training.losses import bce
from thorax.training.trainer import (
    Row,
    TrainingModel,
    TrainingPlan,
    check_validation,
    compile_training_model,
    fit,
)
from thorax.training.validation import CaseDice

from ..continued_training import KILLED
from ..learning import pointwise, save_record, stack_source
from ..settings import train_params

ROOT = Path(__file__).parents[2]
SIDE = 4
PlanJob = Callable[..., TrainingPlan]


@pytest.fixture
def plan(tmp_path: Path) -> PlanJob:
    """Return a function that plans to tell 750 HU from 250 HU, on 8 planes of two cases."""
    planes = np.full((4, SIDE, SIDE), 250)
    planes[:, 1:3, 1:3] = 750
    fractions = np.where(planes > 500, 255, 0)[..., None]
    paths = [save_record(tmp_path / f"{case}.tfrecord", planes, fractions) for case in "ab"]

    def plan_job(*, validation_paths: Sequence[Path] = (), **params: Any) -> TrainingPlan:
        settings = {
            "context": 0,
            "window": (0, 1000),
            "epochs": 3,
            "batch": 4,
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "ema_momentum": 0.0,
        }
        chosen = train_params(**settings | params)
        return TrainingPlan(
            source=stack_source(paths, 8, canvas=SIDE),
            validation_paths=validation_paths,
            regions=["bright"],
            params=chosen,
            batch=chosen.batch,
            seed=7,
            checkpoint=tmp_path / "checkpoints" / "run.npz",
        )

    return plan_job


def compiled(
    job: TrainingPlan, *, weight: float = 0.0, bias: float = 0.0, scale_loss: bool = False
) -> TrainingModel:
    """Return a network of two weights, compiled."""
    network = pointwise([[weight]], [bias], canvas=SIDE)
    trainee = TrainingModel(network, network)
    compile_training_model(trainee, bce, job, scale_loss=scale_loss)
    return trainee


class Listener:
    """Notes what a training tells.

    Args:
        stop_after: Epoch after which it is stopped, as with Ctrl-C.
    """

    def __init__(self, *, stop_after: int = 0) -> None:
        self.past: list[Row] = []
        self.rows: list[Row] = []
        self.speeds: list[float] = []
        self.lasts: list[bool] = []
        self.seen: list[tuple[int, list[float], list[CaseDice]]] = []
        self._stop_after = stop_after

    def on_resume(self, history: Sequence[Row]) -> None:
        self.past = list(history)

    def on_epoch_end(self, row: Row, *, stacks_per_s: float) -> None:
        self.rows.append(row)
        self.speeds.append(stacks_per_s)
        self.heard()
        if row["epoch"] == self._stop_after:
            raise KeyboardInterrupt

    def heard(self) -> None:
        """For those who want to look at something else then."""

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        self.lasts.append(last)
        self.seen.append((epoch, numbers(network), list(cases)))


def train(
    job: TrainingPlan, trainee: TrainingModel | None = None
) -> tuple[list[Row], Any, list[Row]]:
    """Train; return the history, the network, and what was told."""
    trainee, listener = trainee or compiled(job), Listener()
    return fit(trainee, job, watcher=listener), trainee.network, listener.rows


def stop_training(trainee: TrainingModel, job: TrainingPlan, *, after: int) -> None:
    """Train and stop after an epoch."""
    with pytest.raises(KeyboardInterrupt):
        fit(trainee, job, watcher=Listener(stop_after=after))


def numbers(network: Any) -> list[float]:
    """Return the weight and the bias of a network of two weights."""
    return [float(array.ravel()[0]) for array in network.get_weights()]


# Learning


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        pytest.param(lambda path: path.unlink(), "cannot be read", id="gone"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:-9]), "is cut short", id="cut short"
        ),
    ],
)
def test_a_record_that_is_harmed_after_the_training_began_is_named(
    plan: PlanJob, harm: Callable[[Path], object], told: str
) -> None:
    job = plan()
    harm(job.source.paths[1])
    with pytest.raises(InputError, match=rf"record .*b\.tfrecord {told}"):
        train(job)


def test_it_learns(plan: PlanJob) -> None:
    """From 0.69 = log 2, which is guessing; bright pixels in, dark ones out."""
    history, network, told = train(plan(epochs=12))
    assert 0.5 < history[0]["loss"] < 0.75
    assert history[-1]["loss"] < history[0]["loss"] / 2
    weight, bias = numbers(network)
    assert weight * 0.25 + bias < 0 < weight * 0.75 + bias
    assert told == history
    assert [row["epoch"] for row in history] == list(range(1, 13))


def test_a_batch_of_all_of_the_data_is_one_step(plan: PlanJob) -> None:
    job = plan(batch=8, epochs=1)
    assert job.steps == 1
    history, network, _ = train(job)
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert numbers(network) != [0, 0]


def test_stacks_that_fill_no_batch_make_no_step(plan: PlanJob) -> None:
    assert plan(batch=3).steps == 2


def test_a_loss_that_is_no_number_is_told(plan: PlanJob) -> None:
    job = plan()
    network = compiled(job, weight=math.nan)
    with pytest.raises(
        InputError,
        match=r"the loss is nan in epoch 1; lower `train.learning_rate`, set "
        r"`train.clip_norm: 1` or `train.precision: float32`",
    ):
        train(job, network)
    assert not job.checkpoint.exists(), "training would go on with what cannot be mended"


# The optimizer


def rate(trainee: TrainingModel, step: int) -> float:
    optimizer = trainee.model.optimizer
    optimizer.iterations.assign(step)
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def test_the_learning_rate_warms_up_and_falls_to_nothing(plan: PlanJob) -> None:
    """20 epochs of 2 steps: 2 steps of warm-up, then half a cosine over 38."""
    network = compiled(plan(epochs=20, learning_rate=0.01))
    assert [rate(network, step) for step in (0, 1)] == pytest.approx([0.005, 0.01])
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
    trainee = compiled(job, weight=1.0, bias=1.0, scale_loss=scale_loss)
    first, model = rate(trainee, 0), trainee.model
    model.optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    assert numbers(trainee.network) == pytest.approx([1 - first * 0.2, 1.0])


def test_a_row_tells_the_rate_that_is_left_and_the_mean_length_of_the_gradient(
    plan: PlanJob,
) -> None:
    """Without a step of any size, each of two steps an epoch has the gradient of the first.

    Weight and bias at 0 give p = 1/2. The slope of the bias is the mean of p - t, 1/2 - 1/4; that
    of the weight the mean of (p - t)·x: (0.5·0.25·3 - 0.5·0.75)/4 = 0.
    """
    history, _, _ = train(plan(learning_rate=1e-9, epochs=1, schedule="constant"))
    assert history[0]["learning_rate"] == pytest.approx(1e-9)
    assert history[0]["gradient_norm"] == pytest.approx(0.25, abs=1e-3)


def test_the_speed_is_told(plan: PlanJob) -> None:
    job, listener = plan(epochs=2), Listener()
    fit(compiled(job), job, watcher=listener)
    assert len(listener.speeds) == 2
    assert min(listener.speeds) > 0


def test_batches_whose_gradients_are_averaged_are_one_step(plan: PlanJob) -> None:
    """Two batches of four are alike here; each would have made a step of its own."""
    once, _, _ = train(plan(epochs=1, batch=4, accumulate=2, schedule="constant"))
    assert once[0]["gradient_norm"] == pytest.approx(0.25, abs=1e-2)


def test_a_step_whose_batches_lie_in_two_epochs_counts_where_it_is_made(plan: PlanJob) -> None:
    """Two epochs of two batches, three to a step: one step, in the second epoch."""
    first, second = train(plan(epochs=2, batch=4, accumulate=3, schedule="constant"))[0]
    assert first["gradient_norm"] == 0.0
    assert second["gradient_norm"] == pytest.approx(0.25, abs=1e-2)


def test_a_training_too_short_for_a_step_is_refused(plan: PlanJob) -> None:
    with pytest.raises(InputError, match=r"`train.accumulate: 7` needs as many batches, but"):
        compiled(plan(epochs=3, batch=4, accumulate=7))


def test_the_devices_share_every_epoch_and_nothing_else(
    plan: PlanJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built outside of the scope, or validated within, would be shared otherwise."""
    heard: list[str] = []

    @contextmanager
    def scope() -> Iterator[None]:
        heard.append("in")
        yield
        heard.append("out")

    monkeypatch.setattr(
        thorax.training.trainer, "validate", lambda *_, **__: heard.append("watched") or []
    )
    job = plan(epochs=2, validation_paths=[Path("a")])
    network = pointwise([[0.0]], [0.0], canvas=SIDE)
    trainee = TrainingModel(network, network, DeviceStrategy(1, scope))
    compile_training_model(trainee, bce, job, scale_loss=False)
    listener = Listener()
    listener.heard = lambda: heard.append("told")  # type: ignore[method-assign]
    fit(trainee, job, watcher=listener)
    assert heard == ["in", "out", "watched", "told"] * 2


def test_spent_memory_is_told_by_the_batch(plan: PlanJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def spend(*_: Any, **__: Any) -> None:
        raise MemoryError

    job = plan()
    trainee = compiled(job)
    monkeypatch.setattr(trainee.model, "fit", spend)
    with pytest.raises(InputError, match="a batch of 4 stacks does not fit into memory"):
        train(job, trainee)


# What asks the validation


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"early_stopping_patience": 3}, "patience"), ({"schedule": "plateau"}, "schedule")],
)
def test_who_asks_the_validation_needs_cases_that_watch(changes: dict[str, Any], name: str) -> None:
    params = train_params(**changes)
    with pytest.raises(InputError, match=f"`train.{name}.*` needs cases that watch the training"):
        check_validation(params, validation_paths=0)
    check_validation(params, validation_paths=1)
    check_validation(train_params(), validation_paths=0)


# Which weights are kept


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets validation give these Dice, and the weights of each epoch."""

    def script(*dice: float | tuple[float, float]) -> list[list[float]]:
        coming, weights = iter(dice), []

        def validate(network: Any, *_: Any, **__: Any) -> list[CaseDice]:
            weights.append(numbers(network))
            value = next(coming)
            return [CaseDice(Path("a"), value if isinstance(value, tuple) else (value,))]

        monkeypatch.setattr(thorax.training.trainer, "validate", validate)
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
    regions = ["bright", "other"] if isinstance(dice[0], tuple) else ["bright"]
    history, network, _ = train(replace(plan(validation_paths=[Path("a")]), regions=regions))
    assert len({tuple(epoch) for epoch in weights}) == 3, "each epoch moves the weights"
    assert numbers(network) == weights[best - 1]
    assert [row["dice_bright"] for row in history] == pytest.approx(
        [one[0] if isinstance(one, tuple) else one for one in dice], nan_ok=True
    )


def test_a_row_tells_the_dice_of_each_region_and_their_mean(plan: PlanJob, scripted: Any) -> None:
    scripted((0.5, 0.75), (math.nan, 0.25), (math.nan, math.nan))
    history, _, _ = train(replace(plan(validation_paths=[Path("a")]), regions=["bright", "other"]))
    told = [(row["dice_bright"], row["dice_other"], row["dice"]) for row in history]
    expected = [(0.5, 0.75, 0.625), (math.nan, 0.25, 0.25), (math.nan, math.nan, math.nan)]
    np.testing.assert_equal(told, expected)


def test_without_validation_the_last_weights_are_kept(plan: PlanJob) -> None:
    job = plan()
    trainee, listener = compiled(job), Listener()
    weights: list[list[float]] = []
    listener.heard = lambda: weights.append(numbers(trainee.network))  # type: ignore[method-assign]
    history = fit(trainee, job, watcher=listener)
    assert numbers(trainee.network) == weights[-1] != weights[-2]
    assert [list(row) for row in history] == [
        ["epoch", "loss", "learning_rate", "gradient_norm"]
    ] * 3
    assert listener.seen == []


def test_the_watched_cases_are_scored(plan: PlanJob) -> None:
    """At once right, with these weights: 8·0.25 - 4 < 0 < 8·0.75 - 4."""
    source = plan().source
    job = plan(epochs=1, learning_rate=1e-6, validation_paths=source.paths)
    history, _, _ = train(job, compiled(job, weight=8, bias=-4))
    assert history[0]["dice_bright"] == 1.0


# What the validation steers


def test_training_ends_where_patience_does(plan: PlanJob, scripted: Any) -> None:
    """Epochs 3 and 4 are no better than 2; the weights of 2 are kept."""
    weights = scripted(0.2, 0.9, 0.5, 0.9 - 1e-9, 0.95)
    job, listener = (
        plan(validation_paths=[Path("a")], epochs=5, early_stopping_patience=2),
        Listener(),
    )
    trainee = compiled(job)
    history = fit(trainee, job, watcher=listener)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert listener.lasts == [False, False, False, True]
    assert numbers(trainee.network) == weights[1]


def test_the_last_of_all_epochs_is_told(plan: PlanJob, scripted: Any) -> None:
    scripted(0.2, 0.9)
    job, listener = plan(validation_paths=[Path("a")], epochs=2), Listener()
    fit(compiled(job), job, watcher=listener)
    assert listener.lasts == [False, True]


def test_a_training_that_lost_patience_does_not_go_on(plan: PlanJob, scripted: Any) -> None:
    scripted(0.9, 0.5, 0.2)
    job = plan(validation_paths=[Path("a")], epochs=9, early_stopping_patience=2)
    done, _, _ = train(job)
    again, _, told = train(job)
    assert (again, told) == (done, [])


def test_a_plateau_halves_the_rate(plan: PlanJob, scripted: Any) -> None:
    scripted(0.5, 0.4, 0.3, 0.6, 0.5)
    job = plan(
        validation_paths=[Path("a")],
        epochs=5,
        schedule="plateau",
        plateau_patience=2,
        warm_up=0.0,
        learning_rate=0.25,
    )
    history, _, _ = train(job)
    assert [row["learning_rate"] for row in history] == [0.25, 0.25, 0.25, 0.125, 0.125]


# The moving average


def test_the_average_is_watched_and_kept_and_training_goes_on_without_it(plan: PlanJob) -> None:
    """Momentum 0.1: after steps to w1, w2 it is w1, then 0.1·w1 + 0.9·w2, and so on."""
    steps = plan(epochs=3, batch=8, schedule="constant", warm_up=0.0)
    walked: list[list[float]] = []
    trainee, listener = compiled(steps), Listener()
    listener.heard = lambda: walked.append(numbers(trainee.network))  # type: ignore[method-assign]
    fit(trainee, steps, watcher=listener)
    steps.checkpoint.unlink()

    job = plan(
        epochs=3,
        batch=8,
        schedule="constant",
        warm_up=0.0,
        ema_momentum=0.1,
        validation_paths=steps.source.paths,
    )
    averaged, watcher = compiled(job), Listener()
    averaged_history = fit(averaged, job, watcher=watcher)
    (_, first, _), (_, second, _), (_, third, _) = watcher.seen
    assert first == pytest.approx(walked[0])
    blended = [0.1 * a + 0.9 * b for a, b, _ in zip(*walked, strict=True)]
    assert second == pytest.approx(blended)
    assert third == pytest.approx(
        [0.1 * a + 0.9 * b for a, b in zip(blended, walked[2], strict=True)]
    )
    dice = [row["dice"] for row in averaged_history]
    best = max(range(3), key=lambda epoch: (dice[epoch], epoch))
    assert numbers(averaged.network) == pytest.approx([first, second, third][best])


# Deep supervision


def test_coarser_levels_are_trained_and_the_network_is_what_is_kept(plan: PlanJob) -> None:
    """Two heads on the same weight; the loss is that of one plus 0.5 of the other's."""
    job = replace(plan(epochs=1, batch=8), supervision=0.5)
    network = pointwise([[0.0]], [0.0], canvas=SIDE)
    pooled = keras.layers.AveragePooling2D(2)(network.output)
    trainee = TrainingModel(network, keras.Model(network.input, [network.output, pooled]))
    compile_training_model(trainee, bce, job, scale_loss=False)
    assert trainee.levels == 1
    history = fit(trainee, job, watcher=Listener())
    assert history[0]["loss"] == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert numbers(network) != [0, 0]


# Going on


def test_each_epoch_is_kept_before_it_is_told(plan: PlanJob) -> None:
    """Else whoever stops at what is told would lose the epoch."""
    job = plan()
    kept: list[Any] = []
    listener = Listener()
    listener.heard = lambda: kept.append(load_checkpoint(job.checkpoint))  # type: ignore[method-assign]
    history = fit(compiled(job), job, watcher=listener)
    assert [checkpoint.history for checkpoint in kept] == [history[:1], history[:2], history]


@pytest.mark.parametrize(
    ("dice", "best"), [([0.9, 0.5, 0.2], 1), ([0.2, 0.9, 0.5], 2), ([0.2, 0.5, 0.9], 3)]
)
def test_the_best_so_far_is_kept_over_an_end(
    plan: PlanJob, scripted: Any, dice: list[float], best: int
) -> None:
    weights, job = scripted(*dice), plan(validation_paths=[Path("a")])
    stop_training(compiled(job), job, after=2)
    history, network, told = train(job, compiled(job, weight=99.0))
    assert [row["epoch"] for row in told] == [3]
    assert [row["dice_bright"] for row in history] == dice
    assert numbers(network) == weights[best - 1]


def test_each_epoch_has_its_own_batches_and_those_that_are_done_do_not_come_again(
    plan: PlanJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def note(source: Any, **how: Any) -> Any:
        drawn.append(how)
        return epoch_batches(source, **how)

    monkeypatch.setattr(thorax.training.trainer, "epoch_batches", note)
    job = plan()
    stop_training(compiled(job), job, after=2)
    train(job)
    assert drawn == [{"batch": 4, "seed": 7, "epoch": epoch, "levels": 0} for epoch in (0, 1, 2)]


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
    other = Checkpoint(
        kept, [np.full(shape, 7.0) for shape in best], [{"epoch": 1, "loss": 0.0}], job.batch
    )
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
    stop_training(compiled(job, scale_loss=scale_loss), job, after=2)
    history, continued, told = train(job, compiled(job, weight=99.0, scale_loss=scale_loss))
    assert [row["epoch"] for row in told] == [3, 4]
    assert history == whole
    assert numbers(continued) == numbers(network)


def run_apart(killed_after: int, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Train as a user would, in a process of its own."""
    module = f"{Path(__file__).parents[1].name}.continued_training"
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
