"""Varied copies of real scans: other field of view, slices, kernel, noise, export."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage, sparse

from thorax.imaging.grid import Volume, make_volume
from thorax.phantom.acquisition import HIGHEST_HU, LOWEST_HU
from thorax.phantom.scans.exports import draw_export, export_planes
from thorax.phantom.scans.reconstruction import varied_noise
from thorax.phantom.space import Floats

UNCHANGED = 0.3
"""Share of the copies that are the scan itself."""

PIXELS_MM = (1.5, 2.3)

SLICES_MM = (2.0, 8.0)

Weights = tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]


def varied_copy(
    scan: Volume, mask: Volume, rng: Generator
) -> tuple[Volume, Volume, tuple[str, ...]]:
    """Return a varied copy of a scan in HU and of its mask, and the kinds of variation.

    Scan and mask are averaged over the voxels of a coarser grid, so that a voxel of the mask gets
    the label that fills most of it. Then the copy gets another kernel, noise and range of values.

    Args:
        scan: CT in HU.
        mask: Labels on the grid of the scan.
        rng: Source of the variation.

    Returns:
        Scan, int16, and mask, uint8, on a common grid; the given ones without any kind if the copy
        is unchanged.

    Raises:
        ValueError: Scan and mask have different shapes.
    """
    if scan.grid.shape != mask.grid.shape:
        raise ValueError(
            "`mask` must have the shape of `scan`, got "
            f"{mask.grid.shape} and {scan.grid.shape}; resample it onto the scan"
        )
    if rng.random() < UNCHANGED:
        return scan, mask, ()
    scan, mask = _planes_last(scan), _planes_last(mask)
    lower, upper, kinds = _draw_crop(mask, rng)
    factors = _draw_factors(scan.grid.spacing_mm, rng)
    weights, affine = _coarser_grid(scan.grid.affine, lower, upper, factors)
    labels = _resample_labels(mask.voxels, weights)
    image = _average(scan.voxels, weights, lowest=LOWEST_HU)
    slice_mm = scan.grid.spacing_mm[2] * factors[2]
    image, look = _draw_look(image, scan.grid.spacing_mm[0] * factors[0], rng)
    stored = np.rint(np.clip(image, LOWEST_HU, HIGHEST_HU)).astype(np.int16)
    if not kinds and rng.random() < 0.2:
        export, export_kinds = draw_export(rng)
        stored = export_planes(stored, export).astype(np.int16)
        look += export_kinds
    if slice_mm > 1.3 * scan.grid.spacing_mm[2]:
        look = ("thicker slices", *look)
    return make_volume(stored, affine), make_volume(labels, affine), (*kinds, *look)


def _planes_last(volume: Volume) -> Volume:
    axis = int(np.abs(volume.grid.affine[2, :3]).argmax())
    order = [n for n in range(3) if n != axis] + [axis]
    affine = volume.grid.affine[:, [*order, 3]]
    return make_volume(volume.voxels.transpose(order), affine)


def _draw_crop(
    mask: Volume, rng: Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[str, ...]]:
    """Draw the first voxel and one past the last along each axis, relative to the lungs."""
    shape = np.array(mask.grid.shape)
    lower, upper = np.zeros(3), shape.astype(float)
    kinds: list[str] = []
    low, high = _lung_ends(mask.voxels)
    span = np.maximum(high - low, 1)
    draw = rng.random()
    if draw < 0.3:
        start = float(rng.uniform(-0.1, 0.75))
        length = float(rng.uniform(0.2, 0.6))
        lower[2], upper[2] = low[2] + start * span[2], low[2] + (start + length) * span[2]
        kinds.append("part of the chest")
    if rng.random() < 0.25:
        margin = rng.uniform(-0.2, 0.12, (2, 2)) * span[:2, None]
        cut = rng.random((2, 2)) < 0.5
        lower[:2] = np.where(cut[:, 0], low[:2] - margin[:, 0], lower[:2])
        upper[:2] = np.where(cut[:, 1], high[:2] + margin[:, 1], upper[:2])
        kinds += ["cut field of view"] if cut.any() else []
    elif rng.random() < 0.25:
        axis, keep = int(rng.integers(2)), float(rng.uniform(0.3, 0.75))
        if rng.random() < 0.5:
            upper[axis] = low[axis] + keep * span[axis]
        else:
            lower[axis] = high[axis] - keep * span[axis]
        kinds.append("part of the field of view")
    fewest = np.minimum(shape, 8)
    first = np.clip(np.rint(lower), 0, shape - fewest).astype(np.intp)
    last = np.clip(np.rint(upper), first + fewest, shape).astype(np.intp)
    return first, last, tuple(kinds)


def _lung_ends(labels: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    coarse = labels[::2, ::2, ::2] > 0
    ends = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        inside = np.flatnonzero(coarse.any(axis=others))
        ends.append((2 * inside[0], 2 * inside[-1] + 2) if len(inside) else (0, labels.shape[axis]))
    low, high = np.array(ends, dtype=np.intp).T
    return low, high


def _draw_factors(
    spacing_mm: tuple[float, float, float], rng: Generator
) -> tuple[float, float, float]:
    pixel = float(rng.uniform(*PIXELS_MM))
    slice_mm = spacing_mm[2]
    if rng.random() < 0.6:
        slice_mm = max(slice_mm, float(rng.uniform(*SLICES_MM)))
    x, y, z = spacing_mm
    return max(1.0, pixel / x), max(1.0, pixel / y), slice_mm / z


def _coarser_grid(
    affine: NDArray[np.float64],
    first: NDArray[np.intp],
    last: NDArray[np.intp],
    factors: tuple[float, float, float],
) -> tuple[Weights, NDArray[np.float64]]:
    x, y, z = (
        _area_weights(int(a), int(b), factor)
        for a, b, factor in zip(first, last, factors, strict=True)
    )
    to_fine = np.diag([*factors, 1.0])
    to_fine[:3, 3] = first + 0.5 * np.array(factors) - 0.5
    return (x, y, z), affine @ to_fine


def _area_weights(first: int, last: int, factor: float) -> sparse.csr_array:
    """Compute the share of each fine voxel in each coarse voxel, shape ``(coarse, last)``."""
    count = max(1, int((last - first) / factor + 1e-6))
    start = first + factor * np.arange(count)[:, None]
    fine = np.arange(last)[None, :]
    overlap = np.minimum(start + factor, fine + 1.0) - np.maximum(start, fine)
    weights = np.clip(overlap, 0.0, None)
    return sparse.csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def _average(voxels: NDArray[Any], weights: Weights, *, lowest: float | None = None) -> Floats:
    across, along, upwards = weights
    shape = (across.shape[0], along.shape[0], upwards.shape[0])
    image = np.empty(shape, dtype=np.float32)
    for k in range(shape[2]):
        parts = slice(upwards.indptr[k], upwards.indptr[k + 1])
        plane = np.zeros(voxels.shape[:2], dtype=np.float32)
        for n, weight in zip(upwards.indices[parts], upwards.data[parts], strict=True):
            values = voxels[:, :, int(n)].astype(np.float32)
            plane += weight * (values if lowest is None else np.maximum(values, lowest))
        columns = across @ plane[: across.shape[1]]
        image[:, :, k] = (along @ columns.T[: along.shape[1]]).T
    return image


def _resample_labels(labels: NDArray[Any], weights: Weights) -> NDArray[np.uint8]:
    values = [int(v) for v in np.unique(labels) if v]
    if not values:
        return np.zeros([w.shape[0] for w in weights], dtype=np.uint8)
    shares = np.stack([_average(labels == value, weights) for value in values])
    chosen = np.array(values, dtype=np.uint8)[shares.argmax(axis=0)]
    return np.where(shares.sum(axis=0) >= 0.5, chosen, np.uint8(0))


def _draw_look(image: Floats, pixel_mm: float, rng: Generator) -> tuple[Floats, tuple[str, ...]]:
    """Change kernel and noise."""
    kinds: tuple[str, ...] = ()
    kernel = rng.random()
    if kernel < 0.2:
        sigma = float(rng.uniform(0.8, 2.2)) / pixel_mm
        image, kinds = ndimage.gaussian_filter(image, (sigma, sigma, 0.0)), ("soft kernel",)
    elif kernel < 0.45:
        softer = ndimage.gaussian_filter(image, (1.1, 1.1, 0.0), truncate=2.5)
        image, kinds = image + float(rng.uniform(0.4, 1.8)) * (image - softer), ("sharp kernel",)
    if rng.random() < 0.5:
        noise_hu = float(np.exp(rng.uniform(np.log(5.0), np.log(80.0))))
        image = image + varied_noise(image.shape, noise_hu, float(rng.uniform(0.35, 1.3)), rng)
        kinds = (*kinds, "added noise")
    return image, kinds
