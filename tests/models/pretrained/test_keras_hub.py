"""Encoders with the weights of a ResNet compute the same as keras-hub's own network."""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks import build
from thorax.models.pretrained.keras_hub import Preset, load_preset, transfer_preset

from ...settings import plain_network

CANVAS = 32
RESUNET: dict[str, Any] = {
    "name": "resunet18",
    "width": 64,
    "depth": 3,
    "normalisation": "none",
}


@pytest.fixture(scope="module")
def hub() -> ModuleType:
    """Return keras-hub, which is an optional extra."""
    return pytest.importorskip("keras_hub", reason="keras-hub is not installed")


MakeBackbone = Callable[..., Any]


@pytest.fixture(scope="module")
def make_backbone(hub: ModuleType) -> MakeBackbone:
    """Return a function that makes a ResNet of two stages, with trained-like statistics."""

    def make(**changes: Any) -> Any:
        keras.utils.set_random_seed(3)
        plain = {
            "input_conv_filters": [64],
            "input_conv_kernel_sizes": [7],
            "stackwise_num_filters": [64, 128],
            "stackwise_num_blocks": [2, 2],
            "stackwise_num_strides": [1, 2],
            "block_type": "basic_block",
        }
        backbone = hub.models.ResNetBackbone(**plain | changes)
        _shake_norms(backbone)
        return backbone

    return make


@pytest.fixture(scope="module")
def backbone(make_backbone: MakeBackbone) -> Any:
    return make_backbone()


