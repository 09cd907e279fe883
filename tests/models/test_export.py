"""Export: one file, equal bytes for equal networks, compared with the network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.models.export import ExportComparison, export_model
from thorax.models.keras_file import save_trained
from thorax.models.keras_graph import to_graph
from thorax.models.onnx_file import read_model
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SPEC = ModelSpec(4, "none", 1, (0, 1000), {"body": (1,)}, provenance={"loss": "dice"})


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    network = pointwise([[0], [8], [0]], [-4], canvas=4)
    save_trained(tmp_path / "trained", network, SPEC)
    return tmp_path / "trained"


def test_a_model_is_exported_with_its_spec(trained: Path, tmp_path: Path) -> None:
    comparison = export_model(trained, tmp_path / "a.onnx", metrics={"dice": 0.9}, licence="MIT")
    spec, _ = read_model(tmp_path / "a.onnx")
    assert spec.regions == {"body": (1,)}
    assert spec.provenance == {"loss": "dice"}
    assert (spec.metrics, spec.licence) == ({"dice": 0.9}, "MIT")
    assert (comparison.differing_pixels, comparison.pixels) == (0, 24 * 16)
    assert comparison.max_difference < 1e-5


def test_the_comparison_is_one_line() -> None:
    assert str(ExportComparison(2.84e-6, 0, 393216)) == (
        "exported model against Keras model: 0 of 393216 pixels differ, probabilities by at most "
        "2.8e-06"
    )


def test_a_model_that_computes_something_else_is_not_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = to_graph(pointwise([[0], [8], [0]], [-3], canvas=4))
    monkeypatch.setattr("thorax.models.export.to_graph", lambda network: other)
    with pytest.raises(RuntimeError, match=r"the two models must agree within 0\.0001; exported"):
        export_model(trained, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


WITHOUT_TENSORFLOW = """
import sys

sys.modules["tensorflow"] = None  # importing it fails

from pathlib import Path

from thorax.models.export import export_model

export_model(Path(sys.argv[1]), Path(sys.argv[2]))
print(sys.modules["keras"].backend.backend())
"""


def test_jax_without_tensorflow_writes_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    """In another process, whose sets have another order."""
    export_model(trained, tmp_path / "here.onnx")
    files = [str(trained), str(tmp_path / "there.onnx")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *files],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["jax"], done.stderr
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()
