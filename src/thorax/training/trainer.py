"""Training loop: epochs, validation, best weights, and a checkpoint after each epoch."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from thorax.common.errors import InputError
from thorax.common.params import TrainParams
from thorax.training.batch_size import raise_batch_too_large
from thorax.training.checkpoint import Checkpoint, save_checkpoint
from thorax.training.data import StackDataset, epoch_batches
from thorax.training.devices import SINGLE_DEVICE, DeviceStrategy
from thorax.training.hosts import (
    Validator,
    is_leader,
    load_shared_checkpoint,
    make_validator,
)
from thorax.training.optimizer import make_optimizer, unwrap_loss_scaling
from thorax.training.record_memory import read_case
from thorax.training.schedule import (
    epochs_of,
    is_best,
    plateau_halvings,
    scaled_rate,
    should_stop_early,
)
from thorax.training.validation import CaseDice, mean_dice

HistoryRow = dict[str, float]
"""Metrics of an epoch by name; epoch 0 has those of the initial weights."""


@dataclass(frozen=True)
class TrainingPlan:
    """Data, settings and checkpoint of a training.

    Args:
        dataset: The training stacks.
        validation_paths: Record files of the validation cases; if empty, the last weights are kept.
        regions: Names of the regions.
        params: Epochs, learning rate and so on.
        batch: Stacks per step.
        seed: Seed of the order and the augmentation of the stacks.
        checkpoint: File for the state after each epoch.
        supervision: Weight of the loss at half resolution, its square at a quarter and so on; 0:
            no deep supervision.
        training_metric_paths: Record files of training cases whose Dice is computed at each
            validation.
    """

    dataset: StackDataset
    validation_paths: Sequence[Path]
    regions: Sequence[str]
    params: TrainParams
    batch: int
    seed: int
    checkpoint: Path
    supervision: float = 0.0
    training_metric_paths: Sequence[Path] = ()

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.dataset.stacks // self.batch


@dataclass(frozen=True)
class TrainingModel:
    """Network and the model that trains it.

    Args:
        network: Network from stacks to logits, which prediction uses.
        model: Compiled model: the network itself, or the same layers with more outputs.
        devices: Devices that the model was built for.
    """

    network: Any
    model: Any
    devices: DeviceStrategy = SINGLE_DEVICE

    @property
    def levels(self) -> int:
        """Number of additional coarser outputs."""
        return len(self.model.outputs) - 1


class TrainingCallback(Protocol):
    """Functions that `fit` calls during a training."""

    def on_resume(self, history: Sequence[HistoryRow]) -> None:
        """Called once at the start with the history of the checkpoint, which may be empty."""

    def on_first_validation(self, row: HistoryRow) -> None:
        """Called after the validation of the initial weights, which only some trainings have."""

    def on_epoch_end(self, row: HistoryRow, *, stacks_per_s: float) -> None:
        """Called after each epoch."""

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        """Called after each validation with the network and the Dice of each case."""


def compile_training_model(
    training_model: TrainingModel,
    loss: Any,
    plan: TrainingPlan,
    *,
    scale_loss: bool,
    encoder: Any = lambda _: False,
) -> None:
    """Compile a model with the loss, at each of its outputs, and the optimizer.

    Args:
        training_model: The network and its model.
        loss: A Keras loss of truth and logits.
        plan: The plan of the training.
        scale_loss: Scale the loss up, for float16.
        encoder: Function from the name of a layer to True if it belongs to the encoder.

    Raises:
        InputError: There are too few batches for a single step.
    """
    _check_accumulation(plan)
    rate = scaled_rate(plan.params, batch=plan.batch)
    optimizer = make_optimizer(
        replace(plan.params, learning_rate=rate),
        training_model.model.trainable_variables,
        steps=plan.steps * plan.params.epochs,
        encoder=encoder,
        scale_loss=scale_loss,
    )
    weights = [plan.supervision**level for level in range(training_model.levels + 1)]
    training_model.model.compile(
        optimizer,
        [loss] * len(weights) if training_model.levels else loss,
        loss_weights=weights if training_model.levels else None,
        auto_scale_loss=False,
        steps_per_execution=plan.params.steps_per_call,
        jit_compile=plan.params.xla or keras.backend.backend() != "tensorflow",
    )


def _check_accumulation(plan: TrainingPlan) -> None:
    batches = plan.steps * plan.params.epochs
    if plan.params.accumulate > batches:
        raise InputError(
            f"`train.accumulate` must be at most the {batches} batches of the whole training, got "
            f"{plan.params.accumulate}; lower it or `train.batch`"
        )


def fit(
    training_model: TrainingModel, plan: TrainingPlan, *, callback: TrainingCallback
) -> list[HistoryRow]:
    """Train a compiled model, or resume from the checkpoint of this training.

    Afterwards the network has the weights of the epoch with the best mean validation Dice, or the
    last weights if there are no validation cases. With ``ema_momentum`` these are the moving
    averages of the weights, which are also validated.

    Args:
        training_model: The network and its compiled model.
        plan: The plan of the training.
        callback: Called after each epoch and validation.

    Returns:
        One row per epoch: ``epoch``, ``loss``, ``learning_rate`` and ``gradient_norm``; after a
        validation also ``dice_<region>`` and their mean ``dice``, and with training cases in the
        plan ``train_dice_<region>`` and ``train_dice``. With ``validate_first`` the first row is
        epoch 0, the validation of the initial weights, which are never kept as the best.

    Raises:
        InputError: The loss is not finite, or a batch does not fit into memory.
    """
    network = training_model.network
    validator = make_validator(network)
    history, best = _resume(training_model, plan)
    callback.on_resume(history)
    if plan.params.validate_first and plan.validation_paths and not history:
        row: HistoryRow = {"epoch": 0}
        history.append(row | _validate(validator, plan, row, [], callback))
        callback.on_first_validation(history[0])
    while not _is_last(history, plan.params):
        row, stacks_per_s = _train_epoch(training_model, plan, history)
        with _averaged_weights(training_model):
            if _is_validated(row, plan):
                row |= _validate(validator, plan, row, history, callback)
            if not plan.validation_paths or is_best(row, history):
                best = network.get_weights()
        history.append(row)
        state = Checkpoint(_state(training_model.model), best, history, plan.batch)
        if is_leader():
            save_checkpoint(plan.checkpoint, state)
        callback.on_epoch_end(row, stacks_per_s=stacks_per_s)
    network.set_weights(best)
    return history


def _is_last(history: Sequence[HistoryRow], params: TrainParams) -> bool:
    """Return True if no epoch follows these."""
    return epochs_of(history) == params.epochs or should_stop_early(
        history, patience=params.early_stopping_patience
    )


def _is_validated(row: HistoryRow, plan: TrainingPlan) -> bool:
    epoch = int(row["epoch"])
    due = epoch % plan.params.validate_every == 0 or epoch == plan.params.epochs
    return bool(plan.validation_paths) and due


def _validate(
    validator: Validator,
    plan: TrainingPlan,
    row: HistoryRow,
    history: Sequence[HistoryRow],
    callback: TrainingCallback,
) -> HistoryRow:
    """Return the Dice of the validation cases, and of training cases if the plan has them."""
    window = plan.dataset.window
    cases = validator(plan.validation_paths, window=window)
    dice = mean_dice(cases, plan.regions)
    last = _is_last([*history, row | dice], plan.params)
    callback.on_validation_end(int(row["epoch"]), validator.local, cases, last=last)
    if plan.training_metric_paths:
        trained = validator(plan.training_metric_paths, window=window)
        for name, value in mean_dice(trained, plan.regions).items():
            dice[f"train_{name}"] = value
    return dice


def _train_epoch(
    training_model: TrainingModel, plan: TrainingPlan, history: Sequence[HistoryRow]
) -> tuple[HistoryRow, float]:
    epoch, model = epochs_of(history), training_model.model
    batches = epoch_batches(
        plan.dataset, batch=plan.batch, seed=plan.seed, epoch=epoch, levels=training_model.levels
    )
    optimizer = unwrap_loss_scaling(model.optimizer)
    if plan.params.schedule == "plateau":
        optimizer.factor.assign(
            0.5 ** plateau_halvings(history, patience=plan.params.plateau_patience)
        )
    optimizer.norms.assign(0.0)
    first_step, started = _number(optimizer.iterations), time.monotonic()
    with (
        _name_damaged_record(plan),
        raise_batch_too_large(plan.batch),
        training_model.devices.scope(),
    ):
        part = training_model.devices.local_part(batches)
        fitted = model.fit(part, steps_per_epoch=plan.steps, shuffle=False, verbose=0)
    loss = fitted.history["loss"][0]
    seconds, updates = time.monotonic() - started, _number(optimizer.iterations) - first_step
    _check_finite(loss, epoch=epoch + 1)
    row = {
        "epoch": epoch + 1,
        "loss": float(loss),
        "learning_rate": float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
        "gradient_norm": _number(optimizer.norms) / max(1.0, updates),
    }
    return row, plan.steps * plan.batch / seconds


def _check_finite(loss: float, *, epoch: int) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"the loss must be finite, got {loss} in epoch {epoch}; lower `train.learning_rate`, "
            "set `train.clip_norm: 1` or `train.precision: float32`"
        )


@contextmanager
def _name_damaged_record(plan: TrainingPlan) -> Iterator[None]:
    """Raise an error that names the record that was damaged or removed during the training.

    The backend only reports in many lines that its input failed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception:
        for path, count in zip(plan.dataset.paths, plan.dataset.stacks_per_case, strict=True):
            read_case(path, count)
        raise


