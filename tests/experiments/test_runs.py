"""Overrides are turned into runs with unique names; impossible ones are rejected."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from thorax.common.errors import InputError
from thorax.experiments.runs import RunPlan, advice_on_records, parse_seeds, plan_folds, plan_sweep

ROOT = Path(__file__).parents[2]

PARAMS = (ROOT / "params.yaml").read_text()


def folds(*overrides: str, seeds: Sequence[int] = (), params: str = PARAMS) -> list[RunPlan]:
    return plan_folds(params, overrides, seeds=seeds, state="as committed")


def sweep(*overrides: str, params: str = PARAMS, state: str = "as committed") -> list[RunPlan]:
    return plan_sweep(params, overrides, state=state)


def names(runs: list[RunPlan]) -> list[str]:
    return [run.name for run in runs]


def changed(**values: object) -> str:
    return yaml.safe_dump({**yaml.safe_load(PARAMS), **values})


# Cross-validation


def test_every_fold_runs_with_every_seed() -> None:
    runs = folds("split.folds=3", "loss=bce", seeds=(0, 4))
    assert [run.varied for run in runs] == [
        {"seed": 0, "fold": 0},
        {"seed": 0, "fold": 1},
        {"seed": 0, "fold": 2},
        {"seed": 4, "fold": 0},
        {"seed": 4, "fold": 1},
        {"seed": 4, "fold": 2},
    ]
    assert runs[5].overrides == ("split.folds=3", "loss=bce", "split.fold=2", "seed=4")
    assert runs[5].name.endswith("-fold2-seed4")


def test_without_seeds_option_the_seed_of_the_parameters_is_used() -> None:
    runs = folds("split.folds=2", params=changed(seed=7))
    assert [run.varied["seed"] for run in runs] == [7, 7]
    assert names(folds("split.folds=2", seeds=(7,))) == names(runs)


def test_a_seed_given_twice_runs_once() -> None:
    assert len(folds("split.folds=2", seeds=(1, 1))) == 2


def test_the_published_folds_of_the_covid_19_set_are_five() -> None:
    assert len(folds("split.method=covid19", "split.folds=5")) == 5
    with pytest.raises(InputError, match="needs `folds: 5`, as published, got 3"):
        folds("split.method=covid19", "split.folds=3")


@pytest.mark.parametrize(
    ("overrides", "seeds", "message"),
    [
        (["loss"], (), "-S must be key=value, got loss"),
        (["=bce"], (), "-S must be key=value, got =bce"),
        (["loss=bce,dice"], (), "-S loss must have one value here, got 2; use `thorax sweep`"),
        (["split.fold=1"], (), "remove -S split.fold"),
        (["seed=1"], (2,), "remove -S seed or --seeds"),
        (["los=bce"], (), "-S los=bce: Could not override 'los'."),
        (["loss=bec"], (), "`loss`: Input should be 'bce', 'dice'"),
        (["split.folds=1"], (), "`split.folds`: Input should be greater than or equal to 2, got 1"),
        (["split.test=[ann]"], (), "`split.test` names cases, so there are no folds; set it to []"),
        (
            ["split.train=[ann]"],
            (),
            "`split.train` names cases, so there are no folds; set it to []",
        ),
        (["loss=[bce"], (), "-S loss=[bce cannot be parsed"),
    ],
)
def test_impossible_cross_validations_are_rejected(
    overrides: list[str], seeds: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError) as rejected:
        folds(*overrides, seeds=seeds)
    assert message in str(rejected.value)
    assert "\n" not in str(rejected.value)


def test_seeds_are_parsed() -> None:
    assert parse_seeds("") == ()
    assert parse_seeds("3") == (3,)
    assert parse_seeds("0, 12") == (0, 12)


@pytest.mark.parametrize("text", ["-1", "0,", "a", "0.5", "²"])
def test_other_seeds_are_rejected(text: str) -> None:
    with pytest.raises(InputError, match="--seeds must be whole numbers from 0"):
        parse_seeds(text)


# Sweep


def test_a_sweep_is_the_product_of_all_values() -> None:
    runs = sweep("loss=bce,dice", "network.name=unet,lean", "train.epochs=3")
    assert [run.overrides for run in runs] == [
        ("loss=bce", "network.name=unet", "train.epochs=3"),
        ("loss=bce", "network.name=lean", "train.epochs=3"),
        ("loss=dice", "network.name=unet", "train.epochs=3"),
        ("loss=dice", "network.name=lean", "train.epochs=3"),
    ]
    assert runs[1].varied == {"loss": "bce", "network.name": "lean"}
    assert runs[1].name.endswith("-bce-lean")


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("losses.part_weights=[1,2],[2,1]", ["[1,2]", "[2,1]"]),
        ("split.fold=range(0,3)", ["0", "1", "2"]),
        ("train.learning_rate=0.01,0.001", ["0.01", "0.001"]),
        ("train.window=[-1000,400],[-1350,150]", ["[-1000,400]", "[-1350,150]"]),
    ],
)
def test_values_are_split_as_hydra_does(override: str, values: list[str]) -> None:
    (key,) = {key for run in sweep(override) for key in run.varied}
    assert [run.varied[key] for run in sweep(override)] == values


def test_a_value_given_twice_runs_once() -> None:
    assert [run.varied for run in sweep("loss=bce,dice,bce")] == [{"loss": "bce"}, {"loss": "dice"}]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=bce"], "a sweep needs a key with several values, such as -S loss=bce,dice, got"),
        (["losses.part_weights=[1,2]"], "a sweep needs a key with several values"),
        (["loss=bce,bec"], "`loss`: Input should be 'bce', 'dice'"),
        (["loss=bce,dice", "split.fold=none"], "`split.fold: none` leaves no test case"),
        (["loss=bce,dice", "split.train=[ann]"], "`split.train` without `split.test` leaves"),
        (["loss=glob(*)"], "is not supported"),
        (["train.learning_rate=interval(0,1)"], "does not support"),
    ],
)
def test_impossible_sweeps_are_rejected(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError) as rejected:
        sweep(*overrides)
    assert message in str(rejected.value)


# Names


@pytest.mark.parametrize(
    "equivalent",
    [
        lambda: folds(f"loss={yaml.safe_load(PARAMS)['loss']}"),
        lambda: folds(params=f"# A comment.\n{PARAMS}"),
        lambda: folds(params=changed(split={**yaml.safe_load(PARAMS)["split"], "fold": 3})),
    ],
    ids=["the default, given", "a comment", "another fold in params.yaml"],
)
def test_changes_without_effect_on_results_keep_the_names(
    equivalent: Callable[[], list[RunPlan]],
) -> None:
    assert names(equivalent()) == names(folds())


@pytest.mark.parametrize(
    "other",
    [
        lambda: sweep("loss=bce,dice", "train.epochs=3"),
        lambda: sweep("loss=bce,dice", params=changed(seed=1)),
        lambda: sweep("loss=bce,dice", state="changed since"),
    ],
    ids=["an override", "params.yaml", "the state of the project"],
)
def test_changes_of_results_change_all_names(other: Callable[[], list[RunPlan]]) -> None:
    assert not set(names(other())) & set(names(sweep("loss=bce,dice")))


def test_a_larger_sweep_keeps_its_names() -> None:
    assert set(names(sweep("loss=bce,dice"))) < set(names(sweep("loss=bce,dice,focal")))


def test_a_cross_validation_with_more_seeds_keeps_its_names() -> None:
    assert set(names(folds(seeds=(0,)))) < set(names(folds(seeds=(0, 1))))


PREPARING = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["prepare"]["params"]
PHANTOM = {key: yaml.safe_load(PARAMS)[key] for key in PREPARING}
"""Parameters of the records in `dvc.lock`."""


def test_records_that_each_run_would_prepare_lead_to_advice() -> None:
    runs = folds("dataset=study", "prepare.crop=body", "loss=bce")
    assert advice_on_records(runs, PHANTOM) == (
        "each run would prepare study; set dataset=study, prepare.crop=body in params.yaml and "
        "run `dvc repro prepare` once"
    )


@pytest.mark.parametrize(
    ("runs", "locked"),
    [
        pytest.param(folds(), PHANTOM, id="prepared already"),
        pytest.param(folds("dataset=study"), {}, id="never prepared"),
        pytest.param(folds("dataset=study")[:1], PHANTOM, id="a single run"),
        pytest.param(sweep("prepare.crop=body,none"), PHANTOM, id="each run prepares others"),
        pytest.param([], PHANTOM, id="no run"),
    ],
)
def test_otherwise_there_is_no_advice_on_records(
    runs: list[RunPlan], locked: dict[str, object]
) -> None:
    assert advice_on_records(runs, locked) == ""


def test_names_can_be_git_references() -> None:
    runs = sweep("train.learning_rate=0.01,0.001", "train.window=[-1000,400],[-1350,150]")
    for name in names(runs + sweep("dataset='a..b','~x^:?*\\ .lock'") + folds()):
        subprocess.run(["git", "check-ref-format", f"refs/exps/ab/cd/{name}"], check=True)
