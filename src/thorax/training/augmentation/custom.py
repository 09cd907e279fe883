"""The user's own changes: what `albumentations.to_dict` wrote, from a JSON file."""

import json
import random
import warnings
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np

from thorax.common.errors import InputError

TRIES = 16
"""Random draws that are tried, since a change that is drawn seldom can fail too."""


def load_custom(path: Path) -> Any:
    """Read a transform.

    Args:
        path: JSON of ``A.to_dict(transform)``. Masks are fractions: ask for linear interpolation.

    Raises:
        InputError: The file cannot be read, is no JSON, or names what albumentations does not know.
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
            # albumentations warns of arguments that it does not know, and leaves them out.
            warnings.simplefilter("error")
            return A.from_dict(content)
    except KeyError as error:
        why = f"{error} is unknown or missing"
    except (AttributeError, TypeError, ValueError, UserWarning) as error:
        why = _one_line(error)
    raise InputError(
        f"`augmentation.custom`: {path} does not hold what `albumentations.to_dict` writes: {why}"
    )


def try_out(path: Path, *, canvas: int, channels: int, regions: int) -> None:
    """See whether the transform works on stacks of this shape.

    Raises:
        InputError: It fails, or gives stacks of another shape.
    """
    compose = A.Compose([load_custom(path)])
    stack = np.full((canvas, canvas, channels), 0.5, np.float32)
    fractions = np.zeros((canvas, canvas, regions), np.float32)
    for seed in range(TRIES):
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            changed = compose(image=stack.copy(), mask=fractions.copy())
            shapes = changed["image"].shape, changed["mask"].shape
        except Exception as error:
            raise InputError(
                f"`augmentation.custom`: {path} fails on stacks of {channels} planes: "
                f"{_one_line(error)}"
            ) from None
        if shapes != (stack.shape, fractions.shape):
            raise InputError(
                f"`augmentation.custom`: {path} must keep stacks of shape {stack.shape} and "
                f"fractions of shape {fractions.shape}, but gives {shapes[0]} and {shapes[1]}"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
