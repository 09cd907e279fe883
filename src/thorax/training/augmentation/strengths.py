"""Strength of each transform at the levels none, soft, medium and hard."""

from dataclasses import asdict, replace
from typing import Any

from thorax.common.params import AugmentationParams

FACTORS = {"none": 0.0, "soft": 0.5, "medium": 1.0, "hard": 2.0}
"""Factor of the strengths at each level."""

AFFINE_CHANCE = 0.8
"""Probability of rotation, zoom and shift, which are one transform."""

CONTRAST_CHANCE = 0.5
"""Probability of other contrast and brightness."""

CHANCE = 0.3
"""Probability of each other transform that has none of its own."""

MAX_SHARE = 0.99
"""Limit for scaled probabilities and shares, which must be less than 1."""

LIMITS = {"rotate_degrees": 180.0, "flip": 0.5}
"""Other limits; with more flips most stacks would be mirrored."""

UNLIMITED = ("gamma", "blur", "sharpen", "mixup", "cutmix")
"""Strengths without a limit."""


def at_level(params: AugmentationParams) -> AugmentationParams:
    """Scale the strengths by the factor of the level; at ``none`` all are 0, without custom file.

    Example:
        >>> from thorax.common.params import load_params
        >>> params = replace(load_params().augmentation, level="hard", shift=0.05, noise=0.6)
        >>> stronger = at_level(params)
        >>> stronger.shift, stronger.noise, stronger.level
        (0.1, 0.99, 'medium')
    """
    factor = FACTORS[params.level]
    strengths: dict[str, Any] = {
        name: _scaled(name, value, factor)
        for name, value in asdict(params).items()
        if isinstance(value, float)
    }
    custom = params.custom if factor else ""
    return replace(params, **strengths, custom=custom, level="medium")


def _scaled(name: str, strength: float, factor: float) -> float:
    if name in UNLIMITED:
        return factor * strength
    limit = LIMITS.get(name, MAX_SHARE)
    # A strength above the limit is kept as it was set.
    return min(factor * strength, max(limit, strength))
