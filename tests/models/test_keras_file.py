"""The Keras file: equal bytes for equal networks, and safe loading."""

import datetime
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.inference.segmenter import load
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.keras_file import load_network, save_trained
from thorax.models.spec import ModelSpec, load_spec

from ..learning import pointwise

SPEC = ModelSpec(4, "none", 1, (0, 1000), {"body": (1, 2), "bone": (2,)})
PLANES = np.arange(48, dtype=np.int16).reshape(3, 4, 4) * 20


@pytest.fixture(scope="module")
def network() -> Any:
    """Return a network whose logits are sums over three slices, minus 1 and minus 2."""
    return pointwise([[1, 2], [1, 2], [1, 2]], [-1, -2], canvas=4)


@pytest.fixture(scope="module")
def content(network: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a saved model by name."""
    folder = tmp_path_factory.mktemp("saved")
    save_trained(folder, network, SPEC)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(content: dict[str, bytes], tmp_path: Path) -> Path:
    """Return the folder of a saved model."""
    (tmp_path / "model").mkdir()
    for name, data in content.items():
        (tmp_path / "model" / name).write_bytes(data)
    return tmp_path / "model"


@pytest.fixture
def path(folder: Path) -> Path:
    """Return the file of a saved network."""
    return folder / "model.keras"


def test_a_model_is_two_files(content: dict[str, bytes]) -> None:
    assert set(content) == {"model.keras", "spec.json"}


def test_a_loaded_model_computes_the_same(network: Any, folder: Path) -> None:
    loaded = load(folder)
    assert loaded.spec == SPEC
    window = Window(0, 1000)
    np.testing.assert_array_equal(
        loaded.engine.probabilities(PLANES),
        KerasEngine(network, window).probabilities(PLANES),
    )


def test_saving_again_gives_equal_bytes(
    network: Any, content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any time, which Keras and zipfile read from the clock: DVC compares bytes."""
    later = datetime.datetime(2033, 5, 18, 3, 33, 20)
    clock = SimpleNamespace(now=lambda: later)
    monkeypatch.setattr("keras.src.saving.saving_lib.datetime.datetime", clock)
    monkeypatch.setattr("time.time", later.timestamp)
    monkeypatch.setattr("time.localtime", lambda *_: later.timetuple())
    save_trained(tmp_path, network, SPEC)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_saving_a_loaded_model_gives_equal_bytes(
    content: dict[str, bytes], folder: Path, tmp_path: Path
) -> None:
    save_trained(tmp_path / "again", load_network(folder / "model.keras"), load_spec(folder))
    for name, data in content.items():
        assert (tmp_path / "again" / name).read_bytes() == data


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_folder_is_for_keras_only(folder: Path, name: Any) -> None:
    with pytest.raises(InputError, match=f"--engine {name} needs an exported model, but .* run"):
        load(folder, engine=name)


def test_options_that_a_folder_cannot_meet_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda *_: [])
    with pytest.raises(InputError, match="Keras has no GPU here; omit --device"):
        load(folder, device="gpu")
    assert load(folder, device="cpu", precision="float32").spec == SPEC


# Damaged files


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.keras cannot be loaded: it is missing or trunc"):
        load_network(tmp_path / "none.keras")


@pytest.mark.parametrize("length", [0, 1, 100, 0.5, -30, -1])
def test_a_truncated_file_is_refused(path: Path, length: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(length if length != 0.5 else len(data) / 2)])
    with pytest.raises(InputError, match=r"model\.keras cannot be loaded: it is missing or trunc"):
        load_network(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("<html>404: not found</html>")
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load_network(path)


def rewrite(path: Path, **members: bytes | None) -> None:
    """Replace members of an archive; None removes a member."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"config.json": b"{"}, id="a configuration that is not JSON"),
        pytest.param({"config.json": b"{}"}, id="an empty configuration"),
        pytest.param({"config.json": b"[]"}, id="a list as configuration"),
        pytest.param({"config.json": None}, id="no configuration"),
        pytest.param({"model.weights.h5": b"weights"}, id="weights that are not HDF5"),
        pytest.param({"model.weights.h5": None}, id="no weights"),
    ],
)
def test_a_damaged_archive_is_refused(path: Path, members: dict[str, bytes | None]) -> None:
    rewrite(path, **members)
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load_network(path)


def test_a_flipped_bit_is_refused_or_has_no_effect(network: Any, path: Path) -> None:
    data = path.read_bytes()
    refused = 0
    for position in range(20, len(data), len(data) // 40):
        damaged = bytearray(data)
        damaged[position] ^= 0x08
        path.write_bytes(damaged)
        try:
            loaded = load_network(path)
        except InputError:
            refused += 1
        else:
            for weights, expected in zip(loaded.get_weights(), network.get_weights(), strict=True):
                np.testing.assert_array_equal(weights, expected)
    assert refused > 20


def test_a_file_with_code_is_refused(tmp_path: Path) -> None:
    """Keras would run the code, which fails this test."""
    stack = keras.Input((2, 2, 1))
    trap = keras.layers.Lambda(lambda _: pytest.fail("code was run"), output_shape=(2, 2, 1))
    path = tmp_path / "model.keras"
    keras.Model(stack, trap(stack)).save(path)
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: .*[Ll]ambda"):
        load_network(path)
