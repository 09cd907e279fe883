"""How many stacks a step fit into memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import psutil

from thorax.common.errors import InputError

LARGEST = 64
"""Larger batches make too few steps of so little data."""

STEPS = 16
"""An epoch has at least as many steps as that."""

KEPT = 4.0
"""Bytes that training holds for each byte of the layers' outputs: themselves, their gradients and
what single operations need; measured on the default network, with room to spare."""


class BatchTooLargeError(InputError):
    """A batch does not fit into memory."""


def largest_batch(network: Any, *, stacks: int, available: int | None = None) -> int:
    """The largest power of two that should fit, for ``batch: auto``.

    Args:
        network: A Keras model.
        stacks: That an epoch shows.
        available: Bytes of memory; as much as the machine has left unless given.
    """
    room = psutil.virtual_memory().available if available is None else available
    fitting = room / (KEPT * stack_bytes(network))
    most = max(1, min(LARGEST, fitting, stacks / STEPS))
    return int(2 ** (int(most).bit_length() - 1))


def stack_bytes(network: Any) -> int:
    """Bytes of the outputs of all layers for one stack.

    Example:
        >>> stack = keras.Input((8, 8, 3))
        >>> stack_bytes(keras.Model(stack, keras.layers.Conv2D(2, 1)(stack)))  # 8·8·(3+2)·4
        1280
    """
    outputs = (
        output
        for operation in network.operations
        for output in keras.tree.flatten(operation.output)
    )
    return sum(
        math.prod(output.shape[1:]) * (4 if "32" in output.dtype else 2) for output in outputs
    )


@contextmanager
def raise_batch_too_large(batch: int) -> Iterator[None]:
    """Turn what the backends raise when memory runs out into `BatchTooLargeError`."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and not _exhausted(error):
            raise
        raise BatchTooLargeError(
            f"a batch of {batch} stacks does not fit into memory; lower `train.batch`, or set it "
            "to auto and use `train.accumulate`"
        ) from error


def _exhausted(error: Exception) -> bool:
    """TensorFlow has a class for it, JAX a word in the text."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)
