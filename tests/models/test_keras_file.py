"""What training leaves: saved and loaded whole, equal bytes for equal networks."""

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


def engine() -> KerasEngine:
    """Return an engine whose logits are sums over three planes, less 1 and less 2."""
    return KerasEngine(pointwise([[1, 2], [1, 2], [1, 2]], [-1, -2], canvas=4))


def test_a_loaded_model_gives_the_same(tmp_path: Path) -> None:
    made = engine()
    save_trained(tmp_path / "model", made, SPEC)
    loaded = load(tmp_path / "model")
    assert loaded.spec == SPEC
    window = Window(0, 1000)
    np.testing.assert_array_equal(
        loaded.engine.probabilities(PLANES, 0, 3, window=window),
        made.probabilities(PLANES, 0, 3, window=window),
    )


def test_saving_again_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock says, which Keras and zipfile ask: DVC compares bytes."""
    made = engine()
    save_trained(tmp_path / "one", made, SPEC)
    later = datetime.datetime(2033, 5, 18, 3, 33, 20)
    clock = SimpleNamespace(now=lambda: later)
    monkeypatch.setattr("keras.src.saving.saving_lib.datetime.datetime", clock)
    monkeypatch.setattr("time.time", later.timestamp)
    monkeypatch.setattr("time.localtime", lambda *_: later.timetuple())
    save_trained(tmp_path / "two", made, SPEC)
    for name in ("model.keras", "spec.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "model.keras",
        "spec.json",
    ]


def test_saving_what_was_loaded_gives_equal_bytes(tmp_path: Path) -> None:
    save_trained(tmp_path / "one", engine(), SPEC)
    again = KerasEngine(load_network(tmp_path / "one/model.keras"))
    save_trained(tmp_path / "two", again, load_spec(tmp_path / "one"))
    for name in ("model.keras", "spec.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_trained(tmp_path / "model", engine(), SPEC)
    return tmp_path / "model"


def test_a_missing_network_is_told(saved: Path) -> None:
    (saved / "model.keras").unlink()
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load(saved)


def test_a_damaged_network_is_told(saved: Path) -> None:
    network = saved / "model.keras"
    network.write_bytes(network.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load(saved)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_folder_is_for_keras_alone(saved: Path, name: Any) -> None:
    with pytest.raises(InputError, match=f"--engine {name} needs an exported model, but .* run"):
        load(saved, engine=name)
