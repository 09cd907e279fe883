"""The published folds contain each case of the COVID-19 dataset once."""

from collections import Counter
from pathlib import Path

from thorax.datasets.dataset import load_spec
from thorax.datasets.published_folds import COVID19_FOLDS

SPEC = load_spec(Path(__file__).parents[2] / "data" / "covid19" / "dataset.yaml")
CASES = [case for fold in COVID19_FOLDS for case in fold]


def test_each_of_the_twenty_cases_is_tested_once_in_folds_of_four() -> None:
    assert [len(fold) for fold in COVID19_FOLDS] == [4] * 5
    assert len(set(CASES)) == 20
    assert {f"coronacases_{number:03d}" for number in range(1, 11)} < set(CASES)


def test_both_sources_have_ten_cases_and_two_in_each_fold() -> None:
    assert Counter(map(SPEC.site_of, CASES)) == {"coronacases": 10, "radiopaedia": 10}
    for fold in COVID19_FOLDS:
        sites = [SPEC.site_of(case) for case in fold]
        assert sites == ["coronacases"] * 2 + ["radiopaedia"] * 2


def test_two_patients_are_in_two_folds() -> None:
    folds = {
        patient: [
            number
            for number, fold in enumerate(COVID19_FOLDS)
            if patient in map(SPEC.patient_of, fold)
        ]
        for patient in map(SPEC.patient_of, CASES)
    }
    assert len(folds) == 18
    assert {patient: numbers for patient, numbers in folds.items() if len(numbers) > 1} == {
        "radiopaedia_10": [2, 4],
        "radiopaedia_29": [2, 4],
    }
