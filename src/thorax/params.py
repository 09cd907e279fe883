"""The knobs of the pipeline: `params.yaml`, typed and checked; it alone holds the defaults."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from thorax.errors import InputError, first_problem

LossName = Literal["focal", "dice", "bce", "focal_dice", "bce_dice"]
NetworkName = Literal["unet"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]


def _rising(window: tuple[float, float]) -> tuple[float, float]:
    if not window[0] < window[1]:
        raise ValueError("must run from low to high HU")
    return window


HuRange = Annotated[tuple[float, float], AfterValidator(_rising)]

PATH = Path("params.yaml")
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class PhantomParams:
    """How many synthetic chests are made."""

    cases: Count


@dataclass(frozen=True, config=_STRICT)
class PrepareParams:
    """How planes are put on the canvas."""

    canvas: Annotated[int, Field(ge=8, le=1024)]
    crop: Literal["body", "none"]


@dataclass(frozen=True, config=_STRICT)
class SplitParams:
    """Which cases train and which test."""

    folds: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)]
    validation: Share
    test: list[str]


@dataclass(frozen=True, config=_STRICT)
class NetworkParams:
    """The shape of the network."""

    name: NetworkName
    width: Count
    depth: Annotated[int, Field(ge=1, le=7)]


@dataclass(frozen=True, config=_STRICT)
class LossParams:
    """The settings of the losses."""

    focal_gamma: NotNegative
    focal_alpha: Annotated[float, Field(gt=0, lt=1)]
    dice_smoothing: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, config=_STRICT)
class AugmentationParams:
    """How far stacks are changed at random; 0 everywhere leaves them as they are."""

    rotate_degrees: Annotated[float, Field(ge=0, le=180)]
    zoom: Share
    shift: Share
    contrast: Share
    noise: Share


@dataclass(frozen=True, config=_STRICT)
class TrainParams:
    """How the network is trained."""

    context: Annotated[int, Field(ge=0)]
    window: HuRange
    epochs: Count
    batch: Count
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: NotNegative
    precision: Precision


@dataclass(frozen=True, config=_STRICT)
class PredictParams:
    """How probabilities become masks."""

    threshold: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=_STRICT)
class Params:
    """All of `params.yaml`: everyday switches, then one section a concern."""

    dataset: str
    loss: LossName
    seed: Annotated[int, Field(ge=0)]
    phantom: PhantomParams
    prepare: PrepareParams
    split: SplitParams
    network: NetworkParams
    losses: LossParams
    augmentation: AugmentationParams
    train: TrainParams
    predict: PredictParams


def load_params(path: Path = PATH) -> Params:
    """Read and check `params.yaml`.

    Raises:
        InputError: The file is missing or no YAML, a key is unknown or missing, or a value has the
            wrong type or is out of range; where names are to be chosen from, they are listed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    return check_params(content, source=str(path))


def check_params(content: Any, *, source: str) -> Params:
    """Check parameters that were read from somewhere.

    Raises:
        InputError: As `load_params`; ``source`` stands before what is wrong.
    """
    try:
        # Strict JSON rules fit YAML: a list may become a tuple, but "5" never a number.
        return TypeAdapter(Params).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise InputError(f"{source}: {first_problem(error)}") from None
