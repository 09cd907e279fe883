"""U-Nets with a ResNet encoder (He et al. 2016) that equals keras-hub's layer by layer.

At width 64, weights trained on ImageNet fit. Names of layers:

| keras-hub's `ResNetBackbone`, ``basic_block`` | here |
|---|---|
| ``conv1_conv`` | ``stem_conv`` |
| ``stack{s}_block{b}_1_conv`` | ``stage{s + 1}_block{b}_conv1`` |
| ``stack{s}_block{b}_2_conv`` | ``stage{s + 1}_block{b}_conv2`` |
| ``stack{s}_block{b}_0_conv`` | ``stage{s + 1}_block{b}_shortcut`` |
| ``…_bn`` of each | ``…_norm`` after the name of its convolution, if it has weights |

Convolutions only have a bias if the normalisation adds no offset (rms and none).
"""

from typing import Any

import keras
from keras import layers

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams
from thorax.models.networks.blocks import Blocks, Tensor, check_canvas

BLOCKS = {"resunet18": (2, 2, 2, 2), "resunet34": (3, 4, 6, 3)}
"""Residual pairs per stage."""

CONVOLUTIONS = 2
"""Convolutions per decoder level."""


def resunet(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build a ResNet encoder with a U-Net decoder, up to the full canvas.

    The stem, its pooling and all stages but the first halve the canvas, so depth 5 has four
    stages, depth 4 three and so on. The skip at full resolution is one narrow convolution of the
    stack.

    Arguments and errors: see `thorax.models.networks.build`.
    """
    _check_params(params)
    check_canvas(params, canvas)
    blocks = Blocks(params, seed=seed, dtype=dtype)
    stack = keras.Input((canvas, canvas, channels), name="stack")
    stem = blocks.convolve(stack, params.width, name="stem_conv", size=7, strides=2)
    maps = blocks.activate(stem)
    skips = [maps]
    # After the activation no value is below 0, so padding with 0 does not change the maximum.
    maps = layers.MaxPooling2D(3, 2, dtype=dtype)(layers.ZeroPadding2D(1, dtype=dtype)(maps))
    for stage in range(1, params.depth):
        maps = _stage(blocks, maps, stage, params)
        skips.append(maps)
    fine = blocks.convolve(stack, max(1, params.width // 2), name="skip_conv")
    maps = blocks.decode(maps, [blocks.activate(fine), *skips[:-1]])
    return keras.Model(stack, blocks.logits(maps, regions), name=params.name)


def _stage(blocks: Blocks, maps: Tensor, stage: int, params: NetworkParams) -> Tensor:
    level, width = stage + 1, params.width * 2 ** (stage - 1)
    for number in range(BLOCKS[params.name][stage - 1]):
        strides = 2 if stage > 1 and number == 0 else 1
        name = f"stage{stage}_block{number}"
        maps = blocks.pair(maps, width, level=level, name=name, strides=strides)
        maps = blocks.activate(maps)
    return blocks.drop(maps, level)


def _check_params(params: NetworkParams) -> None:
    stages = len(BLOCKS[params.name])
    if not 2 <= params.depth <= stages + 1:
        raise InputError(
            f"`network.depth` of {params.name} must be between 2 and {stages + 1}, "
            f"got {params.depth}"
        )
    if params.blocks != CONVOLUTIONS:
        raise InputError(
            f"`network.blocks` must be {CONVOLUTIONS} for {params.name}, whose number of blocks "
            f"is fixed, got {params.blocks}"
        )
    if params.residual:
        raise InputError(
            f"`network.residual` must be false for {params.name}, which is residual already, "
            "got true"
        )
