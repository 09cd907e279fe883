"""Training loop: it learns, keeps the best weights, and resumes after any interruption."""

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

import thorax.training.hosts
import thorax.training.trainer
from thorax.common.errors import InputError
from thorax.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from thorax.training.data import epoch_batches
from thorax.training.devices import DeviceStrategy
from thorax.training.losses import bce
from thorax.training.schedule import epochs_of
from thorax.training.trainer import (
    HistoryRow,
    TrainingModel,
    TrainingPlan,
    compile_training_model,
    fit,
)
from thorax.training.validation import CaseDice, validate

from ..continued_training import KILLED
from ..learning import pointwise, save_record, stack_dataset
from ..settings import train_params

ROOT = Path(__file__).parents[2]
SIDE = 4
MakePlan = Callable[..., TrainingPlan]
CASE = [Path("a")]
"""A validation case whose Dice is scripted."""


@pytest.fixture
def make_plan(tmp_path: Path) -> MakePlan:
    """Return a function that plans to separate 750 HU from 250 HU in 8 slices of two cases."""
    planes = np.full((4, SIDE, SIDE), 250)
    planes[:, 1:3, 1:3] = 750
    fractions = np.where(planes > 500, 255, 0)[..., None]
    paths = [save_record(tmp_path / f"{case}.tfrecord", planes, fractions) for case in "ab"]

    def make(*, validation_paths: Sequence[Path] = (), **params: Any) -> TrainingPlan:
        defaults = {
            "context": 0,
            "window": (0, 1000),
            "epochs": 3,
            "batch": 4,
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "ema_momentum": 0.0,
        }
        settings = train_params(**defaults | params)
        return TrainingPlan(
            dataset=stack_dataset(paths, 8, canvas=SIDE),
            validation_paths=validation_paths,
            regions=["bright"],
            params=settings,
            batch=settings.batch,
            seed=7,
            checkpoint=tmp_path / "checkpoints" / "run.npz",
        )

    return make


def compiled(
    plan: TrainingPlan, *, weight: float = 0.0, bias: float = 0.0, scale_loss: bool = False
) -> TrainingModel:
    """Return a compiled network of two weights."""
    network = pointwise([[weight]], [bias], canvas=SIDE)
    training_model = TrainingModel(network, network)
    compile_training_model(training_model, bce, plan, scale_loss=scale_loss)
    return training_model


class RecordingCallback:
    """Records the calls of a training.

    Args:
        after_epoch: Called after each epoch.
        stop_after: Epoch after which the training is interrupted, as with Ctrl-C.
    """

    def __init__(
        self, *, after_epoch: Callable[[], object] = lambda: None, stop_after: int = 0
    ) -> None:
        self.rows: list[HistoryRow] = []
        self.speeds: list[float] = []
        self.last_flags: list[bool] = []
        self.validated: list[list[float]] = []
        self.validated_epochs: list[int] = []
        self.first: list[HistoryRow] = []
        self._after_epoch, self._stop_after = after_epoch, stop_after

    def on_resume(self, history: Sequence[HistoryRow]) -> None:
        pass

    def on_first_validation(self, row: HistoryRow) -> None:
        self.first.append(row)

    def on_epoch_end(self, row: HistoryRow, *, stacks_per_s: float) -> None:
        self.rows.append(row)
        self.speeds.append(stacks_per_s)
        self._after_epoch()
        if row["epoch"] == self._stop_after:
            raise KeyboardInterrupt

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        self.last_flags.append(last)
        self.validated_epochs.append(epoch)
        self.validated.append(weights_of(network))


def train(
    plan: TrainingPlan, training_model: TrainingModel | None = None
) -> tuple[list[HistoryRow], Any, list[HistoryRow]]:
    """Train; return the history, the network, and the rows of the callback."""
    training_model, callback = training_model or compiled(plan), RecordingCallback()
    history = fit(training_model, plan, callback=callback)
    return history, training_model.network, callback.rows


