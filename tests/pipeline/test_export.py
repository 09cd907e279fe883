"""The stage `export` writes the model file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.models.keras_file import save_trained
from thorax.models.onnx_file import read_model
from thorax.models.spec import ModelSpec
from thorax.pipeline.export import main

from ..learning import pointwise


def test_the_trained_network_becomes_one_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ModelSpec(4, "none", 0, (0, 1000), {"lung": (1,)}, provenance={"loss": "dice"})
    network = pointwise([[8]], [-4], canvas=4)
    save_trained(project / "models/segmenter", network, spec)
    main()
    assert read_model(project / "models/segmenter.onnx")[0] == spec
    assert "0 of 384 pixels differ" in capsys.readouterr().err


def test_the_file_has_the_threshold_of_the_parameters(project: Path) -> None:
    spec = ModelSpec(4, "none", 0, (0, 1000), {"lung": (1,)})
    network = pointwise([[8]], [-4], canvas=4)
    save_trained(project / "models/segmenter", network, spec)
    content = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(content.replace("threshold: 0.5", "threshold: 0.25"))
    main()
    assert read_model(project / "models/segmenter.onnx")[0].threshold == 0.25


@pytest.mark.usefixtures("project")
def test_a_missing_network_is_reported(fails: Callable[[Callable[[], None]], str]) -> None:
    assert fails(main).startswith("there is no model in models/segmenter; train one")
