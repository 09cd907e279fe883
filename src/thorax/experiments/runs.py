"""Plan runs from overrides of `params.yaml`: folds with seeds, or all combinations of values.

The name of a run contains a digest of all parameters and of the state of the project. A finished
experiment of this name therefore has its result; after any change the run has a new name.
"""

import copy
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from hydra.errors import HydraException

from thorax.common.errors import InputError
from thorax.common.params import Params, check_params, read_yaml
from thorax.datasets.folds import check_fold_count
from thorax.experiments.recipes import expand_recipes, uses_recipe

_FOLD, _SEED = "split.fold", "seed"

_PREPARING = ("dataset", "prepare", "synthetic")
"""Parameters of the stage `prepare`."""


@dataclass(frozen=True)
class RunPlan:
    """One run of a cross-validation or a sweep.

    Args:
        name: Name of its experiment; determined by parameters and state of the project.
        overrides: As for `dvc exp run -S`.
        varied: Parameter → value, for parameters that differ between the runs of the command.
        prepared: Parameters of its stage `prepare`.
        params: All its parameters.
    """

    name: str
    overrides: tuple[str, ...]
    varied: dict[str, Any]
    prepared: dict[str, Any] = field(default_factory=dict)
    params: Params | None = None


def plan_folds(
    params: str, overrides: Sequence[str], *, seeds: Sequence[int], state: str
) -> list[RunPlan]:
    """Plan a cross-validation: every fold with every seed.

    Args:
        params: Content of `params.yaml`.
        overrides: Of all runs.
        seeds: If empty, the seed of the parameters.
        state: Digest of everything else that results depend on.

    Raises:
        InputError: An override cannot be parsed, is unknown or out of range, has several values, or
            sets the fold or the seed that the cross-validation varies.
    """
    values_by_key = _choices_by_key(params, overrides)
    for key, values in values_by_key.items():
        if len(values) > 1:
            raise InputError(
                f"-S {key} must have one value here, got {len(values)}; use `thorax sweep`"
            )
    if _FOLD in values_by_key:
        raise InputError(f"a cross-validation runs all folds; remove -S {_FOLD}")
    if seeds and _SEED in values_by_key:
        raise InputError("a seed must be given once; remove -S seed or --seeds")
    common = [values[0] for values in values_by_key.values()]
    content, checked = _overridden(params, common)
    for side in ("test", "train"):
        if getattr(checked.split, side):
            raise InputError(f"`split.{side}` names cases, so there are no folds; set it to []")
    check_fold_count(checked.split)
    digest = _digest(_without_fold_and_seed(content), state)
    return [
        RunPlan(
            name=f"cv-{digest}-fold{fold}-seed{seed}",
            overrides=(*common, f"{_FOLD}={fold}", f"{_SEED}={seed}"),
            varied={"seed": seed, "fold": fold},
            prepared=_preparing(content),
            params=replace(checked, seed=seed, split=replace(checked.split, fold=fold)),
        )
        for seed in dict.fromkeys(seeds or [checked.seed])
        for fold in range(checked.split.folds)
    ]


def plan_sweep(params: str, overrides: Sequence[str], *, state: str) -> list[RunPlan]:
    """Plan a sweep: all combinations of the values that the overrides give.

    Args:
        params: Content of `params.yaml`.
        overrides: ``key=value`` or ``key=value,value``, in the syntax of Hydra: lists need
            brackets, ``range(0,5)`` is 0 to 4.
        state: Digest of everything else that results depend on.

    Raises:
        InputError: No key has several values, or an override cannot be parsed, is unknown or out of
            range.
    """
    values_by_key = _choices_by_key(params, overrides)
    varied = [key for key, values in values_by_key.items() if len(values) > 1]
    if not varied:
        raise InputError(
            "a sweep needs a key with several values, such as -S loss=bce,dice, "
            f"got {', '.join(overrides) or 'none'}"
        )
    runs = [_combination(params, chosen, varied, state) for chosen in _product(values_by_key)]
    return list({run.name: run for run in runs}.values())


