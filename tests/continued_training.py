"""Trainings in a process of their own, which may be killed: see `test_training`.

Usage: ``python -m tests.continued_training KILLED_AFTER FOLDER...``, from the root of the repo.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from thorax.architectures import build
from thorax.losses import SegmentationLoss
from thorax.params import LossParams, NetworkParams, TrainParams
from thorax.training import Job, Row, compile_network, fit, make_repeatable

from .learning import augmentation, save_record, stack_source

EPOCHS, SIDE = 3, 16
KILLED = 9
"""Exit status of a process that was killed."""


def plan(folder: Path) -> Job:
    """Two cases to learn and one to watch: noisy planes, with a bright square to find."""
    draw = np.random.default_rng(0)
    paths = []
    for case in range(3):
        planes, fractions = draw.integers(0, 400, (6, SIDE, SIDE)), np.zeros((6, SIDE, SIDE, 1))
        for plane in range(6):
            x, y = draw.integers(0, SIDE - 6, 2)
            planes[plane, x : x + 6, y : y + 6] += 500
            fractions[plane, x : x + 6, y : y + 6] = 255
        paths.append(save_record(folder / f"{case}.tfrecord", planes, fractions))
    changes = augmentation(rotate_degrees=10.0, zoom=0.1, shift=0.1, contrast=0.1, noise=0.05)
    return Job(
        source=stack_source(paths[:2], 12, canvas=SIDE, context=1, augmentation=changes),
        watched=paths[2:],
        regions=["square"],
        params=TrainParams(1, (0, 1000), EPOCHS, 4, 0.01, 0.01, "float32"),
        seed=3,
        checkpoint=folder / "run.npz",
    )


def main(folder: Path, killed_after: int) -> None:
    """Train, write ``weights.npz`` and ``history.json``; or die after an epoch."""
    job = plan(folder)
    make_repeatable(job.seed)
    network = build(
        NetworkParams("unet", 2, 1), canvas=SIDE, channels=3, regions=1, seed=3, dtype="float32"
    )
    loss = SegmentationLoss("focal_dice", LossParams(2.0, 0.5, 1.0))
    compile_network(network, loss, job, scale_loss=False)

    def die(row: Row) -> None:
        if row["epoch"] == killed_after:
            os._exit(KILLED)

    history = fit(network, job, tell=die)
    np.savez(folder / "weights.npz", *network.get_weights())
    (folder / "history.json").write_text(json.dumps(history))


if __name__ == "__main__":
    for name in sys.argv[2:]:
        main(Path(name), int(sys.argv[1]))
