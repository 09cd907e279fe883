"""Folds: which cases train, which watch the training, which test."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from thorax.common.errors import InputError
from thorax.common.params import SplitParams
from thorax.datasets.published_folds import COVID19_FOLDS


@dataclass(frozen=True)
class Member:
    """A case, as far as folds look at it.

    Args:
        case: Its name.
        patient: Whose scan it is; all cases of a patient stay on one side.
        site: Where it comes from: a scanner, a hospital, a source.
        load: How much disease it shows, 0..1: the share of its largest region, by volume, that its
            smallest takes.
    """

    case: str
    patient: str
    site: str = ""
    load: float = 0.0


@dataclass(frozen=True)
class Split:
    """Case names on the three sides, each sorted.

    Args:
        train: Their planes are learnt from.
        validation: Watched each epoch to keep the best weights; may be empty.
        test: Never seen by training in any way; empty for a final model.
        note: What a reader of the figures must know of this split; mostly empty.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    note: str = ""


Folds = list[set[str]]
"""For each fold, the names of the cases that it tests."""


def split_cases(members: Sequence[Member], params: SplitParams, *, seed: int) -> Split:
    """Share the cases out: by name where names are given, else as the method draws the folds.

    Cases named in `test` take the place of a fold, those named in `validation_cases` that of the validation
    share; folds are then drawn from the others. Where `train` names cases, or `fold` is none, and
    `test` names none, nothing tests. Validation is drawn by patient.

    Args:
        members: All cases there are; their order does not matter.
        params: What is asked for.
        seed: Draws. All folds of one seed together test every case once, those apart that watch by
            name.

    Returns:
        The three sides. A patient stays on one of them, except in published folds that do not keep
        to this; the note then names the patients.

    Raises:
        InputError: A named case is unknown or named twice; a patient would stand on both sides;
            there are fewer patients or sites than folds; published folds are asked for other cases;
            or nothing is left to train on.
    """
    _check_names(members, params)
    free = [member for member in members if member.case not in params.validation_cases]
    fold = _fold_of(params)
    test = set(params.test) if fold is None else _tested(members, fold, params, seed)
    rest = [member for member in free if member.case not in test]
    if params.train:
        rest = [member for member in rest if member.case in params.train]
    _check_apart(members, params, test=test, rest={member.case for member in rest})
    order = _drawn(rest if fold is None else free, seed)
    watched = set(params.validation_cases) or _watched(rest, order, params, seed)
    learnt = {member.case for member in rest} - watched
    if not learnt:
        raise InputError("no case is left to train on: add cases or lower `split.validation`")
    return Split(
        train=tuple(sorted(learnt)),
        validation=tuple(sorted(watched)),
        test=tuple(sorted(test)),
        note=_leak_note(members, test=test, seen=learnt | watched),
    )


def check_fold_count(params: SplitParams) -> None:
    """See whether the method has so many folds.

    Raises:
        InputError: Published folds are asked for, but not as many as were published.
    """
    if params.method == "covid19" and params.folds != len(COVID19_FOLDS):
        raise InputError(
            f"`method: covid19` needs `folds: {len(COVID19_FOLDS)}`, as published, got "
            f"{params.folds}"
        )


def _fold_of(params: SplitParams) -> int | None:
    named = params.train or params.test
    return None if named or isinstance(params.fold, str) else params.fold


def _tested(members: Sequence[Member], fold: int, params: SplitParams, seed: int) -> set[str]:
    if fold >= params.folds:
        raise InputError(f"`fold` must lie in 0..{params.folds - 1}, got {fold}")
    if params.method == "covid19":
        check_fold_count(params)
        return _published_folds(members)[fold]
    free = [member for member in members if member.case not in params.validation_cases]
    return _METHODS[params.method](free, params.folds, seed)[fold]


# The methods


def _random_folds(members: Sequence[Member], folds: int, seed: int) -> Folds:
    _check_enough({member.patient for member in members}, folds, "patients")
    parts = np.array_split(np.array(_drawn(members, seed)), folds)
    return [_cases_of(members, part.tolist()) for part in parts]


def _stratified_folds(members: Sequence[Member], folds: int, seed: int) -> Folds:
    """Each fold has its share of every site, and there of the light and of the heavy cases.

    Patients of a site are dealt in rounds, the heaviest first: each fold gets one, and that fold
    the heaviest of the round which has the least load so far. Sums of load therefore differ by no
    more than loads differ within one round. The last round, if it is not full, goes to the folds
    with the fewest patients.
    """
    _check_enough({member.patient for member in members}, folds, "patients")
    rng = np.random.default_rng(seed)
    dealt: list[list[str]] = [[] for _ in range(folds)]
    for stratum in _strata(members, rng):
        _deal(stratum, dealt, rng)
    return [_cases_of(members, patients) for patients in dealt]


def _deal(
    stratum: list[tuple[str, float]], dealt: list[list[str]], rng: np.random.Generator
) -> None:
    loads = [0.0] * len(dealt)
    for start in range(0, len(stratum), len(dealt)):
        round_ = stratum[start : start + len(dealt)]
        order = sorted(rng.permutation(len(dealt)).tolist(), key=loads.__getitem__)
        if len(round_) < len(dealt):
            order.sort(key=lambda fold: len(dealt[fold]))
        for (patient, load), fold in zip(round_, order, strict=False):
            dealt[fold].append(patient)
            loads[fold] += load


