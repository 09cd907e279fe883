"""Acquisition with any kernel, dose, motion, padding and export."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from thorax.phantom.acquisition import Artefacts, Protocol, acquire, scanner_axes
from thorax.phantom.scans.exports import export_planes
from thorax.phantom.space import Floats


def acquire_varied(
    hu: Floats, protocol: Protocol, rng: Generator
) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Acquire a scan with any kernel, dose, artefact and export; also return their kinds."""
    artefacts = protocol.artefacts
    if artefacts is None:
        return acquire(hu, protocol, rng), ()
    image = _move(hu, protocol, artefacts)
    image = _reconstruct(image, protocol, artefacts)
    image += varied_noise(image.shape, protocol.noise_hu, protocol.grain_px, rng)
    image += _streaks(protocol, artefacts, rng)
    scan = np.rint(np.clip(image, *artefacts.limits_hu)).astype(np.int16)
    kinds: tuple[str, ...] = ()
    if protocol.padding_hu is not None:
        scan[outside_field(protocol)] = protocol.padding_hu
        kinds = (f"padding outside a {artefacts.field_shape}",)
    if artefacts.export is not None:
        return export_planes(scan, artefacts.export).astype(np.int16), kinds
    return scan, kinds


def _move(hu: Floats, protocol: Protocol, artefacts: Artefacts) -> Floats:
    """Average the extreme positions of diaphragm and heart, which gives double contours."""
    if not artefacts.breathing_mm:
        return hu
    x, y, z = scanner_axes(protocol)
    slice_mm = protocol.spacing_mm[2]
    share = np.exp(-(((z - artefacts.dome_mm) / (9.0 * artefacts.breathing_mm)) ** 2))
    source = np.arange(len(z)) + share * artefacts.breathing_mm / slice_mm
    moved = 0.5 * (_planes_at(hu, source) + _planes_at(hu, 2 * np.arange(len(z)) - source))
    cx, cy, cz, size = artefacts.heart
    square = ((x[:, None, None] - cx) / size) ** 2 + ((y[None, :, None] - cy) / size) ** 2
    inside = np.exp(-0.5 * (square + ((z - cz) / size) ** 2) ** 2).astype(np.float32)
    shift = (artefacts.pulsation_mm / protocol.spacing_mm[0], 0.0, 0.0)
    ends = [ndimage.shift(moved, np.multiply(shift, s), order=1, mode="nearest") for s in (1, -1)]
    return moved + inside * (0.5 * (ends[0] + ends[1]) - moved)


def _planes_at(hu: Floats, positions: NDArray[np.float64]) -> Floats:
    clipped = np.clip(positions, 0.0, hu.shape[2] - 1.0)
    low = np.minimum(clipped.astype(int), max(hu.shape[2] - 2, 0))
    part = (clipped - low).astype(np.float32)
    planes: Floats = (
        hu[:, :, low] * (1 - part) + hu[:, :, np.minimum(low + 1, hu.shape[2] - 1)] * part
    )
    return planes


def _reconstruct(hu: Floats, protocol: Protocol, artefacts: Artefacts) -> Floats:
    overlap = artefacts.thickness_mm / protocol.spacing_mm[2]
    blur = (protocol.blur_px, protocol.blur_px, 0.4 * overlap)
    image = ndimage.gaussian_filter(hu, blur, truncate=3.0)
    if protocol.sharpening:
        softer = ndimage.gaussian_filter(image, (1.1, 1.1, 0.0), truncate=2.5)
        image += protocol.sharpening * (image - softer)
    return image


def varied_noise(
    shape: tuple[int, ...], noise_hu: float, grain_px: float, rng: Generator
) -> Floats:
    """Draw correlated noise, which is strongest in the middle of the body.

    Args:
        shape: Number of voxels along R, A and S.
        noise_hu: Standard deviation.
        grain_px: Correlation length.
        rng: Source of the noise.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    noise: Floats = ndimage.gaussian_filter(white, (grain_px, grain_px, 0.0), truncate=2.5)
    x, y, _ = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, 0:1]
    strength = 0.7 + 0.6 * np.exp(-2.0 * (x**2 + y**2))
    noise *= (noise_hu / noise.std() * strength).astype(np.float32)
    return noise


def _streaks(protocol: Protocol, artefacts: Artefacts, rng: Generator) -> Floats:
    z = scanner_axes(protocol)[2]
    strength = np.clip((z - artefacts.shoulder_mm) / 40.0, 0.0, 1.0) * artefacts.streaks
    planes = np.flatnonzero(strength)
    streaks = np.zeros(protocol.shape, dtype=np.float32)
    if not len(planes):
        return streaks
    white = rng.standard_normal((*protocol.shape[:2], len(planes)), dtype=np.float32)
    length = max(9, protocol.shape[0] // 6)
    lines = ndimage.uniform_filter1d(white, length, axis=0)
    middle = np.exp(-2.5 * np.linspace(-1.0, 1.0, protocol.shape[1]) ** 2)[:, None]
    level = protocol.noise_hu * strength[planes] * middle
    streaks[:, :, planes] = lines * level.astype(np.float32)
    return streaks


def outside_field(protocol: Protocol) -> NDArray[np.bool_]:
    """Return the pixels outside the field of view, shape ``(X, Y)``."""
    columns, rows, _ = protocol.shape
    shape = protocol.artefacts.field_shape if protocol.artefacts else "circle"
    x = np.abs(np.arange(columns) - 0.5 * (columns - 1))[:, None]
    y = np.abs(np.arange(rows) - 0.5 * (rows - 1))[None, :]
    half_x, half_y = 0.5 * columns, 0.5 * rows
    if shape == "rectangle":
        outside: NDArray[np.bool_] = (x > 0.94 * half_x) | (y > 0.97 * half_y)
    elif shape == "ellipse":
        outside = (x / half_x) ** 2 + (y / half_y) ** 2 > 1.0
    else:
        outside = np.hypot(x, y) > max(half_x, half_y)
    return outside
