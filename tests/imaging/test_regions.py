"""Conversion between label values and regions."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.common.errors import InputError
from thorax.imaging.regions import Regions, parse_regions, whole_labels

NESTED = Regions({"lung": (1, 2, 3), "infection": (3,)})
"""As in the COVID-19 set: left lung, right lung, infection."""


def test_split_gives_one_mask_per_region() -> None:
    labels = np.array([[0, 1], [2, 3]])
    lung, infection = NESTED.split(labels)
    assert lung.tolist() == [[False, True], [True, True]]
    assert infection.tolist() == [[False, False], [False, True]]


def test_merge_writes_each_combination_as_its_lowest_label() -> None:
    lung = np.array([[False, True], [True, False]])
    infection = np.array([[False, False], [True, False]])
    assert NESTED.merge(np.stack([lung, infection])).tolist() == [[0, 1], [3, 0]]


@pytest.mark.parametrize(
    ("labels", "present", "label"),
    [
        pytest.param(
            {"lung": (1, 2, 3), "infection": (3,)}, [0, 1], 3, id="infection outside the lung"
        ),
        pytest.param({"left": (1,), "right": (2,)}, [1, 1], 2, id="left and right at once"),
        pytest.param({"right": (2,), "left": (1,)}, [1, 1], 1, id="the last named one wins"),
        pytest.param(
            {"lung": (1, 2, 3), "disease": (2, 3), "nodule": (3,)}, [1, 0, 1], 3, id="a gap"
        ),
        pytest.param(
            {"a": (4,), "b": (5,), "c": (4, 5, 9)}, [1, 1, 1], 9, id="the label of c alone"
        ),
    ],
)
def test_a_combination_without_a_label_becomes_its_last_region(
    labels: dict[str, tuple[int, ...]], present: list[int], label: int
) -> None:
    masks = np.array(present, bool)[:, None]
    assert Regions(labels).merge(masks).tolist() == [label]


@pytest.mark.parametrize(
    ("lung", "infection", "label"),
    [
        pytest.param((1, 2, 3), (3,), 1, id="the lowest"),
        pytest.param((3, 2, 1), (3,), 1, id="in any order"),
        pytest.param((1, 2, 3), (1,), 2, id="the lowest is also infection"),
        pytest.param((2, 1), (1, 2), 1, id="all are also infection"),
    ],
)
def test_the_label_of_a_region_alone(
    lung: tuple[int, ...], infection: tuple[int, ...], label: int
) -> None:
    regions = Regions({"lung": lung, "infection": infection})
    assert regions.label_alone("lung") == label
    assert regions.merge(np.array([[True], [False]])).tolist() == [label]


@st.composite
def named_regions(draw: st.DrawFn) -> Regions:
    """Draw up to eight regions of labels 1..9 that nest, overlap or share."""
    labels = st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True).map(tuple)
    drawn = draw(st.lists(labels, min_size=1, max_size=8))
    return Regions({f"region_{number}": values for number, values in enumerate(drawn)})


@given(named_regions())
def test_merged_regions_split_into_the_same_regions(regions: Regions) -> None:
    named = sorted({value for values in regions.labels.values() for value in values})
    masks = regions.split(np.array([0, *named]))
    merged = regions.merge(masks)
    assert merged.dtype == np.uint8
    np.testing.assert_array_equal(regions.split(merged), masks)


def test_ignored_labels_belong_to_no_region() -> None:
    regions = Regions({"lung": (1,)}, ignored=(7,))
    assert regions.split(np.array([0, 1, 7])).tolist() == [[False, True, False]]


def test_an_empty_mask_has_empty_regions() -> None:
    assert not NESTED.split(np.zeros((2, 2), np.uint8)).any()
    assert NESTED.split(np.zeros((0, 2, 2), np.uint8)).shape == (2, 0, 2, 2)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, ">i2", np.uint16, np.float32, np.float64])
def test_labels_may_be_stored_in_any_type(kind: type | str) -> None:
    assert NESTED.split(np.array([0, 3, 1], kind)).tolist() == [
        [False, True, True],
        [False, True, False],
    ]


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_a_label_without_a_region_is_named_in_the_error(kind: type) -> None:
    with pytest.raises(InputError, match=r"label values \[4, 9\] belong to no region: name them"):
        NESTED.split(np.array([0, 9, 1, 4, 4], kind))


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.array([0, 0.5, 1], np.float32), id="halves, as after interpolation"),
        pytest.param(np.array([0, 1, 256], np.int16), id="256, which is 0 in 8 bits"),
        pytest.param(np.array([-1, 0], np.int16), id="-1, which is 255 in 8 bits"),
        pytest.param(np.array([0, np.nan], np.float32), id="NaN"),
        pytest.param(np.array([0, np.inf], np.float32), id="infinite"),
    ],
)
def test_labels_that_are_not_whole_8_bit_numbers_are_rejected(labels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"label values must be whole numbers 0\.\.255, got"):
        NESTED.split(labels)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_labels_within_1e_5_of_a_whole_number_are_rounded(kind: type) -> None:
    labels = np.array([-9e-6, 9e-6, 0.999995, 1.000005, 3 - 9e-6], kind)
    assert whole_labels(labels).tolist() == [0, 0, 1, 1, 3]
    assert NESTED.split(labels)[1].tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0, 1, 0.9999], "0.9999 (float64)"),
        ([0, 1.00002], "1.00002 (float64)"),
        ([0, 0.3, 0.5], "0.5 (float64)"),
        ([0, -0.5], "-0.5 (float64)"),
        ([0, 255.5], "255.5 (float64)"),
        ([0, np.nan], "nan (float64)"),
    ],
)
def test_the_worst_label_is_named_with_its_file(values: list[float], named: str) -> None:
    message = f"label values must be whole numbers 0..255, got {named} in mask.nii; save the mask"
    with pytest.raises(InputError, match=re.escape(message)):
        whole_labels(np.array(values), path="mask.nii")


@pytest.mark.parametrize(
    ("labels", "ignored", "message"),
    [
        pytest.param({}, (), "there must be 1 to 8 regions, got 0", id="none"),
        pytest.param(
            {f"r{number}": (number,) for number in range(1, 10)},
            (),
            "there must be 1 to 8 regions, got 9",
            id="nine",
        ),
        pytest.param({"lung": ()}, (), "region `lung` must be made of label values", id="empty"),
        pytest.param({"lung": (0, 1)}, (), "label values 1..255, got [0, 1]", id="background"),
        pytest.param({"lung": (256,)}, (), "label values 1..255, got [256]", id="above 8 bits"),
        pytest.param(
            {"lung": (1, 2)}, (2, 4), "labels [2] cannot be both ignored and in a region", id="both"
        ),
    ],
)
def test_invalid_regions_are_rejected(
    labels: dict[str, tuple[int, ...]], ignored: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Regions(labels, ignored)


def test_names_are_in_the_order_of_the_channels() -> None:
    assert Regions({"b": (1,), "a": (2,)}).names == ("b", "a")


def test_regions_are_parsed_from_options() -> None:
    regions = parse_regions(["lung=1,2,3", "infection=3"])
    assert regions == NESTED


@pytest.mark.parametrize(
    "option", ["lung", "lung=", "lung=1,", "lung=x", "=1", "left lung=1", "lung=1.5"]
)
def test_options_without_a_region_are_rejected(option: str) -> None:
    with pytest.raises(InputError, match=f"like lung=1,2, got `{option}`"):
        parse_regions([option])


def test_a_region_with_two_options_is_rejected() -> None:
    with pytest.raises(InputError, match=r"a unique name, like lung=1,2, got `lung=2`"):
        parse_regions(["lung=1", "lung=2"])
