"""Degradations and crops of a scan with its reference, each as a function of both."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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


def cropped(axis: int, low: float, high: float) -> Callable[..., Volume]:
    """Return a crop to a part of the lungs' extent along an axis, from 0 to 1."""

    def degrade(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
        inside = np.flatnonzero((labels > 0).any(axis=tuple({0, 1, 2} - {axis})))
        first, extent = inside[0], inside[-1] + 1 - inside[0]
        start, stop = (round(first + share * extent) for share in (low, high))
        box = [slice(None)] * 3
        box[axis] = slice(max(start, 0), stop)
        moved = affine.copy()
        moved[:3, 3] += affine[:3, axis] * max(start, 0)
        return hu[tuple(box)], labels[tuple(box)], moved

    return degrade


def both(first: Callable[..., Volume], second: Callable[..., Volume]) -> Callable[..., Volume]:
    """Return both changes, one after the other."""
    return lambda *volume: second(*first(*volume))


CROPS: dict[str, Callable[..., Volume]] = {
    "lower third": cropped(2, -0.1, 0.33),
    "middle third": cropped(2, 0.33, 0.67),
    "upper third": cropped(2, 0.67, 1.1),
    "lower half": cropped(2, -0.1, 0.5),
    "left half of the field of view": cropped(0, -0.1, 0.5),
    "right half of the field of view": cropped(0, 0.5, 1.1),
    "front half of the field of view": cropped(1, 0.5, 1.1),
    "back half of the field of view": cropped(1, -0.1, 0.5),
    "15 % cut off at both sides": cropped(0, 0.15, 0.85),
    "25 % cut off at both sides": cropped(0, 0.25, 0.75),
    "20 % cut off at one side": cropped(0, 0.2, 1.1),
    "30 % cut off at the back": cropped(1, 0.3, 1.1),
    "20 % cut off at one side and the front": both(cropped(0, 0.2, 1.1), cropped(1, -0.1, 0.8)),
    "15 % cut off all around": both(cropped(0, 0.15, 0.85), cropped(1, 0.15, 0.85)),
}
"""Crops of the scan to a part of the lungs."""
