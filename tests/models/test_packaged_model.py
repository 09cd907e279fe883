"""The file of the packaged model `lungs`."""

import hashlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

import thorax
from thorax.cli import main
from thorax.models.packaged import WEIGHTS, PackagedModel, packaged_models
from thorax.phantom import chest

LUNGS = WEIGHTS / "lungs.onnx"


@pytest.fixture(scope="module")
def lungs() -> PackagedModel:
    return next(model for model in packaged_models() if model.name == "lungs")


def test_the_model_is_small_and_describes_itself(lungs: PackagedModel) -> None:
    assert lungs.size_bytes < 20e6
    assert "lung" in lungs.spec.regions
    assert lungs.spec.licence
    assert lungs.spec.provenance["summary"]
    assert 0.8 < lungs.spec.mean_dice["lung"] < 1.0
    assert "synthetic" in lungs.spec.metrics["protocol"]
    assert lungs.spec.side_labels == {"right": 1, "left": 2}


def test_the_listed_digest_is_that_of_the_file() -> None:
    (listed,) = json.loads(CliRunner().invoke(main, ["model", "list", "--json"]).stdout)
    assert listed["sha256"] == hashlib.sha256(LUNGS.read_bytes()).hexdigest()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_synthetic_chest_is_segmented(engine: str) -> None:
    """With a seed that no training uses."""
    synthetic = chest(1, seed=7919)
    model = thorax.load(engine=engine)  # type: ignore[arg-type]
    result = model.segment(synthetic.scan.voxels, synthetic.scan.grid.affine)
    truth, predicted = synthetic.mask.voxels > 0, result.mask > 0
    dice = 2 * np.count_nonzero(truth & predicted) / (truth.sum() + predicted.sum())
    assert dice > 0.95


def test_right_and_left_have_their_own_labels() -> None:
    """World x grows to the patient's right: label 1 is right, label 2 is left."""
    synthetic = chest(2, seed=7919)
    affine = synthetic.scan.grid.affine
    mask = thorax.load().segment(synthetic.scan.voxels, affine).mask
    right, left = (affine[0, :3] @ np.argwhere(mask == label).mean(axis=0) for label in (1, 2))
    assert right > left + 80
