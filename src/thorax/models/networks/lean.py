"""Lean U-Net for CPUs: its finest level has half the resolution of the canvas."""

from typing import Any

import keras
from keras import layers

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams
from thorax.models.networks.blocks import Blocks, Tensor, check_canvas
from thorax.models.networks.unet import MAX_WIDTH

CANVAS_WIDTH = 8
"""Channels at the resolution of the canvas, from which the logits are computed."""


def lean(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build a U-Net without the level at the resolution of the canvas, the slowest one on a CPU.

    Maps of that level are the largest and have the fewest channels, so a CPU computes them slowly
    and copies much. Here the first convolution has a stride of 2, and a transposed convolution
    with a few channels upsamples the last level for the logits. In between is a U-Net of the given
    width, whose finest level has 1.5 times as many channels, because all detail passes through
    it. Each pixel of the canvas has its own logits.

    Levels are numbered as in `unet`, by the number of times the canvas was halved, so they begin
    at 1. Arguments and errors: see `thorax.models.networks.build`; the depth is at least 2.
    """
    check_canvas(params, canvas)
    _check_params(params)
    blocks = _LeanBlocks(params, seed=seed, dtype=dtype)
    stack = keras.Input((canvas, canvas, channels), name="stack")
    maps, skips = blocks.begin(stack, min(MAX_WIDTH, params.width * 3 // 2)), []
    for level in range(2, params.depth + 1):
        skips.append(maps)
        maps = layers.MaxPooling2D(dtype=dtype)(maps)
        maps = blocks.encode(maps, min(MAX_WIDTH, params.width * 2 ** (level - 1)), level)
    maps = blocks.decode(maps, skips, finest=1)
    maps = blocks.activate(blocks.up(maps, CANVAS_WIDTH, 0))
    return keras.Model(stack, blocks.logits(maps, regions), name=params.name)


class _LeanBlocks(Blocks):
    """Blocks with the first level of `lean`."""

    def begin(self, stack: Tensor, width: int) -> Tensor:
        """Apply encoder level 1, whose first convolution has a stride of 2."""
        maps = self.convolve(stack, width, name="encoder_1_conv_0", size=5, strides=2)
        for number in range(1, self._params.blocks):
            maps = self.convolve(self.activate(maps), width, name=f"encoder_1_conv_{number}")
        return self.drop(self.activate(maps, name="encoded_1"), 1)


def _check_params(params: NetworkParams) -> None:
    if params.depth == 1:
        raise InputError(
            "`network.depth` must be at least 2 for `lean`, which has no level 0, got 1"
        )
    if params.residual or params.drop_path:
        raise InputError(
            "`network.residual` must be false and `network.drop_path` 0 for `lean`, which has no "
            f"residual pairs, got {str(params.residual).lower()} and {params.drop_path}"
        )
