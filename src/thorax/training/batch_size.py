"""Largest batch that fits into memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from thorax.common.errors import InputError
from thorax.training.devices import free_device_bytes

MAX_BATCH = 64
"""Larger batches leave too few steps for such small datasets."""

MIN_STEPS = 16
"""Fewest steps per epoch."""

MEMORY_FACTOR = 4.0
"""Bytes in memory per byte of the layers' outputs: the outputs, their gradients and temporary
values; measured on the default network, with a margin."""


class BatchTooLargeError(InputError):
    """Raised if a batch does not fit into memory."""


def largest_batch(network: Any, *, stacks: int, available: int | None = None) -> int:
    """Return the largest power of two that should fit into memory, for ``batch: auto``.

    Args:
        network: A `keras.Model`.
        stacks: Stacks per epoch.
        available: Bytes of memory; None: the free memory of the device.
    """
    memory = free_device_bytes() if available is None else available
    fitting = memory / (MEMORY_FACTOR * stack_bytes(network))
    limit = max(1, min(MAX_BATCH, fitting, stacks / MIN_STEPS))
    return int(2 ** (int(limit).bit_length() - 1))


def stack_bytes(network: Any) -> int:
    """Return the bytes of the outputs of all layers for one stack.

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
    """Turn the out-of-memory errors of all backends into `BatchTooLargeError`."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and not _is_out_of_memory(error):
            raise
        raise BatchTooLargeError(
            f"a batch of {batch} stacks does not fit into memory; lower `train.batch`, or set it "
            "to auto and raise `train.accumulate`"
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Recognise the error class of TensorFlow and the error message of JAX."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)
