"""What the tests of the learning layer share: small records, sources and networks set by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from thorax.common.params import AugmentationParams
from thorax.imaging.intensity import Window
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.export import export
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec
from thorax.preprocessing.records import CaseRecord, write_record
from thorax.training.augmentation import Augmentation
from thorax.training.data import StackDataset

STILL: dict[str, Any] = {
    "level": "medium",
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
"""Augmentation that changes nothing."""


def augmentation(**changes: Any) -> Augmentation:
    """Return an augmentation that changes nothing but what is named."""
    return Augmentation(AugmentationParams(**STILL | changes))


def save_record(path: Path, planes: ArrayLike, fractions: ArrayLike) -> Path:
    """Write planes in HU and fractions 0..255 as the record of a case."""
    canvases = CaseRecord(np.asarray(planes, np.int16), np.asarray(fractions, np.uint8))
    write_record(path, canvases)
    return path


def stack_source(
    paths: Sequence[Path],
    planes: int | Sequence[int],
    *,
    canvas: int,
    regions: int = 1,
    **others: Any,
) -> StackDataset:
    """Return a source without context and augmentation whose window is 0..1000 HU, unless given.

    Args:
        paths: One record a case.
        planes: Of each case; or of all together where each has as many.
        canvas: Pixels a side.
        regions: How many.
        others: Fields of the source.
    """
    each = [planes // len(paths)] * len(paths) if isinstance(planes, int) else planes
    plain = {"context": 0, "window": Window(0, 1000), "augmentation": augmentation()}
    return StackDataset(paths, each, canvas, regions, **plain | others)


def pointwise(weights: ArrayLike, biases: ArrayLike, *, canvas: int) -> Any:
    """Return a network whose logits are ``stack @ weights + biases`` in each pixel.

    Args:
        weights: One row a plane of the stack, one column a region.
        biases: One a region.
        canvas: Pixels a side.
    """
    kernel = np.array(weights, np.float32)[None, None]
    stack = keras.Input((canvas, canvas, kernel.shape[2]))
    convolution = keras.layers.Conv2D(kernel.shape[3], 1)
    network = keras.Model(stack, convolution(stack))
    convolution.set_weights([kernel, np.array(biases, np.float32)])
    return network


def save_dark_model(folder: Path) -> Path:
    """Save a model file, on a canvas of 32, that takes what lies below -500 HU for lung."""
    spec = ModelSpec(32, "lungs", 0, (-1000, 0), {"lung": (1,)})
    save_trained(folder / "trained", KerasEngine(pointwise([[-20]], [10], canvas=32)), spec)
    export(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"