def interrupt_training(training_model: TrainingModel, plan: TrainingPlan, *, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(training_model, plan, callback=RecordingCallback(stop_after=after))


def weights_of(network: Any) -> list[float]:
    """Return the weight and the bias of a network of two weights."""
    return [float(np.ravel(array)[0]) for array in network.get_weights()]


@pytest.fixture
def fake_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the training of an epoch: weight and bias become the number of the epoch."""

    def train_epoch(
        training_model: TrainingModel, plan: TrainingPlan, history: Sequence[HistoryRow]
    ) -> tuple[HistoryRow, float]:
        epoch = epochs_of(history) + 1
        weights = training_model.network.get_weights()
        training_model.network.set_weights([np.full_like(array, epoch) for array in weights])
        return {"epoch": epoch, "loss": 0.5}, 1.0

    monkeypatch.setattr(thorax.training.trainer, "_train_epoch", train_epoch)


@pytest.fixture
def script_dice(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the validation Dice of the epochs."""

    def script(*dice: float | tuple[float, float]) -> None:
        values = iter(dice)

        def validate(*_: Any, **__: Any) -> list[CaseDice]:
            value = next(values)
            return [CaseDice(CASE[0], value if isinstance(value, tuple) else (value,))]

        monkeypatch.setattr(thorax.training.hosts, "validate", validate)

    return script


# Learning


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda path: path.unlink(), "cannot be read", id="removed"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), "is ", id="truncated"),
    ],
)
def test_a_record_that_is_damaged_during_the_training_is_named(
    make_plan: MakePlan, damage: Callable[[Path], object], message: str
) -> None:
    plan = make_plan()
    damage(plan.dataset.paths[1])
    with pytest.raises(InputError, match=rf"record .*b\.tfrecord {message}"):
        train(plan)


def test_it_learns(make_plan: MakePlan) -> None:
    """The loss starts at log 2 = 0.69, that of p = 1/2; bright pixels become positive."""
    plan, callback = make_plan(epochs=8), RecordingCallback()
    training_model = compiled(plan)
    history = fit(training_model, plan, callback=callback)
    assert 0.5 < history[0]["loss"] < 0.75
    assert history[-1]["loss"] < history[0]["loss"] / 2
    weight, bias = weights_of(training_model.network)
    assert weight * 0.25 + bias < 0 < weight * 0.75 + bias
    assert callback.rows == history
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert len(callback.speeds) == 8
    assert min(callback.speeds) > 0


def test_a_batch_of_all_of_the_data_is_one_step(make_plan: MakePlan) -> None:
    plan = make_plan(batch=8, epochs=1)
    assert plan.steps == 1
    history, network, _ = train(plan)
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert weights_of(network) != [0, 0]


def test_stacks_that_fill_no_batch_make_no_step(make_plan: MakePlan) -> None:
    assert make_plan(batch=3).steps == 2


def test_a_loss_that_is_not_finite_is_refused(make_plan: MakePlan) -> None:
    plan = make_plan()
    with pytest.raises(
        InputError,
        match=r"the loss must be finite, got nan in epoch 1; lower `train.learning_rate`, set "
        r"`train.clip_norm: 1` or `train.precision: float32`",
    ):
        train(plan, compiled(plan, weight=math.nan))
    assert not plan.checkpoint.exists(), "training would resume with NaN"


# The optimizer


def rate(training_model: TrainingModel, step: int) -> float:
    optimizer = training_model.model.optimizer
    optimizer.iterations.assign(step)
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


@pytest.mark.parametrize(
    ("scaling", "accumulate", "rate"),
    [("none", 2, 0.01), ("sqrt", 1, 0.01 * 0.5**0.5), ("linear", 1, 0.005), ("linear", 2, 0.01)],
)
def test_the_rate_is_scaled_from_eight_stacks_to_those_of_a_step(
    make_plan: MakePlan, scaling: str, accumulate: int, rate: float
) -> None:
    """With batches of four."""
    plan = make_plan(
        epochs=1,
        learning_rate=0.01,
        schedule="constant",
        warm_up=0.0,
        rate_scaling=scaling,
        accumulate=accumulate,
    )
    history, _, _ = train(plan)
    assert history[0]["learning_rate"] == pytest.approx(rate)


