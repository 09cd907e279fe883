"""A 2.5D U-Net (Ronneberger et al. 2015): neighbouring planes are its input channels."""

from typing import Any

import keras
from keras import layers, ops

from thorax.errors import InputError
from thorax.params import NetworkParams

WIDEST = 256
"""Channels stop doubling here."""
Tensor = Any


def unet(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build a U-Net whose levels have two 3×3 convolutions on each side.

    Activations are divided by their root mean square over each stack, `_calm`, where other
    U-Nets have batch norm: that keeps no running statistics that could lag behind the weights,
    treats every stack alike whatever else is in the batch, and is cheap on a CPU.

    Args and errors: see `thorax.architectures.build`.
    """
    if canvas % 2**params.depth:
        raise InputError(
            f"`prepare.canvas` must be divisible by 2**network.depth = {2**params.depth}, "
            f"got {canvas}"
        )
    convolve = _Convolutions(seed, dtype)
    widths = [min(WIDEST, params.width * 2**level) for level in range(params.depth + 1)]
    stack = keras.Input((canvas, canvas, channels), name="stack")
    level, skips = stack, []
    for width in widths[:-1]:
        level = convolve.twice(level, width)
        skips.append(level)
        level = layers.MaxPooling2D(dtype=dtype)(level)
    level = convolve.twice(level, widths[-1])
    for width, skip in zip(reversed(widths[:-1]), reversed(skips), strict=True):
        level = layers.Concatenate(dtype=dtype)([convolve.up(level, width), skip])
        level = convolve.twice(level, width)
    return keras.Model(stack, convolve.logits(level, regions), name="unet")


class _Convolutions:
    """Makes convolutions whose weights are drawn one after the other from one seed."""

    def __init__(self, seed: int, dtype: str) -> None:
        self._seeds = iter(range(seed * 1000, (seed + 1) * 1000))
        self._dtype = dtype

    def twice(self, level: Tensor, width: int) -> Tensor:
        for _ in range(2):
            level = layers.Conv2D(width, 3, padding="same", **self._drawn())(level)
            level = layers.Activation("relu", dtype=self._dtype)(_calm(level))
        return level

    def up(self, level: Tensor, width: int) -> Tensor:
        return layers.Conv2DTranspose(width, 2, strides=2, **self._drawn())(level)

    def logits(self, level: Tensor, regions: int) -> Tensor:
        draw = keras.initializers.GlorotUniform(seed=next(self._seeds))
        return layers.Conv2D(regions, 1, kernel_initializer=draw, dtype="float32", name="logits")(
            level
        )

    def _drawn(self) -> dict[str, Any]:
        draw = keras.initializers.HeNormal(seed=next(self._seeds))
        return {"kernel_initializer": draw, "dtype": self._dtype}


def _calm(level: Tensor) -> Tensor:
    """Divide by the root mean square over each stack's pixels and channels.

    Layer normalisation without its centring (Zhang and Sennrich 2019), over the whole map.
    """
    square = ops.mean(ops.square(level), axis=(1, 2, 3), keepdims=True)
    return level * ops.rsqrt(square + 1e-5)
