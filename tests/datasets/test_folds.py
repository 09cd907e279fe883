"""Folds keep the cases of a patient together and test every case once."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.common.errors import InputError
from thorax.common.params import SplitParams
from thorax.datasets.dataset import load_spec
from thorax.datasets.folds import Member, Split, split_cases
from thorax.datasets.published_folds import COVID19_FOLDS
from thorax.imaging.overlap import Overlap
from thorax.pipeline.train import members_of
from thorax.preprocessing.index import RecordEntry, RecordIndex

SIX = [Member(case, case[0]) for case in ("a1", "a2", "b1", "c1", "c2", "d1")]
"""Six cases of four patients."""

TEN = [Member(f"case{number}", f"patient{number}") for number in range(10)]

TWO_SITES = [
    Member(f"{site}{number}", f"{site}{number}", site, load)
    for site, loads in (("k", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)), ("m", (0.0, 0.2, 0.4, 0.6)))
    for number, load in enumerate(loads)
]
"""Ten patients: six of site k, four of site m."""

METHODS = ("random", "stratified", "sites")

PUBLISHED = ("covid19", "covid19_swapped")


def split(members: Sequence[Member], seed: int = 0, **changes: object) -> Split:
    defaults = SplitParams(
        method="random", folds=4, fold=0, validation=0.0, train=[], validation_cases=[], test=[]
    )
    return split_cases(members, dataclasses.replace(defaults, **changes), seed=seed)


def all_folds(
    members: Sequence[Member], folds: int, seed: int = 0, **changes: object
) -> list[Split]:
    return [split(members, seed, folds=folds, fold=fold, **changes) for fold in range(folds)]


def sides_of(result: Split) -> list[tuple[str, ...]]:
    return [result.train, result.validation, result.test]


def patients_of(cases: Sequence[str], members: Sequence[Member]) -> set[str]:
    return {member.patient for member in members if member.case in cases}


def sites_of(cases: Sequence[str], members: Sequence[Member]) -> list[str]:
    return sorted(member.site for member in members if member.case in cases)


@st.composite
def cohorts(draw: st.DrawFn) -> list[Member]:
    """One to three cases of each of four to twelve patients; a patient stays at one site."""
    count = draw(st.integers(4, 12))
    sites = ["q", "r", "s", "t", *draw(st.lists(st.sampled_from("qrstuv"), min_size=count - 4))]
    return [
        Member(f"{number}-{case}", f"p{number}", sites[number], draw(st.floats(0, 1)))
        for number in range(count)
        for case in range(draw(st.integers(1, 3)))
    ]


# Laws of all methods


@pytest.mark.parametrize("method", METHODS)
@given(cohorts(), st.integers(2, 4), st.sampled_from([0.0, 0.2]), st.integers(0, 99))
def test_folds_partition_the_cases_and_never_divide_a_patient(
    method: str, members: list[Member], folds: int, validation: float, seed: int
) -> None:
    tested: list[str] = []
    for result in all_folds(members, folds, seed, method=method, validation=validation):
        sides = sides_of(result)
        cases = sorted(member.case for member in members)
        assert sorted(case for side in sides for case in side) == cases
        patients = [patient for side in sides for patient in patients_of(side, members)]
        assert sorted(patients) == sorted({member.patient for member in members})
        assert all(list(side) == sorted(side) for side in sides)
        assert result.train
        assert result.test
        assert bool(result.validation) == (validation > 0)
        assert result.note == ""
        tested.extend(result.test)
    assert sorted(tested) == sorted(member.case for member in members)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_folds_are_of_equal_size_up_to_one_patient(method: str) -> None:
    for members in (TEN, TWO_SITES):
        sizes = [len(result.test) for result in all_folds(members, 4, method=method)]
        assert sorted(sizes) == [2, 2, 3, 3]


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_determines_the_folds(method: str) -> None:
    members = [
        Member(f"{site}{number}", f"{site}{number}", site) for site in "qrstu" for number in (1, 2)
    ]

    def draw(seed: int) -> Split:
        return split(members, seed, method=method, folds=5, validation=0.2)

    assert draw(1) == draw(1)
    assert len({draw(seed).test for seed in range(20)}) >= 5
    assert len({draw(seed).validation for seed in range(20)}) >= 5


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_cases_does_not_matter(method: str) -> None:
    members = [dataclasses.replace(member, site=member.patient) for member in SIX]
    first, second = (
        split(order, 5, method=method, fold=1, validation=0.3) for order in (members, members[::-1])
    )
    assert first == second


@pytest.mark.parametrize(
    ("share", "patients"),
    [
        pytest.param(0.0, 0, id="none"),
        pytest.param(0.01, 1, id="at least one"),
        pytest.param(0.25, 2, id="a quarter of eight"),
        pytest.param(0.5, 4, id="half"),
    ],
)
@pytest.mark.parametrize("method", ["random", "stratified"])
def test_validation_is_a_share_of_the_patients_outside_the_test_cases(
    method: str, share: float, patients: int
) -> None:
    by_fold = split(TEN, method=method, folds=5, validation=share)
    assert len(by_fold.validation) == patients
    by_name = split(TEN, method=method, test=["case0", "case1"], validation=share)
    assert len(by_name.validation) == patients


@pytest.mark.parametrize("fold", [3, 7])
def test_a_fold_outside_the_folds_is_refused(fold: int) -> None:
    with pytest.raises(InputError, match=rf"`fold` must be in 0\.\.2, got {fold}"):
        split(SIX, folds=3, fold=fold)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_more_folds_than_patients_are_refused(method: str) -> None:
    with pytest.raises(InputError) as refused:
        split(SIX, method=method, folds=5)
    assert str(refused.value) == (
        "`folds: 5` needs as many patients, but there are 4; use -S split.folds=4, or -S "
        "split.fold=none for a final model without test cases"
    )


@pytest.mark.parametrize(
    ("cases", "advice", "working"),
    [
        (
            1,
            "there is 1; train a final model on all cases with -S split.fold=none "
            "-S split.validation=0",
            [{"fold": "none", "validation": 0}],
        ),
        (
            2,
            "there are 2; use -S split.folds=2 -S split.validation=0, or -S split.fold=none for a "
            "final model without test cases",
            [{"folds": 2, "validation": 0}, {"fold": "none"}],
        ),
        (
            3,
            "there are 3; use -S split.folds=3, or -S split.fold=none for a final model without "
            "test cases",
            [{"folds": 3}, {"fold": "none"}],
        ),
    ],
)
def test_the_advice_for_few_patients_works(
    cases: int, advice: str, working: list[dict[str, object]]
) -> None:
    members = [Member(name, name) for name in "abc"[:cases]]
    with pytest.raises(InputError) as refused:
        split(members, folds=5, validation=0.2)
    assert str(refused.value).endswith(advice)
    for settings in working:
        result = split(members, **{"folds": 5, "validation": 0.2, **settings})
        assert sorted({*result.train, *result.validation, *result.test}) == list("abc"[:cases])


def test_validation_must_leave_training_cases() -> None:
    with pytest.raises(
        InputError, match=r"no case is left to train on; use -S split\.validation=0"
    ):
        split(SIX, validation=0.99)


# Random


def test_random_folds_do_not_change_between_versions() -> None:
    """Reported splits must be reproducible with the same seed."""
    splits = [(result.test, result.validation) for result in all_folds(TEN, 5, validation=0.2)]
    assert splits == [
        (("case4", "case6"), ("case2", "case7")),
        (("case2", "case7"), ("case4", "case6")),
        (("case3", "case5"), ("case4", "case6")),
        (("case0", "case9"), ("case4", "case6")),
        (("case1", "case8"), ("case4", "case6")),
    ]
    tests = [result.test for result in all_folds(TEN, 5, seed=1)]
    assert tests == [
        ("case4", "case8"),
        ("case0", "case7"),
        ("case1", "case2"),
        ("case5", "case9"),
        ("case3", "case6"),
    ]


# Stratified


@pytest.mark.parametrize("seed", range(10))
def test_stratified_folds_balance_sites_and_loads(seed: int) -> None:
    """Loads in tenths: six patients of site k form rounds 5 4, 3 2 and 1 0; four of m, 6 4 and 2 0.

    Each fold therefore has three of k and two of m, and the sums of load differ by at most 0.1.
    """
    for result in all_folds(TWO_SITES, 2, seed, method="stratified"):
        assert sites_of(result.test, TWO_SITES) == ["k", "k", "k", "m", "m"]
        loads = {
            site: sum(
                member.load
                for member in TWO_SITES
                if member.case in result.test and member.site == site
            )
            for site in "km"
        }
        assert loads["k"] in (pytest.approx(0.7), pytest.approx(0.8))
        assert loads["m"] == pytest.approx(0.6)


def test_random_folds_do_not_balance_sites() -> None:
    """Shows that the test above depends on the method."""
    sites = {
        tuple(sites_of(result.test, TWO_SITES))
        for seed in range(10)
        for result in all_folds(TWO_SITES, 2, seed)
    }
    assert len(sites) > 1


@given(cohorts(), st.integers(2, 4), st.integers(0, 99))
def test_stratified_folds_differ_by_at_most_one_patient_in_total_and_per_site(
    members: list[Member], folds: int, seed: int
) -> None:
    tests = [result.test for result in all_folds(members, folds, seed, method="stratified")]
    groups = [
        members,
        *([member for member in members if member.site == site] for site in "qrstuv"),
    ]
    for group in groups:
        sizes = [len(patients_of(test, group)) for test in tests]
        assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(0, 100), min_size=4, max_size=16), st.integers(0, 99))
def test_sums_of_load_in_full_rounds_differ_by_at_most_the_range_of_loads(
    loads: list[int], seed: int
) -> None:
    loads = loads[: len(loads) // 4 * 4]
    members = [Member(f"{n:02d}", f"{n:02d}", "k", load / 100) for n, load in enumerate(loads)]
    sums = [
        sum(loads[int(case)] for case in result.test)
        for result in all_folds(members, 4, seed, method="stratified")
    ]
    assert max(sums) - min(sums) <= max(loads) - min(loads)


@pytest.mark.parametrize("seed", range(10))
def test_validation_cases_are_stratified_too(seed: int) -> None:
    """Five of ten: three of k and two of m, and one of each two neighbours in load."""
    result = split(TWO_SITES, seed, method="stratified", fold="none", validation=0.5)
    assert sites_of(result.validation, TWO_SITES) == ["k", "k", "k", "m", "m"]
    for pair in (("k0", "k1"), ("k2", "k3"), ("k4", "k5"), ("m0", "m1"), ("m2", "m3")):
        assert len(set(pair) & set(result.validation)) == 1


def test_a_patient_counts_once_with_the_mean_load_and_the_first_site() -> None:
    """Mean loads: a 0.9 (of 0.8 and 1), b 0.6, c 0.5, d 0; the highest is with the lowest."""
    loads = {"a1": 0.8, "a2": 1.0, "b1": 0.6, "c1": 0.5, "c2": 0.5, "d1": 0.0}
    members = [
        Member(case, case[0], "z" if case == "a2" else "k", load) for case, load in loads.items()
    ]
    tests = {result.test for result in all_folds(members, 2, method="stratified")}
    assert tests == {("a1", "a2", "d1"), ("b1", "c1", "c2")}


# Sites


def test_a_site_is_in_one_fold_and_sizes_are_balanced() -> None:
    """Sites of 5, 3, 2 and 1 cases give two folds of 5 and 3 + 2; the site of 1 is in either."""
    members = [
        Member(f"{site}{number}", f"{site}{number}", site)
        for site, count in (("k", 5), ("m", 3), ("n", 2), ("o", 1))
        for number in range(count)
    ]
    for seed in range(10):
        tests = [result.test for result in all_folds(members, 2, seed, method="sites")]
        sites = {"".join(sorted(set(sites_of(test, members)))) for test in tests}
        assert sites in ({"ko", "mn"}, {"k", "mno"})
        assert sorted(map(len, tests)) == [5, 6]


@given(cohorts(), st.integers(2, 4), st.integers(0, 99))
def test_no_site_is_in_two_folds(members: list[Member], folds: int, seed: int) -> None:
    tests = [result.test for result in all_folds(members, folds, seed, method="sites")]
    times = Counter(site for test in tests for site in set(sites_of(test, members)))
    assert set(times.values()) == {1}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(
            TWO_SITES,
            "there are 2; use -S split.folds=2, or set `site` in dataset.yaml to distinguish them$",
            id="two",
        ),
        pytest.param(
            TEN, "there is 1; set `site` in dataset.yaml to distinguish them$", id="none set"
        ),
    ],
)
def test_more_folds_than_sites_are_refused(members: list[Member], message: str) -> None:
    with pytest.raises(InputError, match=f"`folds: 3` needs as many sites, but {message}"):
        split(members, method="sites", folds=3)


def test_a_patient_of_two_sites_is_refused() -> None:
    members = [Member("a1", "a", "k"), Member("a2", "a", "m"), Member("b1", "b", "n")]
    with pytest.raises(
        InputError, match="all cases of a patient from one site, but those of a are from several; "
    ):
        split(members, method="sites", folds=2)


# Published


def covid19() -> list[Member]:
    spec = load_spec(Path(__file__).parents[2] / "data" / "covid19" / "dataset.yaml")
    return [
        Member(case, spec.patient_of(case), spec.site_of(case))
        for fold in COVID19_FOLDS
        for case in fold
    ]


def test_the_published_folds_test_what_was_published() -> None:
    folds = all_folds(covid19(), 5, method="covid19", validation=0.25)
    assert folds[1].test == (
        "coronacases_004",
        "coronacases_009",
        "radiopaedia_14_85914_0",
        "radiopaedia_7_85703_0",
    )
    for fold in folds:
        assert len({case for side in sides_of(fold) for case in side}) == 20
        assert not patients_of(fold.train, covid19()) & patients_of(fold.validation, covid19())
        assert fold.validation
    assert len({case for fold in folds for case in fold.test}) == 20


def test_swapped_folds_train_on_what_the_published_ones_test() -> None:
    published = all_folds(covid19(), 5, method="covid19")
    swapped = all_folds(covid19(), 5, method="covid19_swapped")
    assert [fold.train for fold in swapped] == [fold.test for fold in published]
    assert [fold.test for fold in swapped] == [fold.train for fold in published]
    assert {fold.validation for fold in swapped} == {()}
    times = Counter(case for fold in swapped for case in fold.test)
    assert set(times.values()) == {4}


def test_validation_cases_of_swapped_folds_are_some_of_the_four() -> None:
    published = all_folds(covid19(), 5, method="covid19")
    swapped = all_folds(covid19(), 5, method="covid19_swapped", validation=0.2)
    assert [len(fold.validation) for fold in swapped] == [1] * 5
    assert [{*fold.train, *fold.validation} for fold in swapped] == [
        {*fold.test} for fold in published
    ]


def test_folds_by_patient_of_the_covid_19_set_have_no_patient_on_both_sides() -> None:
    """Patients 10 and 29 have two scans each: 18 patients in five folds of three or four."""
    folds = all_folds(covid19(), 5, method="random")
    assert sorted(len(patients_of(fold.test, covid19())) for fold in folds) == [3, 3, 4, 4, 4]
    for pair in (
        {"radiopaedia_10_85902_1", "radiopaedia_10_85902_3"},
        {"radiopaedia_29_86490_1", "radiopaedia_29_86491_1"},
    ):
        assert [len(pair.intersection(fold.test)) for fold in folds].count(2) == 1
    assert {fold.note for fold in folds} == {""}


@pytest.mark.parametrize("method", PUBLISHED)
def test_patients_divided_by_the_published_folds_are_named(method: str) -> None:
    notes = [result.note for result in all_folds(covid19(), 5, method=method, validation=0.2)]
    note = (
        "training uses other scans of radiopaedia_10, radiopaedia_29, who are also tested in this "
        "published fold, so its metrics may be too high"
    )
    assert notes == ["", "", note, "", note]


def test_the_seed_determines_the_validation_cases_of_published_folds() -> None:
    folds = [split(covid19(), seed, method="covid19", folds=5, validation=0.2) for seed in range(9)]
    assert len({fold.test for fold in folds}) == 1
    assert len({fold.validation for fold in folds}) > 4


def test_validation_cases_may_be_named_with_published_folds() -> None:
    named = ["coronacases_001", "radiopaedia_4_85506_1"]
    result = split(covid19(), method="covid19", folds=5, fold=1, validation_cases=named)
    assert (result.validation, len(result.train)) == (tuple(named), 14)
    with pytest.raises(
        InputError, match=r"but coronacases_001 and a case in `split\.validation_cases`"
    ):
        split(covid19(), method="covid19", folds=5, fold=2, validation_cases=named)


@pytest.mark.parametrize(
    ("members", "folds", "message"),
    [
        pytest.param(covid19(), 4, "needs `folds: 5`, as published, got 4$", id="folds"),
        pytest.param(
            covid19()[1:], 5, "but this dataset lacks coronacases_007; choose another", id="lacks"
        ),
        pytest.param(
            [*covid19(), *SIX[:2]], 5, "but this dataset also has a1 and a2; choose", id="also has"
        ),
        pytest.param(
            SIX,
            5,
            "lacks coronacases_001, coronacases_002, coronacases_003, coronacases_004, "
            "coronacases_005 and 15 more; choose",
            id="another dataset",
        ),
    ],
)
@pytest.mark.parametrize("method", PUBLISHED)
def test_published_folds_are_refused_for_other_cases(
    members: list[Member], folds: int, message: str, method: str
) -> None:
    with pytest.raises(InputError, match=f"^`method: {method}` .*{message}") as caught:
        split(members, method=method, folds=folds)
    assert "\n" not in str(caught.value)


# A final model


@pytest.mark.parametrize("method", [*METHODS, *PUBLISHED])
def test_a_final_model_trains_on_everything(method: str) -> None:
    result = split(SIX, method=method, fold="none")
    assert result == Split(train=("a1", "a2", "b1", "c1", "c2", "d1"), validation=(), test=())


def test_a_final_model_may_have_validation_cases() -> None:
    result = split(SIX, fold="none", validation=0.25)
    assert result.test == ()
    assert len(patients_of(result.validation, SIX)) == 1
    assert sorted(result.train + result.validation) == [member.case for member in SIX]


# By name


def test_cases_are_tested_by_name() -> None:
    result = split(SIX, test=["c2", "c1"], fold=3)
    assert result == Split(train=("a1", "a2", "b1", "d1"), validation=(), test=("c1", "c2"))


def test_validation_cases_with_named_test_cases_do_not_change_between_versions() -> None:
    result = split(TEN, test=["case0", "case1"], validation=0.25)
    assert result.validation == ("case4", "case6")


def test_the_seed_determines_the_validation_cases_with_named_test_cases() -> None:
    validation = {split(SIX, seed, test=["d1"], validation=0.3).validation for seed in range(20)}
    assert validation == {("a1", "a2"), ("b1",), ("c1", "c2")}


def test_named_validation_cases_replace_the_share() -> None:
    result = split(SIX, test=["d1"], validation_cases=["b1"], validation=0.9)
    assert result == Split(train=("a1", "a2", "c1", "c2"), validation=("b1",), test=("d1",))


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_folds_are_drawn_without_the_named_validation_cases(method: str) -> None:
    folds = all_folds(SIX, 3, method=method, validation_cases=["a1", "a2"])
    assert {fold.test for fold in folds} == {("b1",), ("c1", "c2"), ("d1",)}
    assert {fold.validation for fold in folds} == {("a1", "a2")}


def test_named_training_cases_exclude_the_others() -> None:
    assert split(SIX, train=["a1", "b1"]) == Split(("a1", "b1"), (), ())
    assert split(SIX, train=["b1"], test=["a1"], validation_cases=["c1"]) == Split(
        ("b1",), ("c1",), ("a1",)
    )


def test_the_validation_share_is_taken_from_named_training_cases() -> None:
    results = {split(SIX, seed, train=["b1", "d1"], validation=0.5) for seed in range(9)}
    assert results == {Split(("b1",), ("d1",), ()), Split(("d1",), ("b1",), ())}


@pytest.mark.parametrize("name", ["train", "validation_cases", "test"])
def test_an_unknown_case_is_refused(name: str) -> None:
    message = rf"`split\.{name}` must name cases of the dataset, got e1, z9$"
    with pytest.raises(InputError, match=message):
        split(SIX, **{name: ["z9", "b1", "e1"]})


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        pytest.param({"test": ["a1"], "validation_cases": ["a1"]}, "a1", id="test and validation"),
        pytest.param({"test": ["b1", "d1"], "train": ["d1", "b1"]}, "b1, d1", id="train"),
        pytest.param({"validation_cases": ["c1", "c1"]}, "c1", id="one list"),
    ],
)
def test_a_case_named_twice_is_refused(lists: dict[str, list[str]], names: str) -> None:
    with pytest.raises(InputError, match=f"must name each case at most once, got {names} twice$"):
        split(SIX, **lists)


@pytest.mark.parametrize(
    ("lists", "divided", "name"),
    [
        pytest.param({"test": ["a1", "b1"]}, "a2", "test", id="test and rest"),
        pytest.param({"test": ["a1"], "train": ["a2"]}, "a2", "test", id="test and train"),
        pytest.param(
            {"test": ["a1"], "validation_cases": ["a2"]}, "a2", "test", id="test and validation"
        ),
        pytest.param(
            {"validation_cases": ["c2"], "fold": "none"},
            "c1",
            "validation_cases",
            id="validation and rest",
        ),
        pytest.param(
            {"validation_cases": ["c2"], "train": ["c1"]},
            "c1",
            "validation_cases",
            id="validation and train",
        ),
        pytest.param(
            {"validation_cases": ["c2"], "folds": 2},
            "c1",
            "validation_cases",
            id="validation and fold",
        ),
        pytest.param(
            {"validation_cases": ["c2"], "folds": 2, "fold": 1},
            "c1",
            "validation_cases",
            id="second fold",
        ),
    ],
)
def test_a_patient_on_both_sides_is_refused(
    lists: dict[str, object], divided: str, name: str
) -> None:
    message = rf"must be on one side, but {divided} and a case in `split\.{name}` are of one"
    with pytest.raises(InputError, match=message):
        split(SIX, **lists)


def test_a_split_without_training_cases_is_refused() -> None:
    with pytest.raises(InputError, match="no case is left to train on"):
        split(SIX, test=[member.case for member in SIX], validation=0.5, method="stratified")


# Members


@pytest.mark.parametrize(
    ("voxels", "load"),
    [
        pytest.param({"lung": 400, "infection": 100}, 0.25, id="a quarter"),
        pytest.param({"infection": 100, "lung": 400, "lobe": 200}, 0.25, id="smallest and largest"),
        pytest.param({"lung": 400, "infection": 0}, 0.0, id="healthy"),
        pytest.param({"lung": 0, "infection": 0}, 0.0, id="empty mask"),
        pytest.param({"lung": 400}, 0.0, id="one region"),
    ],
)
def test_the_disease_load_is_computed_from_the_original_mask(
    voxels: dict[str, int], load: float
) -> None:
    ceiling = {region: Overlap(1, count, 2) for region, count in voxels.items()}
    entry = RecordEntry("a1", "a", "k", 3, "5" * 64, "a" * 64, "hu", "c" * 64, ceiling)
    index = RecordIndex(1, "chests", 8, "none", dict.fromkeys(voxels, (1,)), (), (entry,))
    assert members_of(index) == (Member("a1", "a", "k", load),)