def _site_folds(members: Sequence[Member], folds: int, seed: int) -> Folds:
    """Each site in one fold: the largest first, into the fold with the fewest cases."""
    sizes = Counter(member.site for member in members)
    _check_enough(sizes, folds, "sites")
    _check_one_site_each(members)
    rng = np.random.default_rng(seed)
    sites = rng.permutation(sorted(sizes)).tolist()
    order = rng.permutation(folds).tolist()
    dealt: Folds = [set() for _ in range(folds)]
    for site in sorted(sites, key=lambda site: -sizes[site]):
        smallest = min(order, key=lambda fold: len(dealt[fold]))
        dealt[smallest].update(member.case for member in members if member.site == site)
    return dealt


def _published_folds(members: Sequence[Member]) -> Folds:
    there = {member.case for member in members}
    published = {case for fold in COVID19_FOLDS for case in fold}
    for cases, problem in ((published - there, "lacks"), (there - published, "has also")):
        if cases:
            raise InputError(
                f"`method: covid19` is for the {len(published)} cases of that set alone, but this "
                f"dataset {problem} {_some(cases)}; choose another method"
            )
    return [set(fold) for fold in COVID19_FOLDS]


_METHODS: dict[str, Callable[[Sequence[Member], int, int], Folds]] = {
    "random": _random_folds,
    "stratified": _stratified_folds,
    "sites": _site_folds,
}

# Drawing


def _drawn(members: Sequence[Member], seed: int) -> list[str]:
    patients = sorted({member.patient for member in members})
    return np.random.default_rng(seed).permutation(patients).tolist()


def _watched(rest: Sequence[Member], order: list[str], params: SplitParams, seed: int) -> set[str]:
    patients = {member.patient for member in rest}
    count = max(1, round(params.validation * len(patients))) if params.validation > 0 else 0
    if params.method == "stratified" and patients:
        return _cases_of(rest, _spread(rest, count, seed))
    return _cases_of(rest, [patient for patient in order if patient in patients][:count])


def _spread(members: Sequence[Member], count: int, seed: int) -> list[str]:
    """Patients at even steps from a random start through all sites, and there through the loads.

    Every other site is passed from its light end, so that not only light or only heavy ones are
    met. This is systematic sampling in serpentine order; each patient has the same chance.
    """
    rng = np.random.default_rng(seed)
    strata = _strata(members, rng)
    turns = [stratum[:: 1 if number % 2 else -1] for number, stratum in enumerate(strata)]
    way = [patient for stratum in turns for patient, _ in stratum]
    start = int(rng.integers(len(way)))
    return [way[(start + step * len(way)) // count] for step in range(count)]


def _strata(members: Sequence[Member], rng: np.random.Generator) -> list[list[tuple[str, float]]]:
    """For each site its patients with their mean load, heaviest first, equal ones as drawn.

    A patient who was at several sites counts with that of the first case by name.
    """
    own: dict[str, list[Member]] = defaultdict(list)
    for member in sorted(members, key=lambda member: member.case):
        own[member.patient].append(member)
    strata: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for patient in rng.permutation(sorted(own)).tolist():
        load = fmean(member.load for member in own[patient])
        strata[own[patient][0].site].append((patient, load))
    return [sorted(strata[site], key=lambda one: -one[1]) for site in sorted(strata)]


def _cases_of(members: Sequence[Member], patients: Collection[str]) -> set[str]:
    return {member.case for member in members if member.patient in patients}


# What is refused, and what is told


def _check_names(members: Sequence[Member], params: SplitParams) -> None:
    lists = {
        "train": params.train,
        "validation_cases": params.validation_cases,
        "test": params.test,
    }
    there = {member.case for member in members}
    for name, cases in lists.items():
        unknown = sorted(set(cases) - there)
        if unknown:
            raise InputError(f"`split.{name}` names cases that are not there: {', '.join(unknown)}")
    times = Counter(case for cases in lists.values() for case in cases)
    repeated = sorted(case for case, count in times.items() if count > 1)
    if repeated:
        raise InputError(
            "`split.train`, `split.validation_cases` and `split.test` must name a case once, but "
            f"{', '.join(repeated)} {'stands' if len(repeated) == 1 else 'stand'} there twice"
        )


def _check_apart(
    members: Sequence[Member], params: SplitParams, *, test: set[str], rest: set[str]
) -> None:
    lists = (
        ("test", params.test, rest.union(params.validation_cases)),
        ("validation_cases", params.validation_cases, test | rest),
    )
    for name, cases, others in lists:
        patients = {member.patient for member in members if member.case in cases}
        torn = sorted(_cases_of(members, patients) & others)
        if torn:
            raise InputError(
                f"a patient must stay on one side, but {', '.join(torn)} shows a patient of "
                f"`split.{name}`; name all cases of a patient"
            )


def _check_enough(groups: Collection[str], folds: int, kind: str) -> None:
    if len(groups) < folds:
        verb = "is" if len(groups) == 1 else "are"
        hint = "; `site` in dataset.yaml tells them apart" if kind == "sites" else ""
        raise InputError(
            f"`folds: {folds}` needs as many {kind}, but there {verb} {len(groups)}{hint}"
        )


def _check_one_site_each(members: Sequence[Member]) -> None:
    pairs = {(member.patient, member.site) for member in members}
    torn = {patient for patient, count in Counter(name for name, _ in pairs).items() if count > 1}
    if torn:
        raise InputError(
            "`method: sites` needs patients of one site each, but cases of "
            f"{_some(torn)} come from several; let `site` in dataset.yaml make these one"
        )


def _leak_note(members: Sequence[Member], *, test: set[str], seen: set[str]) -> str:
    sides = [{member.patient for member in members if member.case in side} for side in (test, seen)]
    both = sorted(sides[0] & sides[1])
    if not both:
        return ""
    return (
        f"the published folds show training other scans of {', '.join(both)}, whom this fold "
        "tests, so that its figures may flatter"
    )


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
