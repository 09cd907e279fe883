"""Folds keep the cases of a patient together and test every case once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.errors import InputError
from thorax.folds import Split, split_by_name, split_by_patient

PATIENTS = {"a1": "a", "a2": "a", "b1": "b", "c1": "c", "c2": "c", "d1": "d"}
"""Six cases of four patients."""

cohorts = st.dictionaries(
    st.text("xyz123", min_size=1, max_size=4), st.sampled_from("abcdefgh"), min_size=1
).filter(lambda patients: len(set(patients.values())) >= 4)


def sides_of(split: Split) -> list[tuple[str, ...]]:
    return [split.train, split.validation, split.test]


def owners(cases: tuple[str, ...], patients: dict[str, str]) -> set[str]:
    return {patients[case] for case in cases}


@given(cohorts, st.integers(2, 4), st.sampled_from([0.0, 0.2]), st.integers(0, 99))
def test_folds_partition_the_cases_and_never_a_patient(
    patients: dict[str, str], folds: int, validation: float, seed: int
) -> None:
    tested: list[str] = []
    for fold in range(folds):
        split = split_by_patient(patients, folds=folds, fold=fold, validation=validation, seed=seed)
        sides = sides_of(split)
        assert sorted(case for side in sides for case in side) == sorted(patients)
        people = [owner for side in sides for owner in owners(side, patients)]
        assert sorted(people) == sorted(set(patients.values()))
        assert all(list(side) == sorted(side) for side in sides)
        assert split.train
        assert split.test
        assert bool(split.validation) == (validation > 0)
        tested.extend(split.test)
    assert sorted(tested) == sorted(patients)


def test_folds_are_of_equal_size_up_to_one_patient() -> None:
    patients = {f"case{number}": f"patient{number}" for number in range(10)}
    sizes = [
        len(split_by_patient(patients, folds=4, fold=fold, validation=0, seed=0).test)
        for fold in range(4)
    ]
    assert sorted(sizes) == [2, 2, 3, 3]


def test_the_seed_draws_the_folds() -> None:
    patients = {f"case{number}": f"patient{number}" for number in range(10)}

    def draw(seed: int) -> Split:
        return split_by_patient(patients, folds=5, fold=0, validation=0.2, seed=seed)

    assert draw(1) == draw(1)
    assert len({draw(seed).test for seed in range(10)}) > 5


def test_the_order_of_the_cases_does_not_matter() -> None:
    backwards = dict(reversed(PATIENTS.items()))
    splits = [
        split_by_patient(each, folds=4, fold=1, validation=0.3, seed=5)
        for each in (PATIENTS, backwards)
    ]
    assert splits[0] == splits[1]


@pytest.mark.parametrize(
    ("share", "patients"),
    [
        pytest.param(0.0, 0, id="none"),
        pytest.param(0.01, 1, id="at least one"),
        pytest.param(0.25, 2, id="a quarter of eight"),
        pytest.param(0.5, 4, id="half"),
    ],
)
def test_validation_is_a_share_of_the_patients_that_do_not_test(
    share: float, patients: int
) -> None:
    cohort = {f"case{number}": f"patient{number}" for number in range(10)}
    by_fold = split_by_patient(cohort, folds=5, fold=0, validation=share, seed=0)
    assert len(by_fold.validation) == patients
    by_name = split_by_name(cohort, test=["case0", "case1"], validation=share, seed=0)
    assert len(by_name.validation) == patients


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_is_one_of_the_folds(fold: int) -> None:
    with pytest.raises(InputError, match=rf"`fold` must lie in 0\.\.2, got {fold}"):
        split_by_patient(PATIENTS, folds=3, fold=fold, validation=0, seed=0)


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(InputError, match="`folds: 5` needs as many patients, but there are 4"):
        split_by_patient(PATIENTS, folds=5, fold=0, validation=0, seed=0)


def test_validation_must_leave_something_to_train_on() -> None:
    with pytest.raises(InputError, match="no case is left to train on: add cases or lower"):
        split_by_patient(PATIENTS, folds=4, fold=0, validation=0.99, seed=0)


def test_cases_are_tested_by_name() -> None:
    split = split_by_name(PATIENTS, test=["c2", "c1"], validation=0, seed=0)
    assert split == Split(train=("a1", "a2", "b1", "d1"), validation=(), test=("c1", "c2"))


def test_the_seed_draws_who_watches_when_cases_are_named() -> None:
    watched = {
        split_by_name(PATIENTS, test=["d1"], validation=0.3, seed=seed).validation
        for seed in range(20)
    }
    assert watched == {("a1", "a2"), ("b1",), ("c1", "c2")}


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"`split\.test` names cases that are not there: e1, z9$"):
        split_by_name(PATIENTS, test=["z9", "b1", "e1"], validation=0, seed=0)


def test_a_patient_on_both_sides_is_refused() -> None:
    with pytest.raises(InputError, match=r"must stay on one side, but a2 shows a patient of"):
        split_by_name(PATIENTS, test=["a1", "b1"], validation=0, seed=0)


def test_testing_everybody_is_refused() -> None:
    with pytest.raises(InputError, match="no case is left to train on"):
        split_by_name(PATIENTS, test=list(PATIENTS), validation=0, seed=0)
