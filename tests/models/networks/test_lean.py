"""The lean U-Net: effects of its parameters, computed by hand."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks.supervision import supervise

Small = Callable[..., Any]


def layers_of(network: Any, kind: type) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        # 3 slices, levels of 3 and 4 channels: encoder 5·5·3·3 + 3, 9·3·3 + 3, 9·3·4 + 4 and
        # 9·4·4 + 4; up 2·2·4·3 + 3; decoder 9·6·3 + 3 and 84; up 2·2·3·8 + 8; logits 8·2 + 2
        ({}, 228 + 84 + 112 + 148 + 51 + 165 + 84 + 104 + 18),
        # without the second convolutions 84, 148 and 84
        ({"blocks": 1}, 994 - 316),
        # instead of a bias each of the channels 3 + 3 + 4 + 4 + 3 + 3 has scale and offset
        ({"normalisation": "group"}, 994 + 20),
        # 8 channels below: 296 and 584; up 132; decoder 292 and 148
        ({"depth": 3}, 994 + 1452),
    ],
)
def test_number_of_weights_by_hand(shared: Small, changes: dict[str, Any], count: int) -> None:
    assert shared(name="lean", **changes).count_params() == count


def test_channels_double_from_level_to_level_up_to_256(small: Small) -> None:
    """The finest level has half as many again."""
    network = small(name="lean", width=100, depth=3)
    widths = [layer.filters for layer in layers_of(network, keras.layers.Conv2D)]
    # Pairs of each level, then the logits; Conv2DTranspose is another class.
    assert widths == [150, 150, 200, 200, 256, 256, 200, 200, 150, 150, 2]


def test_names_of_layers_state_their_position(shared: Small) -> None:
    network = shared(name="lean", normalisation="group")
    names = {layer.name for layer in network.layers if layer.weights}
    convolutions = {
        "encoder_1_conv_0",
        "encoder_1_conv_1",
        "encoder_2_conv_0",
        "encoder_2_conv_1",
        "decoder_1_conv_0",
        "decoder_1_conv_1",
    }
    norms = {f"{name}_norm" for name in convolutions}
    assert names == convolutions | norms | {"up_1", "up_0", "logits"}


def test_levels_have_half_the_size_of_the_one_above_and_only_logits_have_the_full_size(
    small: Small,
) -> None:
    network = small(name="lean", canvas=32, depth=3)
    ends = ("encoded_1", "encoded_2", "encoded_3", "decoded_2", "decoded_1")
    assert [network.get_layer(end).output.shape[1] for end in ends] == [16, 8, 4, 8, 16]
    convolutions = layers_of(network, keras.layers.Conv2D)
    assert [layer.name for layer in convolutions if layer.output.shape[1] == 32] == ["logits"]


def test_deep_supervision_has_half_and_quarter_of_the_canvas(
    shared: Small, stacks: np.ndarray
) -> None:
    network = supervise(shared(name="lean", depth=3), regions=2, seed=0)
    assert [logits.shape[1] for logits in network(stacks)] == [16, 8, 4]


def test_the_four_pixels_of_a_square_have_their_own_logits(
    shared: Small, stacks: np.ndarray
) -> None:
    logits = np.asarray(shared(name="lean")(stacks))
    corners = [logits[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    for number, corner in enumerate(corners):
        assert all(not np.allclose(corner, other, atol=1e-3) for other in corners[:number])


def test_every_pixel_affects_the_logits(small: Small, stacks: np.ndarray) -> None:
    """A strided convolution could skip some."""
    network = small(name="lean", width=8)
    pixels = ((6, 6, 0), (6, 7, 1), (7, 6, 2), (7, 7, 0), (0, 0, 1), (15, 15, 2))
    changed = np.repeat(stacks[:1], 1 + len(pixels), axis=0)
    for number, pixel in enumerate(pixels, start=1):
        changed[(number, *pixel)] += 5.0
    before, *after = np.asarray(network(changed))
    assert all(not np.allclose(logits, before, atol=1e-4) for logits in after)


@pytest.mark.parametrize(("depth", "sizes"), [(2, [8, 4]), (3, [4, 2])])
def test_dropout_follows_the_two_deepest_levels(small: Small, depth: int, sizes: list[int]) -> None:
    network = small(name="lean", depth=depth, dropout=0.25)
    dropouts = layers_of(network, keras.layers.SpatialDropout2D)
    assert [layer.input.shape[1] for layer in dropouts] == sizes
    assert {layer.rate for layer in dropouts} == {0.25}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"depth": 1},
            r"^`network.depth` must be at least 2 for `lean`, which has no level 0, got 1$",
        ),
        (
            {"residual": True},
            r"^`network.residual` must be false and `network.drop_path` 0 for `lean`, which has no "
            r"residual pairs, got true and 0.0$",
        ),
        ({"drop_path": 0.1}, r"got false and 0.1$"),
    ],
)
def test_parameters_that_do_not_apply_are_refused(
    small: Small, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        small(name="lean", **changes)
