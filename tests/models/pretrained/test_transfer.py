"""Weights of an earlier network: copied, adapted and random layers."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks import build
from thorax.models.pretrained.transfer import TransferResult, align_planes, transfer_weights

from ...settings import plain_network


def small(
    *, planes: int = 3, regions: int = 2, seed: int = 0, dtype: str = "float32", **changes: Any
) -> Any:
    """Return a network for canvases of 16 pixels."""
    return build(
        plain_network(**changes),
        canvas=16,
        channels=planes,
        regions=regions,
        seed=seed,
        dtype=dtype,
    )


def transfer(
    network: Any, earlier: Any, regions: Sequence[str] = ("lung", "infection")
) -> TransferResult:
    return transfer_weights(
        network, earlier, regions=regions, earlier_regions=("lung", "infection")
    )


def draw_stacks(planes: int) -> np.ndarray:
    return np.random.default_rng(1).random((2, 16, 16, planes), np.float32)


@cache
def trained(**changes: Any) -> Any:
    """Return a network whose weights all differ from random ones, biases included."""
    network, generator = small(seed=1, **changes), np.random.default_rng(2)
    network.set_weights(
        [
            weights + generator.uniform(0.05, 0.1, weights.shape).astype(np.float32)
            for weights in network.get_weights()
        ]
    )
    return network


@pytest.mark.parametrize(
    ("name", "normalisation"), [("attention_unet", "rms"), ("resunet18", "batch"), ("lean", "rms")]
)
def test_a_network_of_the_same_shape_becomes_the_earlier_one(name: str, normalisation: str) -> None:
    earlier = trained(name=name, normalisation=normalisation)
    network = small(name=name, normalisation=normalisation)
    transferred = transfer(network, earlier)
    for after, values in zip(network.get_weights(), earlier.get_weights(), strict=True):
        np.testing.assert_array_equal(after, values)
    assert not transferred.adapted
    assert not transferred.random
    assert set(transferred.copied) == {layer.name for layer in network.layers if layer.weights}


@pytest.mark.parametrize("name", ["unet", "resunet18"])
def test_more_slices_do_not_change_the_logits(name: str) -> None:
    """Of seven slices, only the inner three count."""
    earlier, network = trained(name=name, planes=3), small(name=name, planes=7)
    transferred = transfer(network, earlier)
    stacks = draw_stacks(7)
    np.testing.assert_allclose(network(stacks), earlier(stacks[..., 2:5]), atol=1e-5)
    first = "stem_conv" if name == "resunet18" else "encoder_0_conv_0"
    assert first in transferred.adapted
    assert not transferred.random


@pytest.mark.parametrize(("name", "planes"), [("unet", 1), ("resunet18", 3)])
def test_fewer_slices_do_not_change_the_logits_of_equal_slices(name: str, planes: int) -> None:
    earlier, network = trained(name=name, planes=7), small(name=name, planes=planes)
    transfer(network, earlier)
    plane = draw_stacks(1)
    after, before = (
        np.asarray(model(np.repeat(plane, count, axis=-1)))
        for model, count in ((network, planes), (earlier, 7))
    )
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize(
    ("planes", "aligned"),
    [
        (1, [1 + 2 + 4 + 8 + 16]),
        (3, [1 + 2, 4, 8 + 16]),
        (5, [1, 2, 4, 8, 16]),
        (7, [0, 1, 2, 4, 8, 16, 0]),
    ],
)
def test_kernels_are_aligned_at_the_centre_slice(planes: int, aligned: list[int]) -> None:
    kernel = np.float32([1, 2, 4, 8, 16]).reshape(1, 1, 5, 1)
    fitted = align_planes(kernel, planes)
    assert fitted.shape == (1, 1, planes, 1)
    assert fitted.ravel().tolist() == aligned
    assert kernel.ravel().tolist() == [1, 2, 4, 8, 16], "the earlier kernel was changed"


def test_regions_keep_their_maps_at_any_position() -> None:
    earlier, network = trained(), small(regions=3)
    random = network.get_layer("logits").get_weights()
    transferred = transfer(network, earlier, ("infection", "vessels", "lung"))
    stacks = draw_stacks(3)
    logits, before = np.asarray(network(stacks)), np.asarray(earlier(stacks))
    np.testing.assert_allclose(logits[..., 0], before[..., 1], atol=1e-5)
    np.testing.assert_allclose(logits[..., 2], before[..., 0], atol=1e-5)
    for after, values in zip(network.get_layer("logits").get_weights(), random, strict=True):
        np.testing.assert_array_equal(after[..., 1], values[..., 1])
    assert transferred.adapted == ("logits",)
    assert not transferred.random


def test_the_same_regions_in_another_order_are_matched_by_name() -> None:
    """The shapes are equal, so a plain copy would not fail."""
    earlier, network = trained(), small()
    transferred = transfer(network, earlier, ("infection", "lung"))
    stacks = draw_stacks(3)
    np.testing.assert_allclose(network(stacks), np.asarray(earlier(stacks))[..., ::-1], atol=1e-5)
    assert transferred.adapted == ("logits",)


def test_new_regions_only_leave_the_last_layer_random() -> None:
    network = small()
    random = network.get_layer("logits").get_weights()
    transferred = transfer(network, trained(), ("liver", "heart"))
    assert transferred.random == ("logits",)
    np.testing.assert_array_equal(network.get_layer("logits").get_weights()[0], random[0])


def test_layers_that_the_earlier_network_lacks_stay_random() -> None:
    transferred = transfer(small(name="attention_unet", depth=1), trained(depth=1))
    assert transferred.random == ("gate_0_skip", "gate_0_signal", "gate_0_weights")
    assert "decoder_0_conv_0" in transferred.copied


def two_layers(size: int) -> Any:
    """Return a network whose second layer has a kernel of ``size`` pixels."""
    stack = keras.Input((16, 16, 3))
    first = keras.layers.Conv2D(2, 3, padding="same", bias_initializer="ones", name="first")
    second = keras.layers.Conv2D(2, size, padding="same", bias_initializer="ones", name="second")
    return keras.Model(stack, second(first(stack)))


def test_a_layer_whose_kernel_does_not_fit_keeps_its_bias_too() -> None:
    network, earlier = two_layers(5), two_layers(3)
    earlier.get_layer("second").bias.assign([7.0, 8.0])
    assert transfer(network, earlier) == TransferResult(
        copied=("first",), adapted=(), random=("second",)
    )
    assert network.get_layer("second").bias.numpy().tolist() == [1.0, 1.0]


def test_with_another_normalisation_the_kernels_are_transferred() -> None:
    """A convolution before a batch norm has no bias to transfer."""
    network, earlier = small(normalisation="rms"), trained(normalisation="batch")
    transferred = transfer(network, earlier)
    assert "encoder_0_conv_0" in transferred.adapted
    np.testing.assert_array_equal(
        network.get_layer("encoder_0_conv_0").kernel, earlier.get_layer("encoder_0_conv_0").kernel
    )
    assert network.get_layer("encoder_0_conv_0").bias.numpy().tolist() == [0.0, 0.0]


def test_the_earlier_network_does_not_change() -> None:
    earlier = trained(planes=5)
    before = earlier.get_weights()
    transfer(small(planes=1), earlier, ("infection", "liver"))
    for after, values in zip(earlier.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, values)


def test_another_width_is_refused_and_does_not_change_the_network() -> None:
    network = small(width=4)
    before = network.get_weights()
    with pytest.raises(
        InputError,
        match=r"must fit the first layer `encoder_0_conv_0`, whose kernel is 3×3×3→4 here and "
        r"3×3×3→2 in the earlier network; set `network.width`",
    ):
        transfer(network, trained())
    for after, values in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, values)


def test_another_kind_of_network_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"same kind of network, but this one begins with layer `stem_conv` and the earlier "
        r"one with `encoder_0_conv_0`; set `network.name` to that of the earlier network",
    ):
        transfer(small(name="resunet18"), trained())


def test_weights_of_a_file_are_transferred_to_a_network_in_half_precision(
    tmp_path: Path,
) -> None:
    earlier, network = trained(dropout=0.5), small(dropout=0.5, dtype="mixed_bfloat16")
    earlier.save(tmp_path / "model.keras")
    transferred = transfer(
        network, keras.saving.load_model(tmp_path / "model.keras", compile=False)
    )
    assert not transferred.random
    for after, values in zip(network.get_weights(), earlier.get_weights(), strict=True):
        np.testing.assert_array_equal(after, values)


def test_the_result_is_one_line() -> None:
    many = tuple(f"gate_{number}" for number in range(5))
    assert str(TransferResult(copied=("a", "b"), adapted=("logits",), random=many)) == (
        "2 layers copied, 1 adapted (logits), 5 random (gate_0, gate_1, gate_2, gate_3, ...)"
    )
