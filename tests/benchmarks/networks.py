"""Benchmark of training."""

from pathlib import Path
from typing import Any

from measuring import say, timed

from thorax.common.params import Params, load_params
from thorax.imaging.intensity import Window
from thorax.models.networks import build
from thorax.preprocessing.index import RecordIndex
from thorax.training.augmentation import Augmentation
from thorax.training.data import StackDataset, epoch_batches
from thorax.training.losses import SegmentationLoss
from thorax.training.precision import choose_precision
from thorax.training.trainer import TrainingModel, TrainingPlan, compile_training_model

STEPS = 60


def bench_training(index: RecordIndex, folder: Path) -> None:
    """Measure stacks per second with the real input, with one cached batch, and of the input."""
    params = load_params()
    names = [folder / "records" / f"{e.case}.tfrecord" for e in index.records]
    dataset = StackDataset(
        paths=names,
        planes=[entry.planes for entry in index.records],
        canvas=128,
        regions=2,
        context=params.train.context,
        window=Window(*params.train.window),
        augmentation=Augmentation(params.augmentation),
    )
    plan = TrainingPlan(
        dataset, [], ["lung", "infection"], params.train, params.train.batch, 0, Path()
    )
    network = compiled(params, plan)
    batches = epoch_batches(dataset, batch=plan.batch, seed=0, epoch=0).take(STEPS)
    cached = batches.take(1).cache().repeat(STEPS)
    fit_once(network, cached.take(3))
    rounds = [
        (timed(lambda: fit_once(network, cached)), timed(lambda: fit_once(network, batches)))
        for _ in range(3)
    ]
    alone, real = (STEPS * plan.batch / min(seconds) for seconds in zip(*rounds, strict=True))
    feed = STEPS * plan.batch / timed(lambda: sum(1 for _ in batches))
    say(
        f"train       {real:6.1f} stacks/s with the real input; one cached batch {alone:.1f}; "
        f"input alone {feed:.0f}; batch {plan.batch}, "
        f"{choose_precision(params.train.precision).policy}; best of 3"
    )


def fit_once(network: Any, batches: Any) -> None:
    """Train on batches that are shuffled already."""
    network.fit(batches, shuffle=False, verbose=0)


def compiled(params: Params, plan: TrainingPlan) -> Any:
    """Build the default network and compile it as the stage `train` does."""
    precision = choose_precision(params.train.precision)
    network = build(
        params.network,
        canvas=128,
        channels=2 * params.train.context + 1,
        regions=2,
        seed=0,
        dtype=precision.policy,
    )
    loss = SegmentationLoss(params.loss, params.losses, regions=plan.regions)
    compile_training_model(
        TrainingModel(network, network), loss, plan, scale_loss=precision.scales_loss
    )
    return network
