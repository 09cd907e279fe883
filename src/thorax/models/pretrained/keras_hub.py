"""Initial weights from keras-hub's ResNet presets, trained on ImageNet, for residual encoders.

keras-hub is an optional extra and is only imported if a preset is used. A preset is a name that
keras-hub knows, a handle such as ``hf://timm/resnet34.a1_in1k``, or a local folder, which needs no
network connection.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from thorax.common.errors import InputError
from thorax.models.pretrained.transfer import Plan, TransferResult, assign_weights

Weights = NDArray[np.float32]

EXAMPLES = "resnet_18_imagenet fits resunet18, hf://timm/resnet34.a1_in1k resunet34"

_RESIDUAL_LAYER = re.compile(r"stage(\d+)_block(\d+)_(shortcut|conv1|conv2)")

_PARTS = {"shortcut": 0, "conv1": 1, "conv2": 2}


@dataclass(frozen=True)
class Preset:
    """Trained ResNet and the normalisation of its images.

    Args:
        name: Name, handle or folder.
        backbone: A `keras_hub.models.ResNetBackbone`.
        gain: Factors for red, green and blue, which range from 0 to 1.
        offset: Offsets that are added after that.
    """

    name: str
    backbone: Any
    gain: tuple[float, ...] = (1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)


def load_preset(name: str) -> Preset:
    """Load a preset of keras-hub, which downloads and caches presets that are not local.

    Args:
        name: Name, handle or folder of a preset. The normalisation of its images is read from it;
            without one, images range from 0 to 1.

    Raises:
        InputError: keras-hub is not installed, the preset does not exist or cannot be downloaded
            or read, or it is not a ResNet of basic blocks.
    """
    hub = _import_hub(name)
    if not _may_exist(name, hub):
        raise InputError(
            "`network.initial_weights` must be random, segmenter, a ResNet preset of keras-hub or "
            f"a preset folder, got {name!r}; {EXAMPLES}"
        )
    try:
        backbone = hub.models.ResNetBackbone.from_preset(name, dtype="float32")
        converter = _load_converter(hub, name)
    except Exception as error:  # hubs, connections and damaged files raise many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"preset {name!r} must be a ResNet that can be downloaded, or a preset folder: {reason}"
        ) from error
    _check_kind(name, backbone)
    if converter is None:
        return Preset(name, backbone)
    # Images of keras-hub range from 0 to 255.
    gain = 255.0 * np.asarray(1.0 if converter.scale is None else converter.scale)
    offset = 0.0 if converter.offset is None else converter.offset
    return Preset(name, backbone, gain=_rgb(gain), offset=_rgb(offset))


def transfer_preset(network: Any, preset: Preset) -> TransferResult:
    """Transfer the weights of a trained ResNet to the encoder of a residual U-Net.

    The first kernel, with the normalisation of the images folded in, is summed over red, green and
    blue and divided equally among the slices: a stack of equal slices gives the response to the
    grey image. Beyond the edge of the canvas is the low end of the window, where the ResNet had the
    mean colour. The statistics of each channel (mean, variance, learnt scale and offset) go

    - with ``network.normalisation: batch`` to the batch norms;
    - with ``rms`` and ``none`` to the kernel and the bias of the convolution before;
    - with ``group`` and ``instance``, the variance to the kernel, scale and offset to the norms,
      which compute means themselves.

    With ``none``, and with ``batch`` in prediction, the encoder computes the same as the ResNet.

    Args:
        network: From `thorax.models.networks.build`; the weights of its encoder are changed.
        preset: The trained ResNet.

    Returns:
        The copied, adapted and random layers.

    Raises:
        InputError: The network has no residual encoder, another width, or other blocks.
    """
    layers = {layer.name: layer for layer in network.layers}
    counterparts = {name: prefix for name in layers if (prefix := _counterpart(name))}
    _check_fit(network, preset, counterparts)
    trained = {
        name: _PretrainedConvolution.read(preset.backbone, prefix)
        for name, prefix in counterparts.items()
    }
    originals = {id(values) for convolution in trained.values() for values in convolution.arrays}
    trained["stem_conv"] = trained["stem_conv"].for_planes(network.input_shape[-1], preset)
    plans: dict[str, Plan] = {}
    for name, convolution in trained.items():
        plans |= convolution.plans(name, layers.get(f"{name}_norm"))
    unchanged = {name for name, plan in plans.items() if originals.issuperset(map(id, plan))}
    return assign_weights(network, plans, unchanged=unchanged)


@dataclass(frozen=True)
class _PretrainedConvolution:
    """Convolution of the ResNet, `(h, w, c, n)`, and the batch norm after it, `(n,)` each."""

    kernel: Weights
    gamma: Weights
    beta: Weights
    mean: Weights
    variance: Weights
    epsilon: float

    @classmethod
    def read(cls, backbone: Any, prefix: str) -> "_PretrainedConvolution":
        norm = backbone.get_layer(f"{prefix}_bn")
        weights = {
            "kernel": backbone.get_layer(f"{prefix}_conv").kernel,
            "gamma": norm.gamma,
            "beta": norm.beta,
            "mean": norm.moving_mean,
            "variance": norm.moving_variance,
        }
        arrays = {name: ops.convert_to_numpy(weight) for name, weight in weights.items()}
        return cls(**arrays, epsilon=norm.epsilon)

    @property
    def arrays(self) -> tuple[Weights, ...]:
        return self.kernel, self.gamma, self.beta, self.mean, self.variance

    def for_planes(self, planes: int, preset: Preset) -> "_PretrainedConvolution":
        """Return the convolution for grey slices from 0 to 1 instead of normalised colours."""
        # The mean removes a constant that the kernel adds everywhere.
        constant = np.einsum("hwcn,c->n", self.kernel, preset.offset)
        grey = np.einsum("hwcn,c->hwn", self.kernel, preset.gain)[:, :, None]
        shared = np.repeat(grey / planes, planes, axis=2)
        return replace(self, kernel=shared, mean=self.mean - constant)

    def plans(self, name: str, norm: Any) -> dict[str, Plan]:
        """Return the new weights of a convolution, and of its norm if it has weights."""
        if isinstance(norm, keras.layers.BatchNormalization):
            return {name: [self.kernel], norm.name: [*self.arrays[1:]]}
        deviation = np.sqrt(self.variance + self.epsilon)
        if norm is not None:
            return {name: [self.kernel / deviation], norm.name: [self.gamma, self.beta]}
        scale = self.gamma / deviation
        return {name: [self.kernel * scale, self.beta - self.mean * scale]}


def _import_hub(name: str) -> Any:
    try:
        import keras_hub
    except ImportError as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        reason = "which is not installed" if missing == "keras_hub" else f"but: {error}"
        raise InputError(
            f"`network.initial_weights: {name}` is a preset, which needs keras-hub, {reason}; run "
            "`pip install 'thorax[imagenet]'`"
        ) from error
    return keras_hub


def _may_exist(name: str, hub: Any) -> bool:
    return name in hub.models.ResNetBackbone.presets or "://" in name or Path(name).is_dir()


def _load_converter(hub: Any, name: str) -> Any:
    """Load the normalisation of a preset's images; None if it has none."""
    try:
        return hub.layers.ImageConverter.from_preset(name)
    except FileNotFoundError:
        return None


