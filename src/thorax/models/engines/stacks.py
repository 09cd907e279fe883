"""Slice stacks of a scan, in batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def in_batches(
    run: Run, planes: NDArray[np.int16], span: range, *, window: Window, context: int
) -> NDArray[np.float32]:
    """Run a function on the stacks of a span of slices, batch by batch.

    Args:
        run: Function from windowed stacks ``(n, H, W, 2k+1)`` to maps ``(n, H, W, R)``.
        planes: All slices of a scan on the canvas, HU, shape ``(N, H, W)``.
        span: First slice, one past the last, and the batch size as the step.
        window: HU window of the network.
        context: Neighbouring slices on each side.

    Returns:
        The maps of all slices of the span.
    """
    parts = [
        run(window.apply(stacks(planes, low, min(low + span.step, span.stop), context=context)))
        for low in span
    ]
    return np.concatenate(parts)


def neighbours(index: int, *, planes: int, context: int) -> NDArray[np.int64]:
    """Return the indices of the ``2·context+1`` slices around a slice, lowest first.

    The first and the last slice are repeated beyond the ends of the scan.

    Args:
        index: The centre slice.
        planes: Number of slices of the scan.
        context: Neighbouring slices on each side.

    Raises:
        ValueError: ``context`` is negative or ``index`` is outside of the scan.

    Example:
        >>> neighbours(0, planes=5, context=2).tolist()
        [0, 0, 0, 1, 2]
    """
    if context < 0:
        raise ValueError(f"`context` must be at least 0, got {context}")
    if not 0 <= index < planes:
        raise ValueError(f"`index` must be in 0..{planes - 1}, got {index}")
    return np.clip(np.arange(index - context, index + context + 1), 0, planes - 1)


def stacks(planes: NDArray[Any], start: int, stop: int, *, context: int) -> NDArray[Any]:
    """Return the stacks around the slices ``start..stop-1``.

    Args:
        planes: All slices of a scan, shape ``(N, H, W)``.
        start: Centre slice of the first stack.
        stop: One past the centre slice of the last stack.
        context: Neighbouring slices on each side.

    Returns:
        Array of shape ``(stop - start, H, W, 2·context+1)``.
    """
    around = [
        neighbours(index, planes=len(planes), context=context) for index in range(start, stop)
    ]
    return np.moveaxis(planes[np.array(around)], 1, -1)