def reuse_existing_names(runs: Sequence[RunPlan], names: Iterable[str]) -> list[RunPlan]:
    """Rename runs of a sweep to the names that another sweep has given them.

    The digest identifies a run; the words after it name the values that its command varies.

    Args:
        runs: Runs of a sweep.
        names: Experiments that exist or were started; later ones take precedence.

    Example:
        >>> run = RunPlan("sweep-0a1b2c3d-bce-0", ("loss=bce", "seed=0"), {})
        >>> [run.name for run in reuse_existing_names([run], ["sweep-0a1b2c3d-bce", "mine"])]
        ['sweep-0a1b2c3d-bce']
    """
    existing = {_identity(name): name for name in names}
    return [replace(run, name=existing.get(_identity(run.name), run.name)) for run in runs]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse seeds separated by commas; none from an empty text.

    Raises:
        InputError: A seed is not an integer of at least 0.

    Example:
        >>> parse_seeds("0,1")
        (0, 1)
    """
    parts = text.split(",") if text else []
    if not all(re.fullmatch("[0-9]+", part.strip(), re.ASCII) for part in parts):
        raise InputError(f"--seeds must be whole numbers from 0, separated by commas, got {text}")
    return tuple(map(int, parts))


def advice_on_records(runs: Sequence[RunPlan], locked: Mapping[str, Any]) -> str:
    """Advise to run `prepare` once if every run would prepare the same records; empty otherwise.

    A run works in a copy of the project, with the records of `dvc.lock`, or with none.

    Args:
        runs: Planned runs.
        locked: Parameters of the records in `dvc.lock`; empty if unknown.

    Example:
        >>> run = RunPlan("cv", ("dataset=a",), {}, {"dataset": "a", "prepare": {}})
        >>> advice_on_records([run, run], {"dataset": "b", "prepare": {}})
        'each run would prepare a; set dataset=a in params.yaml and run `dvc repro prepare` once'
    """
    wanted = runs[0].prepared if runs else {}
    if len(runs) < 2 or locked in ({}, wanted) or any(run.prepared != wanted for run in runs):
        return ""
    overrides = {override for run in runs for override in run.overrides}
    settings = sorted(override for override in overrides if override.startswith(_PREPARING))
    change = f"set {', '.join(settings)} in params.yaml and " if settings else ""
    return f"each run would prepare {wanted['dataset']}; {change}run `dvc repro prepare` once"


def _preparing(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in _PREPARING}


def _product(choices: dict[str, list[str]]) -> list[dict[str, str]]:
    products = itertools.product(*choices.values())
    return [dict(zip(choices, values, strict=True)) for values in products]


def _combination(params: str, chosen: dict[str, str], varied: Sequence[str], state: str) -> RunPlan:
    content, checked = _overridden(params, list(chosen.values()))
    train, no_fold = checked.split.train, checked.split.fold == "none"
    if (train or no_fold) and not checked.split.test:
        cause = "`split.train` without `split.test`" if train else "`split.fold: none`"
        raise InputError(f"a sweep compares test scores, but {cause} leaves no test case")
    values = {key: chosen[key].partition("=")[2] for key in varied}
    words = "-".join(filter(None, (re.sub(r"\W+", "-", v).strip("-") for v in values.values())))
    name = f"sweep-{_digest(content, state)}-{words[:60]}"
    return RunPlan(name, tuple(chosen.values()), values, _preparing(content), checked)


def _identity(name: str) -> str:
    match = re.match("sweep-[0-9a-f]{8}(?=-|$)", name)
    return match[0] if match else name


def _choices_by_key(params: str, overrides: Sequence[str]) -> dict[str, list[str]]:
    """Return one override for each value of each key, with those of recipes."""
    if uses_recipe(overrides):
        overrides = expand_recipes(overrides, _overridden(params, [])[1].recipes)
    return dict(map(_choices, overrides))


def _choices(override: str) -> tuple[str, list[str]]:
    """Return the key of an override, and one override for each of its values."""
    key, equals, _ = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"-S must be key=value, got {override}")
    try:
        batches = get_hydra_sweeps({"": [override]})
    except (HydraException, InvalidArgumentError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"-S {override} cannot be parsed: {reason}") from None
    singles = [batch[""][0] for batch in batches]
    return singles[0].partition("=")[0], singles


def _overridden(params: str, overrides: Sequence[str]) -> tuple[dict[str, Any], Params]:
    """Return the parameters of a run, as DVC will write them, and their checked form."""
    options = " ".join(f"-S {override}" for override in overrides)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(params, encoding="utf-8")
        try:
            apply_overrides(path, list(overrides))
        except InvalidArgumentError as error:
            reason = " ".join(str(error.__cause__ or error).split("\n")[:2])
            raise InputError(f"{options}: {reason}") from None
        content = read_yaml(path)
    source = f"params.yaml with {options}" if options else "params.yaml"
    return content, check_params(content, source=source)


def _without_fold_and_seed(content: dict[str, Any]) -> dict[str, Any]:
    rest = copy.deepcopy(content)
    del rest["seed"], rest["split"]["fold"]
    return rest


def _digest(content: dict[str, Any], state: str) -> str:
    used = {key: value for key, value in content.items() if key != "recipes"}
    text = json.dumps([used, state], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
