"""Custom transforms from a JSON file that `albumentations.to_dict` wrote."""

import json
import random
import warnings
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np

from thorax.common.errors import InputError

TRIALS = 16
"""Random draws of a check: transforms with a low probability may fail, too."""


def load_custom(path: Path) -> Any:
    """Read a transform.

    Args:
        path: JSON of ``A.to_dict(transform)``. Masks are fractions, so choose linear interpolation.

    Raises:
        InputError: The file cannot be read, is not JSON, or has transforms or arguments that
            albumentations does not know.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"`augmentation.custom`: {path} cannot be read: {error.strerror}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"`augmentation.custom`: {path} is not valid JSON: {error}") from None
    try:
        with warnings.catch_warnings():
            # albumentations only warns of unknown arguments and ignores them.
            warnings.simplefilter("error")
            return A.from_dict(content)
    except KeyError as error:
        reason = f"{error} is unknown or missing"
    except (AttributeError, TypeError, ValueError, UserWarning) as error:
        reason = _one_line(error)
    raise InputError(
        f"`augmentation.custom`: {path} must be a file of `albumentations.to_dict`: {reason}"
    )


def check_custom(path: Path, *, canvas: int, channels: int, regions: int) -> None:
    """Check that a transform works on stacks of this shape.

    Raises:
        InputError: The transform fails or changes the shape.
    """
    compose = A.Compose([load_custom(path)])
    stack = np.full((canvas, canvas, channels), 0.5, np.float32)
    fractions = np.zeros((canvas, canvas, regions), np.float32)
    for seed in range(TRIALS):
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            changed = compose(image=stack.copy(), mask=fractions.copy())
            shapes = changed["image"].shape, changed["mask"].shape
        except Exception as error:
            raise InputError(
                f"`augmentation.custom`: {path} fails on stacks of {channels} slices: "
                f"{_one_line(error)}"
            ) from None
        if shapes != (stack.shape, fractions.shape):
            raise InputError(
                f"`augmentation.custom`: {path} must keep stacks of shape {stack.shape} and "
                f"fractions of shape {fractions.shape}, got {shapes[0]} and {shapes[1]}"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
