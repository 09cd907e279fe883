"""Shared operations of the losses: float32 tensors, sums and means by region."""

from typing import Any, Literal

from keras import ops

Tensor = Any

Over = Literal["batch", "stack"]


def in_float32(values: Tensor) -> Tensor:
    """Convert to float32, whatever the precision of the network."""
    return ops.cast(values, "float32")


def total(values: Tensor, over: Over) -> Tensor:
    """Sum each region over the batch or over each stack.

    Args:
        values: ``(B, H, W, R)``.
        over: ``batch`` or ``stack``.

    Returns:
        ``(1, 1, 1, R)`` or ``(B, 1, 1, R)``.
    """
    return ops.sum(values, axis=(0, 1, 2) if over == "batch" else (1, 2), keepdims=True)


def by_region(costs: Tensor) -> Tensor:
    """Return the mean over all axes but the last: one value per region, ``(R,)``."""
    return ops.mean(costs, axis=(0, 1, 2))
