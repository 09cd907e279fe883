"""Trainings in a separate process that may be killed; see `test_trainer`.

Usage: ``python -m tests.continued_training KILL_AFTER FOLDER...``, from the root of the repository.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from thorax.models.networks import build
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

from .learning import augmentation, save_record, stack_dataset
from .settings import loss_params, plain_network, train_params

EPOCHS, SIDE = 3, 16
KILLED = 9
"""Exit status of a killed process."""


def make_plan(folder: Path) -> TrainingPlan:
    """Return a plan with two training cases and a validation case: bright squares in noise."""
    generator = np.random.default_rng(0)
    paths = []
    for case in range(3):
        planes = generator.integers(0, 400, (6, SIDE, SIDE))
        fractions = np.zeros((6, SIDE, SIDE, 1))
        for plane in range(6):
            x, y = generator.integers(0, SIDE - 6, 2)
            planes[plane, x : x + 6, y : y + 6] += 500
            fractions[plane, x : x + 6, y : y + 6] = 255
        paths.append(save_record(folder / f"{case}.tfrecord", planes, fractions))
    changes = augmentation(rotate_degrees=10.0, zoom=0.1, shift=0.1, contrast=0.1, noise=0.05)
    return TrainingPlan(
        dataset=stack_dataset(paths[:2], 12, canvas=SIDE, context=1, augmentation=changes),
        validation_paths=paths[2:],
        regions=["square"],
        params=train_params(
            context=1, window=(0, 1000), epochs=EPOCHS, learning_rate=0.01, weight_decay=0.01
        ),
        batch=4,
        seed=3,
        checkpoint=folder / "run.npz",
    )


def build_network(*, depth: int) -> Any:
    """Return a small network with dropout for the stacks of `make_plan`."""
    return build(
        plain_network(depth=depth, dropout=0.2),
        canvas=SIDE,
        channels=3,
        regions=1,
        seed=3,
        dtype="float32",
    )


class KillingCallback(Callbacks):
    """Ends the process without any clean-up after an epoch.

    Args:
        after: Number of the epoch; 0: never.
    """

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def on_epoch_end(self, row: HistoryRow, *, stacks_per_s: float) -> None:
        """See `thorax.training.trainer.TrainingCallback`."""
        if row["epoch"] == self._after:
            os._exit(KILLED)


def main(folder: Path, kill_after: int) -> None:
    """Train and write ``weights.npz`` and ``history.json``, or exit after an epoch."""
    plan = make_plan(folder)
    set_determinism(plan.seed)
    network = build_network(depth=1)
    training_model = TrainingModel(network, network)
    loss = SegmentationLoss("focal_dice", loss_params(), regions=plan.regions)
    compile_training_model(training_model, loss, plan, scale_loss=False)
    history = fit(training_model, plan, callback=KillingCallback(kill_after))
    np.savez(folder / "weights.npz", *network.get_weights())
    (folder / "history.json").write_text(json.dumps(history))


if __name__ == "__main__":
    for name in sys.argv[2:]:
        main(Path(name), int(sys.argv[1]))
