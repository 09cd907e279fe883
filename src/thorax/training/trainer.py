"""Training: epochs over the stacks, the best weights kept, every epoch a place to go on from."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from thorax.common.errors import InputError
from thorax.common.params import TrainParams
from thorax.imaging.overlap import mean_defined
from thorax.preprocessing.records import read_record
from thorax.training.batch_size import raise_batch_too_large
from thorax.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from thorax.training.data import StackDataset, epoch_batches
from thorax.training.devices import SINGLE_DEVICE, DeviceStrategy
from thorax.training.optimizer import make_optimizer, unwrap_loss_scaling
from thorax.training.schedule import plateau_halvings, should_stop_early
from thorax.training.validation import CaseDice, validate

Row = dict[str, float]


@dataclass(frozen=True)
class TrainingPlan:
    """What is to be trained on what.

    Args:
        source: The training stacks.
        validation_paths: Record files of the validation cases; without any, the last weights are kept.
        regions: Region names.
        params: Epochs, batch, learning rate and the like.
        batch: Stacks a step.
        seed: Draws order and changes of the stacks.
        checkpoint: Where the state is kept after each epoch.
        supervision: Weight of the loss one level down, its square two down; 0: off.
    """

    source: StackDataset
    validation_paths: Sequence[Path]
    regions: Sequence[str]
    params: TrainParams
    batch: int
    seed: int
    checkpoint: Path
    supervision: float = 0.0

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.source.stacks // self.batch


@dataclass(frozen=True)
class TrainingModel:
    """A network and the model through which it is trained.

    Args:
        network: From stacks to logits; its weights are what training is for.
        model: Compiled; the network itself, or the same layers with more outputs.
        devices: The devices that it was built for.
    """

    network: Any
    model: Any
    devices: DeviceStrategy = SINGLE_DEVICE

    @property
    def levels(self) -> int:
        """Coarser outputs that are trained too."""
        return len(self.model.outputs) - 1


class TrainingCallback(Protocol):
    """Who is told how a training goes."""

    def on_resume(self, history: Sequence[Row]) -> None:
        """Told once, at the start, of the epochs that a checkpoint holds."""

    def on_epoch_end(self, row: Row, *, stacks_per_s: float) -> None:
        """Told of each epoch."""

    def on_validation_end(
        self, epoch: int, network: Any, cases: Sequence[CaseDice], *, last: bool
    ) -> None:
        """Shown the network of each epoch and its Dice of each watched case, if there is any."""


def check_validation(params: TrainParams, *, validation_cases: int) -> None:
    """Check that what asks the validation has one to ask.

    Raises:
        InputError: Early stopping or the plateau is asked for, but nothing is watched.
    """
    asks = {
        "schedule: plateau": params.schedule == "plateau",
        "early_stopping_patience": params.early_stopping_patience > 0,
    }
    for name, asked in asks.items():
        if asked and not validation_cases:
            raise InputError(
                f"`train.{name}` needs cases that watch the training; set `split.validation` "
                "above 0 or name cases in `split.validation_cases`"
            )


def compile_training_model(
    trainee: TrainingModel,
    loss: Any,
    job: TrainingPlan,
    *,
    scale_loss: bool,
    encoder: Any = lambda _: False,
) -> None:
    """Give the model its loss, at each of its levels, and its optimizer.

    Args:
        trainee: The network and its model.
        loss: A Keras loss of truth and logits.
        job: What is to be trained.
        scale_loss: Whether to scale the loss up, for float16.
        encoder: Whether a layer of that name belongs to the encoder.

    Raises:
        InputError: There are too few batches for a single step.
    """
    _check_accumulation(job)
    optimizer = make_optimizer(
        job.params,
        trainee.model.trainable_variables,
        steps=job.steps * job.params.epochs,
        encoder=encoder,
        scale_loss=scale_loss,
    )
    weights = [job.supervision**level for level in range(trainee.levels + 1)]
    trainee.model.compile(
        optimizer,
        [loss] * len(weights) if trainee.levels else loss,
        loss_weights=weights if trainee.levels else None,
        auto_scale_loss=False,
        # XLA and TensorFlow's determinism exclude each other.
        jit_compile=keras.backend.backend() != "tensorflow",
    )


def _check_accumulation(job: TrainingPlan) -> None:
    asked, batches = job.params.accumulate, job.steps * job.params.epochs
    if asked > batches:
        raise InputError(
            f"`train.accumulate: {asked}` needs as many batches, but the whole training has "
            f"{batches}; lower it or `train.batch`"
        )


def fit(trainee: TrainingModel, job: TrainingPlan, *, watcher: TrainingCallback) -> list[Row]:
    """Train a compiled model, or go on where a checkpoint of this training ends.

    Args:
        trainee: Its network holds the weights to keep when this returns: those of the epoch with
            the best mean validation Dice, or the last ones where nothing is watched; with
            ``average`` it is the moving average that is watched and kept.
        job: What is to be trained.
        watcher: Told of each epoch.

    Returns:
        One row an epoch: ``epoch``, ``loss``, ``learning_rate`` and ``gradient_norm``, and where anything
        is watched ``dice_<region>`` and their mean ``dice``.

    Raises:
        InputError: The loss is not finite, or a batch does not fit into memory.
    """
    history, best = _resume(trainee, job)
    watcher.on_resume(history)
    for epoch in range(len(history), job.params.epochs):
        if _is_last(history, job.params):
            break
        row, stacks_per_s = _train_epoch(trainee, job, history)
        with _averaged_weights(trainee):
            if job.validation_paths:
                cases = validate(trainee.network, job.validation_paths, window=job.source.window)
                row |= _mean_dice(cases, job.regions)
                last = _is_last([*history, row], job.params)
                watcher.on_validation_end(epoch + 1, trainee.network, cases, last=last)
            if not job.validation_paths or _score(row) >= max(map(_score, [row, *history])):
                best = trainee.network.get_weights()
        history.append(row)
        save_checkpoint(job.checkpoint, Checkpoint(_state(trainee.model), best, history, job.batch))
        watcher.on_epoch_end(row, stacks_per_s=stacks_per_s)
    trainee.network.set_weights(best)
    return history


def _is_last(history: Sequence[Row], params: TrainParams) -> bool:
    """Whether no epoch comes after these."""
    return len(history) == params.epochs or should_stop_early(
        history, patience=params.early_stopping_patience
    )


def _train_epoch(
    trainee: TrainingModel, job: TrainingPlan, history: Sequence[Row]
) -> tuple[Row, float]:
    epoch, model = len(history), trainee.model
    batches = epoch_batches(
        job.source, batch=job.batch, seed=job.seed, epoch=epoch, levels=trainee.levels
    )
    steered = unwrap_loss_scaling(model.optimizer)
    if job.params.schedule == "plateau":
        steered.factor.assign(
            0.5 ** plateau_halvings(history, patience=job.params.plateau_patience)
        )
    steered.norms.assign(0.0)
    begun, started = _number(steered.iterations), time.monotonic()
    with (
        _name_damaged_record(job.source.paths),
        raise_batch_too_large(job.batch),
        trainee.devices.scope(),
    ):
        loss = model.fit(batches, shuffle=False, verbose=0).history["loss"][0]
    seconds, updates = time.monotonic() - started, _number(steered.iterations) - begun
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} in epoch {epoch + 1}; lower `train.learning_rate`, set "
            "`train.clip_norm: 1` or `train.precision: float32`"
        )
    row = {
        "epoch": epoch + 1,
        "loss": float(loss),
        "learning_rate": float(keras.ops.convert_to_numpy(steered.learning_rate)),
        "gradient_norm": _number(steered.norms) / max(1.0, updates),
    }
    return row, job.steps * job.batch / seconds


@contextmanager
def _name_damaged_record(paths: Sequence[Path]) -> Iterator[None]:
    """Name the record that went or was damaged after the training began.

    The backend says that something is wrong with its input, in many lines.
    """
    try:
        yield
    except InputError:
        raise
    except Exception:
        for path in paths:
            read_record(path)
        raise


def _mean_dice(cases: Sequence[CaseDice], regions: Sequence[str]) -> Row:
    dice = {
        region: mean_defined(case.dice[channel] for case in cases)
        for channel, region in enumerate(regions)
    }
    row = {"dice": mean_defined(dice.values())}
    return row | {f"dice_{region}": value for region, value in dice.items()}


@contextmanager
def _averaged_weights(trainee: TrainingModel) -> Iterator[None]:
    """Let the network have the moving average of its weights for a while."""
    variables = trainee.model.trainable_variables
    kept = [_array(variable) for variable in variables]
    unwrap_loss_scaling(trainee.model.optimizer).average_into(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def _score(row: Row) -> float:
    return 0.0 if math.isnan(row["dice"]) else row["dice"]


def _resume(trainee: TrainingModel, job: TrainingPlan) -> tuple[list[Row], list[np.ndarray]]:
    checkpoint = load_checkpoint(job.checkpoint)
    if checkpoint is None or checkpoint.batch != job.batch or not _fits(checkpoint, trainee):
        return [], trainee.network.get_weights()
    for variable, value in zip(_variables(trainee.model), checkpoint.variables, strict=True):
        variable.assign(value)
    return list(checkpoint.history), checkpoint.best


def _fits(checkpoint: Checkpoint, trainee: TrainingModel) -> bool:
    kept = [array.shape for array in (*checkpoint.variables, *checkpoint.best)]
    own = (*_variables(trainee.model), *trainee.network.weights)
    return kept == [tuple(variable.shape) for variable in own]


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _state(model: Any) -> list[np.ndarray]:
    return [_array(variable) for variable in _variables(model)]


def _array(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def _number(variable: Any) -> float:
    return float(keras.ops.convert_to_numpy(variable))


def set_determinism(seed: int) -> None:
    """Make two runs on one machine equal to the last digit."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
