"""Start weights for the residual encoders, trained on ImageNet: keras-hub's ResNet presets.

keras-hub is an optional extra and is imported only when such weights are asked for. A preset is a
name that keras-hub knows, a handle such as ``hf://timm/resnet34.a1_in1k``, or a folder on this
machine, which needs no network.
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
from thorax.models.pretrained.transfer import Plan, TransferResult, assign

Weights = NDArray[np.float32]

EXAMPLES = "resnet_18_imagenet fits resunet18, hf://timm/resnet34.a1_in1k resunet34"

_PAIRED = re.compile(r"stage(\d+)_block(\d+)_(shortcut|conv1|conv2)")

_PARTS = {"shortcut": 0, "conv1": 1, "conv2": 2}


@dataclass(frozen=True)
class Preset:
    """A trained ResNet and what it wants to see.

    Args:
        name: What it was asked for as.
        backbone: A `keras_hub.models.ResNetBackbone`.
        gain: By what red, green and blue, each from 0 to 1, are multiplied for it.
        offset: What is then added to each.
    """

    name: str
    backbone: Any
    gain: tuple[float, ...] = (1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)


def load_preset(name: str) -> Preset:
    """Load a preset of keras-hub, which fetches those that are not on this machine, and keeps them.

    Args:
        name: A preset's name or handle, or the folder that it lies in. How its images are
            normalised is read from it; a preset that says nothing is taken to want 0..1.

    Raises:
        InputError: keras-hub is not installed, there is no such preset, it cannot be fetched or
            read, or it is no ResNet of basic blocks.
    """
    hub = _import_hub(name)
    if not _may_exist(name, hub):
        raise InputError(
            "`network.initial_weights` must be random, segmenter, a ResNet preset of keras-hub or the folder "
            f"of one, got {name!r}; {EXAMPLES}"
        )
    try:
        backbone = hub.models.ResNetBackbone.from_preset(name, dtype="float32")
        converter = _load_converter(hub, name)
    except Exception as error:  # hubs, networks and damaged files raise whatever comes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"preset {name!r} must be a ResNet that can be fetched, or the folder of one: {reason}"
        ) from error
    _check_kind(name, backbone)
    if converter is None:
        return Preset(name, backbone)
    # Images of keras-hub go from 0 to 255.
    gain = 255.0 * np.asarray(1.0 if converter.scale is None else converter.scale)
    offset = 0.0 if converter.offset is None else converter.offset
    return Preset(name, backbone, gain=_rgb(gain), offset=_rgb(offset))


def transfer_preset(network: Any, preset: Preset) -> TransferResult:
    """Give the encoder of a residual U-Net the weights of a trained ResNet.

    The first kernel is summed over red, green and blue, with the normalisation of the images
    folded in, and shared out evenly over the planes: planes that are all alike give what the grey
    image gave. Beyond the edge of the canvas lies the low end of the window, where the ResNet had
    the mean colour. What the ResNet knows of each channel, mean and variance, learnt scale and
    offset, goes

    - with ``network.normalisation: batch``, into the batch norms;
    - with ``rms`` and ``none``, into the kernel and the bias of the convolution before;
    - with ``group`` and ``instance``, the variance into the kernel, scale and offset into the
      norms; means they find themselves.

    So with ``none``, and with ``batch`` in prediction, the encoder gives what the ResNet gives.

    Args:
        network: Of `thorax.models.networks.build`; the weights of its encoder are changed.
        preset: What to take them from.

    Returns:
        Which layers were copied, adapted and left fresh.

    Raises:
        InputError: The network has no residual encoder, is not as wide, or has other blocks.
    """
    twins = {layer.name: twin for layer in network.layers if (twin := _twin(layer.name))}
    _check_fit(network, preset, twins)
    layers = {layer.name: layer for layer in network.layers}
    trained = {name: _Trained.read(preset.backbone, twin) for name, twin in twins.items()}
    untouched = {id(values) for one in trained.values() for values in one.arrays}
    stem = trained["stem_conv"].for_planes(network.input_shape[-1], preset)
    plans: dict[str, Plan] = {}
    for name, one in (trained | {"stem_conv": stem}).items():
        plans |= one.plans(name, layers.get(f"{name}_norm"))
    as_they_were = {name for name, plan in plans.items() if untouched.issuperset(map(id, plan))}
    return assign(network, plans, as_they_were=as_they_were)


@dataclass(frozen=True)
class _Trained:
    """A convolution of the ResNet, `(h, w, c, n)`, and the batch norm behind it, `(n,)` each."""

    kernel: Weights
    gamma: Weights
    beta: Weights
    mean: Weights
    variance: Weights
    epsilon: float

    @classmethod
    def read(cls, backbone: Any, twin: str) -> "_Trained":
        norm = backbone.get_layer(f"{twin}_bn")
        weights = {
            "kernel": backbone.get_layer(f"{twin}_conv").kernel,
            "gamma": norm.gamma,
            "beta": norm.beta,
            "mean": norm.moving_mean,
            "variance": norm.moving_variance,
        }
        read = {name: ops.convert_to_numpy(weight) for name, weight in weights.items()}
        return cls(**read, epsilon=norm.epsilon)

    @property
    def arrays(self) -> tuple[Weights, ...]:
        return self.kernel, self.gamma, self.beta, self.mean, self.variance

    def for_planes(self, planes: int, preset: Preset) -> "_Trained":
        """The same for grey planes from 0 to 1 instead of normalised colours."""
        # A constant that the kernel adds everywhere is taken off again with the mean.
        constant = np.einsum("hwcn,c->n", self.kernel, preset.offset)
        grey = np.einsum("hwcn,c->hwn", self.kernel, preset.gain)[:, :, None]
        shared = np.repeat(grey / planes, planes, axis=2)
        return replace(self, kernel=shared, mean=self.mean - constant)

    def plans(self, name: str, norm: Any) -> dict[str, Plan]:
        """What a convolution, and the norm behind it if it has weights, take from this."""
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
            f"`network.initial_weights: {name}` is neither random nor segmenter, and presets need keras-hub, "
            f"{reason}; run `pip install 'thorax[imagenet]'`"
        ) from error
    return keras_hub


def _may_exist(name: str, hub: Any) -> bool:
    return name in hub.models.ResNetBackbone.presets or "://" in name or Path(name).is_dir()


def _load_converter(hub: Any, name: str) -> Any:
    """What normalises the images of a preset, None where it does not say."""
    try:
        return hub.layers.ImageConverter.from_preset(name)
    except FileNotFoundError:
        return None


def _check_kind(name: str, backbone: Any) -> None:
    """Refuse all but plain ResNets, whose blocks those of the residual U-Nets are.

    Bottlenecks, the second version and the variant D are other networks.
    """
    kind = "ResNetV2" if backbone.use_pre_activation else backbone.block_type
    if kind != "basic_block" or backbone.input_conv_kernel_sizes != [7]:
        raise InputError(
            f"preset {name!r} must be a ResNet of basic blocks, got {kind}; {EXAMPLES}"
        )


def _check_fit(network: Any, preset: Preset, twins: dict[str, str]) -> None:
    """Refuse a network whose encoder is not this ResNet."""
    if not twins:
        raise InputError(
            f"preset {preset.name!r} needs `network.name` resunet18 or resunet34, "
            f"got {network.name}"
        )
    width, needed = network.get_layer("stem_conv").filters, preset.backbone.input_conv_filters[0]
    if width != needed:
        raise InputError(f"preset {preset.name!r} needs `network.width: {needed}`, got {width}")
    blocks = _blocks(network)
    given = tuple(preset.backbone.stackwise_num_blocks)
    if blocks != given[: len(blocks)]:
        raise InputError(
            f"preset {preset.name!r} has {given} blocks a stage, {network.name} has {blocks}; "
            f"{EXAMPLES}"
        )


def _blocks(network: Any) -> tuple[int, ...]:
    """Blocks a stage of a residual encoder, as far down as it goes."""
    found = [match for layer in network.layers if (match := _PAIRED.fullmatch(layer.name))]
    stages = [int(match[1]) for match in found if match[3] == "conv1"]
    return tuple(stages.count(stage) for stage in sorted(set(stages)))


def _twin(name: str) -> str | None:
    """The prefix that keras-hub gives to the layers that do the same, None where none does.

    Example:
        >>> _twin("stage2_block0_conv1"), _twin("stem_conv"), _twin("decoder_0_conv_0")
        ('stack1_block0_1', 'conv1', None)
    """
    if name == "stem_conv":
        return "conv1"
    match = _PAIRED.fullmatch(name)
    return match and f"stack{int(match[1]) - 1}_block{match[2]}_{_PARTS[match[3]]}"


def _rgb(values: ArrayLike) -> tuple[float, ...]:
    return tuple(np.broadcast_to(np.asarray(values, float).ravel(), 3).tolist())