@pytest.mark.parametrize("steps_per_call", [2, 3])
def test_several_steps_a_call_train_the_same(make_plan: MakePlan, steps_per_call: int) -> None:
    """Also if the two steps of an epoch are fewer than those of a call."""
    expected, network, _ = train(make_plan())
    history, other, _ = train(make_plan(steps_per_call=steps_per_call))
    assert weights_of(other) == pytest.approx(weights_of(network), rel=1e-5)
    for row, wanted in zip(history, expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-5)


def test_the_learning_rate_warms_up_and_falls_to_0(make_plan: MakePlan) -> None:
    """20 epochs of 2 steps: 2 steps of warm-up, then half a cosine over 38."""
    training_model = compiled(make_plan(epochs=20, learning_rate=0.01))
    assert [rate(training_model, step) for step in (0, 1)] == pytest.approx([0.005, 0.01])
    assert rate(training_model, 2) == pytest.approx(0.01)
    assert rate(training_model, 21) == pytest.approx(0.005)
    assert rate(training_model, 40) == pytest.approx(0, abs=1e-9)


def test_the_only_step_of_a_training_has_a_rate_above_0(make_plan: MakePlan) -> None:
    assert rate(compiled(make_plan(epochs=1, batch=8)), 0) > 0


@pytest.mark.parametrize("scale_loss", [False, True])
def test_weights_decay_and_biases_do_not(make_plan: MakePlan, scale_loss: bool) -> None:
    """Without a gradient, the first step of rate 0.5/2 takes 1/4 · 0.2 of the weight."""
    plan = make_plan(epochs=20, weight_decay=0.2)
    training_model = compiled(plan, weight=1.0, bias=1.0, scale_loss=scale_loss)
    first, model = rate(training_model, 0), training_model.model
    if scale_loss and keras.backend.backend() == "jax":
        pytest.skip("on JAX, Keras scales losses only inside `fit`")
    model.optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    assert weights_of(training_model.network) == pytest.approx([1 - first * 0.2, 1.0])


def test_a_row_has_the_rate_and_the_mean_norm_of_the_gradient(make_plan: MakePlan) -> None:
    """With tiny steps, both steps of an epoch have the gradient of the first.

    Weight and bias at 0 give p = 1/2. The gradient of the bias is the mean of p - t, 1/2 - 1/4;
    that of the weight the mean of (p - t)·x: (0.5·0.25·3 - 0.5·0.75)/4 = 0.
    """
    history, _, _ = train(make_plan(learning_rate=1e-9, epochs=1, schedule="constant"))
    assert history[0]["learning_rate"] == pytest.approx(1e-9)
    assert history[0]["gradient_norm"] == pytest.approx(0.25, abs=1e-3)


def test_the_gradient_norm_of_accumulated_batches_counts_in_the_epoch_of_the_step(
    make_plan: MakePlan,
) -> None:
    """Two epochs of two batches, three to a step: one step, in the second epoch."""
    first, second = train(make_plan(epochs=2, batch=4, accumulate=3, schedule="constant"))[0]
    assert first["gradient_norm"] == 0.0
    assert second["gradient_norm"] == pytest.approx(0.25, abs=1e-2)


def test_a_training_too_short_for_a_step_is_refused(make_plan: MakePlan) -> None:
    with pytest.raises(
        InputError,
        match=r"`train.accumulate` must be at most the 6 batches of the whole training, got 7",
    ):
        compiled(make_plan(epochs=3, batch=4, accumulate=7))


