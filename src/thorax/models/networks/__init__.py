"""Networks by name, from windowed stacks `(H, W, 2k+1)` to float32 logits `(H, W, R)`."""

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
    """Build a network with random weights.

    Args:
        params: Name and architecture.
        canvas: Side of the canvas, in pixels.
        channels: Slices in a stack.
        regions: Number of output maps.
        seed: Seed of the weights and of dropout.
        dtype: Keras dtype policy of all layers but the last, which is float32.

    Returns:
        A `keras.Model` of built-in layers and operations only, so that it loads without this
        package. Layers with weights are named after their position; the levels of the decoder end
        in layers ``decoded_0`` (the finest), ``decoded_1`` and so on.

    Raises:
        InputError: The canvas is not divisible by ``2**depth``, or a parameter does not apply to
            this network.
    """
    return _BUILDERS[params.name](
        params, canvas=canvas, channels=channels, regions=regions, seed=seed, dtype=dtype
    )


def is_encoder(layer_name: str) -> bool:
    """Return True if a layer belongs to the encoder, which may be pretrained.

    Example:
        >>> is_encoder("encoder_0_conv_1"), is_encoder("stage2_block0_shortcut_norm")
        (True, True)
        >>> is_encoder("decoder_0_conv_1"), is_encoder("logits")
        (False, False)
    """
    return layer_name.startswith(("encoder_", "stem_", "stage"))
