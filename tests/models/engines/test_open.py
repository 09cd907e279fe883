"""Engines that run an exported graph: each finds what Keras finds."""

from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.engines.open import open_engine
from thorax.models.export import to_graph
from thorax.models.networks import build

from ...learning import pointwise
from ...settings import network_params

GRAPHS = ["openvino", "onnxruntime"]
WINDOW = Window(0, 1000)
PLANES = np.array([[[0, 500], [1000, 250]], [[750, 0], [0, 0]]], np.int16)


@pytest.fixture(scope="module")
def graph() -> bytes:
    """Return a graph from 3 planes to 2 regions that looks at the middle plane."""
    return to_graph(pointwise([[0, 0], [8, -8], [0, 0]], [-4, 4], canvas=2))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_gives_probabilities(graph: bytes, name: Any) -> None:
    """By hand: the sigmoid of 8·(HU / 1000) - 4, and one less that."""
    found = open_engine(graph, name, precision="float32").probabilities(PLANES, 0, 1, window=WINDOW)
    expected = np.array([[0.0179862, 0.5], [0.9820138, 0.1192029]])
    assert found.shape == (1, 2, 2, 2)
    assert found.dtype == np.float32
    assert found[0, ..., 0] == pytest.approx(expected, abs=1e-6)
    assert found[0, ..., 1] == pytest.approx(1 - expected, abs=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 10), (0, 13)])
def test_any_number_of_planes_is_found_as_one_by_one(
    graph: bytes, name: Any, start: int, stop: int
) -> None:
    planes = np.arange(13 * 4, dtype=np.int16).reshape(13, 2, 2) * 19
    engine = open_engine(graph, name)
    found = engine.probabilities(planes, start, stop, window=WINDOW)
    single = [engine.probabilities(planes, k, k + 1, window=WINDOW) for k in range(start, stop)]
    np.testing.assert_allclose(found, np.concatenate(single), atol=1e-6)


@pytest.mark.parametrize(
    ("network", "normalisation"),
    [
        ("unet", "rms"),
        ("unet", "group"),
        ("unet", "batch"),
        ("lean", "rms"),
        ("attention_unet", "rms"),
        ("resunet34", "rms"),
    ],
)
def test_every_network_finds_the_same_in_every_engine(network: Any, normalisation: Any) -> None:
    """In float32, where only the order of sums differs."""
    params = network_params(name=network, normalisation=normalisation, width=4, depth=2)
    made = build(params, canvas=16, channels=3, regions=2, seed=1, dtype="float32")
    planes = np.random.default_rng(2).integers(0, 1000, (5, 16, 16)).astype(np.int16)
    expected = KerasEngine(made).probabilities(planes, 0, 5, window=WINDOW)
    exported = to_graph(made)
    assert np.ptp(expected) > 0.01
    for name in GRAPHS:
        engine = open_engine(exported, name, precision="float32")  # type: ignore[arg-type]
        found = engine.probabilities(planes, 0, 5, window=WINDOW)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_gpu_that_is_not_there_is_told(graph: bytes, name: Any) -> None:
    with pytest.raises(InputError, match=r"finds no GPU here.* leave out --device"):
        open_engine(graph, name, device="gpu")


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match="cannot run this model: "):
        open_engine(b"no graph at all", name)
