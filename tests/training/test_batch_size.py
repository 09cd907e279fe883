"""Batches that fit into memory, computed by hand, and errors for those that do not."""

import keras
import pytest

from thorax.common.errors import InputError
from thorax.training.batch_size import (
    MEMORY_FACTOR,
    BatchTooLargeError,
    largest_batch,
    raise_batch_too_large,
    stack_bytes,
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return a network with 16·16·(1 + 3) values of 4 bytes per stack: 4096 bytes."""
    stack = keras.Input((16, 16, 1))
    return keras.Model(stack, keras.layers.Conv2D(3, 1)(stack))


def test_bytes_are_counted_by_layer(network: keras.Model) -> None:
    assert stack_bytes(network) == 4096


def test_half_precision_takes_half() -> None:
    stack = keras.Input((16, 16, 1))
    half = keras.Model(stack, keras.layers.Conv2D(3, 1, dtype="mixed_bfloat16")(stack))
    assert stack_bytes(half) == 16 * 16 * (4 + 2 * 3)


@pytest.mark.parametrize(
    ("stacks_in_memory", "stacks", "batch"),
    [
        pytest.param(8.0, 10_000, 8, id="eight fit"),
        pytest.param(15.9, 10_000, 8, id="a power of two"),
        pytest.param(0.5, 10_000, 1, id="at least one"),
        pytest.param(1e6, 10_000, 64, id="at most 64"),
        pytest.param(1e6, 160, 8, id="an epoch has 16 steps: at most 10"),
        pytest.param(1e6, 3, 1, id="little data"),
    ],
)
def test_the_largest_batch(
    network: keras.Model, stacks_in_memory: float, stacks: int, batch: int
) -> None:
    available = int(stacks_in_memory * MEMORY_FACTOR * 4096)
    assert largest_batch(network, stacks=stacks, available=available) == batch


def test_the_default_is_the_free_memory_of_the_device(
    network: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = int(4 * MEMORY_FACTOR * 4096)
    monkeypatch.setattr("thorax.training.batch_size.free_device_bytes", lambda: free)
    assert largest_batch(network, stacks=10_000) == 4


class ResourceExhaustedError(Exception):
    """Has the name of TensorFlow's error."""


@pytest.mark.parametrize(
    "raised",
    [
        pytest.param(MemoryError(), id="Python"),
        pytest.param(ResourceExhaustedError("OOM"), id="TensorFlow"),
        pytest.param(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), id="JAX"),
    ],
)
def test_errors_for_memory_name_the_batch(raised: Exception) -> None:
    with (
        pytest.raises(
            BatchTooLargeError, match="a batch of 32 stacks does not fit into memory; lower"
        ),
        raise_batch_too_large(32),
    ):
        raise raised


def test_other_errors_are_not_changed() -> None:
    with pytest.raises(ValueError, match="something else"), raise_batch_too_large(32):
        raise ValueError("something else")
    assert issubclass(BatchTooLargeError, InputError)
