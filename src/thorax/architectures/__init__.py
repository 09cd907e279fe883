"""Networks by name: `(H, W, 2k+1)` windowed planes in, `(H, W, R)` float32 logits out."""

from typing import Any

from thorax.architectures.unet import unet
from thorax.params import NetworkParams


def build(
    params: NetworkParams, *, canvas: int, channels: int, regions: int, seed: int, dtype: str
) -> Any:
    """Build the network that the parameters name, with fresh weights.

    Args:
        params: Name, width and depth.
        canvas: Pixels a side of the canvas.
        channels: Planes in a stack.
        regions: Maps to predict.
        seed: Draws the weights.
        dtype: Keras dtype policy of all layers but the last, which gives float32.

    Returns:
        A `keras.Model` of built-in layers and operations alone, so that it loads without this
        package.

    Raises:
        InputError: The canvas cannot be halved as often as ``depth`` asks.
    """
    return {"unet": unet}[params.name](
        params, canvas=canvas, channels=channels, regions=regions, seed=seed, dtype=dtype
    )
