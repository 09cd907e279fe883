"""Folds: split cases into training, validation and test."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from thorax.common.errors import InputError
from thorax.common.params import SplitParams
from thorax.common.text import listed
from thorax.datasets.published_folds import COVID19_FOLDS


@dataclass(frozen=True)
class Member:
    """Properties of a case that folds depend on.

    Args:
        case: Name of the case.
        patient: The patient; all their cases are in one of training, validation, test.
        site: Scanner, hospital or source.
        load: Disease load, 0..1: volume of the smallest region divided by that of the largest.
    """

    case: str
    patient: str
    site: str = ""
    load: float = 0.0


@dataclass(frozen=True)
class Split:
    """Case names of training, validation and test, each sorted.

    Args:
        train: Training cases.
        validation: Validation cases, measured after each epoch to keep the best weights; may be
            empty.
        test: Test cases, which training never reads; empty for a final model.
        note: Caution about the metrics of this split; usually empty.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    note: str = ""


Folds = list[set[str]]
"""Names of the test cases of each fold."""

_PUBLISHED = ("covid19", "covid19_swapped")
"""Methods with published folds. In swapped ones, a fold is trained on and the others are tested."""


def split_cases(members: Sequence[Member], params: SplitParams, *, seed: int) -> Split:
    """Split cases into training, validation and test.

    Cases named in `test` replace a fold, and those named in `validation_cases` replace the
    validation share; folds are drawn from the other cases. There are no test cases if `test` is
    empty and either `train` names cases or `fold` is none. Validation is drawn by patient.

    Args:
        members: All cases, in any order.
        params: Section `split` of the parameters.
        seed: Seed of the draw. All folds of one seed together test every case once, except those
            named in `validation_cases`; swapped folds test every case in all folds but one.

    Returns:
        The split. Each patient is on one side only, except in published folds that violate this;
        the note then names the patients.

    Raises:
        InputError: A named case is unknown or named twice; a patient would be on two sides; there
            are fewer patients or sites than folds; published folds are requested for another
            dataset; or no training case is left.
    """
    _check_names(members, params)
    free = [member for member in members if member.case not in params.validation_cases]
    fold = _fold_of(params)
    test = set(params.test) if fold is None else _test_cases(members, fold, params, seed)
    rest = [member for member in free if member.case not in test]
    if params.train:
        rest = [member for member in rest if member.case in params.train]
    _check_patients(members, params, test=test, rest={member.case for member in rest})
    order = _shuffled_patients(rest if fold is None else free, seed)
    validation = set(params.validation_cases) or _validation_cases(rest, order, params, seed)
    train = {member.case for member in rest} - validation
    if not train:
        raise InputError(_no_training_case(params))
    return Split(
        train=tuple(sorted(train)),
        validation=tuple(sorted(validation)),
        test=tuple(sorted(test)),
        note=_leak_note(members, test=test, seen=train | validation),
    )


def check_fold_count(params: SplitParams) -> None:
    """Check the number of folds against the method.

    Raises:
        InputError: Published folds are requested in another number than published.
    """
    if params.method in _PUBLISHED and params.folds != len(COVID19_FOLDS):
        raise InputError(
            f"`method: {params.method}` needs `folds: {len(COVID19_FOLDS)}`, as published, got "
            f"{params.folds}"
        )


def _fold_of(params: SplitParams) -> int | None:
    named = params.train or params.test
    return None if named or isinstance(params.fold, str) else params.fold


def _test_cases(members: Sequence[Member], fold: int, params: SplitParams, seed: int) -> set[str]:
    if fold >= params.folds:
        raise InputError(f"`fold` must be in 0..{params.folds - 1}, got {fold}")
    if params.method in _PUBLISHED:
        check_fold_count(params)
        return _published_folds(members, params.method)[fold]
    free = [member for member in members if member.case not in params.validation_cases]
    return _METHODS[params.method](free, params.folds, seed)[fold]


def _random_folds(members: Sequence[Member], folds: int, seed: int) -> Folds:
    _check_enough({member.patient for member in members}, folds, "patients")
    parts = np.array_split(np.array(_shuffled_patients(members, seed)), folds)
    return [_cases_of(members, part.tolist()) for part in parts]


