"""From the planes of a scan to probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def in_batches(
    run: Run, planes: NDArray[np.int16], span: range, *, window: Window, context: int
) -> NDArray[np.float32]:
    """Run something on the stacks around some planes, so many at a time.

    Args:
        run: From windowed stacks ``(n, H, W, 2k+1)`` to maps ``(n, H, W, R)``.
        planes: All planes on the canvas, HU, shape ``(N, H, W)``.
        span: First plane, one past the last, and how many a step.
        window: What the network sees of the HU.
        context: Neighbouring planes on each side.

    Returns:
        The maps of all planes of the span.
    """
    parts = [
        run(window.apply(stacks(planes, low, min(low + span.step, span.stop), context=context)))
        for low in span
    ]
    return np.concatenate(parts)


def neighbours(index: int, *, planes: int, context: int) -> NDArray[np.int64]:
    """Indices of the ``2·context+1`` planes around one plane, lowest first.

    Beyond the ends of the scan the end plane is repeated.

    Args:
        index: The plane in the middle.
        planes: How many planes the scan has.
        context: How many planes are seen on each side.

    Raises:
        ValueError: ``context`` is negative or ``index`` lies outside the scan.

    Example:
        >>> neighbours(0, planes=5, context=2).tolist()
        [0, 0, 0, 1, 2]
    """
    if context < 0:
        raise ValueError(f"`context` must be at least 0, got {context}")
    if not 0 <= index < planes:
        raise ValueError(f"`index` must lie in 0..{planes - 1}, got {index}")
    return np.clip(np.arange(index - context, index + context + 1), 0, planes - 1)


def stacks(planes: NDArray[Any], start: int, stop: int, *, context: int) -> NDArray[Any]:
    """Stacks around the planes ``start..stop-1``.

    Args:
        planes: All planes of a scan, shape ``(N, H, W)``.
        start: First plane in the middle of a stack.
        stop: One past the last.
        context: How many planes are seen on each side.

    Returns:
        Array of shape ``(stop - start, H, W, 2·context+1)``.
    """
    around = [
        neighbours(index, planes=len(planes), context=context) for index in range(start, stop)
    ]
    return np.moveaxis(planes[np.array(around)], 1, -1)
