"""Stacks of neighbouring slices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.models.engines.stacks import neighbours, stacks


@pytest.mark.parametrize(
    ("index", "planes", "context", "around"),
    [
        pytest.param(2, 5, 1, [1, 2, 3], id="in the middle"),
        pytest.param(0, 5, 2, [0, 0, 0, 1, 2], id="lowest slice"),
        pytest.param(4, 5, 2, [2, 3, 4, 4, 4], id="highest slice"),
        pytest.param(0, 1, 2, [0, 0, 0, 0, 0], id="one slice"),
        pytest.param(1, 3, 4, [0, 0, 0, 0, 1, 2, 2, 2, 2], id="more context than slices"),
        pytest.param(3, 5, 0, [3], id="no context"),
    ],
)
def test_end_slices_are_repeated_beyond_the_ends(
    index: int, planes: int, context: int, around: list[int]
) -> None:
    assert neighbours(index, planes=planes, context=context).tolist() == around


def test_slices_are_in_the_last_axis_lowest_first() -> None:
    planes = np.array([[[1, 2]], [[3, 4]], [[5, 6]]])
    assert stacks(planes, 1, 3, context=1).tolist() == [
        [[[1, 3, 5], [2, 4, 6]]],
        [[[3, 5, 5], [4, 6, 6]]],
    ]


@given(st.integers(1, 7), st.integers(0, 4), st.data())
def test_stacks_of_a_part_equal_those_of_the_whole_scan(
    depth: int, context: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, depth - 1))
    stop = data.draw(st.integers(start + 1, depth))
    planes = np.arange(depth * 6).reshape(depth, 2, 3)
    part = stacks(planes, start, stop, context=context)
    assert part.shape == (stop - start, 2, 3, 2 * context + 1)
    np.testing.assert_array_equal(part, stacks(planes, 0, depth, context=context)[start:stop])
    np.testing.assert_array_equal(part[..., context], planes[start:stop])


def test_the_type_of_the_planes_is_kept() -> None:
    assert stacks(np.zeros((2, 2, 2), np.int16), 0, 2, context=1).dtype == np.int16


def test_context_is_not_negative() -> None:
    with pytest.raises(ValueError, match="`context` must be at least 0, got -1"):
        neighbours(0, planes=5, context=-1)


@pytest.mark.parametrize("index", [-1, 5])
def test_the_centre_slice_is_in_the_scan(index: int) -> None:
    with pytest.raises(ValueError, match=rf"`index` must be in 0\.\.4, got {index}"):
        neighbours(index, planes=5, context=1)
