"""Building blocks of the networks: named layers whose weights are drawn from one seed."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from thorax.common.errors import InputError
from thorax.common.params import NetworkParams, Normalisation

GROUP = 8
"""Channels per group of group normalisation; less if it does not divide the width."""

Tensor = Any


def check_canvas(params: NetworkParams, canvas: int) -> None:
    """Check that the canvas can be halved once per level.

    Raises:
        InputError: The side is not divisible by ``2**depth``, or instance normalisation would get
            maps of one pixel, which it sets to 0.
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
    """Normalise maps with one of the methods in `params.yaml`.

    ``rms``, see `divide_by_rms`, has no running statistics that could lag behind the weights, does
    not depend on the other stacks of the batch, and is fast on a CPU. ``group`` (Wu and He 2018)
    and ``instance`` (Ulyanov et al. 2016) share the first two properties; ``batch`` (Ioffe and
    Szegedy 2015) has none of them.

    Args:
        maps: Maps, `(N, H, W, C)`.
        normalisation: Method; ``none`` returns the maps unchanged.
        name: Name of the layer, if it has weights.
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
    """Divide each stack's maps by their root mean square over all pixels and channels.

    Layer normalisation without centring (Zhang and Sennrich 2019).

    Example:
        >>> import numpy as np
        >>> divided = divide_by_rms(np.float32([[[[7.0], [1.0]]]]))
        >>> [round(float(value), 3) for value in np.ravel(divided)]
        [1.4, 0.2]
    """
    if maps.dtype == "float16":
        # In float16 squares overflow from 256 on, and so does the slope of the root near 0.
        return ops.cast(divide_by_rms(ops.cast(maps, "float32")), "float16")
    square = ops.mean(ops.square(maps), axis=(1, 2, 3), keepdims=True)
    return maps * ops.rsqrt(square + 1e-5)


class Blocks:
    """Creates the layers of one network; all weights are drawn in order from one seed.

    The names of layers with weights state their position only, so that weights can be transferred
    by name to a network with other slices or regions.

    Args:
        params: Depth, blocks, normalisation, dropout and so on.
        seed: Seed of the weights and of dropout.
        dtype: Keras dtype policy of all layers but the logits.
    """

    def __init__(self, params: NetworkParams, *, seed: int, dtype: str) -> None:
        self._params = params
        self._dtype = dtype
        # Two sequences, so that dropout does not change the weights.
        self._weight_seeds = itertools.count(seed * 1000)
        self._dropout_seeds = itertools.count(seed * 1000)

    def convolve(
        self, maps: Tensor, width: int, *, name: str, size: int = 3, strides: int = 1
    ) -> Tensor:
        """Convolve and normalise; with strides, pad both sides equally, as PyTorch does."""
        if strides > 1 and size > 1:
            maps = layers.ZeroPadding2D(size // 2, dtype=self._dtype)(maps)
        # The other normalisations add an offset themselves.
        bias = self._params.normalisation in ("rms", "none")
        maps = layers.Conv2D(
            width,
            size,
            strides=strides,
            padding="valid" if strides > 1 else "same",
            use_bias=bias,
            name=name,
            **self._initialised(),
        )(maps)
        return normalise(maps, self._params.normalisation, name=f"{name}_norm", dtype=self._dtype)

    def activate(self, maps: Tensor, *, name: str | None = None) -> Tensor:
        """Apply a ReLU."""
        return layers.Activation("relu", name=name, dtype=self._dtype)(maps)

    def encode(self, maps: Tensor, width: int, level: int) -> Tensor:
        """Apply one encoder level: layers ``encoder_<level>_…``, ending in ``encoded_<level>``."""
        return self.drop(self._level(maps, width, level, ("encoder", "encoded")), level)

    def decode(
        self, maps: Tensor, skips: Sequence[Tensor], *, finest: int = 0, gated: bool = False
    ) -> Tensor:
        """Apply the decoder: layers ``decoder_<level>_…``, ending in ``decoded_<level>``.

        Args:
            maps: The deepest maps.
            skips: Encoder maps of the other levels, finest first, each twice as fine as the next;
                the decoder uses their widths.
            finest: Level of the first skip.
            gated: Apply attention gates to the skips.
        """
        for level, skip in reversed(list(enumerate(skips, start=finest))):
            width = skip.shape[-1]
            used = self._gate(skip, maps, level) if gated else skip
            maps = layers.Concatenate(dtype=self._dtype)([self.up(maps, width, level), used])
            maps = self._level(maps, width, level, ("decoder", "decoded"))
        return maps

    def up(self, maps: Tensor, width: int, level: int) -> Tensor:
        """Upsample maps by 2 to a level: layer ``up_<level>``."""
        return layers.Conv2DTranspose(
            width, 2, strides=2, name=f"up_{level}", **self._initialised()
        )(maps)

    def pair(self, maps: Tensor, width: int, *, level: int, name: str, strides: int = 1) -> Tensor:
        """Add two convolutions to a shortcut (He et al. 2016, v1), without the last activation.

        If width or size change, the shortcut is a 1×1 convolution, ``<name>_shortcut``.

        Args:
            maps: `(N, H, W, C)`.
            width: Channels of the result.
            level: Number of times the canvas was halved; `drop_path` depends on it.
            name: Prefix of the layers' names.
            strides: Strides of the first convolution.
        """
        residual = self.convolve(maps, width, name=f"{name}_conv1", strides=strides)
        residual = self.convolve(self.activate(residual), width, name=f"{name}_conv2")
        if strides > 1 or maps.shape[-1] != width:
            maps = self.convolve(maps, width, name=f"{name}_shortcut", size=1, strides=strides)
        return layers.Add(dtype=self._dtype)([maps, self._stochastic_depth(residual, level)])

    def drop(self, maps: Tensor, level: int) -> Tensor:
        """Drop whole maps at the two deepest levels in training (Tompson et al. 2015)."""
        if not self._params.dropout or level < self._params.depth - 1:
            return maps
        return layers.SpatialDropout2D(
            self._params.dropout, seed=next(self._dropout_seeds), dtype=self._dtype
        )(maps)

    def logits(self, maps: Tensor, regions: int) -> Tensor:
        """Return one float32 map per region."""
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

    def _stochastic_depth(self, residual: Tensor, level: int) -> Tensor:
        """Drop residuals at random (Huang et al. 2016), less often at finer levels."""
        rate = self._params.drop_path * level / self._params.depth
        if not rate:
            return residual
        return layers.Dropout(
            rate, noise_shape=(None, 1, 1, 1), seed=next(self._dropout_seeds), dtype=self._dtype
        )(residual)

    def _gate(self, skip: Tensor, signal: Tensor, level: int) -> Tensor:
        """Weight a skip by additive attention to the coarser maps (Oktay et al. 2018)."""
        name, width = f"gate_{level}", max(1, skip.shape[-1] // 2)
        reduced = layers.Conv2D(
            width, 2, strides=2, use_bias=False, name=f"{name}_skip", **self._initialised()
        )(skip)
        query = layers.Conv2D(width, 1, name=f"{name}_signal", **self._initialised())(signal)
        both = self.activate(layers.Add(dtype=self._dtype)([reduced, query]))
        weights = layers.Conv2D(
            1, 1, activation="sigmoid", name=f"{name}_weights", **self._initialised()
        )(both)
        finer = layers.UpSampling2D(2, interpolation="bilinear", dtype=self._dtype)(weights)
        return layers.Multiply(dtype=self._dtype)([skip, finer])

    def _initialised(self) -> dict[str, Any]:
        initializer = keras.initializers.HeNormal(seed=next(self._weight_seeds))
        return {"kernel_initializer": initializer, "dtype": self._dtype}
