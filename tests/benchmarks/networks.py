"""Benchmark of training: the input alone, the network alone, and both; on each Keras backend.

`make bench` runs it on TensorFlow. For records of a project, also on JAX:
`KERAS_BACKEND=jax python tests/benchmarks/networks.py data/records`.
"""

import argparse
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from measuring import say, timed

from thorax.common.backend import backend_name
from thorax.common.machine import keep_freed_memory
from thorax.common.params import Params, load_params
from thorax.imaging.intensity import Window
from thorax.models.backend import import_keras
from thorax.preprocessing.index import RecordIndex, load_index

STEPS = 60

ROUNDS = 3


def bench_training(index: RecordIndex, records: Path) -> None:
    """Measure stacks per second with the real input, with one repeated batch, and of the input."""
    import_keras()
    from thorax.training.precision import choose_precision

    keep_freed_memory()
    params = load_params()
    plan = make_plan(params, index, records)
    policy = choose_precision(params.train.precision).policy
    network = compiled(params, plan, policy)
    fit_once(network, repeated(plan, 3), 3)
    alone, real, feed, cpu_ms = [], [], [], []
    for _ in range(ROUNDS):
        alone.append(timed(lambda: fit_once(network, repeated(plan, STEPS), STEPS)))
        real.append(timed(lambda: fit_once(network, batches(plan, STEPS), STEPS)))
        started = time.process_time()
        feed.append(timed(lambda: exhaust(batches(plan, STEPS))))
        cpu_ms.append((time.process_time() - started) * 1000 / (STEPS * plan.batch))
    fast = [STEPS * plan.batch / min(seconds) for seconds in (real, alone, feed)]
    say(
        f"train       {fast[0]:6.1f} stacks/s with the real input; one repeated batch "
        f"{fast[1]:.1f}; input alone {fast[2]:.0f} ({min(cpu_ms):.2f} ms CPU per stack); batch "
        f"{plan.batch}, {params.network.name}, {policy}, {backend_name()}; best of {ROUNDS}"
    )


def make_plan(params: Params, index: RecordIndex, records: Path) -> Any:
    """Plan a training on all records."""
    from thorax.training.augmentation import Augmentation
    from thorax.training.data import StackDataset
    from thorax.training.record_memory import memory_for_records
    from thorax.training.trainer import TrainingPlan

    dataset = StackDataset(
        paths=[records / f"{entry.case}.tfrecord" for entry in index.records],
        planes=[entry.planes for entry in index.records],
        canvas=index.canvas,
        regions=len(index.regions),
        context=params.train.context,
        window=Window(*params.train.window),
        augmentation=Augmentation(params.augmentation, canvas=index.canvas),
        memory_bytes=memory_for_records(),
    )
    return TrainingPlan(
        dataset, [], list(index.regions), params.train, params.train.batch, 0, Path()
    )


def batches(plan: Any, steps: int) -> Any:
    """Return a number of batches, of as many epochs as they take; on TensorFlow up to three."""
    from thorax.training.data import epoch_batches

    def epoch(number: int) -> Any:
        return epoch_batches(plan.dataset, batch=plan.batch, seed=0, epoch=number)

    if backend_name() != "tensorflow":
        endless = itertools.chain.from_iterable(map(epoch, itertools.count()))
        return (batch for batch in itertools.islice(endless, steps))
    return epoch(0).concatenate(epoch(1)).concatenate(epoch(2)).take(steps)


def repeated(plan: Any, steps: int) -> Any:
    """Return one batch many times, without copies of it; on JAX it stays on the device."""
    stacks, fractions = next(iter(batches(plan, 1)))
    if backend_name() == "jax":
        import jax

        stacks, fractions = jax.device_put((stacks, fractions))
    if backend_name() != "tensorflow":
        return ((stacks, fractions) for _ in range(steps))
    import tensorflow as tf

    return tf.data.Dataset.from_tensors((stacks, fractions)).cache().repeat(steps)


def exhaust(items: Iterable[Any]) -> None:
    """Read all batches, and wait for those that are made on a device."""
    last = deque(items, maxlen=1)
    if backend_name() == "jax":
        import jax

        jax.block_until_ready(list(last))


def fit_once(network: Any, given: Iterator[Any], steps: int) -> None:
    """Train on batches that are shuffled already."""
    network.fit(given, steps_per_epoch=steps, shuffle=False, verbose=0)


def compiled(params: Params, plan: Any, policy: str) -> Any:
    """Build the network of `params.yaml` and compile it as the stage `train` does."""
    from thorax.models.networks import build
    from thorax.training.losses import SegmentationLoss
    from thorax.training.trainer import TrainingModel, compile_training_model

    network = build(
        params.network,
        canvas=plan.dataset.canvas,
        channels=2 * params.train.context + 1,
        regions=len(plan.regions),
        seed=0,
        dtype=policy,
    )
    loss = SegmentationLoss(params.loss, params.losses, regions=plan.regions)
    compile_training_model(
        TrainingModel(network, network), loss, plan, scale_loss=policy == "mixed_float16"
    )
    return network


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, help="folder of the records of a project")
    folder = parser.parse_args().records
    bench_training(load_index(folder), folder)