def _check_kind(name: str, backbone: Any) -> None:
    """Raise `InputError` unless a backbone is a plain ResNet, whose blocks the U-Nets share.

    Bottlenecks, version 2 and variant D are other networks.
    """
    kind = "ResNetV2" if backbone.use_pre_activation else backbone.block_type
    if kind != "basic_block" or backbone.input_conv_kernel_sizes != [7]:
        raise InputError(
            f"preset {name!r} must be a ResNet of basic blocks, got {kind}; {EXAMPLES}"
        )


def _check_fit(network: Any, preset: Preset, counterparts: dict[str, str]) -> None:
    """Raise `InputError` unless the encoder of the network is this ResNet."""
    if not counterparts:
        raise InputError(
            f"preset {preset.name!r} needs `network.name` resunet18 or resunet34, "
            f"got {network.name}"
        )
    width, needed = network.get_layer("stem_conv").filters, preset.backbone.input_conv_filters[0]
    if width != needed:
        raise InputError(f"preset {preset.name!r} needs `network.width: {needed}`, got {width}")
    blocks = _blocks(network)
    preset_blocks = tuple(preset.backbone.stackwise_num_blocks)
    if blocks != preset_blocks[: len(blocks)]:
        raise InputError(
            f"preset {preset.name!r} has {preset_blocks} blocks per stage, {network.name} has "
            f"{blocks}; {EXAMPLES}"
        )


def _blocks(network: Any) -> tuple[int, ...]:
    """Return the number of blocks per stage of a residual encoder."""
    matches = [
        match for layer in network.layers if (match := _RESIDUAL_LAYER.fullmatch(layer.name))
    ]
    stages = [int(match[1]) for match in matches if match[3] == "conv1"]
    return tuple(stages.count(stage) for stage in sorted(set(stages)))


def _counterpart(name: str) -> str | None:
    """Return the prefix of the corresponding layers in keras-hub; None if there are none.

    Example:
        >>> _counterpart("stem_conv"), _counterpart("stage2_block0_conv1"), _counterpart("logits")
        ('conv1', 'stack1_block0_1', None)
    """
    if name == "stem_conv":
        return "conv1"
    match = _RESIDUAL_LAYER.fullmatch(name)
    return match and f"stack{int(match[1]) - 1}_block{match[2]}_{_PARTS[match[3]]}"


def _rgb(values: ArrayLike) -> tuple[float, ...]:
    return tuple(np.broadcast_to(np.asarray(values, float).ravel(), 3).tolist())
