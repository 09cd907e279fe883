"""2.5D U-Net (Ronneberger et al. 2015): neighbouring slices are its input channels."""

from typing import Any

import keras
from keras import layers

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams
from thorax.models.networks.blocks import Blocks, check_canvas

MAX_WIDTH = 256
"""Most channels of a level; up to here they double from level to level."""


def unet(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build a U-Net with 3×3 convolutions, or residual pairs of them, on each level.

    ``attention_unet`` has attention gates on its skips (Oktay et al. 2018).

    Arguments and errors: see `thorax.models.networks.build`.
    """
    check_canvas(params, canvas)
    if params.drop_path and not params.residual:
        raise InputError(
            "`network.drop_path` must be 0 without residual pairs, got "
            f"{params.drop_path}; set it to 0 or `network.residual: true`"
        )
    blocks = Blocks(params, seed=seed, dtype=dtype)
    stack = keras.Input((canvas, canvas, channels), name="stack")
    maps, skips = stack, []
    for level in range(params.depth):
        maps = blocks.encode(maps, _width(params, level), level)
        skips.append(maps)
        maps = layers.MaxPooling2D(dtype=dtype)(maps)
    maps = blocks.encode(maps, _width(params, params.depth), params.depth)
    maps = blocks.decode(maps, skips, gated=params.name == "attention_unet")
    return keras.Model(stack, blocks.logits(maps, regions), name=params.name)


def _width(params: NetworkParams, level: int) -> int:
    return min(MAX_WIDTH, params.width * 2**level)
