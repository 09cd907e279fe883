"""Translation of a transform with all transforms inside it."""

import inspect
import json
from functools import partial
from typing import Any

import albumentations as A  # noqa: N812

from thorax.training.augmentation.albumentations_1.corner_shift import CornerShift
from thorax.training.augmentation.albumentations_1.rules import RULES, Rule
from thorax.training.augmentation.albumentations_1.values import Arguments, TranslationError

CLASS = "__class_fullname__"

_NO_CODE = "a file cannot contain its code"
_NO_IMAGES = "a file cannot contain its reference images"


def is_version_1(content: Any) -> bool:
    """Return whether a version before 2 wrote the content of a file."""
    version = str(content.get("__version__", "")) if isinstance(content, dict) else ""
    major = version.partition(".")[0]
    return int(major) < 2 if major.isdecimal() else '"always_apply"' in json.dumps(content)


def translate(transform: Any, *, is_choice: bool = False) -> Any:
    """Translate a transform, with all transforms inside it, to version 2.

    Args:
        transform: A transform as `albumentations.to_dict` of an earlier version wrote it.
        is_choice: Another transform chooses it; its probability is then the weight of the choice.

    Raises:
        TranslationError: A class or an argument has no equivalent; the message names both.
    """
    if not isinstance(transform, dict) or not isinstance(transform.get(CLASS), str):
        return transform
    arguments = {key: value for key, value in transform.items() if key != CLASS}
    name = transform[CLASS].rpartition(".")[2]
    if name in _IMPOSSIBLE:
        raise TranslationError(f"{name} has no equivalent: {_IMPOSSIBLE[name]}; remove it")
    if arguments.pop("always_apply", False) and not is_choice:
        arguments["p"] = 1.0
    if name in _COMPOSITIONS:
        return _composition(name, arguments, is_choice=is_choice)
    if name in _INPUT_CONVERSIONS:
        return {CLASS: "NoOp", "p": arguments.get("p", 1.0)}
    try:
        return _SPECIAL.get(name, partial(_by_rule, name))(arguments)
    except TranslationError as error:
        raise TranslationError(f"{name}: {error}") from None


def _composition(name: str, arguments: Arguments, *, is_choice: bool) -> Arguments:
    children = arguments.get("transforms")
    if not isinstance(children, list):
        return {CLASS: name, **arguments}
    chooses = name in ("OneOf", "SomeOf", "OneOrOther")
    arguments["transforms"] = [translate(child, is_choice=chooses) for child in children]
    if name == "Sequential" and not is_choice:
        arguments["p"] = 1.0  # version 1 ignored it
    if name == "SomeOf":
        return _some_of(arguments)
    return {CLASS: name, **arguments}


def _some_of(arguments: Arguments) -> Arguments:
    """Translate `SomeOf`, which chose by weight, in random order, and applied what it chose."""
    children = arguments["transforms"]
    if len({child.get("p", 0.5) for child in children if isinstance(child, dict)}) > 1:
        raise TranslationError(
            "SomeOf has no equivalent for transforms of different p, which were weights; give "
            "them one p"
        )
    certain = [child | {"p": 1.0} if isinstance(child, dict) else child for child in children]
    return {CLASS: "RandomOrder", "replace": True, **arguments, "transforms": certain}


def _by_rule(name: str, arguments: Arguments) -> Arguments:
    rule = RULES.get(name, Rule())
    new = rule.name or name
    translated = _renamed(rule, arguments)
    if rule.convert:
        rule.convert(translated)
    parameters = inspect.signature(getattr(A, new)).parameters if hasattr(A, new) else {}
    for key in [key for key, value in translated.items() if value is None]:
        if key in parameters and parameters[key].default is not None:
            del translated[key]
    if "mask_interpolation" in parameters:
        # Version 1 had labels in masks; fractions are interpolated as slices are.
        translated.setdefault("mask_interpolation", translated.get("interpolation", 1))
    return {CLASS: new, **translated}


def _renamed(rule: Rule, arguments: Arguments) -> Arguments:
    old = {key: value for key, value in arguments.items() if key not in rule.dropped}
    for key, value in rule.defaults.items():
        if rule.names.get(key, key) not in old:
            old.setdefault(key, value)
    for new, (low, high) in rule.ranges.items():
        ends = [old[key] for key in (low, high) if old.get(key) is not None]
        if ends:
            old[new] = [ends[0], ends[-1]]
        old = {key: value for key, value in old.items() if key not in (low, high)}
    return {rule.names.get(key, key): value for key, value in old.items()}


def _flip(arguments: Arguments) -> Arguments:
    """Translate `Flip`: vertical, horizontal, or both, with equal chance."""
    flips = [{CLASS: name, "p": 1.0} for name in ("VerticalFlip", "HorizontalFlip")]
    both = {CLASS: "Sequential", "p": 1.0, "transforms": flips}
    return {CLASS: "OneOf", "p": arguments.get("p", 0.5), "transforms": [*flips, both]}


def _elastic(arguments: Arguments) -> Arguments:
    """Translate `ElasticTransform`, which also moved three corners by up to `alpha_affine`."""
    # Files of version 1.4 have all other arguments; in shorter ones the default was 50.
    limit = arguments.pop("alpha_affine", 0 if "approximate" in arguments else 50)
    elastic = _by_rule("ElasticTransform", arguments)
    if not limit:
        return elastic
    shared = ("interpolation", "mask_interpolation", "border_mode", "fill", "fill_mask")
    border = {key: elastic[key] for key in shared if key in elastic}
    corners = {CLASS: CornerShift.get_class_fullname(), "limit": limit, "p": 1.0, **border}
    chance = elastic.get("p", 0.5)
    return {CLASS: "Sequential", "p": chance, "transforms": [corners, elastic | {"p": 1.0}]}


_COMPOSITIONS = ("Compose", "OneOf", "SomeOf", "OneOrOther", "Sequential", "ReplayCompose")

_INPUT_CONVERSIONS = ("Normalize", "ToFloat", "ToTensor", "ToTensorV2")

_IMPOSSIBLE = {
    "Lambda": _NO_CODE,
    "PerChannel": "all slices of a stack change together",
    "TemplateTransform": _NO_IMAGES,
    "FDA": _NO_IMAGES,
    "HistogramMatching": _NO_IMAGES,
    "PixelDistributionAdaptation": _NO_IMAGES,
}

_SPECIAL = {"Flip": _flip, "ElasticTransform": _elastic}
