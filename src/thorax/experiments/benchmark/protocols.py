"""Protocols of the COVID-19 CT Lung and Infection Segmentation Dataset, as settings of runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thorax.common.errors import InputError
from thorax.common.text import listed

if TYPE_CHECKING:
    from thorax.datasets.folds import Member
    from thorax.experiments.runs import RunPlan

DATASET = "covid19"

TOLERANCE_MM = {"lung": 1, "infection": 3}
"""Tolerances of the published surface Dice (Ma et al. 2021, https://doi.org/10.1002/mp.14676)."""


@dataclass(frozen=True)
class Protocol:
    """A way to split the 20 cases.

    Args:
        name: Name, for the command line.
        method: `split.method`.
        summary: Description, for people.
    """

    name: str
    method: str
    summary: str


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "published",
            "covid19",
            "published folds, 16 training and 4 test cases; every case is tested once",
        ),
        Protocol(
            "swapped",
            "covid19_swapped",
            "published folds, swapped to 4 training and 16 test cases; every case is tested four "
            "times",
        ),
        Protocol(
            "patients",
            "random",
            "five folds by patient, who are never on both sides; radiopaedia_10 and radiopaedia_29 "
            "have two scans each; every case is tested once",
        ),
    )
}
"""Protocols by name."""

_VALIDATION = "split.validation"


def protocol_overrides(protocol: Protocol, overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the settings of a protocol, followed by those of the user.

    All training cases of a fold are trained on, and the last weights are kept, unless the user sets
    `split.validation`.

    Raises:
        InputError: An override sets what the protocol determines.
    """
    tolerances = ",".join(f"{region}:{mm:.1f}" for region, mm in TOLERANCE_MM.items())
    fixed = {
        "dataset": DATASET,
        "split.method": protocol.method,
        "split.folds": "5",
        "evaluate.tolerance_mm": f"{{{tolerances}}}",
    }
    keys = [override.partition("=")[0].strip().lstrip("+~") for override in overrides]
    for key in keys:
        if any(_overlap(key, name) for name in fixed):
            raise InputError(
                f"protocol `{protocol.name}` sets {listed(fixed)}; remove -S {key}, or use "
                "`thorax cross-validate`"
            )
    if _VALIDATION not in keys:
        fixed[_VALIDATION] = "0"
    return (*(f"{key}={value}" for key, value in fixed.items()), *overrides)


def split_notes(plans: "Iterable[RunPlan]", members: "Sequence[Member]") -> list[str]:
    """List cautions about the folds: patients that are trained on and tested.

    Args:
        plans: Runs of all folds.
        members: The cases.
    """
    from thorax.datasets.folds import split_cases

    folds: dict[str, dict[str, None]] = {}
    for plan in plans:
        if plan.params is None:
            continue
        split = split_cases(members, plan.params.split, seed=plan.params.seed)
        if split.note:
            folds.setdefault(split.note, {})[str(plan.varied["fold"])] = None
    return [f"{_folds(numbers)}: {note}" for note, numbers in folds.items()]


def _folds(numbers: Mapping[str, None]) -> str:
    return f"fold{'' if len(numbers) == 1 else 's'} {listed(numbers)}"


def _overlap(key: str, fixed: str) -> bool:
    """Return whether two keys are the same, or one is a section of the other."""
    return f"{key}.".startswith(f"{fixed}.") or f"{fixed}.".startswith(f"{key}.")
