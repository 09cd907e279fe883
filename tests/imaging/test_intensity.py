"""Conversion of voxel values to Hounsfield units, and windows."""

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU, IntensityScale, Window, parse_intensity, whole_hu


def test_a_window_maps_its_ends_to_0_and_1_and_clips_values_beyond() -> None:
    grey = Window(-1000, 400).apply(np.array([[-3024, -1000], [-300, 400], [401, 3000]], np.int16))
    assert grey.dtype == np.float32
    assert grey == pytest.approx(np.array([[0, 0], [0.5, 1], [1, 1]]))


def test_a_window_does_not_overflow_16_bits() -> None:
    grey = Window(-1000, 400).apply(np.array([32767, -32768], np.int16))
    assert grey.tolist() == [1.0, 0.0]


def test_a_window_does_not_change_its_input() -> None:
    voxels = np.array([-300.0], np.float32)
    Window(-1000, 400).apply(voxels)
    assert voxels.tolist() == [-300.0]


@pytest.mark.parametrize("high_hu", [-1000, -1001, float("nan")])
def test_a_descending_window_is_rejected(high_hu: float) -> None:
    with pytest.raises(ValueError, match=r"`high_hu` must be greater than `low_hu`, got -1000\.\."):
        Window(-1000, high_hu)


def test_hu_are_returned_unchanged() -> None:
    voxels = np.array([-1024, 40], np.int16)
    assert IntensityScale().to_hu(voxels) is voxels


def test_an_8_bit_export_is_scaled_to_its_range() -> None:
    hu = IntensityScale((-1250, 250)).to_hu(np.array([0, 51, 255], np.uint8))
    assert hu == pytest.approx(np.array([-1250, -950, 250]))


@pytest.mark.parametrize("range_hu", [(250, -1250), (0, 0), (float("nan"), 250)], ids=str)
def test_a_descending_range_of_an_export_is_rejected(range_hu: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="`intensity` must run from low to high HU, got"):
        IntensityScale(range_hu)


def test_the_ends_of_a_negative_are_swapped() -> None:
    negative = IntensityScale((-1250, 250), inverted=True)
    assert negative.to_hu(np.array([0, 204, 255], np.uint8)) == pytest.approx([250, -950, -1250])


@pytest.mark.parametrize(
    ("voxels", "offset_hu", "hu"),
    [
        pytest.param(np.array([0, 1024], np.uint16), 1024, [-1024, 0], id="unsigned"),
        pytest.param(np.array([200], np.uint8), 1024, [-824], id="8 bits"),
        pytest.param(np.array([-32768], np.int16), 1024, [-33792], id="below 16 bits"),
        pytest.param(np.array([4_000_000_000], np.uint32), 1024, [3_999_998_976], id="32 bits"),
        pytest.param(np.array([24.5], np.float32), 1024, [-999.5], id="fractions"),
        pytest.param(np.array([-2024], np.int16), -1024, [-1000], id="subtracted twice"),
    ],
)
def test_an_offset_is_subtracted_without_overflow(
    voxels: np.ndarray, offset_hu: int, hu: list[float]
) -> None:
    assert IntensityScale(offset_hu=offset_hu).to_hu(voxels).tolist() == hu


def test_single_precision_stays_single() -> None:
    assert IntensityScale(offset_hu=1024).to_hu(np.zeros(1, np.float32)).dtype == np.float32


def test_an_offset_and_a_window_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="`offset_hu` must be 0 with a window, got 1024"):
        IntensityScale((-1250, 250), offset_hu=1024)


def test_only_a_window_can_be_inverted() -> None:
    with pytest.raises(ValueError, match="`inverted` must be given with a window, got none"):
        IntensityScale(inverted=True)


SPELLINGS = [
    ("hu", HU),
    ("hu+1024", IntensityScale(offset_hu=1024)),
    ("hu-1000", IntensityScale(offset_hu=-1000)),
    ("-1250,250", IntensityScale((-1250, 250))),
    ("250,-1250", IntensityScale((-1250, 250), inverted=True)),
    ("-1000.5,400", IntensityScale((-1000.5, 400))),
]


@pytest.mark.parametrize(("text", "scale"), SPELLINGS)
def test_an_option_is_parsed_to_a_scale_that_prints_the_option(
    text: str, scale: IntensityScale
) -> None:
    assert parse_intensity(text) == scale
    assert str(scale) == text


@pytest.mark.parametrize("text", [" HU ", "Hu+0"])
def test_case_and_blanks_of_an_option_do_not_matter(text: str) -> None:
    assert parse_intensity(text) == HU


def test_auto_gives_no_scale() -> None:
    assert parse_intensity("auto") is None


@pytest.mark.parametrize(
    "text", ["", "1", "1,2,3", "a,b", "5,5", "nan,1", "1,nan", "0,inf", "hu+", "hu+1.5", "hu1024"]
)
def test_an_option_without_a_scale_is_rejected(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_intensity(text)
    assert str(caught.value) == (
        "`intensity` must be auto, hu, hu+1024 (any whole offset), or the HU that 0 and 255 "
        f"represent, like -1250,250, got `{text}`"
    )


@pytest.mark.parametrize(
    ("voxels", "hu"),
    [
        pytest.param(np.array([-1024, 0, 3071], "<i2"), [-1024, 0, 3071], id="int16"),
        pytest.param(np.array([-1024, 0, 3071], ">i2"), [-1024, 0, 3071], id="big-endian"),
        pytest.param(np.array([0, 255], np.uint8), [0, 255], id="uint8"),
        pytest.param(np.array([-2000, -3024, -32768], np.int16), [-1024] * 3, id="padding"),
        pytest.param(np.array([39.4, 39.6, -0.7], np.float32), [39, 40, -1], id="fractions"),
        pytest.param(np.array([-3024.0, 1e9], np.float64), [-1024, 32767], id="far out"),
        pytest.param(np.array([np.nan, 0.4], np.float32), [-1024, 0], id="NaN is air"),
        pytest.param(np.array([40000], np.uint16), [32767], id="uint16 above int16"),
        pytest.param(np.array([3_000_000_000], np.uint32), [32767], id="uint32 above int32"),
        pytest.param(np.array([2**40, -(2**40)]), [32767, -1024], id="int64"),
    ],
)
def test_voxels_of_every_type_become_whole_hu_in_16_bits(voxels: np.ndarray, hu: list[int]) -> None:
    whole = whole_hu(voxels)
    assert whole.dtype == np.int16
    assert whole.tolist() == hu
