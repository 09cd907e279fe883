"""The Python interface: paths, images and arrays give the same masks."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

import thorax
from thorax.common.errors import InputError
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from .learning import pointwise

SaveNifti = Callable[..., Path]
AFFINE = np.array([[-2.0, 0, 0, 8], [0, 2, 0, 0], [0, 0, 2.5, -5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported model that segments voxels of at least 250 HU as body."""
    folder = tmp_path_factory.mktemp("model")
    spec = ModelSpec(8, "none", 0, (0, 1000), {"body": (1,)})
    save_trained(folder / "trained", pointwise([[80]], [-20], canvas=8), spec)
    export_model(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def voxels() -> np.ndarray:
    voxels = np.full((8, 8, 3), -1000, np.int16)
    voxels[1:3, 2:6, 1] = 500
    return voxels


def test_paths_images_and_arrays_give_the_same_mask(
    model: Path, voxels: np.ndarray, save_nifti: SaveNifti
) -> None:
    predictor = thorax.load(model)
    path = save_nifti("ct.nii.gz", voxels, AFFINE)
    for scan in ((path,), (str(path),), (nibabel.load(path),), (voxels, AFFINE)):
        result = predictor.segment(*scan, intensity="hu")
        np.testing.assert_array_equal(result.mask, voxels == 500)
        assert result.mask.dtype == np.uint8
        np.testing.assert_allclose(result.affine, AFFINE)
        assert result.volumes_ml == {"body": pytest.approx(8 * 0.01)}


@pytest.mark.parametrize("names", [(), ("lungs",)])
def test_the_packaged_model_is_loaded_by_name_and_by_default(
    model: Path, voxels: np.ndarray, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    weights = model.parent / "weights"
    weights.mkdir(exist_ok=True)
    (weights / "lungs.onnx").write_bytes(model.read_bytes())
    monkeypatch.setattr("thorax.models.packaged.WEIGHTS", weights)
    result = thorax.load(*names).segment(voxels, AFFINE, intensity="hu")
    np.testing.assert_array_equal(result.mask, voxels == 500)


def test_trailing_axes_of_length_1_are_dropped(model: Path, voxels: np.ndarray) -> None:
    predictor = thorax.load(model)
    deep = voxels[..., None, None]
    for scan in ((nibabel.Nifti1Image(deep, AFFINE),), (deep, AFFINE)):
        result = predictor.segment(*scan, intensity="hu")
        np.testing.assert_array_equal(result.mask, voxels == 500)
        assert result.image.shape == (8, 8, 3)


def test_an_image_without_an_orientation_is_marked_for_review(
    model: Path, voxels: np.ndarray
) -> None:
    image = nibabel.Nifti1Image(voxels, None)
    image.header["sform_code"], image.header["qform_code"] = 0, 0
    warnings = thorax.load(model).segment(image, intensity="hu").statistics.quality_warnings
    assert warnings[0].startswith("the file does not state its orientation; its axes were assumed")


def test_the_mask_has_the_axis_order_of_the_array(model: Path, voxels: np.ndarray) -> None:
    reordered = np.ascontiguousarray(voxels.transpose(2, 0, 1)[::-1])
    affine = AFFINE @ np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 2], [0, 0, 0, 1]])
    result = thorax.load(model).segment(reordered, affine, intensity="hu")
    np.testing.assert_array_equal(result.mask, reordered == 500)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd"])
def test_a_segmentation_can_be_saved(
    model: Path, voxels: np.ndarray, tmp_path: Path, name: str
) -> None:
    result = thorax.load(model).segment(voxels, AFFINE, intensity="hu")
    (path,) = result.save(tmp_path / name)
    again = thorax.load(model, engine="onnxruntime").segment(voxels, AFFINE, intensity="hu")
    np.testing.assert_array_equal(again.mask, result.mask)
    if name.endswith(".nii.gz"):
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), result.mask)
        np.testing.assert_array_equal(np.asarray(result.image.dataobj), result.mask)
    else:
        assert path.read_bytes().startswith(b"NRRD")


def test_a_threshold_acts_on_mask_and_file_alike(
    model: Path, voxels: np.ndarray, tmp_path: Path
) -> None:
    """At 260 HU the logit is 0.8 and the probability 0.69."""
    voxels[1:3, 2:6, 2] = 260
    strict = thorax.load(model).segment(voxels, AFFINE, intensity="hu", threshold=0.8)
    np.testing.assert_array_equal(strict.mask, voxels == 500)
    (path,) = strict.save(tmp_path / "mask.nii")
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), strict.mask)
    default = thorax.load(model).segment(voxels, AFFINE, intensity="hu")
    np.testing.assert_array_equal(default.mask, voxels >= 260)


@pytest.mark.parametrize("threshold", [0.0, 1.0, 50, -0.5, np.nan])
def test_thresholds_that_are_no_probability_are_rejected(
    model: Path, voxels: np.ndarray, threshold: float
) -> None:
    """At 0, every voxel of the crop would be in every region; at 1 or 50 (percent), none."""
    with pytest.raises(InputError, match="`threshold` must be between 0 and 1, got"):
        thorax.load(model).segment(voxels, AFFINE, intensity="hu", threshold=threshold)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 2, 2)),), r"an array needs its affine: segment\(voxels, affine\)"),
        ((np.zeros((2, 2, 2)), np.eye(3)), r"an affine must have shape \(4, 4\), got \(3, 3\)"),
        ((np.zeros((2, 2)), np.eye(4)), r"a scan must be 3D, but the array has shape \(2, 2\)"),
        ((np.zeros((2, 2, 2), complex), np.eye(4)), "must have one number per voxel, but the"),
        (("nowhere.nii",), "there is no file nowhere.nii"),
    ],
)
def test_invalid_scans_are_rejected(
    model: Path, arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        thorax.load(model).segment(*arguments)


def test_an_unknown_attribute_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module `thorax` has no attribute `lungs`"):
        _ = thorax.lungs
