"""Normalisations, each against its definition."""

from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.params import Normalisation
from thorax.models.networks.blocks import divide_by_rms, normalise


def run(maps: np.ndarray, normalisation: Normalisation, dtype: str = "float32") -> np.ndarray:
    return np.asarray(normalise(maps, normalisation, name="norm", dtype=dtype))


def draw_maps(width: int) -> np.ndarray:
    """Maps whose channels differ in offset and scale."""
    drawn = np.random.default_rng(2).normal(size=(2, 4, 4, width))
    return (drawn * np.arange(1, width + 1) + np.arange(width)).astype(np.float32)


def layer_of(maps: np.ndarray, normalisation: Normalisation) -> Any:
    stack = keras.Input(maps.shape[1:])
    return keras.Model(stack, normalise(stack, normalisation, name="norm", dtype="float32"))


def test_rms_by_hand() -> None:
    """The squares 1, 49, 49 and 1 have the mean 25; so each stack is divided by 5, or by 50."""
    stack = np.float32([[[1, 7], [-7, 1]]])
    divided = np.asarray(divide_by_rms(np.stack([stack, 10 * stack])))
    for result in divided:
        assert result == pytest.approx(np.float32([[[0.2, 1.4], [-1.4, 0.2]]]), abs=1e-6)


def test_rms_of_zeros_is_zero() -> None:
    np.testing.assert_array_equal(divide_by_rms(np.zeros((1, 2, 2, 1), np.float32)), 0)


@pytest.mark.parametrize("size", [1e-3, 0.03, 1.0, 300.0, 2e4])
def test_rms_in_float16_is_that_of_float32(size: float) -> None:
    """Squares of 300 overflow in float16, and those of 0.001 vanish."""
    maps = (size * draw_maps(4) / np.abs(draw_maps(4)).max()).astype(np.float16)
    halved = np.asarray(divide_by_rms(maps))
    assert halved.dtype == np.float16
    whole = np.asarray(divide_by_rms(maps.astype(np.float32)))
    assert halved.astype(np.float32) == pytest.approx(whole, rel=1e-3, abs=1e-3)


def test_the_slope_of_rms_in_float16_is_finite_for_nearly_empty_stacks() -> None:
    """Near 0 the slope of the root is about 1e7, and float16 ends at 65504."""
    import tensorflow as tf

    maps = tf.constant(np.full((1, 8, 8, 4), 1e-3), tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(tf.cast(divide_by_rms(maps), tf.float32)) * 2.0**5
    assert np.isfinite(tape.gradient(total, maps).numpy()).all()


def test_none_changes_nothing() -> None:
    np.testing.assert_array_equal(run(draw_maps(4), "none"), draw_maps(4))


@pytest.mark.parametrize(
    ("width", "group"),
    [
        (16, 8),
        (8, 8),
        (12, 4),  # the largest divisor of 8 and 12
        (4, 4),
        (3, 1),
    ],
)
def test_group_has_mean_0_and_deviation_1_in_each_group_of_each_stack(
    width: int, group: int
) -> None:
    grouped = run(draw_maps(width), "group").reshape(2, 16, width // group, group)
    assert grouped.mean(axis=(1, 3)) == pytest.approx(0, abs=1e-5)
    assert grouped.std(axis=(1, 3)) == pytest.approx(1, abs=1e-4)


def test_single_channels_of_a_group_have_other_means() -> None:
    single = run(draw_maps(16), "group").mean(axis=(1, 2))
    assert np.abs(single).max() > 0.1


def test_instance_has_mean_0_and_deviation_1_in_each_map() -> None:
    maps = run(draw_maps(6), "instance")
    assert maps.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-5)
    assert maps.std(axis=(1, 2)) == pytest.approx(1, abs=1e-4)


def test_batch_has_mean_0_and_deviation_1_in_each_channel_in_training() -> None:
    maps = np.asarray(layer_of(draw_maps(6), "batch")(draw_maps(6), training=True))
    assert maps.mean(axis=(0, 1, 2)) == pytest.approx(0, abs=1e-5)
    assert maps.std(axis=(0, 1, 2)) == pytest.approx(1, abs=1e-4)


def test_batch_statistics_have_a_momentum_of_nine_tenths() -> None:
    maps = np.full((2, 4, 4, 1), 10, np.float32)
    network = layer_of(maps, "batch")
    means = []
    for _ in range(2):
        network(maps, training=True)
        means.append(float(np.asarray(network.get_layer("norm").moving_mean)[0]))
    assert means == pytest.approx([1.0, 1.9])
