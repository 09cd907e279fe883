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

DRAWN = ("random", "stratified", "sites")


def split(members: Sequence[Member], seed: int = 0, **changes: object) -> Split:
    plain = SplitParams(
        method="random", folds=4, fold=0, validation=0.0, train=[], validation_cases=[], test=[]
    )
    return split_cases(members, dataclasses.replace(plain, **changes), seed=seed)


def all_folds(
    members: Sequence[Member], folds: int, seed: int = 0, **changes: object
) -> list[Split]:
    return [split(members, seed, folds=folds, fold=fold, **changes) for fold in range(folds)]


def sides_of(found: Split) -> list[tuple[str, ...]]:
    return [found.train, found.validation, found.test]


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


# Laws of all that is drawn


@pytest.mark.parametrize("method", DRAWN)
@given(cohorts(), st.integers(2, 4), st.sampled_from([0.0, 0.2]), st.integers(0, 99))
def test_folds_partition_the_cases_and_never_a_patient(
    method: str, members: list[Member], folds: int, validation: float, seed: int
) -> None:
    tested: list[str] = []
    for found in all_folds(members, folds, seed, method=method, validation=validation):
        sides = sides_of(found)
        cases = sorted(member.case for member in members)
        assert sorted(case for side in sides for case in side) == cases
        people = [patient for side in sides for patient in patients_of(side, members)]
        assert sorted(people) == sorted({member.patient for member in members})
        assert all(list(side) == sorted(side) for side in sides)
        assert found.train
        assert found.test
        assert bool(found.validation) == (validation > 0)
        assert found.note == ""
        tested.extend(found.test)
    assert sorted(tested) == sorted(member.case for member in members)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_folds_are_of_equal_size_up_to_one_patient(method: str) -> None:
    for members in (TEN, TWO_SITES):
        sizes = [len(found.test) for found in all_folds(members, 4, method=method)]
        assert sorted(sizes) == [2, 2, 3, 3]


@pytest.mark.parametrize("method", DRAWN)
def test_the_seed_draws_the_folds(method: str) -> None:
    members = [
        Member(f"{site}{number}", f"{site}{number}", site) for site in "qrstu" for number in (1, 2)
    ]

    def draw(seed: int) -> Split:
        return split(members, seed, method=method, folds=5, validation=0.2)

    assert draw(1) == draw(1)
    assert len({draw(seed).test for seed in range(20)}) >= 5
    assert len({draw(seed).validation for seed in range(20)}) >= 5


@pytest.mark.parametrize("method", DRAWN)
def test_the_order_of_the_cases_does_not_matter(method: str) -> None:
    members = [dataclasses.replace(one, site=one.patient) for one in SIX]
    splits = [
        split(each, 5, method=method, fold=1, validation=0.3) for each in (members, members[::-1])
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
@pytest.mark.parametrize("method", ["random", "stratified"])
def test_validation_is_a_share_of_the_patients_that_do_not_test(
    method: str, share: float, patients: int
) -> None:
    by_fold = split(TEN, method=method, folds=5, validation=share)
    assert len(by_fold.validation) == patients
    by_name = split(TEN, method=method, test=["case0", "case1"], validation=share)
    assert len(by_name.validation) == patients


@pytest.mark.parametrize("fold", [3, 7])
def test_a_fold_is_one_of_the_folds(fold: int) -> None:
    with pytest.raises(InputError, match=rf"`fold` must lie in 0\.\.2, got {fold}"):
        split(SIX, folds=3, fold=fold)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_more_folds_than_patients_are_refused(method: str) -> None:
    with pytest.raises(InputError, match=r"`folds: 5` needs as many patients, but there are 4$"):
        split(SIX, method=method, folds=5)


def test_validation_must_leave_something_to_train_on() -> None:
    with pytest.raises(InputError, match="no case is left to train on: add cases or lower"):
        split(SIX, validation=0.99)


# Random


def test_random_folds_stay_what_they_were() -> None:
    """Splits that users have reported must be drawn again by the same seed."""
    drawn = [(found.test, found.validation) for found in all_folds(TEN, 5, validation=0.2)]
    assert drawn == [
        (("case4", "case6"), ("case2", "case7")),
        (("case2", "case7"), ("case4", "case6")),
        (("case3", "case5"), ("case4", "case6")),
        (("case0", "case9"), ("case4", "case6")),
        (("case1", "case8"), ("case4", "case6")),
    ]
    other = [found.test for found in all_folds(TEN, 5, seed=1)]
    assert other == [
        ("case4", "case8"),
        ("case0", "case7"),
        ("case1", "case2"),
        ("case5", "case9"),
        ("case3", "case6"),
    ]


# Stratified


@pytest.mark.parametrize("seed", range(10))
def test_stratified_folds_share_out_sites_and_loads(seed: int) -> None:
    """Six of site k make rounds 5 4 and 3 2 and 1 0 (tenths); four of m, 6 4 and 2 0.

    So that one fold has 5, 2 or 3, ... of k: each fold three of k and two of m, and their sums
    differ by no more than one step.
    """
    for found in all_folds(TWO_SITES, 2, seed, method="stratified"):
        assert sites_of(found.test, TWO_SITES) == ["k", "k", "k", "m", "m"]
        loads = {
            site: sum(one.load for one in TWO_SITES if one.case in found.test and one.site == site)
            for site in "km"
        }
        assert loads["k"] in (pytest.approx(0.7), pytest.approx(0.8))
        assert loads["m"] == pytest.approx(0.6)


def test_random_folds_do_not_share_out_sites() -> None:
    """So that the test above says something of the method."""
    sites = {
        tuple(sites_of(found.test, TWO_SITES))
        for seed in range(10)
        for found in all_folds(TWO_SITES, 2, seed)
    }
    assert len(sites) > 1


@given(cohorts(), st.integers(2, 4), st.integers(0, 99))
def test_stratified_folds_differ_by_one_patient_in_all_and_at_each_site(
    members: list[Member], folds: int, seed: int
) -> None:
    tests = [found.test for found in all_folds(members, folds, seed, method="stratified")]
    groups = [members, *([one for one in members if one.site == site] for site in "qrstuv")]
    for group in groups:
        sizes = [len(patients_of(test, group)) for test in tests]
        assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(0, 100), min_size=4, max_size=16), st.integers(0, 99))
