"""Folds: which cases train, which watch the training, which test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thorax.errors import InputError


@dataclass(frozen=True)
class Split:
    """Case names on the three sides, each sorted.

    Args:
        train: Their planes are learnt from.
        validation: Watched each epoch to keep the best weights; may be empty.
        test: Never seen by training in any way.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def split_by_patient(
    patients: Mapping[str, str], *, folds: int, fold: int, validation: float, seed: int
) -> Split:
    """Split cases into `folds` folds by patient; one fold is the test.

    Args:
        patients: Case name → patient.
        folds: How many folds.
        fold: Which of them is the test, from 0.
        validation: Share of the other patients set aside to watch the training; at least one
            patient unless it is 0.
        seed: Draws the folds. All folds of one seed together test every case once.

    Raises:
        InputError: There are fewer patients than folds, or nothing is left to train on.
    """
    if not 0 <= fold < folds:
        raise InputError(f"`fold` must lie in 0..{folds - 1}, got {fold}")
    names = sorted(set(patients.values()))
    if len(names) < folds:
        raise InputError(f"`folds: {folds}` needs as many patients, but there are {len(names)}")
    drawn = np.random.default_rng(seed).permutation(names)
    parts = np.array_split(drawn, folds)
    rest = np.concatenate([part for number, part in enumerate(parts) if number != fold])
    return _sides(patients, parts[fold].tolist(), _watched(rest.tolist(), validation))


def split_by_name(
    patients: Mapping[str, str], *, test: Sequence[str], validation: float, seed: int
) -> Split:
    """Test on the cases named; train on all others.

    Raises:
        InputError: A name is unknown, a patient would stand on both sides, or nothing is left to
            train on.
    """
    unknown = sorted(set(test) - set(patients))
    if unknown:
        raise InputError(f"`split.test` names cases that are not there: {', '.join(unknown)}")
    tested = {patients[name] for name in test}
    torn = sorted(case for case in patients if patients[case] in tested and case not in test)
    if torn:
        raise InputError(
            f"a patient must stay on one side, but {', '.join(torn)} shows a patient of "
            "`split.test`; name all cases of a patient"
        )
    rest = sorted(set(patients.values()) - tested)
    drawn = np.random.default_rng(seed).permutation(rest).tolist()
    return _sides(patients, sorted(tested), _watched(drawn, validation))


def _watched(patients: list[str], share: float) -> list[str]:
    return patients[: max(1, round(share * len(patients)))] if share > 0 else []


def _sides(patients: Mapping[str, str], test: list[str], validation: list[str]) -> Split:
    def cases(of: set[str]) -> tuple[str, ...]:
        return tuple(sorted(name for name, patient in patients.items() if patient in of))

    learnt = cases(set(patients.values()) - set(test) - set(validation))
    if not learnt:
        raise InputError("no case is left to train on: add cases or lower `split.validation`")
    return Split(learnt, cases(set(validation)), cases(set(test)))
