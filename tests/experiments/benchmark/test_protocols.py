"""A protocol is a set of settings that the user cannot contradict."""

from pathlib import Path

import pytest
import yaml

from thorax.common.errors import InputError
from thorax.datasets.dataset import load_spec
from thorax.datasets.folds import Member
from thorax.datasets.published_folds import COVID19_FOLDS
from thorax.experiments.benchmark.protocols import (
    PROTOCOLS,
    protocol_overrides,
    split_notes,
)
from thorax.experiments.runs import RunPlan, plan_folds

ROOT = Path(__file__).parents[3]

PARAMS = (ROOT / "params.yaml").read_text()

SPEC = load_spec(ROOT / "data/covid19/dataset.yaml")

MEMBERS = [Member(case, SPEC.patient_of(case)) for fold in COVID19_FOLDS for case in fold]


def plans(protocol: str, *overrides: str) -> list[RunPlan]:
    settings = protocol_overrides(PROTOCOLS[protocol], overrides)
    return plan_folds(PARAMS, settings, seeds=(), state="")


@pytest.mark.parametrize(
    ("protocol", "method"),
    [("published", "covid19"), ("swapped", "covid19_swapped"), ("patients", "random")],
)
def test_a_protocol_sets_dataset_split_and_tolerances(protocol: str, method: str) -> None:
    runs = plans(protocol, "train.epochs=3")
    assert [run.varied["fold"] for run in runs] == [0, 1, 2, 3, 4]
    for params in (run.params for run in runs):
        assert params is not None
        assert (params.dataset, params.split.method, params.split.folds) == ("covid19", method, 5)
        assert params.split.validation == 0
        assert params.evaluate.tolerance_mm == {"lung": 1, "infection": 3}
        assert params.train.epochs == 3


def test_the_published_tolerances_replace_those_of_the_project() -> None:
    params = PARAMS.replace("{lung: 1.0, infection: 3.0}", "{lung: 2.0, infection: 5.0}")
    assert params != PARAMS
    settings = protocol_overrides(PROTOCOLS["published"], ())
    run = plan_folds(params, settings, seeds=(), state="")[0]
    assert run.params is not None
    assert run.params.evaluate.tolerance_mm == {"lung": 1, "infection": 3}


def test_the_user_may_hold_out_validation_cases() -> None:
    run = plans("swapped", "split.validation=0.25")[0]
    assert run.params is not None
    assert run.params.split.validation == 0.25


def test_a_recipe_cannot_change_the_protocol() -> None:
    recipe = {"train.epochs": 3, "split.validation": 0.5, "split.method": "random"}
    params = yaml.safe_dump({**yaml.safe_load(PARAMS), "recipes": {"long": recipe}})
    settings = protocol_overrides(PROTOCOLS["swapped"], ["recipe=long"])
    run = plan_folds(params, settings, seeds=(), state="")[0]
    assert run.params is not None
    assert (run.params.train.epochs, run.params.split.validation) == (3, 0)
    assert run.params.split.method == "covid19_swapped"


@pytest.mark.parametrize(
    "override",
    [
        "dataset=phantom",
        "split.method=sites",
        "split.folds=4",
        "split={method:random}",
        "+evaluate.tolerance_mm.lung=2",
        "evaluate={}",
    ],
)
def test_what_the_protocol_sets_is_refused(override: str) -> None:
    with pytest.raises(InputError) as refused:
        protocol_overrides(PROTOCOLS["swapped"], ["loss=bce", override])
    key = override.partition("=")[0].lstrip("+")
    assert str(refused.value) == (
        "protocol `swapped` sets dataset, split.method, split.folds and evaluate.tolerance_mm; "
        f"remove -S {key}, or use `thorax cross-validate`"
    )


@pytest.mark.parametrize("protocol", ["published", "swapped"])
def test_patients_on_both_sides_are_named_with_their_folds(protocol: str) -> None:
    assert split_notes(plans(protocol), MEMBERS) == [
        "folds 2 and 4: training uses other scans of radiopaedia_10, radiopaedia_29, who are also "
        "tested in this published fold, so its metrics may be too high"
    ]


def test_folds_by_patient_need_no_note() -> None:
    assert split_notes(plans("patients"), MEMBERS) == []
