"""Deep supervision: additional outputs with the same weights."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks.supervision import supervise

Small = Callable[..., Any]


@pytest.mark.parametrize("name", ["attention_unet", "resunet18"])
def test_each_coarser_level_gives_float32_logits_of_half_the_size(
    small: Small, stacks: np.ndarray, name: str
) -> None:
    network = supervise(small(name=name, depth=3, dtype="mixed_bfloat16"), regions=2, seed=0)
    assert network.output_names == ["logits", "logits_1", "logits_2"]
    outputs = network(stacks)
    assert [tuple(logits.shape) for logits in outputs] == [
        (4, 16, 16, 2),
        (4, 8, 8, 2),
        (4, 4, 4, 2),
    ]
    assert {keras.backend.standardize_dtype(logits.dtype) for logits in outputs} == {"float32"}


def test_the_first_logits_are_those_of_the_network(shared: Small, stacks: np.ndarray) -> None:
    network = shared()
    np.testing.assert_array_equal(supervise(network, regions=2, seed=0)(stacks)[0], network(stacks))


def test_all_weights_but_those_of_the_heads_are_shared(shared: Small) -> None:
    network = shared()
    supervised = supervise(network, regions=2, seed=0)
    own = {id(weight) for weight in network.weights}
    added = [weight.path for weight in supervised.weights if id(weight) not in own]
    assert added == ["logits_1/kernel", "logits_1/bias"]
    assert own < {id(weight) for weight in supervised.weights}


def test_a_loss_of_the_coarse_logits_trains_the_network(small: Small, stacks: np.ndarray) -> None:
    network = small()
    deepest = network.get_layer("encoder_2_conv_1").kernel
    fine, before = network.get_layer("logits").get_weights(), np.asarray(deepest).copy()
    supervised = supervise(network, regions=2, seed=0)
    supervised.compile("sgd", ["mse", "mse"], loss_weights=[0.0, 1.0])
    supervised.train_on_batch(stacks, [np.ones((4, 16, 16, 2)), np.ones((4, 8, 8, 2))])
    assert not np.array_equal(deepest, before)
    np.testing.assert_array_equal(network.get_layer("logits").get_weights()[0], fine[0])


def test_the_seed_draws_the_heads(shared: Small) -> None:
    def heads(seed: int) -> list[np.ndarray]:
        network = supervise(shared(depth=3), regions=2, seed=seed)
        return [network.get_layer(f"logits_{number}").get_weights()[0] for number in (1, 2)]

    for head, again, other in zip(heads(5), heads(5), heads(6), strict=True):
        np.testing.assert_array_equal(head, again)
        assert not np.array_equal(head, other)


def test_deep_supervision_needs_two_decoder_levels(shared: Small) -> None:
    with pytest.raises(
        InputError,
        match=r"^deep supervision needs a network with at least two decoder levels, got 1; set "
        r"`losses.deep_supervision: 0` or raise `network.depth`$",
    ):
        supervise(shared(depth=1), regions=2, seed=0)
