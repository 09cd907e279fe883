"""Recipes: named settings in `params.yaml`, which a run gets as overrides.

A run records the settings, not the name of the recipe, so its metrics stay traceable if the recipe
changes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from thorax.common.errors import InputError

RECIPE = "recipe"
"""Key of an override that stands for the settings of a recipe."""

Recipes = Mapping[str, Mapping[str, Any]]
"""Name → parameter, such as ``train.epochs`` → its value."""


def uses_recipe(overrides: Sequence[str]) -> bool:
    """Return True if an override names a recipe."""
    return any(_split(override)[0] == RECIPE for override in overrides)


def expand_recipes(overrides: Sequence[str], recipes: Recipes) -> list[str]:
    """Replace ``recipe=NAME`` by the settings of the recipe; other overrides take precedence.

    Args:
        overrides: As for `dvc exp run -S`.
        recipes: Recipes of the parameters.

    Raises:
        InputError: There is no such recipe.

    Example:
        >>> recipes = {"long": {"train.epochs": 40, "loss": "bce"}}
        >>> expand_recipes(["seed=1", "loss=dice", "recipe=long"], recipes)
        ['train.epochs=40', 'seed=1', 'loss=dice']
    """
    names = [value for key, value in map(_split, overrides) if key == RECIPE]
    own = [override for override in overrides if _split(override)[0] != RECIPE]
    keys = {_split(override)[0].lstrip("+") for override in own}
    settings = [setting for name in names for setting in recipe_overrides(name, recipes)]
    return [setting for setting in settings if _split(setting)[0].lstrip("+") not in keys] + own


def recipe_overrides(name: str, recipes: Recipes) -> list[str]:
    """Return the settings of a recipe as overrides without spaces, in order.

    Args:
        name: Name of the recipe.
        recipes: Recipes of the parameters.

    Raises:
        InputError: There is no such recipe.

    Example:
        >>> recipe_overrides("a", {"a": {"split.train": ["x", "y"], "train.xla": True}})
        ['split.train=[x,y]', 'train.xla=true']
    """
    if name not in recipes:
        known = ", ".join(recipes) or "none"
        raise InputError(
            f"a recipe must be one of `recipes` in params.yaml ({known}), got `{name}`"
        )
    return [f"{key}={_as_text(value)}" for key, value in recipes[name].items()]


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.strip(), value.strip()


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_as_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
