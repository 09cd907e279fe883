"""How strong each change is at each level."""

from dataclasses import asdict, replace
from typing import Any

from thorax.common.params import AugmentationParams

FACTORS = {"none": 0.0, "soft": 0.5, "medium": 1.0, "hard": 2.0}
"""Share of each strength that a level uses."""

HIGHEST_SHARE = 0.99
"""How far twice a chance or a share goes: it must lie below 1."""

HIGHEST = {"rotate_degrees": 180.0, "flip": 0.5}
"""The same for what is no such share; more mirror images than that would be the other side."""

NO_SHARES = ("gamma", "blur", "sharpen", "mixup", "cutmix")
"""Strengths without an upper limit."""


def at_level(params: AugmentationParams) -> AugmentationParams:
    """The strengths as the level makes them; at ``none`` all are 0 and no file is read.

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
    if name in NO_SHARES:
        return factor * strength
    highest = HIGHEST.get(name, HIGHEST_SHARE)
    # What was asked for as it stands is never lowered.
    return min(factor * strength, max(highest, strength))
