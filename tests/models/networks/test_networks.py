"""All networks: what they give, what their weights depend on, and that a file stands alone."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks import is_encoder

NAMES = ["unet", "attention_unet", "resunet18"]
Small = Callable[..., Any]
ALONE = """
import sys

sys.modules["thorax"] = None  # importing it would fail

import keras
import numpy as np

network = keras.saving.load_model(sys.argv[1], safe_mode=True)
stacks = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(network.predict_on_batch(stacks)))
print(keras.backend.backend())
"""


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", [*NAMES, "resunet34"])
def test_logits_are_float32_maps_of_the_canvas(
    small: Small, stacks: np.ndarray, name: str, dtype: str
) -> None:
    logits = small(name=name, dtype=dtype)(stacks)
    assert tuple(logits.shape) == (4, 16, 16, 2)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_gives_nearly_the_same(small: Small, stacks: np.ndarray, name: str) -> None:
    exact, half = (
        np.asarray(small(name=name, dtype=dtype)(stacks)) for dtype in ("float32", "mixed_bfloat16")
    )
    assert half == pytest.approx(exact, abs=0.1 * float(np.abs(exact).max()))
    assert not np.array_equal(half, exact), "it was not computed in bfloat16"


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_kept_in_float32_in_half_precision(small: Small, name: str) -> None:
    assert {weight.dtype for weight in small(name=name, dtype="mixed_float16").weights} == {
        "float32"
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_draws_the_weights(small: Small, name: str) -> None:
    keras.utils.set_random_seed(1)
    first = small(name=name, seed=5).get_weights()
    keras.utils.set_random_seed(2)
    for one, other in zip(first, small(name=name, seed=5).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_draws_other_weights_and_no_two_layers_alike(small: Small, name: str) -> None:
    drawn = [
        weights.ravel()[:8].tolist()
        for seed in (0, 1)
        for weights in small(name=name, seed=seed).get_weights()
        if weights.ndim == 4
    ]
    starts = {tuple(weights) for weights in drawn}
    assert len(starts) == len(drawn) > 10


@pytest.mark.parametrize("name", NAMES)
def test_any_plane_and_any_pixel_of_a_stack_matters_to_the_middle(
    small: Small, stacks: np.ndarray, name: str
) -> None:
    """Depth 2 on 16 pixels: the coarsest level sees all of the canvas."""
    network, stack = small(name=name, width=8), stacks[:1]
    before = np.asarray(network(stack))[0, 8, 8]
    for at in ((0, 0, 0), (15, 15, 1), (8, 8, 2)):
        changed = stack.copy()
        changed[(0, *at)] += 5.0
        assert not np.allclose(np.asarray(network(changed))[0, 8, 8], before, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_training_changes_nothing_but_weights(small: Small, stacks: np.ndarray, name: str) -> None:
    """No statistics that run along, no dropout: training mode is what prediction mode is."""
    network = small(name=name)
    np.testing.assert_array_equal(network(stacks, training=True), network(stacks, training=False))
    assert not network.non_trainable_variables


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_takes_part(small: Small, stacks: np.ndarray, name: str) -> None:
    """Any layer that is scaled changes the logits, which are compared pixel by pixel."""
    network = small(name=name, width=8, normalisation="none")
    before = np.asarray(network(stacks))
    for weight in network.weights:
        if weight.path.endswith("kernel"):
            kept = np.asarray(weight)
            weight.assign(kept * 2)
            assert not np.allclose(np.asarray(network(stacks)), before, rtol=1e-6), weight.path
            weight.assign(kept)


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_named_alike_whatever_planes_and_regions_there_are(
    small: Small, name: str
) -> None:
    def named(network: Any) -> list[str]:
        return [layer.name for layer in network.layers if layer.weights]

    first = named(small(name=name))
    assert first == named(small(name=name, channels=7, canvas=32, seed=3))
    ends = ("_0", "_1", "_2", "conv", "conv1", "conv2", "_shortcut", "_skip", "_signal", "_weights")
    assert all(layer.endswith(ends) for layer in first if layer != "logits")


@pytest.mark.parametrize(
    ("name", "encoders", "others"),
    [
        ("unet", {"encoder"}, {"up", "decoder", "logits"}),
        ("attention_unet", {"encoder"}, {"up", "decoder", "logits", "gate"}),
        ("resunet18", {"stem", "stage1"}, {"up", "decoder", "logits", "skip"}),
    ],
)
def test_the_encoder_is_known_by_its_names(
    small: Small, name: str, encoders: set[str], others: set[str]
) -> None:
    names = [layer.name for layer in small(name=name).layers if layer.weights]
    assert {layer.split("_")[0] for layer in names if is_encoder(layer)} == encoders
    assert {layer.split("_")[0] for layer in names if not is_encoder(layer)} == others


@pytest.mark.parametrize("name", NAMES)
def test_the_canvas_must_be_halved_as_often_as_the_depth_asks(small: Small, name: str) -> None:
    with pytest.raises(
        InputError,
        match=r"^`prepare.canvas` must be divisible by 2\*\*network.depth = 4, got 18$",
    ):
        small(name=name, canvas=18)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_file_loads_without_this_package(
    small: Small, stacks: np.ndarray, tmp_path: Path, backend: str
) -> None:
    """In a fresh and isolated interpreter, in Keras' safe mode, on either backend.

    The network has all that networks are made of but the normalisations with layers of their own.
    """
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    network = small(
        name="attention_unet", depth=1, blocks=1, residual=True, dropout=0.1, drop_path=0.1
    )
    network.save(tmp_path / "model.keras")
    np.save(tmp_path / "stacks.npy", stacks)
    names = ("model.keras", "stacks.npy", "logits.npy")
    # XLA need not optimise what runs once.
    hasty = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *(str(tmp_path / name) for name in names)],
        env=os.environ | hasty | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [backend], done.stderr
    logits = np.load(tmp_path / "logits.npy")
    assert logits == pytest.approx(np.asarray(network(stacks)), abs=1e-4)
