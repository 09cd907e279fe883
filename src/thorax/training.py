"""Training: epochs over the stacks, the best weights kept, every epoch a place to go on from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from thorax.backend import worth_compiling
from thorax.batches import StackSource, epoch_batches
from thorax.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from thorax.errors import InputError
from thorax.overlap import mean_defined
from thorax.params import TrainParams
from thorax.validation import validate

WARM_UP = 0.05
"""Share of all steps over which the learning rate rises to its highest."""
Row = dict[str, float]


@dataclass(frozen=True)
class Job:
    """What is to be trained on what.

    Args:
        source: The training stacks.
        watched: Record files of the validation cases; without any, the last weights are kept.
        regions: Region names.
        params: Epochs, batch, learning rate and the like.
        seed: Draws order and changes of the stacks.
        checkpoint: Where the state is kept after each epoch.
    """

    source: StackSource
    watched: Sequence[Path]
    regions: Sequence[str]
    params: TrainParams
    seed: int
    checkpoint: Path

    @property
    def batch(self) -> int:
        """Stacks a step: as asked, or all there are."""
        return min(self.params.batch, self.source.stacks)

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.source.stacks // self.batch


def compile_network(network: Any, loss: Any, job: Job, *, scale_loss: bool) -> None:
    """Give the network its loss and its optimizer: AdamW on a cosine with a short warm-up.

    Norms and biases are left out of the weight decay.
    """
    total = job.steps * job.params.epochs
    warm_up = max(1, round(WARM_UP * total))
    rate = keras.optimizers.schedules.CosineDecay(
        job.params.learning_rate / warm_up,
        max(1, total - warm_up),
        warmup_target=job.params.learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=job.params.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    if scale_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    network.compile(optimizer, loss, auto_scale_loss=False, jit_compile=worth_compiling())


def fit(network: Any, job: Job, *, tell: Callable[[Row], None]) -> list[Row]:
    """Train a compiled network, or go on where a checkpoint of this training ends.

    Args:
        network: Compiled; holds the weights to keep when this returns: those of the epoch with
            the best mean validation Dice, or the last ones where nothing is watched.
        job: What is to be trained.
        tell: Called with the figures of each epoch.

    Returns:
        One row an epoch: ``epoch``, ``loss`` and, where anything is watched, ``dice_<region>``
        and their mean ``dice``.
    """
    network.optimizer.build(network.trainable_variables)
    history, best = _go_on(network, job)
    for epoch in range(len(history), job.params.epochs):
        row = _train_epoch(network, job, epoch)
        history.append(row)
        if not job.watched or _score(row) >= max(map(_score, history)):
            best = network.get_weights()
        save_checkpoint(job.checkpoint, Checkpoint(_state(network), best, history))
        tell(row)
    network.set_weights(best)
    return history


def _train_epoch(network: Any, job: Job, epoch: int) -> Row:
    batches = epoch_batches(job.source, batch=job.batch, seed=job.seed, epoch=epoch)
    loss = network.fit(batches, shuffle=False, verbose=0).history["loss"][0]
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} in epoch {epoch + 1}; lower `train.learning_rate` or set "
            "`train.precision: float32`"
        )
    row = {"epoch": epoch + 1, "loss": float(loss)}
    if job.watched:
        dice = validate(network, job.watched, job.regions, window=job.source.window)
        row["dice"] = mean_defined(dice.values())
        row |= {f"dice_{region}": value for region, value in dice.items()}
    return row


def _score(row: Row) -> float:
    return 0.0 if math.isnan(row["dice"]) else row["dice"]


def _go_on(network: Any, job: Job) -> tuple[list[Row], list[np.ndarray]]:
    checkpoint = load_checkpoint(job.checkpoint)
    if checkpoint is None or not _fits(checkpoint, network):
        return [], network.get_weights()
    for variable, value in zip(_variables(network), checkpoint.variables, strict=True):
        variable.assign(value)
    return list(checkpoint.history), checkpoint.best


def _fits(checkpoint: Checkpoint, network: Any) -> bool:
    kept = [array.shape for array in (*checkpoint.variables, *checkpoint.best)]
    return kept == [tuple(own.shape) for own in (*_variables(network), *network.weights)]


def _variables(network: Any) -> list[Any]:
    return [*network.variables, *network.optimizer.variables]


def _state(network: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(network)]


def make_repeatable(seed: int) -> None:
    """Make two runs on one machine equal to the last digit."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
