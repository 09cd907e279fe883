"""Voxel values, Hounsfield units, and what the network sees of them."""

import numpy as np
import pytest

from thorax.errors import InputError
from thorax.intensity import Domain, Window, whole_hu


def test_a_window_maps_its_ends_to_0_and_1_and_cuts_what_lies_beyond() -> None:
    seen = Window(-1000, 400).apply(np.array([[-3024, -1000], [-300, 400], [401, 3000]], np.int16))
    assert seen.dtype == np.float32
    assert seen == pytest.approx(np.array([[0, 0], [0.5, 1], [1, 1]]))


def test_a_window_does_not_overflow_16_bits() -> None:
    seen = Window(-1000, 400).apply(np.array([32767, -32768], np.int16))
    assert seen.tolist() == [1.0, 0.0]


def test_a_window_leaves_the_voxels_as_they_were() -> None:
    voxels = np.array([-300.0], np.float32)
    Window(-1000, 400).apply(voxels)
    assert voxels.tolist() == [-300.0]


@pytest.mark.parametrize("high_hu", [-1000, -1001, float("nan")])
def test_a_window_runs_upwards(high_hu: float) -> None:
    with pytest.raises(ValueError, match=r"`high_hu` must be greater than `low_hu`, got -1000\.\."):
        Window(-1000, high_hu)


def test_hu_are_left_as_they_are() -> None:
    voxels = np.array([-1024, 40], np.int16)
    assert Domain().to_hu(voxels) is voxels


def test_an_8_bit_export_is_stretched_over_its_range() -> None:
    hu = Domain((-1250, 250)).to_hu(np.array([0, 51, 255], np.uint8))
    assert hu == pytest.approx(np.array([-1250, -950, 250]))


@pytest.mark.parametrize("range_hu", [(250, -1250), (0, 0), (float("nan"), 250)], ids=str)
def test_the_range_of_an_export_runs_upwards(range_hu: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="`intensity` must run from low to high HU, got"):
        Domain(range_hu)


@pytest.mark.parametrize(
    ("voxels", "hu"),
    [
        pytest.param(np.array([-1024, 0, 3071], "<i2"), [-1024, 0, 3071], id="int16"),
        pytest.param(np.array([-1024, 0, 3071], ">i2"), [-1024, 0, 3071], id="big-endian"),
        pytest.param(np.array([0, 255], np.uint8), [0, 255], id="uint8"),
        pytest.param(np.array([-2000, -3024, -32768], np.int16), [-1024] * 3, id="padding"),
        pytest.param(np.array([39.4, 39.6, -0.7], np.float32), [39, 40, -1], id="fractions"),
        pytest.param(np.array([-3024.0, 1e9], np.float64), [-1024, 32767], id="far out"),
        pytest.param(np.array([40000], np.uint16), [32767], id="uint16 above int16"),
        pytest.param(np.array([3_000_000_000], np.uint32), [32767], id="uint32 above int32"),
        pytest.param(np.array([2**40, -(2**40)]), [32767, -1024], id="int64"),
    ],
)
def test_any_kind_of_voxel_becomes_whole_hu_in_16_bits(voxels: np.ndarray, hu: list[int]) -> None:
    whole = whole_hu(voxels)
    assert whole.dtype == np.int16
    assert whole.tolist() == hu
