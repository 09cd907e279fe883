"""The networks of `params.yaml` in Keras: their speed, or weights and logits for comparison.

What it finds goes to stdout, one JSON object. `side_by_side.py` runs it next to PyTorch.
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
"""Stacks a second, and how many cores the process had meanwhile."""


def make_network(asked: argparse.Namespace) -> Any:
    """The network by that name, with the other parameters at their defaults."""
    return build(
        replace(load_params().network, name=asked.name),
        canvas=CANVAS,
        channels=PLANES,
        regions=len(REGIONS),
        seed=0,
        dtype=POLICIES[asked.precision],
    )


def compile_for_training(network: Any) -> None:
    """AdamW on the default loss, as in training, but without the moving average of the weights."""
    params = load_params()
    network.compile(
        make_optimizer(
            replace(params.train, ema_momentum=0.0), network.trainable_variables, steps=1_000_000
        ),
        SegmentationLoss(params.loss, params.losses, regions=REGIONS),
        auto_scale_loss=False,
        jit_compile=worth_compiling(),
    )


def draw_batch(asked: argparse.Namespace) -> tuple[Any, Any]:
    """Draw stacks and truth."""
    numbers = np.random.default_rng(0)
    shape = (asked.batch, CANVAS, CANVAS)
    truth = numbers.random((*shape, len(REGIONS))) > 0.5
    return numbers.random((*shape, PLANES), np.float32), truth.astype(np.float32)


def measure(network: Any, asked: argparse.Namespace) -> dict[str, Speed]:
    """Stacks a second in training and in prediction, on one batch again and again."""
    compile_for_training(network)
    stacks, truth = map(tf.constant, draw_batch(asked))
    batches = tf.data.Dataset.from_tensors((stacks, truth)).cache().repeat(asked.steps)

    def predict() -> None:
        for _ in range(asked.steps):
            network.predict_on_batch(stacks)

    return {
        "train": stacks_per_s(lambda: network.fit(batches, shuffle=False, verbose=0), asked),
        "predict": stacks_per_s(predict, asked),
    }


def stacks_per_s(work: Callable[[], object], asked: argparse.Namespace) -> Speed:
    """The best of a few trials, warmed up."""
    return max(_trial(work, asked) for _ in range(TRIALS + 1))


def _trial(work: Callable[[], object], asked: argparse.Namespace) -> Speed:
    started, used = time.perf_counter(), time.process_time()
    work()
    seconds = time.perf_counter() - started
    return asked.steps * asked.batch / seconds, (time.process_time() - used) / seconds


def write_example(network: Any, folder: Path) -> None:
    """Write weights, with biases that are not 0, stacks and the logits that they give."""
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
    parser.add_argument("--example", type=Path, help="a folder; then an example, and no speed")
    asked = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(asked.threads)
    tf.config.threading.set_inter_op_parallelism_threads(asked.threads)
    network = make_network(asked)
    found: dict[str, Any] = {"parameters": network.count_params()}
    if asked.example:
        write_example(network, asked.example)
    else:
        found |= measure(network, asked)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