@contextmanager
def _averaged_weights(training_model: TrainingModel) -> Iterator[None]:
    """Set the network to the moving average of its weights within the context."""
    variables = training_model.model.trainable_variables
    weights = [_array(variable) for variable in variables]
    unwrap_loss_scaling(training_model.model.optimizer).average_into(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)


def _resume(
    training_model: TrainingModel, plan: TrainingPlan
) -> tuple[list[HistoryRow], list[np.ndarray]]:
    checkpoint = load_shared_checkpoint(plan.checkpoint)
    if (
        checkpoint is None
        or checkpoint.batch != plan.batch
        or not _fits(checkpoint, training_model)
    ):
        return [], training_model.network.get_weights()
    for variable, value in zip(_variables(training_model.model), checkpoint.variables, strict=True):
        variable.assign(value)
    return list(checkpoint.history), checkpoint.best


def _fits(checkpoint: Checkpoint, training_model: TrainingModel) -> bool:
    saved = [array.shape for array in (*checkpoint.variables, *checkpoint.best)]
    variables = (*_variables(training_model.model), *training_model.network.weights)
    return saved == [tuple(variable.shape) for variable in variables]


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _state(model: Any) -> list[np.ndarray]:
    return [_array(variable) for variable in _variables(model)]


def _array(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def _number(variable: Any) -> float:
    return float(keras.ops.convert_to_numpy(variable))


def set_determinism(seed: int, *, xla: bool = False) -> None:
    """Make runs on one machine reproducible to the last bit.

    TensorFlow guarantees this only without XLA; with XLA, runs were equal on a CPU.
    """
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow" and not xla:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
