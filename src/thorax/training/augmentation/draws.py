"""Draws for the augmentation of a batch on the device, in NumPy.

The distributions are those of `thorax.training.augmentation.Augmentation`, which draws with
albumentations, stack by stack. A transform that a stack does not get has its neutral value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.params import AugmentationParams
from thorax.training.augmentation.ct import present_planes
from thorax.training.augmentation.mixing import Mixing
from thorax.training.augmentation.strengths import AFFINE_CHANCE, CHANCE, CONTRAST_CHANCE

Draws = dict[str, NDArray[Any]]
"""Values of each stack by name; only those of transforms that are on."""

Floats = NDArray[np.float64]

Generator = np.random.Generator


def draw_batch(
    strengths: AugmentationParams,
    mixing: Mixing,
    generator: Generator,
    *,
    batch: int,
    canvas: int,
    channels: int,
) -> Draws:
    """Draw the transforms of a batch.

    Args:
        strengths: Strengths at their level.
        mixing: Mixing of the stacks of the batch.
        generator: Source of all draws.
        batch: Stacks per batch.
        canvas: Side of the canvas, in pixels.
        channels: Slices per stack.

    Returns:
        Of ``matrix (B, 8)`` from pixels of the result to those of the input, ``planes (B, C)``,
        ``kept``, ``sigma``, ``sharpening``, ``contrast``, ``brightness``, ``gamma`` and ``noise``
        (each ``(B,)``), ``inside (B, 4)`` as first and last row and column, and ``weights (H, W)``,
        those that are needed.
    """
    draws = {
        **_geometry(strengths, generator, batch, canvas),
        **_resolutions(strengths, generator, batch, channels),
        **_intensities(strengths, generator, batch),
    }
    if strengths.field_of_view:
        draws["inside"] = _fields_of_view(strengths.field_of_view, generator, batch, canvas)
    if mixing:
        draws["weights"] = mixing.draw_weights(canvas, generator)
    return draws


def affine_matrices(
    rotate_degrees: Floats, zoom: Floats, shift: NDArray[np.int64], *, canvas: int
) -> Floats:
    """Return matrices from the input to the result, in pixels ``(column, row, 1)``.

    Slices are zoomed and then rotated around the centre, and shifted by whole pixels, as in
    `albumentations.Affine`.

    Args:
        rotate_degrees: Shape ``(B,)``.
        zoom: Factors of columns and rows, shape ``(B, 2)``.
        shift: Of columns and rows, shape ``(B, 2)``.
        canvas: Side of the canvas, in pixels.

    Returns:
        Shape ``(B, 3, 3)``.
    """
    centre = (canvas - 1) / 2
    radians = np.deg2rad(rotate_degrees)
    cosine, sine = np.cos(radians), np.sin(radians)
    linear = np.stack([cosine, sine, -sine, cosine], axis=-1).reshape(-1, 2, 2) * zoom[:, None]
    matrices = np.tile(np.eye(3), (len(linear), 1, 1))
    matrices[:, :2, :2] = linear
    matrices[:, :2, 2] = centre + shift - linear.sum(axis=-1) * centre
    return matrices


def _geometry(
    strengths: AugmentationParams, generator: Generator, batch: int, canvas: int
) -> Draws:
    has_affine = bool(strengths.rotate_degrees or strengths.zoom or strengths.shift)
    if not (strengths.flip or has_affine):
        return {}
    matrices = np.tile(np.eye(3), (batch, 1, 1))
    flipped = generator.random(batch) < strengths.flip
    matrices[flipped, 1, 1:] = -1, canvas - 1
    if has_affine:
        matrices = _affine(strengths, generator, batch, canvas) @ matrices
    return {"matrix": np.pad(np.linalg.inv(matrices)[:, :2].reshape(batch, 6), ((0, 0), (0, 2)))}


def _affine(strengths: AugmentationParams, generator: Generator, batch: int, canvas: int) -> Floats:
    degrees, zoom, shift = strengths.rotate_degrees, strengths.zoom, strengths.shift
    matrices = affine_matrices(
        generator.uniform(-degrees, degrees, batch),
        generator.uniform(1 - zoom, 1 + zoom, (batch, 2)),
        np.trunc(generator.uniform(-shift, shift, (batch, 2)) * canvas).astype(np.int64),
        canvas=canvas,
    )
    matrices[generator.random(batch) >= AFFINE_CHANCE] = np.eye(3)
    return matrices


def _resolutions(
    strengths: AugmentationParams, generator: Generator, batch: int, channels: int
) -> Draws:
    draws: Draws = {}
    if strengths.missing_planes:
        missing = generator.random((batch, channels)) < strengths.missing_planes
        draws["planes"] = np.stack([present_planes(row) for row in missing])
    if strengths.low_resolution:
        draws["kept"] = 1 - _some(generator, batch, (0.0, strengths.low_resolution), neutral=0.0)
    if strengths.blur:
        draws["sigma"] = _some(generator, batch, (0.0, strengths.blur), neutral=0.0)
    if strengths.sharpen:
        draws["sharpening"] = _some(generator, batch, (0.0, strengths.sharpen), neutral=0.0)
    return draws


def _intensities(strengths: AugmentationParams, generator: Generator, batch: int) -> Draws:
    draws: Draws = {}
    if contrast := strengths.contrast:
        chosen = generator.random(batch) < CONTRAST_CHANCE
        drawn = generator.uniform(-contrast, contrast, (2, batch)) * chosen
        draws["contrast"], draws["brightness"] = 1 + drawn[0], drawn[1] / 2
    if strengths.gamma:
        limits = 1 / (1 + strengths.gamma), 1 + strengths.gamma
        draws["gamma"] = _some(generator, batch, limits, neutral=1.0)
    if strengths.noise:
        draws["noise"] = _some(generator, batch, (0.0, strengths.noise), neutral=0.0)
    return draws


def _some(
    generator: Generator, batch: int, limits: tuple[float, float], *, neutral: float
) -> Floats:
    """Draw a value for some stacks, and the neutral one for the others."""
    values = generator.uniform(*limits, batch)
    return np.where(generator.random(batch) < CHANCE, values, neutral)


def _fields_of_view(
    strength: float, generator: Generator, batch: int, canvas: int
) -> NDArray[np.int64]:
    removed = np.rint(generator.uniform(0, strength, (batch, 4)) * canvas).astype(np.int64)
    removed[generator.random(batch) >= CHANCE] = 0
    return np.where([False, True, False, True], canvas - 1 - removed, removed)
