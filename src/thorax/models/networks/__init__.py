"""Networks by name: `(H, W, 2k+1)` windowed planes in, `(H, W, R)` float32 logits out."""

from typing import Any

from thorax.common.params import NetworkParams
from thorax.models.networks.lean import lean
from thorax.models.networks.resunet import resunet
from thorax.models.networks.unet import unet

_BUILDERS = {
    "unet": unet,
    "lean": lean,
    "attention_unet": unet,
    "resunet18": resunet,
    "resunet34": resunet,
}


def build(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build the network that the parameters name, with fresh weights.

    Args:
        params: Name and shape.
        canvas: Pixels a side of the canvas.
        channels: Planes in a stack.
        regions: Maps to predict.
        seed: Draws the weights, and what dropout drops.
        dtype: Keras dtype policy of all layers but the last, which gives float32.

    Returns:
        A `keras.Model` of built-in layers and operations alone, so that it loads without this
        package. Layers with weights are named by where they stand; the levels of the decoder end
        in layers ``decoded_0`` (the finest), ``decoded_1`` and so on.

    Raises:
        InputError: The canvas cannot be halved as often as ``depth`` asks, or a parameter is set
            that means nothing to this network.
    """
    return _BUILDERS[params.name](
        params, canvas=canvas, channels=channels, regions=regions, seed=seed, dtype=dtype
    )


def is_encoder(layer_name: str) -> bool:
    """Whether a layer of that name belongs to the encoder, which may come trained already.

    Example:
        >>> is_encoder("encoder_0_conv_1"), is_encoder("stage2_block0_shortcut_norm")
        (True, True)
        >>> is_encoder("decoder_0_conv_1"), is_encoder("logits")
        (False, False)
    """
    return layer_name.startswith(("encoder_", "stem_", "stage"))
