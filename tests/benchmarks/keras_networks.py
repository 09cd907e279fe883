"""Speed of the networks of `params.yaml` in Keras, or weights and logits for comparison.

Prints one JSON object. `side_by_side.py` runs it next to PyTorch.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from thorax.common.params import load_params
from thorax.models.backend import worth_compiling
from thorax.models.networks import build
from thorax.training.losses import SegmentationLoss
from thorax.training.optimizer import make_optimizer

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
CANVAS, PLANES, REGIONS = 128, 5, ["lung", "infection"]
TRIALS = 3
Speed = tuple[float, float]
"""Stacks per second, and average number of cores in use."""


def make_network(options: argparse.Namespace) -> Any:
    """Build the named network with the default parameters."""
    return build(
        replace(load_params().network, name=options.name),
        canvas=CANVAS,
        channels=PLANES,
        regions=len(REGIONS),
        seed=0,
        dtype=POLICIES[options.precision],
    )


def compile_for_training(network: Any) -> None:
    """Compile with AdamW and the default loss, without the moving average of the weights."""
    params = load_params()
    network.compile(
        make_optimizer(
            replace(params.train, ema_momentum=0.0), network.trainable_variables, steps=1_000_000
        ),
        SegmentationLoss(params.loss, params.losses, regions=REGIONS),
        auto_scale_loss=False,
        jit_compile=worth_compiling(),
    )


def draw_batch(options: argparse.Namespace) -> tuple[Any, Any]:
    """Draw random stacks and truth."""
    numbers = np.random.default_rng(0)
    shape = (options.batch, CANVAS, CANVAS)
    truth = numbers.random((*shape, len(REGIONS))) > 0.5
    return numbers.random((*shape, PLANES), np.float32), truth.astype(np.float32)


def measure(network: Any, options: argparse.Namespace) -> dict[str, Speed]:
    """Measure training and prediction on one repeated batch."""
    compile_for_training(network)
    stacks, truth = map(tf.constant, draw_batch(options))
    batches = tf.data.Dataset.from_tensors((stacks, truth)).cache().repeat(options.steps)

    def predict() -> None:
        for _ in range(options.steps):
            network.predict_on_batch(stacks)

    return {
        "train": stacks_per_s(lambda: network.fit(batches, shuffle=False, verbose=0), options),
        "predict": stacks_per_s(predict, options),
    }


def stacks_per_s(work: Callable[[], object], options: argparse.Namespace) -> Speed:
    """Return the fastest of several trials after a warm-up."""
    return max(_trial(work, options) for _ in range(TRIALS + 1))


def _trial(work: Callable[[], object], options: argparse.Namespace) -> Speed:
    start, cpu = time.perf_counter(), time.process_time()
    work()
    seconds = time.perf_counter() - start
    return options.steps * options.batch / seconds, (time.process_time() - cpu) / seconds


def write_example(network: Any, folder: Path) -> None:
    """Write weights with nonzero biases, stacks and their logits."""
    numbers = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign_add(numbers.normal(0, 0.01, weight.shape))
    stacks = numbers.random((2, CANVAS, CANVAS, PLANES), np.float32)
    np.savez(
        folder / "weights.npz",
        **{weight.path: keras.ops.convert_to_numpy(weight) for weight in network.weights},
    )
    np.save(folder / "stacks.npy", stacks)
    np.save(folder / "keras.npy", np.asarray(network.predict_on_batch(stacks)))


def main() -> None:
    """Measure, or write an example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a network of params.yaml")
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    for name, default in (("batch", 8), ("steps", 20), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--example", type=Path, help="write an example to this folder instead of measuring"
    )
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    network = make_network(options)
    results: dict[str, Any] = {"parameters": network.count_params()}
    if options.example:
        write_example(network, options.example)
    else:
        results |= measure(network, options)
    print(json.dumps(results))  # noqa: T201


if __name__ == "__main__":
    main()
