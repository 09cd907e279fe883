"""Augmentation: the same random transform for all slices of a stack and for its fractions."""

import os
import random
import threading
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from numpy.typing import NDArray

from thorax.common.params import AugmentationParams
from thorax.training.augmentation.ct import (
    LowResolution,
    MissingPlanes,
    ReducedFieldOfView,
    SharpKernel,
)
from thorax.training.augmentation.custom import check_custom, load_custom
from thorax.training.augmentation.draws import Draws, draw_batch
from thorax.training.augmentation.mixing import Mixing
from thorax.training.augmentation.strengths import (
    AFFINE_CHANCE,
    CHANCE,
    CONTRAST_CHANCE,
    at_level,
)

# Without this albumentations looks for updates on the internet.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

Floats = NDArray[np.float32]


class Augmentation:
    """Random transforms of stacks.

    Their order: flip, rotation, zoom and shift; missing slices, low resolution, blur and
    sharpening; contrast, gamma and noise; a smaller field of view; custom transforms.

    Slices and fractions are interpolated linearly, so that fractions stay area fractions. Beyond
    the border there is air and no region. Flips are off by default: regions may distinguish left
    and right, and the heart is on one side.

    Two transforms need more than one stack, so `thorax.training.data` applies them: thick slices
    need all slices of the case, mixing needs a batch.

    Args:
        params: Strengths. ``level: none``, or 0 everywhere, changes nothing.
        canvas: Side of the canvas in pixels, for a custom file with placeholders and for draws of
            batches.

    Raises:
        InputError: The custom file cannot be used.
    """

    def __init__(self, params: AugmentationParams, *, canvas: int | None = None) -> None:
        strengths = at_level(params)
        self.on_device = params.device == "gpu"
        self.thick_slices = strengths.thick_slices
        self.mixing = Mixing(mixup=strengths.mixup, cutmix=strengths.cutmix)
        self._strengths, self._canvas = strengths, canvas
        self._custom = Path(strengths.custom) if strengths.custom else None
        self._compose = _compose(strengths, self._custom, canvas)
        self._lock = threading.Lock()

    def __call__(self, stack: Floats, fractions: Floats, *, seed: int) -> tuple[Floats, Floats]:
        """Transform a stack and its fractions.

        Args:
            stack: Windowed slices, 0..1, shape ``(H, W, 2k+1)``.
            fractions: Area fractions, 0..1, shape ``(H, W, R)``.
            seed: Seed of the transform.
        """
        if self._compose is None:
            return stack, fractions
        with self._lock:
            # `set_random_seed` would give all transforms the same draws.
            self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            changed = self._compose(image=stack, mask=fractions)
        return _in_range(changed["image"]), _in_range(changed["mask"])

    def draw_batch(self, generator: np.random.Generator, *, batch: int, channels: int) -> Draws:
        """Draw the transforms of a batch that is augmented on the device.

        Args:
            generator: Source of all draws.
            batch: Stacks per batch.
            channels: Slices per stack.

        Raises:
            ValueError: The side of the canvas is not known.
        """
        if self._canvas is None:
            raise ValueError("`canvas` must be the side of the canvas, got None")
        return draw_batch(
            self._strengths,
            self.mixing,
            generator,
            batch=batch,
            canvas=self._canvas,
            channels=channels,
        )

    def check(self, *, canvas: int, channels: int, regions: int) -> None:
        """Check that the custom transforms, if any, work on stacks of this shape.

        Raises:
            InputError: They fail or change the shape.
        """
        if self._custom:
            check_custom(self._custom, canvas=canvas, channels=channels, regions=regions)


def _in_range(changed: NDArray[Any]) -> Floats:
    return np.clip(changed, 0.0, 1.0, dtype=np.float32)


def _compose(strengths: AugmentationParams, custom: Path | None, canvas: int | None) -> Any | None:
    cv2.setNumThreads(0)
    steps = [*_geometry(strengths), *_resolutions(strengths), *_intensities(strengths)]
    if strengths.field_of_view:
        steps.append(ReducedFieldOfView(strengths.field_of_view, p=CHANCE))
    if custom:
        steps.append(load_custom(custom, canvas=canvas))
    return A.Compose(steps) if steps else None


def _geometry(strengths: AugmentationParams) -> list[Any]:
    # The first axis of a slice is right to left, which is vertical for OpenCV.
    flip = [A.VerticalFlip(p=strengths.flip)] if strengths.flip else []
    if not (strengths.rotate_degrees or strengths.zoom or strengths.shift):
        return flip
    affine = A.Affine(
        rotate=(-strengths.rotate_degrees, strengths.rotate_degrees),
        scale=(1 - strengths.zoom, 1 + strengths.zoom),
        translate_percent=(-strengths.shift, strengths.shift),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_LINEAR,
        p=AFFINE_CHANCE,
    )
    return [*flip, affine]


def _resolutions(strengths: AugmentationParams) -> list[Any]:
    steps: list[Any] = []
    if strengths.missing_planes:
        steps.append(MissingPlanes(strengths.missing_planes))
    if strengths.low_resolution:
        steps.append(LowResolution(strengths.low_resolution, p=CHANCE))
    if strengths.blur:
        steps.append(A.GaussianBlur(blur_limit=0, sigma_limit=(0.0, strengths.blur), p=CHANCE))
    if strengths.sharpen:
        steps.append(SharpKernel(strengths.sharpen, p=CHANCE))
    return steps


def _intensities(strengths: AugmentationParams) -> list[Any]:
    steps: list[Any] = []
    if strengths.contrast:
        steps.append(
            A.RandomBrightnessContrast(
                brightness_limit=strengths.contrast / 2,
                contrast_limit=strengths.contrast,
                p=CONTRAST_CHANCE,
            )
        )
    if strengths.gamma:
        percent = 100 / (1 + strengths.gamma), 100 * (1 + strengths.gamma)
        steps.append(A.RandomGamma(gamma_limit=percent, p=CHANCE))
    if strengths.noise:
        steps.append(A.GaussNoise(std_range=(0.0, strengths.noise), p=CHANCE))
    return steps
