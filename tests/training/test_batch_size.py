"""Batches that fit: counted by hand, and told where they do not."""

import keras
import pytest

from thorax.common.errors import InputError
from thorax.training.batch_size import (
    KEPT,
    BatchTooLargeError,
    largest_batch,
    raise_batch_too_large,
    stack_bytes,
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return a network with 16·16·(1 + 3) numbers of 4 bytes a stack: 4096 bytes."""
    stack = keras.Input((16, 16, 1))
    return keras.Model(stack, keras.layers.Conv2D(3, 1)(stack))


def test_bytes_are_counted_by_layer(network: keras.Model) -> None:
    assert stack_bytes(network) == 4096


def test_half_precision_takes_half() -> None:
    stack = keras.Input((16, 16, 1))
    half = keras.Model(stack, keras.layers.Conv2D(3, 1, dtype="mixed_bfloat16")(stack))
    assert stack_bytes(half) == 16 * 16 * (4 + 2 * 3)


@pytest.mark.parametrize(
    ("room", "stacks", "batch"),
    [
        pytest.param(8.0, 10_000, 8, id="eight fit"),
        pytest.param(15.9, 10_000, 8, id="a power of two"),
        pytest.param(0.5, 10_000, 1, id="one at least"),
        pytest.param(1e6, 10_000, 64, id="64 at most"),
        pytest.param(1e6, 160, 8, id="an epoch has 16 steps: at most 10"),
        pytest.param(1e6, 3, 1, id="hardly any data"),
    ],
)
def test_the_largest_batch(network: keras.Model, room: float, stacks: int, batch: int) -> None:
    available = int(room * KEPT * 4096)
    assert largest_batch(network, stacks=stacks, available=available) == batch


def test_the_memory_of_the_machine_is_asked(
    network: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = int(4 * KEPT * 4096)

    monkeypatch.setattr("thorax.training.batch_size.psutil.virtual_memory", Memory)
    assert largest_batch(network, stacks=10_000) == 4


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    "raised",
    [
        pytest.param(MemoryError(), id="Python"),
        pytest.param(ResourceExhaustedError("OOM"), id="TensorFlow"),
        pytest.param(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), id="JAX"),
    ],
)
def test_spent_memory_is_told_by_the_batch(raised: Exception) -> None:
    with (
        pytest.raises(
            BatchTooLargeError, match="a batch of 32 stacks does not fit into memory; lower"
        ),
        raise_batch_too_large(32),
    ):
        raise raised


def test_what_is_no_memory_goes_through() -> None:
    with pytest.raises(ValueError, match="something else"), raise_batch_too_large(32):
        raise ValueError("something else")
    assert issubclass(BatchTooLargeError, InputError)
