"""The U-Net: effects of its parameters, computed by hand."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError

Small = Callable[..., Any]


def copy_by_name(source: Any, target: Any) -> None:
    for layer in source.layers:
        if layer.weights:
            target.get_layer(layer.name).set_weights(layer.get_weights())


def layers_of(network: Any, kind: type) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        # 3 planes; encoder 56 + 38 and 76 + 148; up 34; decoder 74 + 38; logits 6
        ({}, 470),
        # the second convolutions 38 + 148 + 38 less, or twice
        ({"blocks": 1}, 470 - 224),
        ({"blocks": 3}, 470 + 224),
        # shortcuts 3·2 + 2, 2·4 + 4 and 4·2 + 2, where widths change
        ({"blocks": 1, "residual": True}, 470 + 8 + 12 + 10),
        # pairs whose widths stay: 2·38 + 2·148 + 2·38
        ({"blocks": 2, "residual": True}, 500 + 448),
        # instead of a bias each of the channels 2 + 2 + 4 + 4 + 2 + 2 has scale and offset
        ({"normalisation": "group"}, 470 + 16),
        ({"normalisation": "instance"}, 470 + 16),
        # and mean and variance
        ({"normalisation": "batch"}, 470 + 16 + 32),
        ({"normalisation": "none"}, 470),
        # one channel of attention: 2·2·2 + (4 + 1) + (1 + 1)
        ({"name": "attention_unet"}, 470 + 15),
        # 4 channels: encoder 112 + 148 and 296 + 584; up 132; decoder 292 + 148; logits 10
        ({"width": 4}, 1722),
        # 8 channels more deeply: 296 + 584; up 132; decoder 292 + 148
        ({"depth": 2}, 470 + 1452),
    ],
)
def test_number_of_weights_by_hand(shared: Small, changes: dict[str, Any], count: int) -> None:
    assert shared(**({"depth": 1} | changes)).count_params() == count


def test_names_of_layers_state_their_position(shared: Small) -> None:
    layers = shared(depth=1, normalisation="group").layers
    names = {layer.name for layer in layers if layer.weights}
    convolutions = {
        f"{side}_conv_{number}"
        for side in ("encoder_0", "encoder_1", "decoder_0")
        for number in (0, 1)
    }
    norms = {f"{name}_norm" for name in convolutions}
    assert names == convolutions | norms | {"up_0", "logits"}


def test_channels_double_from_level_to_level_up_to_256(small: Small) -> None:
    network = small(width=100, canvas=4)
    widths = [layer.filters for layer in layers_of(network, keras.layers.Conv2D)]
    # Pairs of each level, then the logits; Conv2DTranspose is another class.
    assert widths == [100, 100, 200, 200, 256, 256, 200, 200, 100, 100, 2]


def test_the_logits_of_a_stack_do_not_depend_on_the_other_stacks(
    shared: Small, stacks: np.ndarray
) -> None:
    network = shared()
    alone = np.asarray(network(stacks[:1]))
    loud = np.concatenate([stacks[:1], 100 * stacks[1:]])
    assert np.asarray(network(loud))[:1] == pytest.approx(alone, abs=1e-5)


def test_logits_of_a_slice_without_contrast_are_finite(shared: Small) -> None:
    assert np.isfinite(shared()(np.zeros((1, 16, 16, 3), np.float32))).all()


def test_normalisations_give_different_logits(shared: Small, stacks: np.ndarray) -> None:
    """From the same kernels: biases are 0 and scales 1 at first."""
    logits = [
        np.asarray(shared(normalisation=name)(stacks, training=True))
        for name in ("rms", "group", "instance", "batch", "none")
    ]
    for number, first in enumerate(logits):
        assert all(not np.allclose(first, second, atol=1e-3) for second in logits[:number])


def test_a_residual_pair_with_zero_kernels_is_the_identity(
    small: Small, stacks: np.ndarray
) -> None:
    network = small(depth=1, blocks=2, residual=True)
    last = network.get_layer("encoder_0_pair_1_conv2")
    last.set_weights([np.zeros_like(weights) for weights in last.get_weights()])
    inputs = network.get_layer("encoder_0_pair_1_conv1").input
    outputs = network.get_layer("encoded_0").output
    before, after = keras.Model(network.input, [inputs, outputs])(stacks)
    np.testing.assert_array_equal(before, after)


def test_dropout_drops_whole_maps_in_training_only(small: Small, stacks: np.ndarray) -> None:
    network = small(dropout=0.5)
    first = layers_of(network, keras.layers.SpatialDropout2D)[0]
    through = keras.Model(network.input, [first.input, first.output])
    before, after = map(np.asarray, through(stacks, training=False))
    np.testing.assert_array_equal(after, before)
    before, after = map(np.asarray, through(stacks, training=True))
    dropped = (after == 0).all(axis=(1, 2))
    assert 0 < dropped.sum() < dropped.size
    # The other maps are scaled by 1 / (1 - 0.5).
    np.testing.assert_array_equal(after, np.where(dropped[:, None, None], 0, 2 * before))


def test_dropout_follows_the_two_deepest_levels(small: Small) -> None:
    network = small(depth=3, dropout=0.25)
    dropped = layers_of(network, keras.layers.SpatialDropout2D)
    assert [layer.input.shape[1] for layer in dropped] == [4, 2]
    assert [layer.rate for layer in dropped] == [0.25, 0.25]


def test_the_seed_draws_the_dropped_maps(small: Small, shared: Small, stacks: np.ndarray) -> None:
    def train(seed: int) -> np.ndarray:
        network = small(dropout=0.5, seed=seed)
        copy_by_name(shared(), network)
        return np.asarray(network(stacks, training=True))

    first = train(3)
    np.testing.assert_array_equal(train(3), first)
    assert not np.allclose(train(4), first)


def test_dropout_does_not_change_the_initial_weights(small: Small) -> None:
    plain = small(residual=True)
    dropping = small(residual=True, dropout=0.5, drop_path=0.5)
    # Layers in between change the order of the weights, not their names.
    weights = {weight.path: np.asarray(weight) for weight in dropping.weights}
    assert len(weights) == len(plain.weights)
    for weight in plain.weights:
        np.testing.assert_array_equal(weights[weight.path], weight)


def test_drop_path_near_1_leaves_the_shortcut_of_the_deepest_level(
    small: Small, stacks: np.ndarray
) -> None:
    skipping = small(depth=1, blocks=1, residual=True, drop_path=1 - 1e-9)
    silent = small(depth=1, blocks=1, residual=True)
    whole = np.asarray(silent(stacks))
    conv = silent.get_layer("encoder_1_pair_0_conv2")
    conv.set_weights([np.zeros_like(weights) for weights in conv.get_weights()])
    np.testing.assert_array_equal(skipping(stacks, training=True), silent(stacks))
    np.testing.assert_array_equal(skipping(stacks, training=False), whole)
    assert not np.allclose(whole, silent(stacks))


def test_drop_path_drops_the_whole_pair_of_a_stack_or_nothing(small: Small) -> None:
    network = small(depth=1, blocks=1, residual=True, drop_path=0.5)
    (skip,) = layers_of(network, keras.layers.Dropout)
    residuals = np.ones((64, 8, 8, 4), np.float32)
    values = [set(np.ravel(stack)) for stack in np.asarray(skip(residuals, training=True))]
    assert {frozenset(value) for value in values} == {frozenset({0.0}), frozenset({2.0})}


def test_drop_path_grows_with_the_level(small: Small) -> None:
    network = small(depth=4, blocks=1, residual=True, drop_path=0.4)
    rates = [layer.rate for layer in layers_of(network, keras.layers.Dropout)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1])


def test_drop_path_needs_residual_pairs(small: Small) -> None:
    with pytest.raises(
        InputError,
        match=r"^`network.drop_path` must be 0 without residual pairs, got 0.1; set it to 0 or "
        r"`network.residual: true`$",
    ):
        small(drop_path=0.1)


def test_open_gates_make_a_plain_unet(small: Small, stacks: np.ndarray) -> None:
    plain, gated = small(), small(name="attention_unet")
    copy_by_name(plain, gated)
    assert not np.allclose(gated(stacks), plain(stacks))
    set_gates(gated, 100.0)
    assert np.asarray(gated(stacks)) == pytest.approx(np.asarray(plain(stacks)), abs=1e-6)


def test_closed_gates_make_a_unet_without_skips(small: Small, stacks: np.ndarray) -> None:
    plain, gated = small(), small(name="attention_unet")
    copy_by_name(plain, gated)
    set_gates(gated, -100.0)
    for level, width in enumerate((2, 4)):
        first = plain.get_layer(f"decoder_{level}_conv_0")
        kernel, bias = first.get_weights()
        kernel[:, :, width:] = 0  # after the channels from below
        first.set_weights([kernel, bias])
    assert np.asarray(gated(stacks)) == pytest.approx(np.asarray(plain(stacks)), abs=1e-6)


def set_gates(network: Any, bias: float) -> None:
    for level in (0, 1):
        gate = network.get_layer(f"gate_{level}_weights")
        kernel, old = gate.get_weights()
        gate.set_weights([0 * kernel, 0 * old + bias])


def test_instance_normalisation_needs_more_than_one_pixel(small: Small) -> None:
    with pytest.raises(
        InputError,
        match=r"^`network.normalisation: instance` needs maps of more than one pixel, got 1 at "
        r"`network.depth` 4; lower the depth or choose another normalisation$",
    ):
        small(normalisation="instance", depth=4)
