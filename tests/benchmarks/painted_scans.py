"""Findings and objects painted into a real scan, whose lungs stay as its reference has them.

Each function takes and returns HU, labels and affine, as in ``degraded_scans.py``.
"""

from collections.abc import Callable

import numpy as np
from degraded_scans import AIR, Volume
from numpy.typing import NDArray
from scipy import ndimage

Bits = NDArray[np.bool_]


def giant_bulla(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Fill the third of both lungs that is next to their front with a bulla behind a thin wall."""
    lung = labels > 0
    inside = np.argwhere(lung)
    depths = _depths(hu, affine)[inside[:, 1]]
    centre = inside[depths == depths.min()].mean(axis=0)
    axes = np.ogrid[tuple(slice(size) for size in hu.shape)]
    offsets = zip(axes, centre, _spacing(affine), strict=True)
    distance = sum(((axis - middle) * mm) ** 2 for axis, middle, mm in offsets)
    bulla = lung & (distance < np.quantile(distance[lung], 1 / 3))
    wall = bulla & ~ndimage.binary_erosion(bulla) & ndimage.binary_erosion(lung, iterations=3)
    return _paint(_paint(hu, bulla, -985, 25), wall, -700, 25), labels, affine


def emphysema(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Replace the parenchyma of the upper half of the lungs by emphysema near that of air."""
    return _paint(hu, _upper_half(labels, affine) & (hu < -700), -975, 20), labels, affine


def expiration(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Make the lungs as dense as after breathing out."""
    return np.where(labels > 0, 0.65 * hu, hu), labels, affine


def ground_glass(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Cover half of the lungs with cloudy ground glass; vessels stay."""
    clouds = ndimage.gaussian_filter(_random().normal(size=hu.shape), 12 / _spacing(affine))
    lung = labels > 0
    glass = lung & (clouds > np.median(clouds[lung]))
    return np.maximum(hu, _paint(hu, glass, -450, 40)), labels, affine


def consolidation(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Replace the lower half of the lungs, but its rim, by tissue without bronchi and vessels."""
    lower = (labels > 0) & ~_upper_half(labels, affine)
    return _paint(hu, ndimage.binary_erosion(lower, iterations=2), 35, 15), labels, affine


def contrast_medium(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Add 250 HU to the soft tissue, but its rim of 4 voxels."""
    soft = (hu > 0) & (hu < 150) & (labels == 0)
    return hu + 250.0 * ndimage.binary_erosion(soft, iterations=4), labels, affine


def hollow_couch(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Put the patient on a couch 40 cm wide and 6 cm high, full of air, with walls of 9 mm."""
    patient, depths = np.argwhere(_outline(hu)), _depths(hu, affine)
    below = depths - depths[patient[:, 1]].max()
    across = np.abs(np.arange(hu.shape[0])[:, None] - patient[:, 0].mean()) * _spacing(affine)[0]
    couch = (below > 0) & (below <= 60) & (across <= 200)
    hollow = couch & (below > 9) & (below <= 51) & (across <= 191)
    return _paint(_paint(hu, couch, 80, 20), hollow, AIR, 20), labels, affine


def blanket(hu: NDArray, labels: NDArray, affine: NDArray) -> Volume:
    """Wrap the patient into a blanket 4 mm thick that encloses 25 mm of air."""
    distance = ndimage.distance_transform_edt(~_outline(hu), sampling=_spacing(affine)[:2])
    shell = (distance > 25) & (distance < 29)
    return _paint(hu, shell, -150, 20), labels, affine


PAINTED: dict[str, Callable[..., Volume]] = {
    "giant bulla": giant_bulla,
    "emphysema": emphysema,
    "expiration": expiration,
    "ground glass": ground_glass,
    "consolidation": consolidation,
    "contrast medium": contrast_medium,
    "hollow couch": hollow_couch,
    "blanket": blanket,
}


def _paint(hu: NDArray, where: Bits, mean: float, sd: float) -> NDArray:
    """Set voxels, or pixels of all slices, to noise of a mean and SD in HU."""
    painted = hu.copy()
    painted[where] = _random().normal(mean, sd, painted[where].shape)
    return painted


def _outline(hu: NDArray) -> Bits:
    """Pixels of the patient on any slice, without the couch."""
    tissue = ndimage.binary_opening((hu > -300).any(axis=2), iterations=6)
    parts, _ = ndimage.label(tissue)
    return ndimage.binary_fill_holes(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))


def _upper_half(labels: NDArray, affine: NDArray) -> Bits:
    """Lung above the middle of its extent along z."""
    planes = np.flatnonzero((labels > 0).any(axis=(0, 1)))
    above = np.arange(labels.shape[2]) > planes.mean()
    return (labels > 0) & (above if affine[2, 2] > 0 else ~above)


def _depths(hu: NDArray, affine: NDArray) -> NDArray:
    """Millimetres towards the back, along y, of axes near those of the patient."""
    return np.arange(hu.shape[1]) * _spacing(affine)[1] * -np.sign(affine[1, 1])


def _spacing(affine: NDArray) -> NDArray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _random() -> np.random.Generator:
    return np.random.default_rng(0)
