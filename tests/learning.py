"""Shared by the tests of models and training: small records, datasets and networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from thorax.common.params import AugmentationParams
from thorax.imaging.intensity import Window
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec
from thorax.preprocessing.records import CaseRecord, write_record
from thorax.training.augmentation import Augmentation
from thorax.training.data import StackDataset

NO_AUGMENTATION: dict[str, Any] = {
    "level": "medium",
    "device": "cpu",
    "flip": 0.0,
    "rotate_degrees": 0.0,
    "zoom": 0.0,
    "shift": 0.0,
    "contrast": 0.0,
    "gamma": 0.0,
    "noise": 0.0,
    "blur": 0.0,
    "sharpen": 0.0,
    "low_resolution": 0.0,
    "field_of_view": 0.0,
    "missing_planes": 0.0,
    "thick_slices": 0.0,
    "custom": "",
    "mixup": 0.0,
    "cutmix": 0.0,
}
"""Settings of an augmentation that changes nothing."""


def augmentation(*, canvas: int | None = None, **changes: Any) -> Augmentation:
    """Return an augmentation with some settings, which otherwise changes nothing."""
    return Augmentation(AugmentationParams(**NO_AUGMENTATION | changes), canvas=canvas)


def save_record(path: Path, planes: ArrayLike, fractions: ArrayLike) -> Path:
    """Write slices in HU and fractions 0..255 as the record of a case."""
    record = CaseRecord(np.asarray(planes, np.int16), np.asarray(fractions, np.uint8))
    write_record(path, record)
    return path


def stack_dataset(
    paths: Sequence[Path],
    planes: int | Sequence[int],
    *,
    canvas: int,
    regions: int = 1,
    **others: Any,
) -> StackDataset:
    """Return a dataset; by default without context and augmentation, and the window 0..1000 HU.

    Args:
        paths: One record per case.
        planes: Number of slices of each case, or the sum of equal numbers.
        canvas: Side of the canvas, in pixels.
        regions: Number of regions.
        others: Other fields of the dataset.
    """
    counts = [planes // len(paths)] * len(paths) if isinstance(planes, int) else planes
    defaults = {"context": 0, "window": Window(0, 1000), "augmentation": augmentation()}
    return StackDataset(paths, counts, canvas, regions, **defaults | others)


def pointwise(weights: ArrayLike, biases: ArrayLike, *, canvas: int) -> Any:
    """Return a network whose logits are ``stack @ weights + biases`` in each pixel.

    Args:
        weights: One row per slice of the stack, one column per region.
        biases: One per region.
        canvas: Side of the canvas, in pixels.
    """
    kernel = np.array(weights, np.float32)[None, None]
    stack = keras.Input((canvas, canvas, kernel.shape[2]))
    convolution = keras.layers.Conv2D(kernel.shape[3], 1)
    network = keras.Model(stack, convolution(stack))
    convolution.set_weights([kernel, np.array(biases, np.float32)])
    return network


def save_dark_model(folder: Path) -> Path:
    """Save a model file for a canvas of 32 pixels whose lung is everything below -500 HU."""
    spec = ModelSpec(32, "lungs", 0, (-1000, 0), {"lung": (1,)})
    save_trained(folder / "trained", pointwise([[-20]], [10], canvas=32), spec)
    export_model(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"