def test_devices_share_the_epochs_and_not_the_validation(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    @contextmanager
    def scope() -> Iterator[None]:
        calls.append("enter")
        yield
        calls.append("exit")

    monkeypatch.setattr(
        thorax.training.hosts, "validate", lambda *_, **__: calls.append("validate") or []
    )
    plan = make_plan(epochs=2, validation_paths=CASE)
    network = pointwise([[0.0]], [0.0], canvas=SIDE)
    training_model = TrainingModel(network, network, DeviceStrategy(1, scope))
    compile_training_model(training_model, bce, plan, scale_loss=False)
    callback = RecordingCallback(after_epoch=lambda: calls.append("report"))
    fit(training_model, plan, callback=callback)
    assert calls == ["enter", "exit", "validate", "report"] * 2


def test_a_batch_that_does_not_fit_into_memory_is_reported(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: Any, **__: Any) -> None:
        raise MemoryError

    plan = make_plan()
    training_model = compiled(plan)
    monkeypatch.setattr(training_model.model, "fit", exhaust)
    with pytest.raises(InputError, match="a batch of 4 stacks does not fit into memory"):
        train(plan, training_model)


# Validation cases


@pytest.mark.usefixtures("fake_epochs")
@pytest.mark.parametrize(
    ("dice", "best"),
    [
        pytest.param([0.2, 0.9, 0.5], 2, id="in the middle"),
        pytest.param([0.9, 0.5, 0.2], 1, id="the first"),
        pytest.param([0.2, 0.5, 0.9], 3, id="the last"),
        pytest.param([0.9, 0.9, 0.2], 2, id="of equals, the later"),
        pytest.param([math.nan, 0.1, 0.0], 2, id="undefined counts as 0"),
        pytest.param([math.nan] * 3, 3, id="always undefined: the last"),
        pytest.param([(0.9, 0.1), (0.6, 0.6), (0.1, 0.9)], 2, id="mean over regions"),
        pytest.param([(0.9, math.nan), (0.8, 0.8), (0.1, 0.9)], 1, id="of those defined"),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(
    make_plan: MakePlan, script_dice: Any, dice: list[Any], best: int
) -> None:
    script_dice(*dice)
    regions = ["bright", "other"] if isinstance(dice[0], tuple) else ["bright"]
    plan = replace(make_plan(validation_paths=CASE), regions=regions)
    history, network, _ = train(plan)
    assert weights_of(network) == [best, best]
    assert [row["dice_bright"] for row in history] == pytest.approx(
        [value[0] if isinstance(value, tuple) else value for value in dice], nan_ok=True
    )


@pytest.mark.usefixtures("fake_epochs")
def test_a_row_has_the_dice_of_each_region_and_their_mean(
    make_plan: MakePlan, script_dice: Any
) -> None:
    script_dice((0.5, 0.75), (math.nan, 0.25), (math.nan, math.nan))
    history, _, _ = train(replace(make_plan(validation_paths=CASE), regions=["bright", "other"]))
    dice = [(row["dice_bright"], row["dice_other"], row["dice"]) for row in history]
    expected = [(0.5, 0.75, 0.625), (math.nan, 0.25, 0.25), (math.nan, math.nan, math.nan)]
    np.testing.assert_equal(dice, expected)


def test_without_validation_the_last_weights_are_kept(make_plan: MakePlan) -> None:
    plan = make_plan(epochs=2)
    training_model = compiled(plan)
    weights: list[list[float]] = []
    callback = RecordingCallback(
        after_epoch=lambda: weights.append(weights_of(training_model.network))
    )
    history = fit(training_model, plan, callback=callback)
    assert weights_of(training_model.network) == weights[1] != weights[0]
    assert [list(row) for row in history] == [
        ["epoch", "loss", "learning_rate", "gradient_norm"]
    ] * 2
    assert callback.validated == []


def test_validation_cases_are_scored(make_plan: MakePlan) -> None:
    """These weights are right from the start: 8·0.25 - 4 < 0 < 8·0.75 - 4."""
    paths = make_plan().dataset.paths
    plan = make_plan(epochs=1, learning_rate=1e-6, validation_paths=paths)
    history, _, _ = train(plan, compiled(plan, weight=8, bias=-4))
    assert history[0]["dice_bright"] == 1.0


@pytest.mark.usefixtures("fake_epochs")
def test_early_stopping_ends_the_training(make_plan: MakePlan, script_dice: Any) -> None:
    """Epochs 3 and 4 are not better than 2, whose weights are kept; a new start ends at once."""
    script_dice(0.2, 0.9, 0.5, 0.9 - 1e-9, 0.95)
    plan = make_plan(validation_paths=CASE, epochs=5, early_stopping_patience=2)
    training_model, callback = compiled(plan), RecordingCallback()
    history = fit(training_model, plan, callback=callback)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert callback.last_flags == [False, False, False, True]
    assert weights_of(training_model.network) == [2, 2]
    again, network, rows = train(plan)
    assert (again, rows) == (history, [])
    assert weights_of(network) == [2, 2]


@pytest.mark.usefixtures("fake_epochs")
def test_the_last_epoch_is_flagged(make_plan: MakePlan, script_dice: Any) -> None:
    script_dice(0.2, 0.9)
    plan, callback = make_plan(validation_paths=CASE, epochs=2), RecordingCallback()
    fit(compiled(plan), plan, callback=callback)
    assert callback.last_flags == [False, True]


def test_a_plateau_halves_the_rate(make_plan: MakePlan, script_dice: Any) -> None:
    script_dice(0.5, 0.4, 0.3, 0.6)
    plan = make_plan(
        validation_paths=CASE,
        epochs=4,
        schedule="plateau",
        plateau_patience=2,
        warm_up=0.0,
        learning_rate=0.25,
    )
    history, _, _ = train(plan)
    assert [row["learning_rate"] for row in history] == [0.25, 0.25, 0.25, 0.125]


# Validation at an interval, and of the initial weights and training cases


@pytest.mark.usefixtures("fake_epochs")
@pytest.mark.parametrize(
    ("every", "epochs", "dice", "best"),
    [
        pytest.param(2, [2, 4, 5], (0.5, 0.9, 0.1), 4, id="each second, and the last"),
        pytest.param(2, [2, 4, 5], (0.5, 0.5, 0.5), 5, id="of equals, the later"),
        pytest.param(5, [5], (0.1,), 5, id="the last by the interval"),
        pytest.param(9, [5], (0.1,), 5, id="an interval longer than the training"),
    ],
)
def test_validations_at_an_interval_choose_the_best_weights(
    make_plan: MakePlan,
    script_dice: Any,
    every: int,
    epochs: list[int],
    dice: tuple[float, ...],
    best: int,
) -> None:
    script_dice(*dice)
    plan = make_plan(validation_paths=CASE, epochs=5, validate_every=every)
    training_model, callback = compiled(plan), RecordingCallback()
    history = fit(training_model, plan, callback=callback)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    assert {int(row["epoch"]): row["dice"] for row in history if "dice" in row} == dict(
        zip(epochs, dice, strict=True)
    )
    assert callback.validated_epochs == epochs
    assert callback.last_flags == [False] * (len(epochs) - 1) + [True]
    assert weights_of(training_model.network) == [best, best]


@pytest.mark.usefixtures("fake_epochs")
def test_early_stopping_waits_for_a_validation(make_plan: MakePlan, script_dice: Any) -> None:
    """At epoch 5, three epochs have passed since the best, 2; the next validation is at 6."""
    script_dice(0.9, 0.5, 0.4)
    plan = make_plan(validation_paths=CASE, epochs=20, validate_every=2, early_stopping_patience=3)
    training_model, callback = compiled(plan), RecordingCallback()
    history = fit(training_model, plan, callback=callback)
    assert len(history) == 6
    assert callback.last_flags == [False, False, True]
    assert weights_of(training_model.network) == [2, 2]
    assert train(plan)[2] == []


@pytest.mark.usefixtures("fake_epochs")
@pytest.mark.parametrize("after", [1, 2, 3])
def test_validations_at_an_interval_survive_an_interruption(
    make_plan: MakePlan, script_dice: Any, after: int
) -> None:
    script_dice(0.9, 0.5)
    plan = make_plan(validation_paths=CASE, epochs=4, validate_every=2)
    interrupt_training(compiled(plan), plan, after=after)
    history, network, _ = train(plan, compiled(plan, weight=99.0))
    assert [row.get("dice") for row in history] == [None, 0.9, None, 0.5]
    assert weights_of(network) == [2, 2]


@pytest.mark.usefixtures("fake_epochs")
def test_the_initial_weights_are_validated_and_never_kept(
    make_plan: MakePlan, script_dice: Any
) -> None:
    script_dice(0.95, 0.2, 0.5)
    plan = make_plan(validation_paths=CASE, epochs=2, validate_first=True)
    training_model, callback = compiled(plan), RecordingCallback()
    history = fit(training_model, plan, callback=callback)
    assert history[0] == {"epoch": 0, "dice": 0.95, "dice_bright": 0.95}
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert callback.first == history[:1]
    assert callback.rows == history[1:]
    assert callback.validated_epochs == [0, 1, 2]
    assert callback.last_flags == [False, False, True]
    assert weights_of(training_model.network) == [2, 2]


@pytest.mark.usefixtures("fake_epochs")
def test_a_resumed_training_does_not_validate_its_start_again(
    make_plan: MakePlan, script_dice: Any
) -> None:
    script_dice(0.95, 0.2, 0.5)
    plan = make_plan(validation_paths=CASE, epochs=2, validate_first=True)
    interrupt_training(compiled(plan), plan, after=1)
    history, _, rows = train(plan, compiled(plan))
    assert [row["dice"] for row in history] == [0.95, 0.2, 0.5]
    assert [row["epoch"] for row in rows] == [2]


def test_a_damaged_validation_record_stops_before_the_first_epoch(make_plan: MakePlan) -> None:
    paths = make_plan().dataset.paths
    missing = [paths[0].with_name("missing.tfrecord")]
    plan = make_plan(validation_paths=missing, validate_first=True)
    callback = RecordingCallback()
    with pytest.raises(InputError, match=r"missing\.tfrecord cannot be read"):
        fit(compiled(plan), plan, callback=callback)
    assert callback.rows == []


def test_validations_do_not_change_the_training(make_plan: MakePlan) -> None:
    """The weights after the last epoch, which is the best here, are equal to the last bit."""
    paths = make_plan().dataset.paths
    results = []
    for changes in ({}, {"validate_every": 3, "validate_first": True}):
        plan = make_plan(validation_paths=paths, ema_momentum=0.5, **changes)
        plan = replace(plan, training_metric_paths=paths[:1] if changes else [])
        history, network, _ = train(plan)
        plan.checkpoint.unlink()
        results.append((history[-1]["loss"], weights_of(network)))
    assert results[0] == results[1]


def test_training_cases_are_scored_like_validation_cases(make_plan: MakePlan) -> None:
    paths = make_plan().dataset.paths
    plan = replace(
        make_plan(validation_paths=paths[:1], epochs=2, validate_every=2, validate_first=True),
        training_metric_paths=paths[1:],
    )
    training_model = compiled(plan)
    first, second, third = fit(training_model, plan, callback=RecordingCallback())
    assert list(first) == ["epoch", "dice", "dice_bright", "train_dice", "train_dice_bright"]
    assert "train_dice" not in second
    (case,) = validate(training_model.network, paths[1:], window=plan.dataset.window)
    assert third["train_dice"] == third["train_dice_bright"] == case.mean


# The moving average


def test_the_average_is_validated_and_kept_and_training_continues_without_it(
    make_plan: MakePlan,
) -> None:
    """Momentum 0.1: after steps to w1, w2 it is w1, then 0.1·w1 + 0.9·w2, and so on."""
    plain = make_plan(epochs=3, batch=8, schedule="constant", warm_up=0.0)
    steps: list[list[float]] = []
    training_model = compiled(plain)
    record_step = RecordingCallback(
        after_epoch=lambda: steps.append(weights_of(training_model.network))
    )
    fit(training_model, plain, callback=record_step)
    plain.checkpoint.unlink()

    plan = make_plan(
        epochs=3,
        batch=8,
        schedule="constant",
        warm_up=0.0,
        ema_momentum=0.1,
        validation_paths=plain.dataset.paths,
    )
    averaged, callback = compiled(plan), RecordingCallback()
    history = fit(averaged, plan, callback=callback)
    first, second, third = callback.validated
    assert first == pytest.approx(steps[0])
    blended = [0.1 * a + 0.9 * b for a, b, _ in zip(*steps, strict=True)]
    assert second == pytest.approx(blended)
    assert third == pytest.approx(
        [0.1 * a + 0.9 * b for a, b in zip(blended, steps[2], strict=True)]
    )
    dice = [row["dice"] for row in history]
    best = max(range(3), key=lambda epoch: (dice[epoch], epoch))
    assert weights_of(averaged.network) == pytest.approx([first, second, third][best])


# Deep supervision


def test_coarser_levels_are_trained_and_the_network_is_kept(make_plan: MakePlan) -> None:
    """Two heads on the same weight; the loss is that of one plus 0.5 of the other's."""
    plan = replace(make_plan(epochs=1, batch=8), supervision=0.5)
    network = pointwise([[0.0]], [0.0], canvas=SIDE)
    pooled = keras.layers.AveragePooling2D(2)(network.output)
    training_model = TrainingModel(network, keras.Model(network.input, [network.output, pooled]))
    compile_training_model(training_model, bce, plan, scale_loss=False)
    assert training_model.levels == 1
    history = fit(training_model, plan, callback=RecordingCallback())
    assert history[0]["loss"] == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert weights_of(network) != [0, 0]


# Resuming


@pytest.mark.usefixtures("fake_epochs")
def test_each_epoch_is_saved_before_it_is_reported(make_plan: MakePlan) -> None:
    """Otherwise an interruption after the report would lose the epoch."""
    plan = make_plan()
    saved: list[Any] = []
    callback = RecordingCallback(after_epoch=lambda: saved.append(load_checkpoint(plan.checkpoint)))
    history = fit(compiled(plan), plan, callback=callback)
    assert [checkpoint.history for checkpoint in saved] == [history[:1], history[:2], history]


@pytest.mark.usefixtures("fake_epochs")
@pytest.mark.parametrize(
    ("dice", "best"), [([0.9, 0.5, 0.2], 1), ([0.2, 0.9, 0.5], 2), ([0.2, 0.5, 0.9], 3)]
)
def test_the_best_weights_survive_an_interruption(
    make_plan: MakePlan, script_dice: Any, dice: list[float], best: int
) -> None:
    script_dice(*dice)
    plan = make_plan(validation_paths=CASE)
    interrupt_training(compiled(plan), plan, after=2)
    history, network, rows = train(plan, compiled(plan, weight=99.0))
    assert [row["epoch"] for row in rows] == [3]
    assert [row["dice_bright"] for row in history] == dice
    assert weights_of(network) == [best, best]


def test_a_resumed_training_draws_the_batches_of_the_next_epoch(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def record(dataset: Any, **arguments: Any) -> Any:
        calls.append(arguments)
        return epoch_batches(dataset, **arguments)

    monkeypatch.setattr(thorax.training.trainer, "epoch_batches", record)
    plan = make_plan(epochs=2)
    interrupt_training(compiled(plan), plan, after=1)
    train(plan)
    assert calls == [{"batch": 4, "seed": 7, "epoch": epoch, "levels": 0} for epoch in (0, 1)]


@pytest.mark.usefixtures("fake_epochs")
def test_a_finished_training_is_not_repeated(make_plan: MakePlan) -> None:
    plan = make_plan()
    history, network, _ = train(plan)
    again, other, rows = train(plan)
    assert again == history
    assert rows == []
    assert weights_of(other) == weights_of(network) == [3, 3]


@pytest.mark.usefixtures("fake_epochs")
@pytest.mark.parametrize(
    ("variables", "best"),
    [
        pytest.param([(1, 1, 1, 1)], [(1, 1, 1, 1), (1,)], id="too few variables"),
        pytest.param(None, [(1,)], id="too few best weights"),
        pytest.param(None, [(1, 1, 1, 2), (2,)], id="best weights of other shapes"),
        pytest.param("wider", [(1, 1, 1, 1), (1,)], id="variables of other shapes"),
    ],
)
def test_a_checkpoint_of_another_network_is_ignored(
    make_plan: MakePlan, variables: Any, best: list[tuple[int, ...]]
) -> None:
    plan = make_plan(epochs=1)
    train(plan)
    saved = load_checkpoint(plan.checkpoint)
    assert saved is not None
    if variables is None:
        arrays = saved.variables
    elif variables == "wider":
        arrays = [np.zeros((*array.shape, 2), array.dtype) for array in saved.variables]
    else:
        arrays = [np.zeros(shape) for shape in variables]
    best_weights = [np.full(shape, 7.0) for shape in best]
    history = [{"epoch": 1, "loss": 0.0}]
    save_checkpoint(plan.checkpoint, Checkpoint(arrays, best_weights, history, plan.batch))
    history, network, rows = train(plan)
    assert rows == history
    assert history[0]["loss"] == 0.5
    assert weights_of(network) == [1, 1]


@pytest.mark.usefixtures("fake_epochs")
def test_a_damaged_checkpoint_is_ignored(make_plan: MakePlan) -> None:
    plan = make_plan(epochs=1)
    train(plan)
    plan.checkpoint.write_bytes(plan.checkpoint.read_bytes()[:-50])
    assert len(train(plan)[2]) == 1


@pytest.mark.parametrize("scale_loss", [False, True])
def test_an_interrupted_training_ends_like_one_without_interruption(
    make_plan: MakePlan, scale_loss: bool
) -> None:
    """The scale of a scaled loss is part of the state."""
    plan = make_plan(epochs=3, weight_decay=0.1)
    whole, network, _ = train(plan, compiled(plan, scale_loss=scale_loss))
    plan.checkpoint.unlink()
    interrupt_training(compiled(plan, scale_loss=scale_loss), plan, after=1)
    history, resumed, rows = train(plan, compiled(plan, weight=99.0, scale_loss=scale_loss))
    assert [row["epoch"] for row in rows] == [2, 3]
    assert history == whole
    assert weights_of(resumed) == weights_of(network)


def train_in_process(kill_after: int, *folders: Path) -> subprocess.CompletedProcess[str]:
    module = f"{Path(__file__).parents[1].name}.continued_training"
    return subprocess.run(
        [sys.executable, "-m", module, str(kill_after), *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Weights and history are equal to the last bit: order, augmentation, optimizer and all."""
    killed = train_in_process(1, tmp_path / "killed")
    assert killed.returncode == KILLED, killed.stderr
    assert not (tmp_path / "killed" / "weights.npz").exists()
    finished = train_in_process(0, tmp_path / "killed", tmp_path / "whole")
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[0]["loss"] > history[2]["loss"]
    assert json.loads((tmp_path / "killed" / "history.json").read_text()) == history
    with (
        np.load(tmp_path / "whole" / "weights.npz") as whole,
        np.load(tmp_path / "killed" / "weights.npz") as resumed,
    ):
        # Kernels and biases of 6 convolutions, an upsampling one, and the last.
        assert len(whole.files) == len(resumed.files) == 2 * 8
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], resumed[name])
