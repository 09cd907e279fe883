"""What the losses share: float32 tensors, and what one figure of a ratio goes over."""

from typing import Any, Literal

from keras import ops

Tensor = Any

Over = Literal["batch", "stack"]


def in_float32(values: Tensor) -> Tensor:
    """The same values in float32, whatever the precision of the network."""
    return ops.cast(values, "float32")


def total(values: Tensor, over: Over) -> Tensor:
    """Sum by region over the batch, or over each stack.

    Args:
        values: ``(B, H, W, R)``.
        over: ``batch`` or ``stack``.

    Returns:
        ``(1, 1, 1, R)`` or ``(B, 1, 1, R)``.
    """
    return ops.sum(values, axis=(0, 1, 2) if over == "batch" else (1, 2), keepdims=True)


def by_region(costs: Tensor) -> Tensor:
    """Mean over all axes but the last: one figure a region, ``(R,)``."""
    return ops.mean(costs, axis=(0, 1, 2))
