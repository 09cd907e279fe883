"""From planes to probabilities."""

import itertools
from typing import Any

import numpy as np
import pytest

from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import BATCH, probabilities

from ...learning import pointwise

WINDOW = Window(0, 1000)


class Threshold:
    """Stands for a network: notes its batches and gives the middle plane times 8 less 4."""

    input_shape = (None, 2, 2, 3)

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def predict_on_batch(self, stacks: np.ndarray) -> np.ndarray:
        self.batches.append(stacks.shape)
        return 8 * stacks[..., 1:2] - 4


def ramp(depth: int) -> np.ndarray:
    """Return planes of 2×2 pixels; the pixels of plane ``k`` are ``10·k``, and 1, 2, 3 more."""
    return (10 * np.arange(depth)[:, None, None] + np.arange(4).reshape(2, 2)).astype(np.int16)


def test_probabilities_are_the_sigmoid_of_what_the_network_gives() -> None:
    """By hand: below + 2·middle + 4·above, and 1 - middle, of planes 0, 500 and 1000 HU."""
    network = pointwise([[1, 0], [2, -1], [4, 0]], [0, 1], canvas=2)
    planes = np.repeat(np.array([0, 500, 1000], np.int16), 4).reshape(3, 2, 2)
    found = probabilities(network, planes, 0, 3, window=WINDOW)
    logits = [[0 + 0 + 2, 1], [0 + 1 + 4, 0.5], [0.5 + 2 + 4, 0]]
    assert found.shape == (3, 2, 2, 2)
    assert found.dtype == np.float32
    for plane, expected in zip(found, logits, strict=True):
        assert plane == pytest.approx(
            np.broadcast_to(1 / (1 + np.exp(-np.array(expected))), (2, 2, 2)), abs=1e-6
        )


@pytest.mark.parametrize(
    ("start", "stop", "batches"),
    [
        pytest.param(0, 1, 1, id="one plane"),
        pytest.param(3, 8, 1, id="a short batch in the middle"),
        pytest.param(0, BATCH, 1, id="just a batch"),
        pytest.param(0, BATCH + 1, 2, id="one more"),
        pytest.param(2, 40, 3, id="three batches"),
    ],
)
def test_short_batches_are_filled_up_and_cut_again(start: int, stop: int, batches: int) -> None:
    network = Threshold()
    found = probabilities(network, ramp(40), start, stop, window=WINDOW)
    assert network.batches == [(BATCH, 2, 2, 3)] * batches
    expected = 1 / (1 + np.exp(4 - 0.008 * ramp(40)[start:stop]))
    assert found == pytest.approx(expected[..., None], abs=1e-6)


@pytest.mark.parametrize("cuts", [[7, 8], [16, 32], [1, 2, 3, 39]])
def test_it_does_not_matter_where_slabs_begin(cuts: list[int]) -> None:
    """The neighbours of a slab's first and last plane lie in other slabs."""
    network: Any = pointwise([[3], [5], [-7]], [0.5], canvas=2)
    planes = np.random.default_rng(0).integers(-200, 1200, (40, 2, 2)).astype(np.int16)
    whole = probabilities(network, planes, 0, 40, window=WINDOW)
    bounds = [0, *cuts, 40]
    parts = [
        probabilities(network, planes, low, high, window=WINDOW)
        for low, high in itertools.pairwise(bounds)
    ]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-6)
