"""From the planes of a scan to probabilities."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.intensity import Window
from thorax.stacks import stacks

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
BATCH = 16
"""Stacks a step of Keras; short batches are filled up: the network is compiled for one shape."""


def probabilities(
    network: Any, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
) -> NDArray[np.float32]:
    """Run the network on the planes ``start..stop-1`` of a scan.

    Args:
        network: A Keras model from windowed stacks to logits.
        planes: All planes on the canvas, HU, shape ``(N, H, W)``.
        start: First plane wanted.
        stop: One past the last.
        window: What the network sees of the HU.

    Returns:
        Shape ``(stop - start, H, W, R)``.
    """
    context = (network.input_shape[-1] - 1) // 2
    span = range(start, stop, BATCH)
    return in_batches(partial(_batch, network), planes, span, window=window, context=context)


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


def _batch(network: Any, seen: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.special import expit

    short = BATCH - len(seen)
    filled = np.pad(seen, ((0, short), (0, 0), (0, 0), (0, 0))) if short else seen
    logits = np.asarray(network.predict_on_batch(filled))[: len(seen)]
    return expit(logits)
