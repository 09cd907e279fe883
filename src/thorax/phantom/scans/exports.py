"""8-bit exports: windows, stretched and equalised slices, JPEG compression."""

import io
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from thorax.phantom.acquisition import LOWEST_HU, Export

WINDOWS_HU = (
    (-1250.0, 250.0),
    (-1000.0, 400.0),
    (-1350.0, 150.0),
    (-1024.0, 600.0),
    (-1200.0, 600.0),
    (-1024.0, 1023.0),
    (-1000.0, 1000.0),
)
"""Windows that show lungs and tissue; a mediastinal window has no lungs that a reader could use."""


DIMMED = (0.02, 0.4)
"""Least and largest share of darker slices, where an export has them."""

DIMMING = (0.45, 0.95)
"""Range of the brightness of these slices, relative to the others."""


def draw_export(rng: Generator) -> tuple[Export, tuple[str, ...]]:
    """Draw a random export; also return its kinds."""
    equalised = rng.random() < 0.5
    compressed = rng.random() < 0.3
    inverted = rng.random() < 0.06
    window = WINDOWS_HU[int(rng.integers(len(WINDOWS_HU)))]
    dimmed = rng.random() < (0.6 if equalised else 0.25)
    export = Export(
        window_hu=None if equalised else window,
        clip_limit=float(np.exp(rng.uniform(np.log(0.015), np.log(0.035)))) if equalised else 0.0,
        tiles=int(rng.choice([8, 8, 6, 10])),
        darkest=int(rng.integers(14, 26)) if equalised else 0,
        quality=int(rng.integers(35, 92)) if compressed else 0,
        inverted=bool(inverted and not equalised),
        dimmed=float(np.exp(rng.uniform(*np.log(DIMMED)))) if dimmed else 0.0,
        seed=int(rng.integers(2**31)),
    )
    kinds = ["equalised 8-bit export" if equalised else "8-bit export"]
    kinds += ["uneven brightness"] if dimmed else []
    kinds += ["JPEG compression"] if compressed else []
    return export, tuple(kinds)


def export_planes(hu: NDArray[Any], export: Export) -> NDArray[np.uint8]:
    """Convert HU to the grey values 0..255 of an export.

    Args:
        hu: Densities, shape ``(X, Y, Z)``; the planes are the last axis.
        export: Parameters of the export.
    """
    image = hu.astype(np.float32)
    if export.window_hu is None:
        # Padding would use most of the range of a stretched slice.
        image = np.maximum(image, LOWEST_HU)
    dimming = _draw_dimming(image.shape[2], export)
    planes = [_export_plane(image[:, :, k], export, dimming[k]) for k in range(image.shape[2])]
    grey = np.stack(planes, axis=2)
    return 255 - grey if export.inverted else grey


def _draw_dimming(planes: int, export: Export) -> NDArray[np.float64]:
    """Draw the relative brightness of each plane."""
    rng = np.random.default_rng(export.seed)
    chosen = rng.random(planes) < export.dimmed
    return np.where(chosen, rng.uniform(*DIMMING, planes), 1.0)


def _export_plane(
    plane: NDArray[np.float32], export: Export, brightness: float
) -> NDArray[np.uint8]:
    low, high = export.window_hu or (float(plane.min()), float(plane.max()))
    level = np.clip((plane - low) / max(high - low, 1.0), 0.0, 1.0)
    grey = np.rint(255.0 * level).astype(np.uint8)
    if export.clip_limit:
        equal = equalise(grey, tiles=export.tiles, clip_limit=export.clip_limit)
        grey = np.rint(export.darkest + (255.0 - export.darkest) * equal).astype(np.uint8)
    if brightness < 1.0:
        darkest = np.minimum(grey, export.darkest)
        grey = np.rint(darkest + brightness * (grey - darkest)).astype(np.uint8)
    return _compress(grey, export.quality) if export.quality else grey


def _compress(grey: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), dtype=np.uint8)


def equalise(grey: NDArray[np.uint8], *, tiles: int, clip_limit: float) -> NDArray[np.float32]:
    """Equalise the contrast of a slice by contrast-limited adaptive histograms (CLAHE).

    The histogram of each tile is clipped, its excess is spread over all grey values, and its
    cumulative sum maps the grey values; between the centres of the tiles, the mappings are
    interpolated (Zuiderveld, Graphics Gems IV, 1994).

    Args:
        grey: Grey values, shape ``(X, Y)``.
        tiles: Tiles along each axis.
        clip_limit: Largest share of the pixels of a tile with one grey value.

    Returns:
        Values 0 to 1, shape ``(X, Y)``; the lowest is 0, the highest 1.
    """
    step_x, step_y = (-(-side // tiles) for side in grey.shape)
    margins = ((0, tiles * step_x - grey.shape[0]), (0, tiles * step_y - grey.shape[1]))
    padded = np.pad(grey, margins, mode="symmetric").reshape(tiles, step_x, tiles, step_y)
    blocks = padded.transpose(0, 2, 1, 3).reshape(tiles * tiles, -1).astype(np.intp)
    blocks += 256 * np.arange(tiles * tiles)[:, None]
    counts = np.bincount(blocks.ravel(), minlength=256 * tiles * tiles).reshape(-1, 256)
    clipped = np.minimum(counts, clip_limit * step_x * step_y)
    clipped += (counts - clipped).sum(axis=1, keepdims=True) / 256.0
    levels = np.cumsum(clipped, axis=1) / (step_x * step_y)
    level = _between_tiles(grey, levels.reshape(tiles, tiles, 256), (step_x, step_y))
    low, high = level.min(), level.max()
    stretched: NDArray[np.float32] = (level - low) / max(high - low, 1e-6)
    return stretched


def _between_tiles(
    grey: NDArray[np.uint8], levels: NDArray[np.float64], steps: tuple[int, int]
) -> NDArray[np.float32]:
    ends = []
    for side, step in zip(grey.shape, steps, strict=True):
        position = (np.arange(side) + 0.5) / step - 0.5
        low = np.clip(np.floor(position).astype(np.intp), 0, len(levels) - 1)
        high = np.minimum(low + 1, len(levels) - 1)
        ends.append((low, high, np.clip(position - low, 0.0, 1.0)))
    (left, right, across), (lower, upper, along) = ends
    across, along = across[:, None], along[None, :]
    columns = [
        levels[left[:, None], y[None, :], grey] * (1.0 - across)
        + levels[right[:, None], y[None, :], grey] * across
        for y in (lower, upper)
    ]
    level = columns[0] * (1.0 - along) + columns[1] * along
    return level.astype(np.float32)
