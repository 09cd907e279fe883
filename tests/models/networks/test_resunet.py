"""The ResNet encoders: published numbers of weights, geometry, and valid parameters."""

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks import is_encoder

Small = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "published"),
    # torchvision's counts, less those of the classifier of 1000 classes: 512·1000 + 1000
    [("resunet18", 11_689_512 - 513_000), ("resunet34", 21_797_672 - 513_000)],
)
def test_encoders_have_the_published_number_of_weights(
    small: Small, name: str, published: int
) -> None:
    network = small(name=name, width=64, depth=5, canvas=32, normalisation="batch")
    trained = [
        int(np.prod(weight.shape))
        for layer in network.layers
        for weight in layer.trainable_weights
        if is_encoder(layer.name)
    ]
    assert sum(trained) == published


@pytest.mark.parametrize(
    ("depth", "stages"),
    [(2, {"stage1"}), (4, {"stage1", "stage2", "stage3"})],
)
def test_depth_cuts_the_stages(small: Small, depth: int, stages: set[str]) -> None:
    network = small(name="resunet18", depth=depth)
    parts = {layer.name.split("_")[0] for layer in network.layers if layer.weights}
    assert parts == stages | {"stem", "skip", "up", "decoder", "logits"}


@pytest.mark.parametrize(
    ("name", "pairs"), [("resunet18", [2, 2, 2, 2]), ("resunet34", [3, 4, 6, 3])]
)
def test_stages_have_the_pairs_of_the_paper_and_double_in_width(
    small: Small, name: str, pairs: list[int]
) -> None:
    network = small(name=name, width=3, depth=5, canvas=32)
    for stage, count in enumerate(pairs, start=1):
        last = [
            layer
            for layer in network.layers
            if re.fullmatch(rf"stage{stage}_block\d_conv2", layer.name)
        ]
        assert len(last) == count
        assert {layer.filters for layer in last} == {3 * 2 ** (stage - 1)}
        side = 32 // 2 ** (stage + 1)
        assert {tuple(layer.output.shape[1:3]) for layer in last} == {(side, side)}


def test_a_strided_convolution_is_centred_on_the_pixels_0_2_4(
    small: Small, stacks: np.ndarray
) -> None:
    """As in PyTorch; TensorFlow's own padding would make it 1, 3, 5."""
    network = small(name="resunet18", normalisation="none")
    stem = network.get_layer("stem_conv")
    kernel, bias = (np.zeros_like(weights) for weights in stem.get_weights())
    kernel[3, 3, 0, 0] = 1
    stem.set_weights([kernel, bias])
    maps = np.asarray(keras.Model(network.input, stem.output)(stacks))
    np.testing.assert_allclose(maps[..., 0], stacks[:, ::2, ::2, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("normalisation", "biased"),
    [("rms", True), ("none", True), ("group", False), ("instance", False), ("batch", False)],
)
def test_a_convolution_has_a_bias_if_its_normalisation_has_no_offset(
    shared: Small, normalisation: str, biased: bool
) -> None:
    network = shared(name="resunet18", normalisation=normalisation)
    assert network.get_layer("stage1_block0_conv1").use_bias is biased


def test_drop_path_and_dropout_act_on_the_encoder(small: Small, stacks: np.ndarray) -> None:
    network = small(name="resunet18", depth=4, drop_path=0.4, dropout=0.5)
    kinds = (keras.layers.Dropout, keras.layers.SpatialDropout2D)
    paths, drops = ([at.rate for at in network.layers if type(at) is kind] for kind in kinds)
    assert paths == pytest.approx([0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    assert drops == [0.5, 0.5]
    assert not np.allclose(network(stacks, training=True), network(stacks, training=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 1}, "`network.depth` of resunet18 must be between 2 and 5, got 1"),
        ({"depth": 6}, "`network.depth` of resunet18 must be between 2 and 5, got 6"),
        (
            {"blocks": 3},
            "`network.blocks` must be 2 for resunet18, whose number of blocks is fixed, got 3",
        ),
        (
            {"residual": True},
            "`network.residual` must be false for resunet18, which is residual already, got true",
        ),
    ],
)
def test_parameters_that_do_not_apply_are_refused(
    small: Small, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        small(name="resunet18", canvas=64, **changes)
