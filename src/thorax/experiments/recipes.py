"""Recipes: named settings in `params.yaml`, which a run gets as overrides.

A run records the settings, not the name of the recipe, so its metrics stay traceable if the recipe
changes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from thorax.common.errors import InputError

RECIPE = "recipe"
"""Key of an override that stands for the settings of a recipe."""

Recipes = Mapping[str, Mapping[str, Any]]
"""Name → parameter, such as ``train.epochs`` → its value."""

_PLAIN = re.compile(r"(?:\.{0,2}/)?[A-Za-z_][\w./-]*", re.ASCII)
"""A word or a path, which Hydra reads as text without quotes."""

_WORDS = frozenset(("true", "false", "null", "nan", "inf"))
"""Words that Hydra does not read as text without quotes."""


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
    """Return a value in the syntax of Hydra; a text is quoted if it would not be one otherwise."""
    if isinstance(value, list):
        return f"[{','.join(map(_as_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_as_text(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return "'" + value.replace("'", r"\'") + "'"