def test_sums_of_load_in_full_rounds_differ_by_no_more_than_two_loads_do(
    loads: list[int], seed: int
) -> None:
    loads = loads[: len(loads) // 4 * 4]
    members = [Member(f"{n:02d}", f"{n:02d}", "k", load / 100) for n, load in enumerate(loads)]
    sums = [
        sum(loads[int(case)] for case in found.test)
        for found in all_folds(members, 4, seed, method="stratified")
    ]
    assert max(sums) - min(sums) <= max(loads) - min(loads)


@pytest.mark.parametrize("seed", range(10))
def test_those_who_watch_are_stratified_too(seed: int) -> None:
    """Five of ten: three of k and two of m, and one of every two neighbours in load."""
    found = split(TWO_SITES, seed, method="stratified", fold="none", validation=0.5)
    assert sites_of(found.validation, TWO_SITES) == ["k", "k", "k", "m", "m"]
    for pair in (("k0", "k1"), ("k2", "k3"), ("k4", "k5"), ("m0", "m1"), ("m2", "m3")):
        assert len(set(pair) & set(found.validation)) == 1


def test_a_patient_counts_once_with_the_mean_load_and_the_first_site() -> None:
    """Patients by load: a .9 (of .8 and 1), b .6, c .5, d 0: the heaviest with the lightest."""
    loads = {"a1": 0.8, "a2": 1.0, "b1": 0.6, "c1": 0.5, "c2": 0.5, "d1": 0.0}
    members = [
        Member(case, case[0], "z" if case == "a2" else "k", load) for case, load in loads.items()
    ]
    tests = {found.test for found in all_folds(members, 2, method="stratified")}
    assert tests == {("a1", "a2", "d1"), ("b1", "c1", "c2")}


# Sites


def test_a_site_is_tested_wholly_and_the_largest_balance_the_small() -> None:
    """Sites of 5, 3, 2 and 1 cases make two folds of 5 and 3 + 2, and 1 in either."""
    members = [
        Member(f"{site}{number}", f"{site}{number}", site)
        for site, count in (("k", 5), ("m", 3), ("n", 2), ("o", 1))
        for number in range(count)
    ]
    for seed in range(10):
        tests = [found.test for found in all_folds(members, 2, seed, method="sites")]
        sites = {"".join(sorted(set(sites_of(test, members)))) for test in tests}
        assert sites in ({"ko", "mn"}, {"k", "mno"})
        assert sorted(map(len, tests)) == [5, 6]


@given(cohorts(), st.integers(2, 4), st.integers(0, 99))
def test_no_site_is_in_two_folds(members: list[Member], folds: int, seed: int) -> None:
    tests = [found.test for found in all_folds(members, folds, seed, method="sites")]
    times = Counter(site for test in tests for site in set(sites_of(test, members)))
    assert set(times.values()) == {1}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(TWO_SITES, "there are 2; `site` in dataset.yaml tells them apart$", id="two"),
        pytest.param(TEN, "there is 1; `site` in dataset.yaml tells them apart$", id="none told"),
    ],
)
def test_more_folds_than_sites_are_refused(members: list[Member], message: str) -> None:
    with pytest.raises(InputError, match=f"`folds: 3` needs as many sites, but {message}"):
        split(members, method="sites", folds=3)