def _stratified_folds(members: Sequence[Member], folds: int, seed: int) -> Folds:
    """Draw folds with equal shares of every site, and within a site of low and high disease loads.

    Patients of a site are assigned in rounds, by descending load: each fold gets one patient per
    round, and the fold with the smallest sum of loads gets the highest load. Sums of load differ
    by no more than the loads of one round. An incomplete last round goes to the folds with the
    fewest patients.
    """
    _check_enough({member.patient for member in members}, folds, "patients")
    rng = np.random.default_rng(seed)
    assigned: list[list[str]] = [[] for _ in range(folds)]
    for stratum in _strata(members, rng):
        _assign(stratum, assigned, rng)
    return [_cases_of(members, patients) for patients in assigned]


def _assign(
    stratum: list[tuple[str, float]], assigned: list[list[str]], rng: np.random.Generator
) -> None:
    loads = [0.0] * len(assigned)
    for start in range(0, len(stratum), len(assigned)):
        round_ = stratum[start : start + len(assigned)]
        order = sorted(rng.permutation(len(assigned)).tolist(), key=loads.__getitem__)
        if len(round_) < len(assigned):
            order.sort(key=lambda fold: len(assigned[fold]))
        for (patient, load), fold in zip(round_, order, strict=False):
            assigned[fold].append(patient)
            loads[fold] += load


def _site_folds(members: Sequence[Member], folds: int, seed: int) -> Folds:
    """Put each site into one fold: the largest first, into the fold with the fewest cases."""
    sizes = Counter(member.site for member in members)
    _check_enough(sizes, folds, "sites")
    _check_one_site_each(members)
    rng = np.random.default_rng(seed)
    sites = rng.permutation(sorted(sizes)).tolist()
    order = rng.permutation(folds).tolist()
    assigned: Folds = [set() for _ in range(folds)]
    for site in sorted(sites, key=lambda site: -sizes[site]):
        smallest = min(order, key=lambda fold: len(assigned[fold]))
        assigned[smallest].update(member.case for member in members if member.site == site)
    return assigned


def _published_folds(members: Sequence[Member], method: str) -> Folds:
    cases = {member.case for member in members}
    published = {case for fold in COVID19_FOLDS for case in fold}
    for differing, verb in ((published - cases, "lacks"), (cases - published, "also has")):
        if differing:
            raise InputError(
                f"`method: {method}` needs exactly the {len(published)} cases of that dataset, but "
                f"this dataset {verb} {listed(sorted(differing), at_most=5)}; choose another method"
            )
    return [cases - {*fold} if method == "covid19_swapped" else {*fold} for fold in COVID19_FOLDS]


_METHODS: dict[str, Callable[[Sequence[Member], int, int], Folds]] = {
    "random": _random_folds,
    "stratified": _stratified_folds,
    "sites": _site_folds,
}


def _shuffled_patients(members: Sequence[Member], seed: int) -> list[str]:
    patients = sorted({member.patient for member in members})
    return np.random.default_rng(seed).permutation(patients).tolist()


def _validation_cases(
    rest: Sequence[Member], order: list[str], params: SplitParams, seed: int
) -> set[str]:
    patients = {member.patient for member in rest}
    count = max(1, round(params.validation * len(patients))) if params.validation > 0 else 0
    if params.method == "stratified" and patients:
        return _cases_of(rest, _systematic_sample(rest, count, seed))
    return _cases_of(rest, [patient for patient in order if patient in patients][:count])


