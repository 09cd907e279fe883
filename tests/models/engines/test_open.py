"""Engines for exported graphs compute the same as Keras."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.engines.open import open_engine
from thorax.models.keras_graph import to_graph
from thorax.models.networks import build

from ...learning import pointwise
from ...settings import network_params

GRAPHS = ["openvino", "onnxruntime"]
WINDOW = Window(0, 1000)
PLANES = np.array([[[0, 500], [1000, 250]], [[750, 0], [0, 0]]], np.int16)


@pytest.fixture(scope="module")
def graph() -> bytes:
    """Return a graph from 3 slices to 2 regions that depends on the centre slice."""
    return to_graph(pointwise([[0, 0], [8, -8], [0, 0]], [-4, 4], canvas=2))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_gives_probabilities(graph: bytes, name: Any) -> None:
    """By hand: the sigmoid of 8·(HU / 1000) - 4, and 1 minus that."""
    engine = open_engine(graph, name, window=WINDOW, precision="float32")
    predicted = engine.probabilities(PLANES)
    expected = np.array([[0.0179862, 0.5], [0.9820138, 0.1192029]])
    assert predicted.shape == (2, 2, 2, 2)
    assert predicted.dtype == np.float32
    assert predicted[0, ..., 0] == pytest.approx(expected, abs=1e-6)
    assert predicted[0, ..., 1] == pytest.approx(1 - expected, abs=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("depth", [1, 3, 4, 5, 33])
def test_any_number_of_slices_fills_the_batches(name: Any, depth: int) -> None:
    """By hand: the sum of a slice and its neighbours; the end slices are their own neighbours."""
    engine = open_engine(
        to_graph(pointwise([[1], [1], [1]], [0], canvas=2)),
        name,
        window=WINDOW,
        precision="float32",
    )
    levels = np.linspace(0.0, 1.0, 33)[:depth]
    planes = np.rint(1000 * levels).astype(np.int16)[:, None, None].repeat(2, 1).repeat(2, 2)
    around = np.concatenate([levels[:1], levels, levels[-1:]])
    logits = around[:-2] + around[1:-1] + around[2:]
    predicted = engine.probabilities(planes)
    assert predicted.shape == (depth, 2, 2, 1)
    np.testing.assert_allclose(predicted[:, 1, 0, 0], 1 / (1 + np.exp(-logits)), atol=4e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_window_limits_what_the_network_receives(graph: bytes, name: Any) -> None:
    planes = np.array([[[-32768, 32767], [0, 1000]]], np.int16)
    engine = open_engine(graph, name, window=WINDOW, precision="float32")
    below, above = engine.probabilities(planes)[0, 0, :, 0]
    assert (below, above) == tuple(engine.probabilities(planes)[0, 1, :, 0])


@pytest.mark.parametrize("name", GRAPHS)
def test_a_scan_does_not_change_the_next_one(graph: bytes, name: Any) -> None:
    planes = np.random.default_rng(0).integers(-200, 1200, (30, 2, 2)).astype(np.int16)
    engine = open_engine(graph, name, window=WINDOW)
    first = engine.probabilities(planes)
    kept = first.copy()
    engine.probabilities(planes[::-1])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(engine.probabilities(planes), kept)


@pytest.mark.parametrize("name", GRAPHS)
def test_scans_of_several_threads_are_not_mixed(graph: bytes, name: Any) -> None:
    engine = open_engine(graph, name, window=WINDOW)
    scans = [np.full((200, 2, 2), hu, np.int16) for hu in (0, 300, 600, 1000)] * 4
    alone = [engine.probabilities(scan) for scan in scans]
    with ThreadPoolExecutor(len(scans)) as pool:
        together = list(pool.map(engine.probabilities, scans))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("network", "normalisation"),
    [("attention_unet", "rms"), ("resunet18", "batch"), ("lean", "group")],
)
def test_engines_agree_on_all_kinds_of_layers(network: Any, normalisation: Any) -> None:
    """In float32, where only the order of sums differs."""
    params = network_params(name=network, normalisation=normalisation, width=4, depth=2)
    made = build(params, canvas=16, channels=3, regions=2, seed=1, dtype="float32")
    planes = np.random.default_rng(2).integers(0, 1000, (5, 16, 16)).astype(np.int16)
    expected = KerasEngine(made, WINDOW).probabilities(planes)
    exported = to_graph(made)
    assert np.ptp(expected) > 0.01
    for name in GRAPHS:
        engine = open_engine(
            exported,
            name,  # type: ignore[arg-type]
            window=WINDOW,
            precision="float32",
        )
        predicted = engine.probabilities(planes)
        np.testing.assert_allclose(predicted, expected, atol=1e-5)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_missing_gpu_is_reported(graph: bytes, name: Any) -> None:
    with pytest.raises(InputError, match=r"has no GPU here.* omit --device"):
        open_engine(graph, name, window=WINDOW, device="gpu")


@pytest.mark.parametrize("name", GRAPHS)
def test_bytes_that_are_not_a_graph_are_refused(name: Any) -> None:
    with pytest.raises(InputError, match="cannot run this model: "):
        open_engine(b"no graph at all", name, window=WINDOW)
