"""The stage `predict` writes one mask per test case."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.onnx_file import read_model, write_model
from thorax.models.spec import ModelSpec
from thorax.pipeline.predict import main

from ..learning import pointwise

Fails = Callable[[Callable[[], None]], str]


@pytest.fixture
def segmenter(project: Path) -> Path:
    """Return a model file; its lung is everything above -300 HU."""
    network = pointwise([[0, 0], [20, 20], [0, 0]], [-10, -30], canvas=8)
    spec = ModelSpec(
        canvas=8,
        crop="none",
        context=1,
        window_hu=(-1000, 400),
        regions={"lung": (1, 2), "infection": (2,)},
        provenance={"split": {"test": ["anna-1", "ben-1"]}},
    )
    save_trained(project / "models/segmenter", network, spec)
    export_model(project / "models/segmenter", project / "models/segmenter.onnx")
    return project / "models/segmenter.onnx"


def predicted(project: Path, folder: str = "data/predictions") -> dict[str, np.ndarray]:
    paths = sorted((project / folder).glob("*.nii.gz"))
    return {path.name: np.asarray(nibabel.load(path).dataobj) for path in paths}


@pytest.mark.usefixtures("segmenter")
def test_each_test_case_gets_a_mask(project: Path) -> None:
    main()
    masks = predicted(project)
    assert list(masks) == ["anna-1.nii.gz", "ben-1.nii.gz"]
    expected = np.zeros((8, 6, 3))
    expected[2:6, 1:5] = 1
    for mask in masks.values():
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.usefixtures("segmenter")
@pytest.mark.parametrize("bits", [8, 16])
def test_probabilities_are_written_for_each_region(
    project: Path, set_params: Callable[..., None], bits: int
) -> None:
    """Soft tissue of 40 HU has the probability 0.992."""
    set_params(predict={"bits": bits})
    main()
    maps = predicted(project, "data/predictions/probabilities")
    cases, regions = ("anna-1", "ben-1"), ("infection", "lung")
    assert list(maps) == [f"{case}_{region}.nii.gz" for case in cases for region in regions]
    assert maps["ben-1_lung.nii.gz"].max() == pytest.approx(0.992, abs=2 / 2**bits + 5e-4)


@pytest.mark.usefixtures("segmenter")
def test_certainty_is_written(project: Path) -> None:
    """Lung voxels have probability 0.992; the infection is empty."""
    main()
    text = (project / "data/predictions/certainty.csv").read_text().splitlines()
    assert text[0] == "case,region,certainty"
    certainty = {tuple(line.split(",")[:2]): line.split(",")[2] for line in text[1:]}
    assert float(certainty["ben-1", "lung"]) > 0.99
    assert certainty["ben-1", "infection"] == ""


@pytest.mark.usefixtures("segmenter")
def test_zero_bits_write_no_probabilities(project: Path, set_params: Callable[..., None]) -> None:
    set_params(predict={"bits": 0})
    main()
    assert not (project / "data/predictions/probabilities").exists()


@pytest.mark.usefixtures("segmenter")
def test_the_threshold_of_the_parameters_is_used(
    project: Path, set_params: Callable[..., None]
) -> None:
    """Soft tissue of 40 HU has the probability 0.992."""
    set_params(predict={"threshold": 0.995})
    main()
    assert not predicted(project)["anna-1.nii.gz"].any()


@pytest.mark.usefixtures("segmenter")
def test_masks_of_another_run_are_deleted(project: Path) -> None:
    (project / "data/predictions").mkdir()
    (project / "data/predictions/anna-2.nii.gz").touch()
    main()
    assert list(predicted(project)) == ["anna-1.nii.gz", "ben-1.nii.gz"]


@pytest.mark.usefixtures("project")
def test_a_missing_model_is_reported(fails: Fails) -> None:
    assert fails(main).startswith("there is no model models/segmenter.onnx; train one")


@pytest.mark.usefixtures("segmenter")
def test_a_deleted_test_case_is_named(project: Path, fails: Fails) -> None:
    for part in ("scans", "masks"):
        (project / "data/chests" / part / "ben-1.nii.gz").unlink()
    assert fails(main) == "dataset `chests` has no case `ben-1`"


@pytest.mark.usefixtures("segmenter")
def test_masks_that_cannot_be_written_are_reported(project: Path, fails: Fails) -> None:
    (project / "data/predictions").write_text("I am no folder")
    assert fails(main).startswith("cannot write data/predictions: ")


def test_a_final_model_has_nothing_to_predict(project: Path, segmenter: Path) -> None:
    """It has no test cases; DVC still needs the folder."""
    spec, graph = read_model(segmenter)
    provenance = spec.provenance | {"split": {"test": []}}
    write_model(segmenter, graph, replace(spec, provenance=provenance))
    main()
    (certainty,) = (project / "data/predictions").iterdir()
    assert certainty.read_text() == "case,region,certainty\n"
