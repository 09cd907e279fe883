"""Custom transforms from a JSON file that `albumentations.to_dict` of any version wrote."""

import json
import random
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np
from pydantic import ValidationError

from thorax.common.errors import InputError, first_problem
from thorax.training.augmentation.albumentations_1.translation import is_version_1, translate
from thorax.training.augmentation.albumentations_1.values import TranslationError

TRIALS = 16
"""Random draws of a check: transforms with a low probability may fail, too."""

_SIZES = re.compile(r"(?:min_|max_|x_|y_)?(?:height|width|size|min|max|size_hw)")
"""Arguments that are lengths in pixels."""

_PLACEHOLDER = re.compile(r"(?<=[:\[,])(\s*)([A-Z][A-Z_]*)(?=\s*[,}\]])")
"""A name without quotes, such as IMAGE_HEIGHT, in the place of a number."""


def load_custom(path: Path, *, canvas: int | None = None) -> Any:
    """Read a transform.

    Files of albumentations 0.x and 1.x are translated, see `albumentations_1`.

    Args:
        path: JSON of ``A.to_dict(transform)``. Masks are fractions, so choose linear interpolation.
        canvas: Side of the canvas in pixels, for sizes that are placeholders such as IMAGE_HEIGHT.

    Raises:
        InputError: The file cannot be read, is not JSON, or has transforms or arguments that
            albumentations does not know.
    """
    content = _sized(_read(path), canvas)
    try:
        if is_version_1(content):
            content = {"transform": translate(content.get("transform"))}
        return _parse(content)
    except TranslationError as error:
        reason = str(error)
    except KeyError as error:
        reason = f"{error} is unknown or missing"
    except (AttributeError, TypeError, ValueError, UserWarning) as error:
        reason = _one_line(error)
        if isinstance(error.__context__, ValidationError):
            reason = f"{_culprit(content)}: {first_problem(error.__context__)}"
    raise InputError(
        f"`augmentation.custom`: {path} must be a file of `albumentations.to_dict`: {reason}"
    )


def check_custom(path: Path, *, canvas: int, channels: int, regions: int) -> None:
    """Check that a transform works on stacks of this shape.

    Raises:
        InputError: The transform fails or changes the shape.
    """
    compose = A.Compose([load_custom(path, canvas=canvas)])
    stack = np.full((canvas, canvas, channels), 0.5, np.float32)
    fractions = np.zeros((canvas, canvas, regions), np.float32)
    for seed in range(TRIALS):
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            shapes = _shapes(compose, stack, fractions)
        except Exception as error:
            raise InputError(
                f"`augmentation.custom`: {path} fails on stacks of {channels} slices"
                f"{_named(compose, stack, fractions)}: {_one_line(error)}; remove it"
            ) from None
        if shapes != (stack.shape, fractions.shape):
            raise InputError(
                f"`augmentation.custom`: {path} must keep stacks of shape {stack.shape} and "
                f"fractions of shape {fractions.shape}, got {shapes[0]} and {shapes[1]}"
                f"{_named(compose, stack, fractions)}; remove it, or set `prepare.canvas` to its "
                "size"
            )


def _shapes(transform: Any, stack: Any, fractions: Any, **options: Any) -> tuple[Any, Any]:
    changed = transform(image=stack.copy(), mask=fractions.copy(), **options)
    return changed["image"].shape, changed["mask"].shape


def _named(transform: Any, stack: Any, fractions: Any) -> str:
    """Return the name of the first transform that fails or changes the shape, in brackets."""
    if isinstance(transform, A.BaseCompose):
        names = (_named(child, stack, fractions) for child in transform.transforms)
        return next(filter(None, names), "")
    with suppress(Exception):
        if _shapes(transform, stack, fractions, force_apply=True) == (stack.shape, fractions.shape):
            return ""
    return f" ({type(transform).__name__})"


def _parse(content: Any) -> Any:
    with warnings.catch_warnings():
        # albumentations only warns of unknown arguments and ignores them; other warnings are
        # advice, such as a faster transform.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", r"Argument\(s\)")
        return A.from_dict(content)


def _culprit(content: Any) -> str:
    """Return the class of the first transform with an invalid argument."""
    transform = content["transform"]
    children = (_culprit({"transform": child}) for child in transform.get("transforms", ()))
    if name := next(filter(None, children), ""):
        return name
    try:
        _parse(content)
    except ValueError:
        return str(transform["__class_fullname__"])
    return ""


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"`augmentation.custom`: {path} cannot be read: {error.strerror}"
        ) from None
    for variant in (text, _PLACEHOLDER.sub(r'\1"\2"', text)):
        try:
            return json.loads(variant)
        except (ValueError, RecursionError) as error:
            reason = error
    raise InputError(f"`augmentation.custom`: {path} is not valid JSON: {reason}")


def _sized(content: Any, canvas: int | None, *, is_size: bool = False) -> Any:
    """Replace text in the place of a size by the side of the canvas."""
    if isinstance(content, dict):
        return {
            key: _sized(value, canvas, is_size=bool(_SIZES.fullmatch(key)))
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [_sized(value, canvas, is_size=is_size) for value in content]
    return canvas if is_size and canvas and isinstance(content, str) else content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
