"""Recipes become overrides; other overrides take precedence."""

from pathlib import Path

import pytest
import yaml

from thorax.common.errors import InputError
from thorax.experiments.recipes import expand_recipes, recipe_overrides
from thorax.experiments.runs import plan_folds, plan_sweep

ROOT = Path(__file__).parents[2]

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())

RECIPES = {
    "long": {"train.epochs": 40, "loss": "bce"},
    "named": {"split.train": ["a", "b"], "train.xla": True, "augmentation.custom": "x/own.json"},
    "weighted": {"+losses.region_weights.infection": 2.0},
}


def with_recipes() -> str:
    return yaml.safe_dump({**PARAMS, "recipes": RECIPES})


@pytest.mark.parametrize(
    ("overrides", "expanded"),
    [
        (["seed=1"], ["seed=1"]),
        (["recipe=long"], ["train.epochs=40", "loss=bce"]),
        (["recipe=long", "loss=dice"], ["train.epochs=40", "loss=dice"]),
        (["loss=dice,bce", "recipe=long"], ["train.epochs=40", "loss=dice,bce"]),
        (
            ["recipe=weighted", "losses.region_weights.infection=3"],
            ["losses.region_weights.infection=3"],
        ),
        (
            ["recipe=named"],
            ["split.train=[a,b]", "train.xla=true", "augmentation.custom=x/own.json"],
        ),
    ],
)
def test_settings_of_a_recipe_come_first(overrides: list[str], expanded: list[str]) -> None:
    assert expand_recipes(overrides, RECIPES) == expanded


def test_an_unknown_recipe_is_refused_with_the_known_names() -> None:
    with pytest.raises(InputError, match=r"params.yaml \(long, named, weighted\), got `longer`"):
        expand_recipes(["recipe=longer"], RECIPES)
    with pytest.raises(InputError, match=r"params.yaml \(none\), got `long`"):
        recipe_overrides("long", {})


def test_recipes_that_are_no_settings_are_refused() -> None:
    params = yaml.safe_dump({**PARAMS, "recipes": {"long": 40}})
    with pytest.raises(InputError, match=r"^params.yaml: `recipes.long`: .*, got 40"):
        plan_sweep(params, ["recipe=long", "seed=0,1"], state="")


def test_folds_and_sweeps_have_the_settings_of_a_recipe() -> None:
    params = with_recipes()
    run = plan_folds(params, ["recipe=long", "split.folds=2"], seeds=[0], state="")[0]
    assert run.params
    assert (run.params.train.epochs, run.params.loss) == (40, "bce")
    runs = plan_sweep(params, ["recipe=long", "seed=0,1"], state="")
    assert [run.params.train.epochs for run in runs if run.params] == [40, 40]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split.validation_cases", ["01", "1e5", "a-1", "Müller", "true"]),
        ("augmentation.custom", "models/initial/a,b (1).json"),
        ("augmentation.custom", "it's.json"),
        ("augmentation.custom", "null"),
        ("augmentation.custom", ""),
        ("network.initial_weights", "hf://timm/resnet34.a1_in1k"),
        ("evaluate.tolerance_mm", {"lung": 2.0, "infection": 4.0}),
        ("+losses.region_weights", {"infection": 2.0}),
    ],
)
def test_a_run_has_the_values_of_a_recipe(key: str, value: object) -> None:
    """Hydra would read them as numbers, several values or a syntax error without quotes."""
    params = yaml.safe_dump({**PARAMS, "recipes": {"mine": {key: value}}})
    (run, *_) = plan_folds(params, ["recipe=mine"], seeds=[0], state="")
    section, name = key.lstrip("+").split(".")
    assert getattr(getattr(run.params, section), name) == value


def test_a_recipe_gives_the_run_that_its_settings_give() -> None:
    params = with_recipes()
    by_recipe = plan_sweep(params, ["recipe=long", "seed=0,1"], state="")
    by_hand = plan_sweep(params, ["train.epochs=40", "loss=bce", "seed=0,1"], state="")
    assert [run.name for run in by_recipe] == [run.name for run in by_hand]


def test_another_recipe_in_the_file_does_not_change_a_run() -> None:
    first = plan_folds(with_recipes(), ["loss=bce"], seeds=[0], state="")
    other = plan_folds(yaml.safe_dump({**PARAMS, "recipes": {}}), ["loss=bce"], seeds=[0], state="")
    assert [run.name for run in first] == [run.name for run in other]


@pytest.mark.parametrize("name", PARAMS["recipes"])
def test_every_recipe_of_the_file_is_valid(name: str) -> None:
    runs = plan_folds((ROOT / "params.yaml").read_text(), [f"recipe={name}"], seeds=[0], state="")
    assert len(runs) == PARAMS["split"]["folds"]
