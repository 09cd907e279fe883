"""A U-Net for CPUs, which works on a quarter of the canvas' pixels."""

from typing import Any

import keras
from keras import layers

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams
from thorax.models.networks.blocks import Blocks, Tensor, check_canvas
from thorax.models.networks.unet import WIDEST

LAST = 8
"""Channels at the resolution of the canvas; the logits are made of them."""


def lean(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build a U-Net without the level that costs a CPU most, that at the canvas' resolution.

    Maps are largest there and have the fewest channels, which is where a CPU computes slowest and
    copies most. Here the first convolution takes two pixels a step, and a transposed one with a
    few channels brings the last level up, straight to the logits; in between is a U-Net of the
    width that is asked for. Its finest level, through which all detail passes, has half as many
    channels again. Each pixel of the canvas still has logits of its own.

    Levels are counted as in `unet`, by how often the canvas was halved, and so begin at 1.

    Args and errors: see `thorax.models.networks.build`. A depth of 1 would leave nothing of the U.
    """
    check_canvas(params, canvas)
    _check_meaning(params)
    blocks = _LeanBlocks(params, seed=seed, dtype=dtype)
    stack = keras.Input((canvas, canvas, channels), name="stack")
    maps, skips = blocks.begin(stack, min(WIDEST, params.width * 3 // 2)), []
    for level in range(2, params.depth + 1):
        skips.append(maps)
        maps = layers.MaxPooling2D(dtype=dtype)(maps)
        maps = blocks.encode(maps, min(WIDEST, params.width * 2 ** (level - 1)), level)
    maps = blocks.decode(maps, skips, finest=1)
    maps = blocks.activate(blocks.up(maps, LAST, 0))
    return keras.Model(stack, blocks.logits(maps, regions), name=params.name)


class _LeanBlocks(Blocks):
    """The level of `lean` that other networks do not have."""

    def begin(self, stack: Tensor, width: int) -> Tensor:
        """Run level 1 on the way down, whose first convolution takes two pixels a step."""
        maps = self.convolve(stack, width, name="encoder_1_conv_0", size=5, strides=2)
        for number in range(1, self._params.blocks):
            maps = self.convolve(self.activate(maps), width, name=f"encoder_1_conv_{number}")
        return self.drop(self.activate(maps, name="encoded_1"), 1)


def _check_meaning(params: NetworkParams) -> None:
    if params.depth == 1:
        raise InputError(
            "`network.depth` must be at least 2 for `lean`, which begins one level down; got 1"
        )
    if params.residual or params.drop_path:
        raise InputError(
            "`network.residual` and `network.drop_path` must be false and 0 for `lean`, which has "
            f"no residual pairs; got {str(params.residual).lower()} and {params.drop_path}"
        )
