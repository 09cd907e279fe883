"""Deep supervision: coarser levels of the decoder are asked for the regions, too."""

from typing import Any

import keras

from thorax.common.errors import InputError


def supervise(network: Any, *, regions: int, seed: int) -> Any:
    """Let a network give logits of its coarser decoder levels as well (Lee et al. 2015).

    It is for training alone: the network shares its layers and their weights, and is what is kept.

    Args:
        network: One of `thorax.models.networks.build`, whose decoder levels end in ``decoded_0``
            (the finest), ``decoded_1`` and so on.
        regions: Maps to predict.
        seed: Draws the weights of the new heads.

    Returns:
        A `keras.Model` with the outputs ``logits``, ``logits_1``, ``logits_2``…, float32 maps of
        all, a half, a quarter… of the canvas' side.

    Raises:
        InputError: The network has no decoder level but the finest.
    """
    ends = {layer.name: layer.output for layer in network.layers}
    heads: list[Any] = []
    while (end := ends.get(f"decoded_{len(heads) + 1}")) is not None:
        heads.append(_head(end, regions, number=len(heads) + 1, seed=seed))
    if not heads:
        raise InputError(
            "deep supervision needs a network with two decoder levels or more, got one; set "
            "`losses.deep_supervision: 0` or raise `network.depth`"
        )
    return keras.Model(network.input, [network.output, *heads], name=network.name)


def _head(end: Any, regions: int, *, number: int, seed: int) -> Any:
    # The network draws from the beginning of the seed's thousand, the heads from its end.
    draw = keras.initializers.GlorotUniform(seed=(seed + 1) * 1000 - number)
    return keras.layers.Conv2D(
        regions, 1, kernel_initializer=draw, dtype="float32", name=f"logits_{number}"
    )(end)
