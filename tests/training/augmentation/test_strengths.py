"""Strengths at the levels."""

from dataclasses import asdict, fields
from typing import Any

import pytest

from thorax.common.params import AugmentationParams
from thorax.training.augmentation.strengths import at_level

from ...learning import NO_AUGMENTATION

STRENGTHS = sorted(name for name, value in NO_AUGMENTATION.items() if isinstance(value, float))


def at(level: str, **strengths: Any) -> dict[str, Any]:
    """Return the strengths of a level as a dict."""
    return asdict(at_level(AugmentationParams(**NO_AUGMENTATION | strengths | {"level": level})))


def test_the_settings_of_the_tests_are_complete() -> None:
    assert {field.name for field in fields(AugmentationParams)} == set(NO_AUGMENTATION)


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_level_scales_each_strength_and_no_other(name: str) -> None:
    for level, strength in (("none", 0.0), ("soft", 0.125), ("medium", 0.25), ("hard", 0.5)):
        scaled = at(level, **{name: 0.25})
        assert scaled[name] == strength
        assert all(scaled[other] == 0 for other in STRENGTHS if other != name)


def test_probabilities_and_shares_stay_below_1_and_rotation_within_180_degrees() -> None:
    strong = dict.fromkeys(STRENGTHS, 0.75) | {"rotate_degrees": 170.0}
    scaled = at("hard", **strong)
    unlimited = ("gamma", "blur", "sharpen", "mixup", "cutmix")
    assert [scaled.pop(name) for name in unlimited] == [1.5] * 5
    assert scaled.pop("rotate_degrees") == 180
    assert scaled.pop("flip") == 0.75
    assert {scaled[name] for name in STRENGTHS if name in scaled} == {0.99}


@pytest.mark.parametrize(("chance", "at_hard"), [(0.1, 0.2), (0.4, 0.5), (0.5, 0.5), (0.7, 0.7)])
def test_hard_flips_at_most_half_of_the_stacks(chance: float, at_hard: float) -> None:
    """With more, most stacks would be mirrored; a higher setting is kept."""
    assert at("hard", flip=chance)["flip"] == at_hard


def test_a_strength_above_the_limit_is_only_lowered_by_soft() -> None:
    assert [at(level, noise=0.999)["noise"] for level in ("soft", "medium", "hard")] == [
        0.4995,
        0.999,
        0.999,
    ]


@pytest.mark.parametrize(
    ("level", "custom"), [("none", ""), ("soft", "a.json"), ("medium", "a.json")]
)
def test_custom_transforms_are_only_removed_at_none(level: str, custom: str) -> None:
    assert at(level, custom="a.json")["custom"] == custom
