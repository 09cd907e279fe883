"""Engines: what runs the network, and how its file is loaded."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.keras_file import load_network

from ...learning import pointwise


@pytest.fixture(scope="module")
def network() -> Any:
    """Return a network from 3 planes to 2 regions that looks at the middle plane."""
    return pointwise([[0, 0], [8, -8], [0, 0]], [-4, 4], canvas=2)


@pytest.fixture
def saved(network: Any, tmp_path: Path) -> Path:
    """Return the file of that network."""
    path = tmp_path / "model.keras"
    path.write_bytes(KerasEngine(network).keras_bytes())
    return path


PLANES = np.array([[[0, 500], [1000, 250]], [[750, 0], [0, 0]]], np.int16)


def test_an_engine_gives_probabilities(network: Any) -> None:
    """By hand: the sigmoid of 8·(HU / 1000) - 4, and one less that."""
    found = KerasEngine(network).probabilities(PLANES, 0, 1, window=Window(0, 1000))
    expected = np.array([[0.0179862, 0.5], [0.9820138, 0.1192029]])
    assert found.shape == (1, 2, 2, 2)
    assert found[0, ..., 0] == pytest.approx(expected, abs=1e-6)
    assert found[0, ..., 1] == pytest.approx(1 - expected, abs=1e-6)


def test_a_loaded_network_gives_the_same(network: Any, saved: Path) -> None:
    window = Window(0, 1000)
    found = KerasEngine(load_network(saved)).probabilities(PLANES, 0, 2, window=window)
    np.testing.assert_array_equal(
        found, KerasEngine(network).probabilities(PLANES, 0, 2, window=window)
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.keras cannot be loaded: it is missing or cut"):
        load_network(tmp_path / "none.keras")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -30, -1])
def test_a_file_that_is_cut_short_is_refused(saved: Path, kept: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(kept if kept != 0.5 else len(whole) / 2)])
    with pytest.raises(InputError, match=r"model\.keras cannot be loaded: it is missing or cut"):
        load_network(saved)


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("<html>404: not found</html>")
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load_network(path)


def rewrite(path: Path, **members: bytes | None) -> None:
    """Replace members of an archive, or leave them out."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name: text for name, text in members.items() if text is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            if members.get(name, b"") is not None:
                archive.writestr(name, text)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"config.json": b"{"}, id="a description that is no JSON"),
        pytest.param({"config.json": b"{}"}, id="a description of nothing"),
        pytest.param({"config.json": b"[]"}, id="a list for a description"),
        pytest.param({"config.json": None}, id="no description"),
        pytest.param({"model.weights.h5": b"weights"}, id="weights that are no HDF5"),
        pytest.param({"model.weights.h5": None}, id="no weights"),
    ],
)
def test_a_damaged_archive_is_refused(saved: Path, members: dict[str, bytes | None]) -> None:
    rewrite(saved, **members)
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load_network(saved)


def test_a_flipped_bit_is_refused_or_does_no_harm(network: Any, saved: Path) -> None:
    whole = saved.read_bytes()
    refused = 0
    for at in range(20, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[at] ^= 0x08
        saved.write_bytes(damaged)
        try:
            loaded = load_network(saved)
        except InputError:
            refused += 1
        else:
            for one, other in zip(loaded.get_weights(), network.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)
    assert refused > 20


def test_a_file_that_holds_code_is_refused(tmp_path: Path) -> None:
    """Keras would run it; this one would fail the test."""
    stack = keras.Input((2, 2, 1))
    trap = keras.layers.Lambda(lambda _: pytest.fail("code was run"), output_shape=(2, 2, 1))
    path = tmp_path / "model.keras"
    keras.Model(stack, trap(stack)).save(path)
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: .*[Ll]ambda"):
        load_network(path)
