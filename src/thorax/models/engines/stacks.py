"""Stacks of neighbouring slices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