def test_a_patient_of_two_sites_is_refused() -> None:
    members = [Member("a1", "a", "k"), Member("a2", "a", "m"), Member("b1", "b", "n")]
    with pytest.raises(InputError, match="of one site each, but cases of a come from several; let"):
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
    found = all_folds(covid19(), 5, method="covid19", validation=0.25)
    assert found[1].test == (
        "coronacases_004",
        "coronacases_009",
        "radiopaedia_14_85914_0",
        "radiopaedia_7_85703_0",
    )
    for one in found:
        assert len({case for side in sides_of(one) for case in side}) == 20
        assert not patients_of(one.train, covid19()) & patients_of(one.validation, covid19())
        assert one.validation
    assert len({case for one in found for case in one.test}) == 20


def test_patients_that_the_published_folds_tear_are_named() -> None:
    notes = [found.note for found in all_folds(covid19(), 5, method="covid19", validation=0.2)]
    torn = (
        "the published folds show training other scans of radiopaedia_10, radiopaedia_29, whom "
        "this fold tests, so that its figures may flatter"
    )
    assert notes == ["", "", torn, "", torn]


def test_the_seed_draws_who_watches_published_folds() -> None:
    found = [split(covid19(), seed, method="covid19", folds=5, validation=0.2) for seed in range(9)]
    assert len({one.test for one in found}) == 1
    assert len({one.validation for one in found}) > 4


def test_who_watches_may_be_named_beside_published_folds() -> None:
    watch = ["coronacases_001", "radiopaedia_4_85506_1"]
    found = split(covid19(), method="covid19", folds=5, fold=1, validation_cases=watch)
    assert (found.validation, len(found.train)) == (tuple(watch), 14)
    with pytest.raises(InputError, match=r"but coronacases_001 shows a patient of `split\.watch`"):
        split(covid19(), method="covid19", folds=5, fold=2, validation_cases=watch)


@pytest.mark.parametrize(
    ("members", "folds", "message"),
    [
        pytest.param(covid19(), 4, "needs `folds: 5`, as published, got 4$", id="folds"),
        pytest.param(
            covid19()[1:], 5, "but this dataset lacks coronacases_007; choose another", id="lacks"
        ),
        pytest.param(
            [*covid19(), *SIX[:2]], 5, "but this dataset has also a1, a2; choose", id="has also"
        ),
        pytest.param(
            SIX,
            5,
            "lacks coronacases_001, coronacases_002, coronacases_003, coronacases_004, "
            "coronacases_005, …; choose",
            id="another set",
        ),
    ],
)
def test_published_folds_are_for_their_cases_alone(
    members: list[Member], folds: int, message: str
) -> None:
    with pytest.raises(InputError, match=f"^`method: covid19` .*{message}") as caught:
        split(members, method="covid19", folds=folds)
    assert "\n" not in str(caught.value)


# A final model


@pytest.mark.parametrize("method", [*DRAWN, "covid19"])
def test_a_final_model_trains_on_everything(method: str) -> None:
    found = split(SIX, method=method, fold="none")
    assert found == Split(train=("a1", "a2", "b1", "c1", "c2", "d1"), validation=(), test=())


def test_a_final_model_may_be_watched() -> None:
    found = split(SIX, fold="none", validation=0.25)
    assert found.test == ()
    assert len(patients_of(found.validation, SIX)) == 1
    assert sorted(found.train + found.validation) == [one.case for one in SIX]


# By name


def test_cases_are_tested_by_name() -> None:
    found = split(SIX, test=["c2", "c1"], fold=3)
    assert found == Split(train=("a1", "a2", "b1", "d1"), validation=(), test=("c1", "c2"))


