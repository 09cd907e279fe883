"""Small networks, from stacks of 3 slices to 2 regions."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from thorax.models.networks import build

from ...settings import plain_network


def build_small(
    *, canvas: int = 16, seed: int = 0, dtype: str = "float32", channels: int = 3, **changes: Any
) -> Any:
    params = plain_network(**changes)
    return build(params, canvas=canvas, channels=channels, regions=2, seed=seed, dtype=dtype)


@pytest.fixture(scope="session")
def small() -> Callable[..., Any]:
    """Return a function that builds a network: a U-Net of width 2 and depth 2 with changes."""
    return build_small


@pytest.fixture(scope="session")
def shared() -> Callable[..., Any]:
    """Return the same function with a cache, for tests that do not change the network."""
    return cache(build_small)


@pytest.fixture(scope="session")
def stacks() -> np.ndarray:
    """Return four stacks of 3 slices of 16×16 pixels."""
    return np.random.default_rng(1).random((4, 16, 16, 3), np.float32)
