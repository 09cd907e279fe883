"""Conversion of networks to ONNX: the same probabilities as Keras, and equal bytes."""

import itertools
from collections import Counter
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from scipy.special import expit

from thorax.common.errors import InputError
from thorax.models.keras_graph import to_graph
from thorax.models.networks import build

from ..learning import pointwise
from ..settings import network_params

NORMALISATIONS = ("rms", "group", "instance", "batch", "none")
RESIDUAL = {"residual": True, "dropout": 0.2, "drop_path": 0.3}
PLAIN: dict[str, Any] = {}


def network(name: str, canvas: int = 16, **options: Any) -> Any:
    """Return a network of 3 slices and 2 regions with random weights of all kinds."""
    params = network_params(**{"name": name, "width": 4, "depth": 2} | options)
    made = build(params, canvas=canvas, channels=3, regions=2, seed=1, dtype="float32")
    generator = np.random.default_rng(2)
    for weight in made.weights:
        if weight.path.endswith("gamma"):
            weight.assign(generator.uniform(0.4, 0.8, weight.shape))
        elif weight.path.endswith("variance"):
            weight.assign(generator.uniform(2, 4, weight.shape))
        elif weight.path.endswith(("beta", "mean", "bias")):
            weight.assign(generator.normal(0, 0.3, weight.shape))
    return made


def run(graph: bytes, stacks: np.ndarray) -> np.ndarray:
    """Return the output of a graph."""
    return onnxruntime.InferenceSession(graph).run(None, {"stacks": stacks})[0]


def random_stacks(made: Any, count: int = 3) -> np.ndarray:
    """Return stacks of the size that a network needs."""
    return np.random.default_rng(3).random((count, *made.input_shape[1:]), np.float32)


def kinds(graph: bytes) -> Counter[str]:
    """Return the number of nodes of each kind."""
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


@pytest.mark.parametrize(
    ("name", "normalisation", "options"),
    [
        *itertools.product(("unet", "attention_unet"), NORMALISATIONS, (PLAIN, RESIDUAL)),
        *itertools.product(("resunet18", "lean"), NORMALISATIONS, ({"dropout": 0.2},)),
        ("resunet34", "rms", {"canvas": 32, "depth": 5}),
    ],
)
def test_a_graph_gives_the_probabilities_of_keras(
    name: str, normalisation: str, options: dict[str, Any]
) -> None:
    made = network(name, normalisation=normalisation, **options)
    stacks = random_stacks(made)
    expected = expit(np.asarray(made(stacks)))
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(run(to_graph(made), stacks), expected, atol=1e-5)


def test_the_batch_size_is_free() -> None:
    made = network("lean")
    graph, stacks = to_graph(made), random_stacks(made, 5)
    together = run(graph, stacks)
    apart = [run(graph, stack[None]) for stack in stacks]
    np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-6)


def test_a_graph_is_valid_onnx_with_one_transposition_at_each_end() -> None:
    graph = to_graph(network("attention_unet", normalisation="group"))
    model = onnx.load_model_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    ends = [end.name for end in (*model.graph.input, *model.graph.output)]
    assert ends == ["stacks", "probabilities"]
    assert model.producer_name == "thorax"
    assert kinds(graph)["Transpose"] == 2


@pytest.mark.parametrize("name", ["attention_unet", "resunet18", "lean"])
def test_equal_networks_give_equal_bytes(name: str) -> None:
    """Keras numbers the layers of the second one differently."""
    first, second = (network(name, normalisation="group", dropout=0.1) for _ in range(2))
    assert to_graph(first) == to_graph(second)
    second.weights[-1].assign(second.weights[-1] + 1)
    assert to_graph(first) != to_graph(second)


def test_dropout_is_left_out() -> None:
    assert to_graph(network("unet", dropout=0.3)) == to_graph(network("unet"))
    skipping = to_graph(network("unet", residual=True, dropout=0.3, drop_path=0.3))
    assert kinds(skipping) == kinds(to_graph(network("unet", residual=True)))


def test_casts_are_left_out_because_a_graph_computes_in_float32() -> None:
    halves, exact = (
        build(network_params(), canvas=16, channels=1, regions=1, seed=0, dtype=dtype)
        for dtype in ("mixed_float16", "float32")
    )
    assert to_graph(halves) == to_graph(exact)


def test_a_layer_that_is_used_twice_is_stored_once() -> None:
    """By hand: 2·(2·x + 1) + 1 = 4·x + 3, plus 2·x + 1."""
    stack = keras.Input((1, 2, 1))
    doubled = layers.Conv2D(1, 1)
    once = doubled(stack)
    made = keras.Model(stack, layers.Add()([doubled(once), once]))
    doubled.set_weights([np.full((1, 1, 1, 1), 2.0), np.ones(1)])
    graph = to_graph(made)
    predicted = run(graph, np.float32([[[[0], [-1]]]]))
    assert predicted.ravel() == pytest.approx(expit([4.0, -2.0]))
    assert len(onnx.load_from_string(graph).graph.initializer) == 2


def test_a_sequential_network_is_exported() -> None:
    functional = pointwise([[2]], [1], canvas=2)
    sequential = keras.Sequential([keras.Input((2, 2, 1)), functional.layers[-1]])
    assert to_graph(sequential) == to_graph(functional)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(2, 3, strides=2, padding="same"),
        layers.Conv2D(2, 2, padding="same", activation="relu"),
        layers.Conv2D(4, 3, dilation_rate=2, groups=2, use_bias=False),
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.ZeroPadding2D(((0, 1), (2, 3))),
        layers.UpSampling2D((2, 3), interpolation="bilinear"),
        layers.BatchNormalization(scale=False),
        layers.GroupNormalization(1, center=False),
    ],
    ids=lambda layer: layer.name,
)
def test_options_that_no_network_has_are_converted_too(layer: Any) -> None:
    stack = keras.Input((6, 7, 4))
    made = keras.Model(stack, layer(stack))
    stacks = random_stacks(made)
    expected = expit(np.asarray(made(stacks)))
    np.testing.assert_allclose(run(to_graph(made), stacks), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            layers.Softmax(name="last"),
            r"^to export a network, its operations must be Activation, Add, .* or ZeroPadding2D, "
            r"got Softmax in 'last'; change the network, or predict with the folder of the "
            r"trained model$",
        ),
        (
            layers.Conv2DTranspose(1, 2, strides=2, padding="same", name="up"),
            r"`padding` of Conv2DTranspose must be 'valid', got 'same' in 'up'",
        ),
        (
            layers.UpSampling2D(2, name="up"),
            r"`interpolation` of UpSampling2D must be 'bilinear', got 'nearest' in 'up'",
        ),
        (
            layers.Activation("gelu", name="bent"),
            r"`activation` of Activation must be 'linear' or 'relu' or 'sigmoid', got 'gelu' in",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
def test_what_cannot_be_converted_is_named(layer: Any, message: str) -> None:
    stack = keras.Input((4, 4, 1))
    with pytest.raises(InputError, match=message):
        to_graph(keras.Model(stack, layer(stack)))


def test_arrays_as_arguments_are_named() -> None:
    stack = keras.Input((4, 4, 2))
    made = keras.Model(stack, stack * np.ones((1, 1, 1, 2), np.float32))
    with pytest.raises(InputError, match="arguments must be tensors and numbers, got __"):
        to_graph(made)