def test_who_watches_beside_named_tests_stays_what_it_was() -> None:
    found = split(TEN, test=["case0", "case1"], validation=0.25)
    assert found.validation == ("case4", "case6")


def test_the_seed_draws_who_watches_when_cases_are_named() -> None:
    watched = {split(SIX, seed, test=["d1"], validation=0.3).validation for seed in range(20)}
    assert watched == {("a1", "a2"), ("b1",), ("c1", "c2")}


def test_cases_named_to_watch_take_the_place_of_the_share() -> None:
    found = split(SIX, test=["d1"], validation_cases=["b1"], validation=0.9)
    assert found == Split(train=("a1", "a2", "c1", "c2"), validation=("b1",), test=("d1",))


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_folds_are_drawn_from_those_who_are_not_named_to_watch(method: str) -> None:
    found = all_folds(SIX, 3, method=method, validation_cases=["a1", "a2"])
    assert {one.test for one in found} == {("b1",), ("c1", "c2"), ("d1",)}
    assert {one.validation for one in found} == {("a1", "a2")}


def test_cases_named_to_train_leave_the_others_out() -> None:
    assert split(SIX, train=["a1", "b1"]) == Split(("a1", "b1"), (), ())
    assert split(SIX, train=["b1"], test=["a1"], validation_cases=["c1"]) == Split(
        ("b1",), ("c1",), ("a1",)
    )


def test_the_share_that_watches_is_taken_from_those_named_to_train() -> None:
    found = {split(SIX, seed, train=["b1", "d1"], validation=0.5) for seed in range(9)}
    assert found == {Split(("b1",), ("d1",), ()), Split(("d1",), ("b1",), ())}


@pytest.mark.parametrize("name", ["train", "watch", "test"])
def test_a_name_that_is_not_there_is_refused(name: str) -> None:
    message = rf"`split\.{name}` names cases that are not there: e1, z9$"
    with pytest.raises(InputError, match=message):
        split(SIX, **{name: ["z9", "b1", "e1"]})


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        pytest.param(
            {"test": ["a1"], "validation_cases": ["a1"]}, "a1 stands", id="test and watch"
        ),
        pytest.param({"test": ["b1", "d1"], "train": ["d1", "b1"]}, "b1, d1 stand", id="train"),
        pytest.param({"validation_cases": ["c1", "c1"]}, "c1 stands", id="one list"),
    ],
)
def test_a_name_given_twice_is_refused(lists: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=f"must name a case once, but {message} there twice$"):
        split(SIX, **lists)


@pytest.mark.parametrize(
    ("lists", "torn", "name"),
    [
        pytest.param({"test": ["a1", "b1"]}, "a2", "test", id="test and rest"),
        pytest.param({"test": ["a1"], "train": ["a2"]}, "a2", "test", id="test and train"),
        pytest.param(
            {"test": ["a1"], "validation_cases": ["a2"]}, "a2", "test", id="test and watch"
        ),
        pytest.param(
            {"validation_cases": ["c2"], "fold": "none"}, "c1", "watch", id="watch and rest"
        ),
        pytest.param(
            {"validation_cases": ["c2"], "train": ["c1"]}, "c1", "watch", id="watch and train"
        ),
        pytest.param({"validation_cases": ["c2"], "folds": 2}, "c1", "watch", id="watch and fold"),
        pytest.param(
            {"validation_cases": ["c2"], "folds": 2, "fold": 1}, "c1", "watch", id="or no fold"
        ),
    ],
)
def test_a_patient_on_both_sides_is_refused(lists: dict[str, object], torn: str, name: str) -> None:
    message = rf"must stay on one side, but {torn} shows a patient of `split\.{name}`; name all"
    with pytest.raises(InputError, match=message):
        split(SIX, **lists)


def test_testing_everybody_is_refused() -> None:
    with pytest.raises(InputError, match="no case is left to train on"):
        split(SIX, test=[one.case for one in SIX], validation=0.5, method="stratified")


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
def test_the_disease_load_is_that_of_the_original_mask(voxels: dict[str, int], load: float) -> None:
    ceiling = {region: Overlap(1, count, 2) for region, count in voxels.items()}
    entry = RecordEntry("a1", "a", "k", 3, "5" * 64, "a" * 64, "hu", "c" * 64, ceiling)
    index = RecordIndex(1, "chests", 8, "none", dict.fromkeys(voxels, (1,)), (), (entry,))
    assert members_of(index) == (Member("a1", "a", "k", load),)
