"""A 2.5D U-Net (Ronneberger et al. 2015): neighbouring planes are its input channels."""

from typing import Any

import keras
from keras import layers

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams
from thorax.models.networks.blocks import Blocks, check_canvas

WIDEST = 256
"""Channels stop doubling here."""


def unet(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build a U-Net whose levels have 3×3 convolutions, or residual pairs of them, on each side.

    As ``attention_unet``, gates on its skips choose where they matter (Oktay et al. 2018).

    Args and errors: see `thorax.models.networks.build`.
    """
    check_canvas(params, canvas)
    if params.drop_path and not params.residual:
        raise InputError(
            "`network.drop_path` skips residual pairs; set `network.residual: true` or drop_path 0"
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
    return min(WIDEST, params.width * 2**level)