@pytest.fixture(scope="module")
def folder(backbone: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a preset without a normalisation of images."""
    path = tmp_path_factory.mktemp("presets") / "resnet"
    backbone.save_to_preset(str(path))
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse all connections and look-ups of hosts."""

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def _shake_norms(backbone: Any) -> None:
    generator = np.random.default_rng(4)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.gamma.shape
            layer.gamma.assign(generator.uniform(0.5, 1.5, width))
            layer.beta.assign(generator.normal(0, 0.3, width))
            layer.moving_mean.assign(generator.normal(0, 0.3, width))
            layer.moving_variance.assign(generator.uniform(0.5, 2.0, width))


def network_of(*, planes: int = 3, **changes: Any) -> Any:
    params = plain_network(**RESUNET | changes)
    return build(params, canvas=CANVAS, channels=planes, regions=2, seed=0, dtype="float32")


def encoded(network: Any) -> Any:
    """Return the network up to the end of its encoder."""
    ups = [layer for layer in network.layers if layer.name.startswith("up_")]
    return keras.Model(network.input, max(ups, key=lambda layer: layer.name).input)


def draw_grey() -> np.ndarray:
    return np.random.default_rng(5).random((2, CANVAS, CANVAS, 1), np.float32)


def relative_error(actual: Any, expected: Any) -> float:
    expected = np.asarray(expected)
    return float(np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(("planes", "normalisation"), [(1, "none"), (5, "batch")])
def test_the_encoder_computes_the_same_as_the_resnet_for_grey_images(
    folder: Path, backbone: Any, planes: int, normalisation: str
) -> None:
    network = network_of(planes=planes, normalisation=normalisation)
    grey = draw_grey()
    expected = backbone(np.repeat(grey, 3, axis=-1), training=False)
    stacks = np.repeat(grey, planes, axis=-1)
    assert relative_error(encoded(network)(stacks, training=False), expected) > 0.1
    transfer_preset(network, load_preset(str(folder)))
    assert relative_error(encoded(network)(stacks, training=False), expected) < 1e-4


@pytest.mark.parametrize(
    ("name", "blocks", "width"), [("resunet18", [2, 2, 2, 2], 512), ("resunet34", [3, 4], 128)]
)
def test_resnets_of_all_stages_and_blocks_fit(
    make_backbone: MakeBackbone, name: str, blocks: list[int], width: int
) -> None:
    backbone = make_backbone(
        stackwise_num_filters=[64, 128, 256, 512][: len(blocks)],
        stackwise_num_blocks=blocks,
        stackwise_num_strides=[1, 2, 2, 2][: len(blocks)],
    )
    network, grey = network_of(name=name, depth=len(blocks) + 1), draw_grey()
    transferred = transfer_preset(network, Preset("all stages", backbone))
    expected = backbone(np.repeat(grey, 3, axis=-1), training=False)
    actual = encoded(network)(np.repeat(grey, 3, axis=-1))
    assert actual.shape[-1] == width
    assert relative_error(actual, expected) < 1e-4
    assert not [layer for layer in transferred.random if layer.startswith(("stage", "stem"))]


def test_the_scale_of_its_images_is_folded_in(hub: ModuleType, folder: Path) -> None:
    """Equal in all pixels, since there are no offsets, which differ beyond the edge."""
    scale = [0.02, 0.01, 0.03]
    converter = hub.layers.ResNetImageConverter(scale=scale)
    backbone = hub.models.ResNetBackbone.from_preset(str(folder))
    network, grey = network_of(planes=5), draw_grey()
    preset = Preset("scaled", backbone, gain=tuple(255 * factor for factor in scale))
    transfer_preset(network, preset)
    expected = backbone(converter(255 * np.repeat(grey, 3, axis=-1)), training=False)
    actual = encoded(network)(np.repeat(grey, 5, axis=-1))
    assert relative_error(actual, expected) < 1e-4


@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_the_stem_gets_images_as_the_preset_normalises_them(
    hub: ModuleType, backbone: Any, tmp_path: Path, normalisation: str
) -> None:
    """ImageNet's mean and deviation; without the edge, beyond which the ResNet has the mean."""
    deviation, mean = np.array([0.229, 0.224, 0.225]), np.array([0.485, 0.456, 0.406])
    converter = hub.layers.ResNetImageConverter(
        scale=list(1 / 255 / deviation), offset=list(-mean / deviation)
    )
    backbone.save_to_preset(str(tmp_path / "resnet"))
    converter.save_to_preset(str(tmp_path / "resnet"))
    network, grey = network_of(normalisation=normalisation), draw_grey()
    transfer_preset(network, load_preset(str(tmp_path / "resnet")))
    last = "stem_conv_norm" if normalisation == "batch" else "stem_conv"
    stem = keras.Model(network.input, network.get_layer(last).output)
    trained = keras.Model(backbone.input, backbone.get_layer("conv1_bn").output)
    colours = np.repeat(grey, 3, axis=-1)
    expected = np.asarray(trained((colours - mean) / deviation, training=False))
    actual = np.asarray(stem(colours, training=False))
    assert relative_error(actual[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2]) < 1e-4


def test_norms_that_compute_means_get_the_learnt_scale_and_offset(backbone: Any) -> None:
    network = network_of(normalisation="group")
    transfer_preset(network, Preset("small", backbone))
    for own, other in (
        ("stem_conv_norm", "conv1_bn"),
        ("stage2_block0_shortcut_norm", "stack1_block0_0_bn"),
        ("stage1_block1_conv2_norm", "stack0_block1_2_bn"),
    ):
        norm, trained = network.get_layer(own), backbone.get_layer(other)
        np.testing.assert_array_equal(norm.gamma, trained.gamma)
        np.testing.assert_array_equal(norm.beta, trained.beta)


def test_instance_norm_equals_batch_norm_with_the_same_statistics(
    make_backbone: MakeBackbone,
) -> None:
    backbone, network = make_backbone(), network_of(normalisation="instance")
    image = np.repeat(draw_grey()[:1], 3, axis=-1)
    first, norm = backbone.get_layer("conv1_conv"), backbone.get_layer("conv1_bn")
    response = np.asarray(keras.Model(backbone.input, first.output)(image))
    norm.moving_mean.assign(response.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(response.var(axis=(0, 1, 2)))
    transfer_preset(network, Preset("small", backbone))
    expected = keras.Model(backbone.input, norm.output)(image, training=False)
    actual = keras.Model(network.input, network.get_layer("stem_conv_norm").output)(image)
    assert relative_error(actual, expected) < 1e-3


@pytest.mark.parametrize("normalisation", ["group", "rms"])
def test_a_scale_that_batch_norm_removes_has_no_effect(
    make_backbone: MakeBackbone, normalisation: str
) -> None:
    """A channel ten times as large, with a variance to match, is the same channel."""
    kernels = []
    for scale in (1.0, 10.0):
        backbone, network = make_backbone(), network_of(normalisation=normalisation)
        first, norm = backbone.get_layer("conv1_conv"), backbone.get_layer("conv1_bn")
        first.kernel.assign(scale * first.kernel)
        norm.moving_variance.assign(scale**2 * norm.moving_variance)
        transfer_preset(network, Preset("small", backbone))
        kernels.append(np.asarray(network.get_layer("stem_conv").kernel))
    assert relative_error(kernels[0], kernels[1]) < 1e-3


def test_the_other_layers_keep_their_random_weights(backbone: Any) -> None:
    network = network_of(normalisation="batch")
    before = {layer.name: layer.get_weights() for layer in network.layers}
    transferred = transfer_preset(network, Preset("small", backbone))
    assert transferred.adapted == ("stem_conv", "stem_conv_norm")
    assert {"stage1_block0_conv1", "stage2_block0_shortcut_norm"} <= set(transferred.copied)
    assert {"skip_conv", "decoder_0_conv_0", "up_2", "logits"} <= set(transferred.random)
    for name in transferred.random:
        for after, values in zip(network.get_layer(name).get_weights(), before[name], strict=True):
            np.testing.assert_array_equal(after, values)


@pytest.mark.usefixtures("offline")
def test_a_folder_needs_no_network(folder: Path) -> None:
    preset = load_preset(str(folder))
    assert preset.gain == (1.0, 1.0, 1.0)
    assert preset.offset == (0.0, 0.0, 0.0)


def test_resnets_of_timm_are_read_from_their_folder(tmp_path: Path, hub: ModuleType) -> None:
    """The only way in which keras-hub reads a plain ResNet34; kernels are `(n, c, h, w)`."""
    numpy_files = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    config = {
        "architecture": "resnet34",
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "interpolation": "bicubic",
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    first = np.random.default_rng(6).random((64, 3, 7, 7), np.float32)
    numpy_files.save_file(_timm_weights(first), tmp_path / "model.safetensors")
    preset = load_preset(str(tmp_path))
    assert preset.gain == pytest.approx((4, 4, 4))
    assert preset.offset == pytest.approx((-2, -2, -2))
    network = network_of(name="resunet34", depth=2, normalisation="batch", planes=1)
    transfer_preset(network, preset)
    kernel = np.asarray(network.get_layer("stem_conv").kernel)
    assert kernel[:, :, 0, 5] == pytest.approx(4 * first[5].sum(axis=0), rel=1e-5)


def _timm_weights(first: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights of timm's ResNet34; all 1 but the first kernel."""
    shapes = {"conv1": (64, 3, 7, 7)}
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        wider = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            if width != wider:
                shapes[f"{prefix}.downsample.0"] = (wider, width, 1, 1)
            shapes[f"{prefix}.conv1"] = (wider, width, 3, 3)
            shapes[f"{prefix}.conv2"] = (wider, wider, 3, 3)
            width = wider
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = np.ones(shape, np.float32)
        norm = name.replace("downsample.0", "downsample.1").replace("conv", "bn")
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{part}"] = np.ones(shape[0], np.float32)
    return weights | {"conv1.weight": first}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 16}, r"preset 'small' needs `network.width: 64`, got 16"),
        (
            {"name": "unet", "width": 2},
            r"preset 'small' needs `network.name` resunet18 or resunet34, got unet",
        ),
        (
            {"name": "resunet34"},
            r"preset 'small' has \(2, 2\) blocks per stage, resunet34 has \(3, 4\); .*timm",
        ),
        (
            {"depth": 4},
            r"preset 'small' has \(2, 2\) blocks per stage, resunet18 has \(2, 2, 2\)",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    backbone: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        transfer_preset(network_of(**changes), Preset("small", backbone))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"block_type": "bottleneck_block"}, "bottleneck_block"),
        ({"block_type": "basic_block_vd"}, "basic_block_vd"),
        ({"use_pre_activation": True}, "ResNetV2"),
    ],
)
def test_other_kinds_of_resnets_are_refused(
    make_backbone: MakeBackbone, tmp_path: Path, changes: dict[str, Any], kind: str
) -> None:
    make_backbone(**changes).save_to_preset(str(tmp_path))
    with pytest.raises(
        InputError,
        match=f"must be a ResNet of basic blocks, got {kind}; resnet_18_imagenet fits resunet18",
    ):
        load_preset(str(tmp_path))


def test_a_folder_without_a_preset_is_refused_in_one_line(hub: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a ResNet that can be downloaded") as caught:
        load_preset(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("hub")
def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"`network.initial_weights` must be random, segmenter, .*, got 'resnet_99'",
    ):
        load_preset("resnet_99")


def test_a_preset_that_cannot_be_downloaded_is_one_line(
    hub: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("the host\ncannot be reached")

    monkeypatch.setattr(hub.models.ResNetBackbone, "from_preset", refuse)
    with pytest.raises(
        InputError, match=r"preset 'resnet_18_imagenet' must be .*: the host cannot be reached$"
    ):
        load_preset("resnet_18_imagenet")


def test_without_keras_hub_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(
        InputError,
        match=r"`network.initial_weights: resnet_18_imagenet` is a preset, which needs keras-hub, "
        r"which is not installed; run `pip install 'thorax\[imagenet\]'`$",
    ):
        load_preset("resnet_18_imagenet")


def test_an_import_error_of_keras_hub_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keras_hub.py").write_text("raise ImportError('kagglehub is too old')")
    monkeypatch.delitem(sys.modules, "keras_hub", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="needs keras-hub, but: kagglehub is too old; run `pip"):
        load_preset("resnet_18_imagenet")
