"""Random changes to training stacks: one draw for all planes of a stack and for its fractions."""

import os
import random
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.params import AugmentationParams

# albumentations asks the network for a newer version of itself unless told not to.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

Floats = NDArray[np.float32]


class Augmentation:
    """Changes stacks at random, as far as the parameters let it.

    Interpolation is linear for the planes and for the fractions, so that fractions stay
    fractions; what comes in from beyond the border is air and no region. There are no flips: a
    model may tell left from right, and the heart lies on one side.

    Args:
        params: How far. 0 everywhere changes nothing.
    """

    def __init__(self, params: AugmentationParams) -> None:
        self._compose = _compose(params)
        self._one_at_a_time = threading.Lock()

    def __call__(self, stack: Floats, fractions: Floats, *, seed: int) -> tuple[Floats, Floats]:
        """Change one stack and its fractions.

        Args:
            stack: Windowed planes, 0..1, shape ``(H, W, 2k+1)``.
            fractions: Area fractions, 0..1, shape ``(H, W, R)``.
            seed: The same seed makes the same change.
        """
        if self._compose is None:
            return stack, fractions
        with self._one_at_a_time:
            # `set_random_seed` would give all steps the same draws: noise only on turned stacks.
            self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            changed = self._compose(image=stack, mask=fractions)
        return np.clip(changed["image"], 0.0, 1.0), np.clip(changed["mask"], 0.0, 1.0)


def _compose(params: AugmentationParams) -> Any | None:
    import albumentations as A  # noqa: N812
    import cv2

    cv2.setNumThreads(0)
    steps: list[Any] = []
    if params.rotate_degrees or params.zoom or params.shift:
        steps.append(
            A.Affine(
                rotate=(-params.rotate_degrees, params.rotate_degrees),
                scale=(1 - params.zoom, 1 + params.zoom),
                translate_percent=(-params.shift, params.shift),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_LINEAR,
                p=0.8,
            )
        )
    if params.contrast:
        steps.append(
            A.RandomBrightnessContrast(
                brightness_limit=params.contrast / 2, contrast_limit=params.contrast, p=0.5
            )
        )
    if params.noise:
        steps.append(A.GaussNoise(std_range=(0.0, params.noise), p=0.3))
    return A.Compose(steps) if steps else None
