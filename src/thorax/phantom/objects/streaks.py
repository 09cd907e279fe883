"""Metal streaks: errors of the projections through metal, reconstructed on a coarse grid."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft, sparse

from thorax.phantom.space import Floats, Space

METAL_HU = 1800.0

LOWEST_HU, HIGHEST_HU = -400.0, 500.0

GRID = 96

ANGLES = 90

BINS = 140

BODY_HU = -400.0

BODY_MM = 300.0

SATURATION_MM = 14.0
"""Length of metal in a ray at which the streaks have 63 % of their full strength."""


@lru_cache(maxsize=1)
def _projector() -> sparse.csr_array:
    """Build the parallel projection of a square of `GRID`² pixels, shape ``(rays, pixels)``."""
    centre = 0.5 * (GRID - 1.0)
    x, y = (axis.ravel() - centre for axis in np.mgrid[:GRID, :GRID])
    angles = np.pi * np.arange(ANGLES) / ANGLES
    positions = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y + 0.5 * (BINS - 1.0)
    low = np.floor(positions).astype(np.int32)
    weight = (positions - low).astype(np.float32)
    rows = low + (BINS * np.arange(ANGLES, dtype=np.int32))[:, None]
    columns = np.broadcast_to(np.arange(GRID**2, dtype=np.int32), rows.shape)
    data = np.concatenate([1.0 - weight.ravel(), weight.ravel()])
    index = (np.concatenate([rows.ravel(), rows.ravel() + 1]), np.tile(columns.ravel(), 2))
    return sparse.csr_array((data, index), shape=(ANGLES * BINS, GRID**2), dtype=np.float32)


def draw_streaks(hu: Floats, space: Space, rng: Generator) -> None:
    """Add dark and bright bands around metal above 1800 HU in its planes, in place.

    Beam hardening and a lack of photons make the projections through metal too small and noisy.
    Only their errors are reconstructed, by filtered back-projection. The cause is described in
    Kalender, Hebel and Ebersberger, Radiology 1987. The streaks have a mean of about 0 and are
    limited to -400 to 500 HU.
    """
    metal = hu > METAL_HU
    planes = np.flatnonzero(metal.any(axis=(0, 1)))
    if not planes.size:
        return
    tissue = hu[:, :, planes]
    weight = np.clip((tissue - 1000.0) / 2000.0, 0.0, 1.0)
    paths = _projector() @ _shrink(metal[:, :, planes], weight, space)
    strength = 1.0 - np.exp(-float(paths.max()) / SATURATION_MM)
    body = _projector() @ _shrink(tissue > BODY_HU, np.ones_like(tissue), space)
    bands = _reconstruct(_errors(paths, body, rng))
    bright = max(float(np.percentile(np.abs(bands), 99.0)), 1e-6)
    bands *= float(rng.uniform(120.0, 420.0)) * strength / bright
    image = _enlarge(bands, hu.shape[:2])
    np.clip(image, LOWEST_HU, HIGHEST_HU, out=image)
    image[metal[:, :, planes]] = 0.0
    hu[:, :, planes] += image


def _shrink(inside: NDArray[np.bool_], weight: Floats, space: Space) -> Floats:
    """Bin voxels, in mm of path per pixel of the coarse grid, shape ``(pixels, planes)``."""
    i, j, k = np.nonzero(inside)
    longest, planes = max(inside.shape[:2]), inside.shape[2]
    ratio = GRID / longest
    offset = [0.5 * (longest - n) for n in inside.shape[:2]]
    column = ((i + offset[0] + 0.5) * ratio).astype(np.intp)
    row = ((j + offset[1] + 0.5) * ratio).astype(np.intp)
    amount = weight[i, j, k] * ratio * space.pixel_mm
    flat = (column * GRID + row) * planes + k
    total = np.bincount(flat, weights=amount, minlength=GRID**2 * planes)
    return total.reshape(GRID**2, planes).astype(np.float32)


def _errors(paths: Floats, body: Floats, rng: Generator) -> Floats:
    # Few photons are left behind metal and a long path through the body.
    hardening = -(paths**1.5)
    starvation = paths * rng.standard_normal(paths.shape, dtype=np.float32)
    starvation *= 0.3 + body / BODY_MM
    return hardening + float(rng.uniform(0.3, 2.5)) * starvation


def _reconstruct(errors: Floats) -> Floats:
    views = errors.reshape(ANGLES, BINS, -1)
    spectrum = fft.rfft(views, n=2 * BINS, axis=1)
    spectrum *= np.linspace(0.0, 1.0, spectrum.shape[1], dtype=np.float32)[None, :, None]
    filtered = fft.irfft(spectrum, axis=1)[:, :BINS].reshape(ANGLES * BINS, -1)
    return _projector().T @ filtered.astype(np.float32)


def _enlarge(bands: Floats, shape: tuple[int, int]) -> Floats:
    planes = bands.shape[1]
    longest = max(shape)
    wide = bands.reshape(GRID, GRID * planes)
    wide = _weights(shape[0], longest) @ wide
    tall = np.moveaxis(wide.reshape(shape[0], GRID, planes), 1, 0).reshape(GRID, -1)
    tall = (_weights(shape[1], longest) @ tall).reshape(shape[1], shape[0], planes)
    return np.moveaxis(tall, 0, 1).copy()


def _weights(size: int, longest: int) -> sparse.csr_array:
    """Build linear interpolation from the coarse grid to pixels, shape ``(size, GRID)``."""
    pixels = np.arange(size) + 0.5 * (longest - size) + 0.5
    positions = np.clip(pixels * GRID / longest - 0.5, 0.0, GRID - 1.001)
    low = np.floor(positions).astype(np.int32)
    weight = positions - low
    rows = np.tile(np.arange(size), 2)
    data = np.concatenate([1.0 - weight, weight])
    index = (rows, np.concatenate([low, low + 1]))
    return sparse.csr_array((data.astype(np.float32), index), shape=(size, GRID))
