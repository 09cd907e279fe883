"""The Keras engine: probabilities of slices, in batches of one size."""

import itertools
from typing import Any

import numpy as np
import pytest

from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import BATCH, KerasEngine, probabilities

from ...learning import pointwise

WINDOW = Window(0, 1000)


class Threshold:
    """Stands in for a network: records its batches and returns the centre slice times 8 minus 4."""

    input_shape = (None, 2, 2, 3)

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def predict_on_batch(self, stacks: np.ndarray) -> np.ndarray:
        self.batches.append(stacks.shape)
        return 8 * stacks[..., 1:2] - 4


def ramp(depth: int) -> np.ndarray:
    """Return slices of 2×2 pixels; the pixels of slice ``k`` are ``10·k``, and 1, 2, 3 more."""
    return (10 * np.arange(depth)[:, None, None] + np.arange(4).reshape(2, 2)).astype(np.int16)


def test_probabilities_are_the_sigmoid_of_the_logits() -> None:
    """By hand: below + 2·centre + 4·above, and 1 - centre, of slices of 0, 500 and 1000 HU."""
    engine = KerasEngine(pointwise([[1, 0], [2, -1], [4, 0]], [0, 1], canvas=2), WINDOW)
    planes = np.repeat(np.array([0, 500, 1000], np.int16), 4).reshape(3, 2, 2)
    predicted = engine.probabilities(planes)
    logits = [[0 + 0 + 2, 1], [0 + 1 + 4, 0.5], [0.5 + 2 + 4, 0]]
    assert predicted.shape == (3, 2, 2, 2)
    assert predicted.dtype == np.float32
    for plane, expected in zip(predicted, logits, strict=True):
        assert plane == pytest.approx(
            np.broadcast_to(1 / (1 + np.exp(-np.array(expected))), (2, 2, 2)), abs=1e-6
        )


@pytest.mark.parametrize(
    ("start", "stop", "batches"),
    [
        pytest.param(0, 1, 1, id="one slice"),
        pytest.param(3, 8, 1, id="a short batch in the middle"),
        pytest.param(0, BATCH, 1, id="exactly a batch"),
        pytest.param(0, BATCH + 1, 2, id="one slice more"),
        pytest.param(2, 40, 3, id="three batches"),
    ],
)
def test_short_batches_are_padded_and_cropped(start: int, stop: int, batches: int) -> None:
    network = Threshold()
    predicted = probabilities(network, ramp(40), start, stop, window=WINDOW)
    assert network.batches == [(BATCH, 2, 2, 3)] * batches
    expected = 1 / (1 + np.exp(4 - 0.008 * ramp(40)[start:stop]))
    assert predicted == pytest.approx(expected[..., None], abs=1e-6)


@pytest.mark.parametrize("bounds", [[0, 7, 8, 40], [0, 16, 32, 40], [0, 1, 2, 3, 39, 40]])
def test_slabs_give_the_same_as_the_whole_scan(bounds: list[int]) -> None:
    """The neighbours of a slab's first and last slice are in other slabs."""
    network: Any = pointwise([[3], [5], [-7]], [0.5], canvas=2)
    planes = np.random.default_rng(0).integers(-200, 1200, (40, 2, 2)).astype(np.int16)
    whole = probabilities(network, planes, 0, 40, window=WINDOW)
    slabs = [
        probabilities(network, planes, low, high, window=WINDOW)
        for low, high in itertools.pairwise(bounds)
    ]
    assert np.concatenate(slabs) == pytest.approx(whole, abs=1e-6)
