"""Parameters for tests: those of `params.yaml` with changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from thorax.common.params import (
    AugmentationParams,
    LossParams,
    NetworkParams,
    TrainParams,
    load_params,
)

DEFAULTS = load_params(Path(__file__).parents[1] / "params.yaml")


PLAIN_NETWORK = NetworkParams(
    name="unet",
    width=2,
    depth=2,
    blocks=2,
    residual=False,
    normalisation="rms",
    dropout=0.0,
    drop_path=0.0,
    initial_weights="random",
)
"""Network for results computed by hand, independent of `params.yaml`."""


def plain_network(**changes: Any) -> NetworkParams:
    """Return the plain network with changes."""
    return replace(PLAIN_NETWORK, **changes)


def network_params(**changes: Any) -> NetworkParams:
    """Return the section `network` with changes."""
    return replace(DEFAULTS.network, **changes)


def loss_params(**changes: Any) -> LossParams:
    """Return the section `losses` with changes."""
    return replace(DEFAULTS.losses, **changes)


def train_params(**changes: Any) -> TrainParams:
    """Return the section `train` with changes."""
    return replace(DEFAULTS.train, **changes)


def augmentation_params(**changes: Any) -> AugmentationParams:
    """Return the section `augmentation` with changes."""
    return replace(DEFAULTS.augmentation, **changes)
