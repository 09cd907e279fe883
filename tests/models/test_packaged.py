"""Names of packaged models, and installations that lack them."""

from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.models.packaged import find_model, packaged_models


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is searched for packaged models."""
    monkeypatch.setattr("thorax.models.packaged.WEIGHTS", tmp_path)
    return tmp_path


def test_a_name_is_the_file_in_the_package(weights: Path) -> None:
    (weights / "lungs.onnx").touch()
    (weights / "lobes.onnx").touch()
    assert find_model("lungs") == find_model(Path("lungs")) == weights / "lungs.onnx"
    assert find_model("lobes") == weights / "lobes.onnx"


@pytest.mark.parametrize("path", ["models/segmenter.onnx", "lungs.onnx", "models/lungs", "lobes"])
@pytest.mark.usefixtures("weights")
def test_other_models_are_paths(path: str) -> None:
    assert find_model(path) == Path(path)


def test_an_installation_without_the_model_is_reported(weights: Path) -> None:
    message = rf"has no model `lungs` \(no file {weights}/lungs\.onnx\); install thorax again, or"
    with pytest.raises(InputError, match=message):
        find_model("lungs")
    with pytest.raises(InputError, match=message):
        packaged_models()


def test_a_damaged_model_is_named(weights: Path) -> None:
    (weights / "lungs.onnx").write_text("not a model")
    with pytest.raises(InputError, match=r"lungs\.onnx cannot be loaded: it is damaged"):
        packaged_models()
