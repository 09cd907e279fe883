"""What the networks are made of: named layers whose weights are drawn from one seed."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams, Normalisation

GROUP = 8
"""Channels that group normalisation takes together, or the largest divisor of both."""

Tensor = Any


def check_canvas(params: NetworkParams, canvas: int) -> None:
    """Refuse a canvas that cannot be halved as often as the network asks.

    Raises:
        InputError: The side is not divisible by ``2**depth``, or instance normalisation would be
            left with maps of one pixel, of which it takes everything away.
    """
    if canvas % 2**params.depth:
        raise InputError(
            f"`prepare.canvas` must be divisible by 2**network.depth = {2**params.depth}, "
            f"got {canvas}"
        )
    if params.normalisation == "instance" and canvas == 2**params.depth:
        raise InputError(
            "`network.normalisation: instance` needs maps of more than one pixel, got 1 at "
            f"`network.depth` {params.depth}; lower the depth or choose another normalisation"
        )


def normalise(maps: Tensor, normalisation: Normalisation, *, name: str, dtype: str) -> Tensor:
    """Normalise maps by one of the ways that `params.yaml` names.

    ``rms``, see `divide_by_rms`, keeps no running statistics that could lag behind the weights,
    treats every stack alike whatever else is in the batch, and is cheap on a CPU. ``group`` (Wu
    and He 2018) and ``instance`` (Ulyanov et al. 2016) share the first two; ``batch`` (Ioffe and
    Szegedy 2015) shares none of them.

    Args:
        maps: Maps, `(N, H, W, C)`.
        normalisation: How; ``none`` gives back what it was given.
        name: Of the layer, where there are weights.
        dtype: Keras dtype policy.
    """
    if normalisation == "none":
        return maps
    if normalisation == "rms":
        return divide_by_rms(maps)
    options: dict[str, Any] = {"epsilon": 1e-5, "name": name, "dtype": dtype}
    if normalisation == "batch":
        return layers.BatchNormalization(momentum=0.9, **options)(maps)
    width = maps.shape[-1]
    groups = width // math.gcd(GROUP, width) if normalisation == "group" else -1
    return layers.GroupNormalization(groups, **options)(maps)


def divide_by_rms(maps: Tensor) -> Tensor:
    """Divide by the root mean square over each stack's pixels and channels.

    Layer normalisation without its centring (Zhang and Sennrich 2019), over the whole map.

    Example:
        >>> import numpy as np
        >>> divided = divide_by_rms(np.float32([[[[7.0], [1.0]]]]))
        >>> [round(float(value), 3) for value in np.ravel(divided)]
        [1.4, 0.2]
    """
    if maps.dtype == "float16":
        # There squares overflow from 256 on, and near 0 the slope of the root does.
        return ops.cast(divide_by_rms(ops.cast(maps, "float32")), "float16")
    square = ops.mean(ops.square(maps), axis=(1, 2, 3), keepdims=True)
    return maps * ops.rsqrt(square + 1e-5)


class Blocks:
    """Makes the layers of one network; its weights are drawn one after the other from one seed.

    All layers with weights have names that say where they stand and nothing else, so that weights
    can be carried by name to a network with other planes or regions.

    Args:
        params: Depth, blocks, normalisation, dropout and the like.
        seed: Draws weights and what is dropped.
        dtype: Keras dtype policy of all layers but the logits.
    """

    def __init__(self, params: NetworkParams, *, seed: int, dtype: str) -> None:
        self._params = params
        self._dtype = dtype
        # Two sequences: dropping something must not change what weights are drawn.
        self._weight_seeds = itertools.count(seed * 1000)
        self._noise_seeds = itertools.count(seed * 1000)

    def convolve(
        self, maps: Tensor, width: int, *, name: str, size: int = 3, strides: int = 1
    ) -> Tensor:
        """Convolve and normalise; strided ones are padded alike on both sides, as PyTorch does."""
        if strides > 1 and size > 1:
            maps = layers.ZeroPadding2D(size // 2, dtype=self._dtype)(maps)
        # Of the normalisations, these alone add no offset themselves.
        bias = self._params.normalisation in ("rms", "none")
        maps = layers.Conv2D(
            width,
            size,
            strides=strides,
            padding="valid" if strides > 1 else "same",
            use_bias=bias,
            name=name,
            **self._drawn(),
        )(maps)
        return normalise(maps, self._params.normalisation, name=f"{name}_norm", dtype=self._dtype)

    def activate(self, maps: Tensor, *, name: str | None = None) -> Tensor:
        """Set what is negative to 0."""
        return layers.Activation("relu", name=name, dtype=self._dtype)(maps)

    def encode(self, maps: Tensor, width: int, level: int) -> Tensor:
        """Run one level on the way down: ``encoder_<level>_…``, ending in ``encoded_<level>``."""
        return self.drop(self._level(maps, width, level, ("encoder", "encoded")), level)

    def decode(
        self, maps: Tensor, skips: Sequence[Tensor], *, finest: int = 0, gated: bool = False
    ) -> Tensor:
        """Run all the way up: levels ``decoder_<level>_…``, ending in ``decoded_<level>``.

        Args:
            maps: The deepest maps.
            skips: Those of the other levels, finest first, each twice as fine as the next; the
                decoder takes their widths.
            finest: Level of the first of them.
            gated: Send the skips through attention gates.
        """
        for level, skip in reversed(list(enumerate(skips, start=finest))):
            width = skip.shape[-1]
            passed = self._gate(skip, maps, level) if gated else skip
            maps = layers.Concatenate(dtype=self._dtype)([self.up(maps, width, level), passed])
            maps = self._level(maps, width, level, ("decoder", "decoded"))
        return maps

    def up(self, maps: Tensor, width: int, level: int) -> Tensor:
        """Bring maps up to a level, twice as fine: ``up_<level>``."""
        return layers.Conv2DTranspose(width, 2, strides=2, name=f"up_{level}", **self._drawn())(
            maps
        )

    def pair(self, maps: Tensor, width: int, *, level: int, name: str, strides: int = 1) -> Tensor:
        """Add what two convolutions find to what they were given (He et al. 2016, v1).

        Where width or size change, a 1×1 convolution, ``<name>_shortcut``, brings the one to the
        other. The sum is still to be activated.

        Args:
            maps: `(N, H, W, C)`.
            width: Channels wanted.
            level: How often the canvas was halved; `drop_path` depends on it.
            name: Prefix of the layers' names.
            strides: Of the first convolution.
        """
        found = self.convolve(maps, width, name=f"{name}_conv1", strides=strides)
        found = self.convolve(self.activate(found), width, name=f"{name}_conv2")
        if strides > 1 or maps.shape[-1] != width:
            maps = self.convolve(maps, width, name=f"{name}_shortcut", size=1, strides=strides)
        return layers.Add(dtype=self._dtype)([maps, self._skip_at_random(found, level)])

    def drop(self, maps: Tensor, level: int) -> Tensor:
        """Drop whole maps at the two deepest levels, in training (Tompson et al. 2015)."""
        if not self._params.dropout or level < self._params.depth - 1:
            return maps
        return layers.SpatialDropout2D(
            self._params.dropout, seed=next(self._noise_seeds), dtype=self._dtype
        )(maps)

    def logits(self, maps: Tensor, regions: int) -> Tensor:
        """Give one float32 map a region."""
        return layers.Conv2D(
            regions,
            1,
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(self._weight_seeds)),
            dtype="float32",
            name="logits",
        )(maps)

    def _level(self, maps: Tensor, width: int, level: int, names: tuple[str, str]) -> Tensor:
        prefix, end = (f"{name}_{level}" for name in names)
        last = self._params.blocks - 1
        for number in range(self._params.blocks):
            if self._params.residual:
                maps = self.pair(maps, width, level=level, name=f"{prefix}_pair_{number}")
            else:
                maps = self.convolve(maps, width, name=f"{prefix}_conv_{number}")
            maps = self.activate(maps, name=end if number == last else None)
        return maps

    def _skip_at_random(self, found: Tensor, level: int) -> Tensor:
        """Stochastic depth (Huang et al. 2016): less of it the finer the level."""
        rate = self._params.drop_path * level / self._params.depth
        if not rate:
            return found
        return layers.Dropout(
            rate, noise_shape=(None, 1, 1, 1), seed=next(self._noise_seeds), dtype=self._dtype
        )(found)

    def _gate(self, skip: Tensor, signal: Tensor, level: int) -> Tensor:
        """Additive attention (Oktay et al. 2018): coarser maps say where the skip matters."""
        name, width = f"gate_{level}", max(1, skip.shape[-1] // 2)
        seen = layers.Conv2D(
            width, 2, strides=2, use_bias=False, name=f"{name}_skip", **self._drawn()
        )(skip)
        asked = layers.Conv2D(width, 1, name=f"{name}_signal", **self._drawn())(signal)
        both = self.activate(layers.Add(dtype=self._dtype)([seen, asked]))
        weights = layers.Conv2D(
            1, 1, activation="sigmoid", name=f"{name}_weights", **self._drawn()
        )(both)
        finer = layers.UpSampling2D(2, interpolation="bilinear", dtype=self._dtype)(weights)
        return layers.Multiply(dtype=self._dtype)([skip, finer])

    def _drawn(self) -> dict[str, Any]:
        draw = keras.initializers.HeNormal(seed=next(self._weight_seeds))
        return {"kernel_initializer": draw, "dtype": self._dtype}
