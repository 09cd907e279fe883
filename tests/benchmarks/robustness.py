"""Dice of trained models on degraded scans.

    python tests/benchmarks/robustness.py DATASET CASE NAME=MODEL [NAME=MODEL ...]

DATASET has the folders scans/ and masks/, CASE is a file name in both, and the models were not
trained on the case. The table has one row per degradation and one column per model, with the
Dice of each region on the grid of the degraded file.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import say
from numpy.typing import NDArray
from scipy import ndimage

from thorax.evaluation.scoring import open_pair
from thorax.imaging.intensity import HU
from thorax.imaging.overlap import overlap
from thorax.inference.outputs import Outputs, write_outputs
from thorax.inference.segmenter import Segmenter, load
from thorax.io import Scan, write_volume

AIR = -1000.0
Volume = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float64]]
"""HU, labels and affine."""


def noise(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Add Gaussian noise of 60 HU, as in a low-dose scan."""
    return hu + np.random.default_rng(0).normal(0, 60, hu.shape), labels, affine


def thick(mm: float) -> Callable[..., Volume]:
    """Return a degradation to thick slices, each the mean over its extent."""

    def degrade(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
        step = mm / np.linalg.norm(affine[:3, 2])
        edges = np.arange(0, hu.shape[2] - step, step)
        wider = affine @ np.diag([1, 1, step, 1])
        wider[:3, 3] += affine[:3, 2] * (step - 1) / 2
        shares = mean_between(labels > 0, edges, step)
        return mean_between(hu, edges, step), (shares >= 0.5).astype(np.uint8), wider

    return degrade


def mean_between(volume: NDArray, edges: NDArray, step: float) -> NDArray:
    """Average along z over ``edge..edge + step``, with fractions of slices."""
    sums = np.concatenate([np.zeros((*volume.shape[:2], 1)), np.cumsum(volume, axis=2)], axis=2)

    def until(z: NDArray) -> NDArray:
        low = np.minimum(z.astype(int), volume.shape[2] - 1)
        return sums[..., low] + (z - low) * (sums[..., low + 1] - sums[..., low])

    return (until(edges + step) - until(edges)) / step


def soft(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Simulate a soft kernel: Gaussian blur of 1.5 pixels within slices."""
    return ndimage.gaussian_filter(hu, (1.5, 1.5, 0)), labels, affine


def sharp(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Simulate a sharp kernel: unsharp masking with factor 2 and a blur of 1.5 pixels."""
    return hu + 2 * (hu - ndimage.gaussian_filter(hu, (1.5, 1.5, 0))), labels, affine


def rotated(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Rotate the patient by 10° within slices."""
    turned = ndimage.rotate(hu, 10, reshape=False, order=1, cval=AIR)
    return turned, ndimage.rotate(labels, 10, reshape=False, order=0), affine


def padded(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Pad the field of view by a third with air."""
    rim = [(size // 6, size // 6) for size in hu.shape[:2]] + [(0, 0)]
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :2] @ [rim[0][0], rim[1][0]]
    return np.pad(hu, rim, constant_values=AIR), np.pad(labels, rim), moved


def flipped(axis: int) -> Callable[..., Volume]:
    """Return a reversal of the storage order along an axis, with the matching affine."""

    def degrade(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
        turn = np.eye(4)
        turn[axis, axis], turn[axis, 3] = -1, hu.shape[axis] - 1
        return np.flip(hu, axis), np.flip(labels, axis), affine @ turn

    return degrade


DEGRADATIONS: dict[str, Callable[..., Volume]] = {
    "original": lambda *volume: volume,
    "noise of 60 HU": noise,
    "slices of 5 mm": thick(5),
    "slices of 8 mm": thick(8),
    "soft kernel": soft,
    "sharp kernel": sharp,
    "rotated by 10°": rotated,
    "field of view padded by a third": padded,
    "stored right to left": flipped(0),
    "stored head to foot": flipped(2),
}


def main() -> None:
    """Print the table."""
    dataset, case, *named = sys.argv[1:]
    models = {
        name: Segmenter([load(Path(path))])
        for name, _, path in (item.partition("=") for item in named)
    }
    scan, mask = (Scan(Path(dataset) / kind / case) for kind in ("scans", "masks"))
    hu, labels = scan.voxels().astype(np.float32), mask.voxels()
    say(f"{'':<34}" + "".join(f"{name:>16}" for name in models))
    with tempfile.TemporaryDirectory() as folder:
        for name, degrade in DEGRADATIONS.items():
            degraded = degrade(hu, labels, scan.grid.affine)
            dice = [dice_of(model, degraded, Path(folder)) for model in models.values()]
            say(f"{name:<34}" + "".join(f"{value:>16}" for value in dice))


def dice_of(model: Segmenter, degraded: Volume, folder: Path) -> str:
    """Write, segment and score a degraded scan; return the Dice of each region."""
    hu, labels, affine = degraded
    names = ("scan", "truth", "predicted")
    scan, truth, predicted = (folder / f"{name}.nii.gz" for name in names)
    write_volume(scan, np.rint(hu).astype(np.int16), affine)
    write_volume(truth, labels.astype(np.uint8), affine)
    preprocessed = model.preprocess(Scan(scan), intensity=HU)
    write_outputs(model.predict(preprocessed), Outputs(predicted))
    pair = open_pair(Scan(truth), Scan(predicted), model.regions, sided=False)
    return " ".join(f"{overlap(*pair.masks(region)).dice:.4f}" for region in pair.regions)


if __name__ == "__main__":
    main()
