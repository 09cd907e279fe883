"""Deep supervision: additional logits from the coarser levels of the decoder."""

from typing import Any

import keras

from thorax.common.errors import InputError


def supervise(network: Any, *, regions: int, seed: int) -> Any:
    """Add logits of the coarser decoder levels to a network (Lee et al. 2015).

    The result is for training only. It shares layers and weights with the network, which is the
    one to save.

    Args:
        network: From `thorax.models.networks.build`; its decoder levels end in ``decoded_0`` (the
            finest), ``decoded_1`` and so on.
        regions: Number of output maps.
        seed: Seed of the weights of the new heads.

    Returns:
        A `keras.Model` with the outputs ``logits``, ``logits_1``, ``logits_2``…, float32 maps of
        1, 1/2, 1/4… of the canvas' side.

    Raises:
        InputError: The network has only one decoder level.
    """
    ends = {layer.name: layer.output for layer in network.layers}
    heads: list[Any] = []
    while (end := ends.get(f"decoded_{len(heads) + 1}")) is not None:
        heads.append(_head(end, regions, number=len(heads) + 1, seed=seed))
    if not heads:
        raise InputError(
            "deep supervision needs a network with at least two decoder levels, got 1; set "
            "`losses.deep_supervision: 0` or raise `network.depth`"
        )
    return keras.Model(network.input, [network.output, *heads], name=network.name)


def _head(end: Any, regions: int, *, number: int, seed: int) -> Any:
    # The network uses the first of the thousand seeds of a `seed`, the heads the last ones.
    initializer = keras.initializers.GlorotUniform(seed=(seed + 1) * 1000 - number)
    return keras.layers.Conv2D(
        regions, 1, kernel_initializer=initializer, dtype="float32", name=f"logits_{number}"
    )(end)
