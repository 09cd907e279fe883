"""The network for CPUs: what each of its parameters changes, counted and worked out by hand."""

from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks.lean import lean
from thorax.models.networks.supervision import supervise

from ...settings import network_params


def small(
    *, canvas: int = 16, seed: int = 0, dtype: str = "float32", channels: int = 3, **changes: Any
) -> Any:
    """A network of width 2 and depth 2 from stacks to 2 regions, but for what is given."""
    params = network_params(**({"name": "lean", "width": 2, "depth": 2} | changes))
    return lean(params, canvas=canvas, channels=channels, regions=2, seed=seed, dtype=dtype)


def layers_of(network: Any, kind: type) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        # 3 planes, levels of 3 and 4 channels: encoder 5·5·3·3 + 3, 9·3·3 + 3, 9·3·4 + 4 and
        # 9·4·4 + 4; up 2·2·4·3 + 3; decoder 9·6·3 + 3 and 84; up 2·2·3·8 + 8; logits 8·2 + 2
        ({}, 228 + 84 + 112 + 148 + 51 + 165 + 84 + 104 + 18),
        # the second convolutions 84, 148 and 84 less, or once more
        ({"blocks": 1}, 994 - 316),
        ({"blocks": 3}, 994 + 316),
        # in place of a bias each of the channels 3 + 3 + 4 + 4 + 3 + 3 has scale and offset
        ({"normalisation": "group"}, 994 + 20),
        ({"normalisation": "instance"}, 994 + 20),
        # and mean and variance
        ({"normalisation": "batch"}, 994 + 20 + 40),
        ({"normalisation": "none"}, 994),
        # 8 channels below: 296 and 584; up 132; decoder 292 and 148
        ({"depth": 3}, 994 + 1452),
    ],
)
def test_weights_are_as_many_as_counted_by_hand(changes: dict[str, Any], count: int) -> None:
    assert small(**changes).count_params() == count


def test_channels_double_from_level_to_level_and_stop_at_256() -> None:
    """The finest level has half as many again."""
    network = small(width=100, depth=3)
    widths = [layer.filters for layer in layers_of(network, keras.layers.Conv2D)]
    # Pairs of each level, then the logits; Conv2DTranspose is a class of its own.
    assert widths == [150, 150, 200, 200, 256, 256, 200, 200, 150, 150, 2]


def test_layers_are_named_by_where_they_stand() -> None:
    named = {layer.name for layer in small(normalisation="group").layers if layer.weights}
    convolutions = {
        "encoder_1_conv_0",
        "encoder_1_conv_1",
        "encoder_2_conv_0",
        "encoder_2_conv_1",
        "decoder_1_conv_0",
        "decoder_1_conv_1",
    }
    norms = {f"{name}_norm" for name in convolutions}
    assert named == convolutions | norms | {"up_1", "up_0", "logits"}


def test_no_convolution_but_the_last_works_at_the_size_of_the_canvas() -> None:
    """That is what makes it lean."""
    fine = [
        layer.name
        for layer in layers_of(small(canvas=32, depth=3), keras.layers.Conv2D)
        if layer.output.shape[1] == 32
    ]
    assert fine == ["logits"]


def test_levels_end_at_the_size_that_their_number_says() -> None:
    network = small(canvas=32, depth=3)
    ends = ("encoded_1", "encoded_2", "encoded_3", "decoded_2", "decoded_1")
    assert [network.get_layer(end).output.shape[1] for end in ends] == [16, 8, 4, 8, 16]


def test_deep_supervision_has_half_and_quarter_of_the_canvas(stacks: np.ndarray) -> None:
    network = supervise(small(depth=3), regions=2, seed=0)
    assert [each.shape[1] for each in network(stacks)] == [16, 8, 4]


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_maps_of_the_canvas(stacks: np.ndarray, dtype: str) -> None:
    logits = small(dtype=dtype)(stacks)
    assert tuple(logits.shape) == (4, 16, 16, 2)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(logits).all()


def test_the_four_pixels_of_a_square_are_told_apart(stacks: np.ndarray) -> None:
    logits = np.asarray(small()(stacks))
    corners = [logits[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    for number, one in enumerate(corners):
        assert all(not np.allclose(one, other, atol=1e-3) for other in corners[:number])


def test_each_pixel_of_each_plane_is_seen(stacks: np.ndarray) -> None:
    """A strided convolution could step over some."""
    network = small(width=8)
    before = np.asarray(network(stacks[:1]))
    for row, column, plane in ((6, 6, 0), (6, 7, 1), (7, 6, 2), (7, 7, 0), (0, 0, 1), (15, 15, 2)):
        changed = stacks[:1].copy()
        changed[0, row, column, plane] += 5.0
        assert not np.allclose(network(changed), before, atol=1e-4)


def test_the_seed_alone_draws_the_weights() -> None:
    keras.utils.set_random_seed(1)
    first = small(seed=5).get_weights()
    keras.utils.set_random_seed(2)
    for one, other in zip(first, small(seed=5).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], small(seed=6).get_weights()[0])


def test_a_stack_is_seen_alike_whatever_else_is_in_the_batch(stacks: np.ndarray) -> None:
    network = small()
    alone = np.asarray(network(stacks[:1]))
    loud = np.concatenate([stacks[:1], 100 * stacks[1:]])
    assert np.asarray(network(loud))[:1] == pytest.approx(alone, abs=1e-5)


def test_normalisations_give_different_logits(stacks: np.ndarray) -> None:
    """From the same kernels: biases are 0 and scales 1 at first."""
    logits = [
        np.asarray(small(normalisation=name, width=8)(stacks, training=True))
        for name in ("rms", "group", "instance", "batch", "none")
    ]
    for number, one in enumerate(logits):
        assert all(not np.allclose(one, other, atol=1e-3) for other in logits[:number])


@pytest.mark.parametrize(("depth", "sizes"), [(2, [8, 4]), (3, [4, 2])])
def test_dropout_stands_behind_the_two_deepest_levels(depth: int, sizes: list[int]) -> None:
    dropped = layers_of(small(depth=depth, dropout=0.25), keras.layers.SpatialDropout2D)
    assert [layer.input.shape[1] for layer in dropped] == sizes
    assert {layer.rate for layer in dropped} == {0.25}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"canvas": 18},
            r"^`prepare.canvas` must be divisible by 2\*\*network.depth = 4, got 18$",
        ),
        (
            {"depth": 1},
            r"^`network.depth` must be at least 2 for `lean`, which begins one level down; got 1$",
        ),
        (
            {"residual": True},
            r"^`network.residual` and `network.drop_path` must be false and 0 for `lean`, which "
            r"has no residual pairs; got true and 0.0$",
        ),
        ({"drop_path": 0.1}, r"got false and 0.1$"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_a_file_loads_in_safe_mode(stacks: np.ndarray, tmp_path: Any) -> None:
    network = small()
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(stacks), network(stacks))
