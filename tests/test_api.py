"""Segmenting from Python: a path, an image and an array give the same."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

import thorax
from thorax.common.errors import InputError
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.export import export
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from .learning import pointwise

SaveNifti = Callable[..., Path]
AFFINE = np.array([[-2.0, 0, 0, 8], [0, 2, 0, 0], [0, 0, 2.5, -5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported model that takes 250 HU and more for body."""
    folder = tmp_path_factory.mktemp("model")
    spec = ModelSpec(8, "none", 0, (0, 1000), {"body": (1,)})
    save_trained(folder / "trained", KerasEngine(pointwise([[80]], [-20], canvas=8)), spec)
    export(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def voxels() -> np.ndarray:
    drawn = np.full((8, 8, 3), -1000, np.int16)
    drawn[1:3, 2:6, 1] = 500
    return drawn


def test_a_path_an_image_and_an_array_give_the_same(
    model: Path, voxels: np.ndarray, save_nifti: SaveNifti
) -> None:
    predictor = thorax.load(model)
    path = save_nifti("ct.nii.gz", voxels, AFFINE)
    for given in ((path,), (str(path),), (nibabel.load(path),), (voxels, AFFINE)):
        found = predictor.segment(*given, intensity="hu")
        np.testing.assert_array_equal(found.mask, voxels == 500)
        assert found.mask.dtype == np.uint8
        np.testing.assert_allclose(found.affine, AFFINE)
        assert found.volumes_ml == {"body": pytest.approx(8 * 0.01)}


def test_the_mask_has_the_axis_order_of_what_was_given(model: Path, voxels: np.ndarray) -> None:
    turned = np.ascontiguousarray(voxels.transpose(2, 0, 1)[::-1])
    affine = AFFINE @ np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 2], [0, 0, 0, 1]])
    found = thorax.load(model).segment(turned, affine, intensity="hu")
    np.testing.assert_array_equal(found.mask, turned == 500)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd"])
def test_what_was_found_can_be_saved(
    model: Path, voxels: np.ndarray, tmp_path: Path, name: str
) -> None:
    found = thorax.load(model).segment(voxels, AFFINE, intensity="hu")
    (path,) = found.save(tmp_path / name)
    again = thorax.load(model, engine="onnxruntime").segment(voxels, AFFINE, intensity="hu")
    np.testing.assert_array_equal(again.mask, found.mask)
    if name.endswith(".nii.gz"):
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), found.mask)
        np.testing.assert_array_equal(np.asarray(found.image.dataobj), found.mask)
    else:
        assert path.read_bytes().startswith(b"NRRD")


def test_a_threshold_acts_on_mask_and_file_alike(
    model: Path, voxels: np.ndarray, tmp_path: Path
) -> None:
    """At 260 HU the logit is 0.8 and the probability 0.69."""
    voxels[1:3, 2:6, 2] = 260
    sure = thorax.load(model).segment(voxels, AFFINE, intensity="hu", threshold=0.8)
    np.testing.assert_array_equal(sure.mask, voxels == 500)
    (path,) = sure.save(tmp_path / "mask.nii")
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), sure.mask)
    likely = thorax.load(model).segment(voxels, AFFINE, intensity="hu")
    np.testing.assert_array_equal(likely.mask, voxels >= 260)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((np.zeros((2, 2, 2)),), r"an array needs its affine: segment\(voxels, affine\)"),
        ((np.zeros((2, 2, 2)), np.eye(3)), r"an affine must have shape \(4, 4\), got \(3, 3\)"),
        ((np.zeros((2, 2)), np.eye(4)), r"a scan must be 3D, but the array has shape \(2, 2\)"),
        ((np.zeros((2, 2, 2), complex), np.eye(4)), "must hold one number a voxel, but the array"),
        (("nowhere.nii",), "there is no file nowhere.nii"),
    ],
)
def test_what_is_no_scan_is_refused(model: Path, given: tuple[object, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        thorax.load(model).segment(*given)


def test_no_model_is_no_predictor() -> None:
    with pytest.raises(InputError, match="there must be a model to load"):
        thorax.load()


def test_what_there_is_not_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module `thorax` has no attribute `lungs`"):
        _ = thorax.lungs