def _systematic_sample(members: Sequence[Member], count: int, seed: int) -> list[str]:
    """Sample patients at even steps, sorted by site and then by disease load.

    The start is random. Sites are sorted by ascending and descending load in turn, so that the
    sample does not favour low or high loads. Each patient has the same chance.
    """
    rng = np.random.default_rng(seed)
    strata = _strata(members, rng)
    serpentine = [stratum[:: 1 if number % 2 else -1] for number, stratum in enumerate(strata)]
    patients = [patient for stratum in serpentine for patient, _ in stratum]
    start = int(rng.integers(len(patients)))
    return [patients[(start + step * len(patients)) // count] for step in range(count)]


def _strata(members: Sequence[Member], rng: np.random.Generator) -> list[list[tuple[str, float]]]:
    """List the patients of each site with their mean load, descending; equal loads in random order.

    A patient with several sites has that of the first case by name.
    """
    own: dict[str, list[Member]] = defaultdict(list)
    for member in sorted(members, key=lambda member: member.case):
        own[member.patient].append(member)
    strata: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for patient in rng.permutation(sorted(own)).tolist():
        load = fmean(member.load for member in own[patient])
        strata[own[patient][0].site].append((patient, load))
    return [sorted(strata[site], key=lambda patient: -patient[1]) for site in sorted(strata)]


def _cases_of(members: Sequence[Member], patients: Collection[str]) -> set[str]:
    return {member.case for member in members if member.patient in patients}


def _check_names(members: Sequence[Member], params: SplitParams) -> None:
    lists = {
        "train": params.train,
        "validation_cases": params.validation_cases,
        "test": params.test,
    }
    known_cases = {member.case for member in members}
    for name, cases in lists.items():
        unknown = sorted(set(cases) - known_cases)
        if unknown:
            raise InputError(
                f"`split.{name}` must name cases of the dataset, got {', '.join(unknown)}"
            )
    times = Counter(case for cases in lists.values() for case in cases)
    repeated = sorted(case for case, count in times.items() if count > 1)
    if repeated:
        raise InputError(
            "`split.train`, `split.validation_cases` and `split.test` must name each case at most "
            f"once, got {', '.join(repeated)} twice"
        )


def _check_patients(
    members: Sequence[Member], params: SplitParams, *, test: set[str], rest: set[str]
) -> None:
    lists = (
        ("test", params.test, rest.union(params.validation_cases)),
        ("validation_cases", params.validation_cases, test | rest),
    )
    for name, cases, others in lists:
        patients = {member.patient for member in members if member.case in cases}
        divided = sorted(_cases_of(members, patients) & others)
        if divided:
            raise InputError(
                f"all cases of a patient must be on one side, but {', '.join(divided)} and a case "
                f"in `split.{name}` are of one patient; name all cases of a patient"
            )


def _check_enough(groups: Collection[str], folds: int, kind: str) -> None:
    count = len(groups)
    if count < folds:
        verb = "is" if count == 1 else "are"
        advice = _ways_for_sites(count) if kind == "sites" else _ways_for_patients(count)
        raise InputError(
            f"`folds: {folds}` needs as many {kind}, but there {verb} {count}; {advice}"
        )


def _ways_for_patients(count: int) -> str:
    """Return the settings that work with a small number of patients."""
    if count < 2:
        return "train a final model on all cases with -S split.fold=none -S split.validation=0"
    final_model = "or -S split.fold=none for a final model without test cases"
    # With two patients, one to test on and one to train on, none is left for validation.
    alone = " -S split.validation=0" if count == 2 else ""
    return f"use -S split.folds={count}{alone}, {final_model}"


def _ways_for_sites(count: int) -> str:
    fewer = f"use -S split.folds={count}, or " if count > 1 else ""
    return f"{fewer}set `site` in dataset.yaml to distinguish them"


def _no_training_case(params: SplitParams) -> str:
    drawn = params.validation > 0 and not params.validation_cases
    advice = "use -S split.validation=0, which keeps the last weights" if drawn else ""
    return f"no case is left to train on; {' or '.join(filter(None, [advice, 'add cases']))}"


def _check_one_site_each(members: Sequence[Member]) -> None:
    pairs = {(member.patient, member.site) for member in members}
    counts = Counter(patient for patient, _ in pairs)
    several = sorted(patient for patient, count in counts.items() if count > 1)
    if several:
        raise InputError(
            "`method: sites` needs all cases of a patient from one site, but those of "
            f"{listed(several, at_most=5)} are from several; change `site` in dataset.yaml"
        )


def _leak_note(members: Sequence[Member], *, test: set[str], seen: set[str]) -> str:
    sides = [{member.patient for member in members if member.case in side} for side in (test, seen)]
    both = sorted(sides[0] & sides[1])
    if not both:
        return ""
    return (
        f"training uses other scans of {', '.join(both)}, who are also tested in this published "
        "fold, so its metrics may be too high"
    )
