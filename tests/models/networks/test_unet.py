"""The U-Net: what each of its parameters changes, counted and worked out by hand."""

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
        # the second convolutions 38 + 148 + 38 less, or once more
        ({"blocks": 1}, 470 - 224),
        ({"blocks": 3}, 470 + 224),
        # shortcuts 3·2 + 2, 2·4 + 4 and 4·2 + 2, where widths change
        ({"blocks": 1, "residual": True}, 470 + 8 + 12 + 10),
        # pairs whose widths stay: 2·38 + 2·148 + 2·38
        ({"blocks": 2, "residual": True}, 500 + 448),
        # in place of a bias each of the channels 2 + 2 + 4 + 4 + 2 + 2 has scale and offset
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
def test_weights_are_as_many_as_counted_by_hand(
    small: Small, changes: dict[str, Any], count: int
) -> None:
    assert small(**({"depth": 1} | changes)).count_params() == count


def test_layers_are_named_by_where_they_stand(small: Small) -> None:
    named = {layer.name for layer in small(depth=1, normalisation="group").layers if layer.weights}
    convolutions = {
        f"{side}_conv_{number}"
        for side in ("encoder_0", "encoder_1", "decoder_0")
        for number in (0, 1)
    }
    norms = {f"{name}_norm" for name in convolutions}
    assert named == convolutions | norms | {"up_0", "logits"}


def test_channels_double_from_level_to_level_and_stop_at_256(small: Small) -> None:
    network = small(width=100, canvas=4)
    widths = [layer.filters for layer in layers_of(network, keras.layers.Conv2D)]
    # Pairs of each level, then the logits; Conv2DTranspose is a class of its own.
    assert widths == [100, 100, 200, 200, 256, 256, 200, 200, 100, 100, 2]


def test_a_stack_is_seen_alike_whatever_else_is_in_the_batch(
    small: Small, stacks: np.ndarray
) -> None:
    network = small()
    alone = np.asarray(network(stacks[:1]))
    loud = np.concatenate([stacks[:1], 100 * stacks[1:]])
    assert np.asarray(network(loud))[:1] == pytest.approx(alone, abs=1e-5)


def test_a_plane_without_any_contrast_is_no_trouble(small: Small) -> None:
    assert np.isfinite(small()(np.zeros((1, 16, 16, 3), np.float32))).all()


def test_normalisations_give_different_logits(small: Small, stacks: np.ndarray) -> None:
    """From the same kernels: biases are 0 and scales 1 at first."""
    logits = [
        np.asarray(small(normalisation=name)(stacks, training=True))
        for name in ("rms", "group", "instance", "batch", "none")
    ]
    for number, one in enumerate(logits):
        assert all(not np.allclose(one, other, atol=1e-3) for other in logits[:number])


def test_a_pair_whose_convolutions_are_silent_passes_on_what_it_was_given(
    small: Small, stacks: np.ndarray
) -> None:
    network = small(depth=1, blocks=2, residual=True)
    silence = network.get_layer("encoder_0_pair_1_conv2")
    silence.set_weights([np.zeros_like(weights) for weights in silence.get_weights()])
    given = network.get_layer("encoder_0_pair_1_conv1").input
    passed = network.get_layer("encoded_0").output
    before, after = keras.Model(network.input, [given, passed])(stacks)
    np.testing.assert_array_equal(before, after)


def test_dropout_acts_in_training_alone_and_drops_whole_maps(
    small: Small, stacks: np.ndarray
) -> None:
    network = small(dropout=0.5)
    first = layers_of(network, keras.layers.SpatialDropout2D)[0]
    through = keras.Model(network.input, [first.input, first.output])
    given, kept = map(np.asarray, through(stacks, training=False))
    np.testing.assert_array_equal(kept, given)
    given, kept = map(np.asarray, through(stacks, training=True))
    dropped = (kept == 0).all(axis=(1, 2))
    assert 0 < dropped.sum() < dropped.size
    # what is left makes up for what is lost: 1 / (1 - 0.5)
    np.testing.assert_array_equal(kept, np.where(dropped[:, None, None], 0, 2 * given))


def test_dropout_stands_behind_the_two_deepest_levels(small: Small) -> None:
    network = small(depth=3, dropout=0.25)
    dropped = layers_of(network, keras.layers.SpatialDropout2D)
    assert [layer.input.shape[1] for layer in dropped] == [4, 2]
    assert [layer.rate for layer in dropped] == [0.25, 0.25]


def test_what_is_dropped_is_drawn_from_the_seed(small: Small, stacks: np.ndarray) -> None:
    def train(seed: int) -> np.ndarray:
        network = small(dropout=0.5, seed=seed)
        copy_by_name(small(), network)
        return np.asarray(network(stacks, training=True))

    np.testing.assert_array_equal(train(3), train(3))
    assert not np.allclose(train(3), train(4))


def test_dropping_leaves_the_weights_that_are_drawn_as_they_are(small: Small) -> None:
    plain = small(residual=True)
    dropping = small(residual=True, dropout=0.5, drop_path=0.5)
    # Layers in between change the order of the weights, not their names.
    found = {weight.path: np.asarray(weight) for weight in dropping.weights}
    assert len(found) == len(plain.weights)
    for weight in plain.weights:
        np.testing.assert_array_equal(found[weight.path], weight)


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


def test_drop_path_skips_a_pair_of_a_stack_or_none_of_it(small: Small) -> None:
    network = small(depth=1, blocks=1, residual=True, drop_path=0.5)
    (skip,) = layers_of(network, keras.layers.Dropout)
    found = np.ones((64, 8, 8, 4), np.float32)
    values = [set(np.ravel(stack)) for stack in np.asarray(skip(found, training=True))]
    assert {frozenset(value) for value in values} == {frozenset({0.0}), frozenset({2.0})}


def test_drop_path_grows_with_the_level(small: Small) -> None:
    network = small(depth=4, blocks=1, residual=True, drop_path=0.4)
    rates = [layer.rate for layer in layers_of(network, keras.layers.Dropout)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1])


def test_drop_path_needs_pairs_to_skip(small: Small) -> None:
    with pytest.raises(
        InputError,
        match=r"^`network.drop_path` skips residual pairs; set `network.residual: true` or "
        r"drop_path 0$",
    ):
        small(drop_path=0.1)


def test_gates_that_are_open_make_a_plain_unet(small: Small, stacks: np.ndarray) -> None:
    plain, gated = small(), small(name="attention_unet")
    copy_by_name(plain, gated)
    assert not np.allclose(gated(stacks), plain(stacks))
    set_gates(gated, 100.0)
    assert np.asarray(gated(stacks)) == pytest.approx(np.asarray(plain(stacks)), abs=1e-6)


def test_gates_that_are_shut_make_a_unet_that_reads_no_skips(
    small: Small, stacks: np.ndarray
) -> None:
    plain, gated = small(), small(name="attention_unet")
    copy_by_name(plain, gated)
    set_gates(gated, -100.0)
    for level, width in enumerate((2, 4)):
        reader = plain.get_layer(f"decoder_{level}_conv_0")
        kernel, bias = reader.get_weights()
        kernel[:, :, width:] = 0  # behind the channels that come from below
        reader.set_weights([kernel, bias])
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
