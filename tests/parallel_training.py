"""Trainings on several devices or in several processes; see `test_devices` and `test_hosts`.

Usage: ``python -m tests.parallel_training FOLDER TRAINING...``, from the root of the repository,
where a training is the JSON of a `Training`. Each prints a line of JSON, in process 0 only.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thorax.training.launch import watch_process

if __name__ == "__main__":
    watch_process()

import keras
import numpy as np

from thorax.models.networks.supervision import supervise
from thorax.training.devices import choose_devices
from thorax.training.hosts import is_leader, joined_processes
from thorax.training.losses import SegmentationLoss
from thorax.training.progress import Callbacks
from thorax.training.trainer import (
    HistoryRow,
    TrainingModel,
    TrainingPlan,
    compile_training_model,
    fit,
    set_determinism,
)

from .continued_training import build_network, make_plan
from .settings import loss_params, train_params


@dataclass(frozen=True)
class Training:
    """Settings of a training.

    Args:
        devices: Devices of each process.
        supervision: Weight of deep supervision.
        stop_after: Epoch after which it is interrupted; 0: never.
        name: Name of the checkpoint, so that a later training resumes; "": a new one.
        train: Changes of the section `train`.
    """

    devices: int
    supervision: float = 0.0
    stop_after: int = 0
    name: str = ""
    train: dict[str, Any] = field(default_factory=dict)


class StoppingCallback(Callbacks):
    """Interrupts a training, as Ctrl-C does.

    Args:
        after: Number of the epoch; 0: never.
    """

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after
        self.first_epoch = 0

    def on_resume(self, history: Sequence[HistoryRow]) -> None:
        self.first_epoch = len(history) + 1

    def on_epoch_end(self, row: HistoryRow, *, stacks_per_s: float) -> None:
        if row["epoch"] == self._after:
            raise KeyboardInterrupt


def run(training: Training, plan: TrainingPlan) -> dict[str, Any]:
    """Train; return losses, norms, weights, and how the logits of a batch were shared."""
    params = train_params(
        **{
            "context": 1,
            "window": (0, 1000),
            "epochs": 3,
            "learning_rate": 0.01,
            "ema_momentum": 0.0,
            **training.train,
        }
    )
    checkpoint = plan.checkpoint.with_name(f"{training.name or id(training)}.npz")
    plan = replace(plan, params=params, batch=8, checkpoint=checkpoint)
    plan = replace(plan, supervision=training.supervision)
    set_determinism(plan.seed)
    strategy = choose_devices(training.devices, batch=plan.batch)
    shards: list[list[str]] = []
    with strategy.scope():
        network = build_network(depth=2)
        model = supervise(network, regions=1, seed=3) if plan.supervision else network
        training_model = TrainingModel(network, model, strategy)
        loss = SegmentationLoss("focal_dice", loss_params(), regions=plan.regions)
        spied = _spy(loss, shards, batch=plan.batch)
        compile_training_model(training_model, spied, plan, scale_loss=False)
    callback = StoppingCallback(training.stop_after)
    try:
        history = fit(training_model, plan, callback=callback)
    except KeyboardInterrupt:
        return {}
    return {
        "devices": strategy.devices,
        "first_epoch": callback.first_epoch,
        "shards": shards[0],
        "losses": [row["loss"] for row in history],
        "norms": [row["gradient_norm"] for row in history],
        "dice": [row["dice"] for row in history],
        "weights": np.concatenate([array.ravel() for array in network.get_weights()]).tolist(),
    }


def _spy(loss: Any, shards: list[list[str]], *, batch: int) -> Any:
    """Return the loss; it records the rows of a batch on each device."""

    def spied(truth: Any, logits: Any) -> Any:
        import jax

        def record(sharding: Any) -> None:
            rows = sharding.devices_indices_map((batch, *logits.shape[1:])).values()
            shards.append(sorted(str(range(batch)[part[0]]) for part in rows))

        jax.debug.inspect_array_sharding(logits, callback=record)
        return loss(truth, logits)

    return spied


def main() -> None:
    """Run all trainings."""
    folder, trainings = Path(sys.argv[1]), [Training(**json.loads(text)) for text in sys.argv[2:]]
    with joined_processes():
        own = folder / ("leader" if is_leader() else "follower")
        own.mkdir(parents=True, exist_ok=True)
        plan = make_plan(own)
        for training in trainings:
            result = run(training, plan)
            if is_leader():
                print(json.dumps(result))  # noqa: T201
            keras.utils.clear_session()


if __name__ == "__main__":
    main()
