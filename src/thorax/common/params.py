"""Parameters of the pipeline, typed and checked. All defaults are in `params.yaml`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from thorax.common.crop import Crop
from thorax.common.errors import InputError, first_problem

LossName = Literal[
    "bce",
    "dice",
    "focal",
    "bce_dice",
    "focal_dice",
    "tversky",
    "focal_tversky",
    "lovasz",
    "generalised_dice",
]

NetworkName = Literal["unet", "lean", "attention_unet", "resunet18", "resunet34"]

Normalisation = Literal["rms", "group", "instance", "batch", "none"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]

LoggerName = Literal["tensorboard", "mlflow", "wandb"]

Convention = Literal["thorax", "nnunet", "surface-distance", "metrics-reloaded"]

Share = Annotated[float, Field(ge=0, lt=1)]

Count = Annotated[int, Field(ge=1)]

OpenShare = Annotated[float, Field(gt=0, lt=1)]

NotNegative = Annotated[float, Field(ge=0)]


def _ascending(window: tuple[float, float]) -> tuple[float, float]:
    if not window[0] < window[1]:
        raise ValueError("must run from low to high HU")
    return window


HuRange = Annotated[tuple[float, float], AfterValidator(_ascending)]


def _quoted(name: Any) -> Any:
    """Refuse a number, boolean or null, as YAML and DVC read some case names without quotes."""
    if name is None or isinstance(name, bool | int | float):
        raise ValueError(
            "a case name that looks like a number needs quotes, `test: ['1e5']` in params.yaml or "
            "-S \"split.test=['1e5']\" in a shell"
        )
    return name


CaseNames = list[Annotated[str, BeforeValidator(_quoted)]]

VarietyName = Literal["anatomy", "diseases", "objects", "scans", "intensities"]

PATH = Path("params.yaml")

LARGEST_YAML_BYTES = 2**20
"""Largest settings file; files that people write are far smaller."""

MOST_VALUES = 100_000
"""Largest number of values in a settings file after expanding its aliases."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class PhantomParams:
    """Number of synthetic chests."""

    cases: Count


@dataclass(frozen=True, config=_STRICT)
class PrepareParams:
    """Placement of planes on the canvas."""

    canvas: Annotated[int, Field(ge=8, le=1024)]
    crop: Crop


@dataclass(frozen=True, config=_STRICT)
class SyntheticParams:
    """Synthetic chests and copies of scans that are added to the training cases."""

    chests: Annotated[int, Field(ge=0)]
    copies: Annotated[int, Field(ge=0)]
    variety: list[VarietyName]
    seed: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class SplitParams:
    """Split of the cases into training, validation and test."""

    method: Literal["random", "stratified", "sites", "covid19", "covid19_swapped"]
    folds: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)] | Literal["none"]
    validation: Share
    train: CaseNames
    validation_cases: CaseNames
    test: CaseNames


@dataclass(frozen=True, config=_STRICT)
class NetworkParams:
    """Architecture of the network."""

    name: NetworkName
    width: Count
    depth: Annotated[int, Field(ge=1, le=7)]
    blocks: Count
    residual: bool
    normalisation: Normalisation
    dropout: Share
    drop_path: Share
    initial_weights: str


@dataclass(frozen=True, config=_STRICT)
class LossParams:
    """Settings of the losses."""

    part_weights: list[NotNegative]
    region_weights: dict[str, NotNegative]
    bce_alpha: OpenShare
    focal_alpha: OpenShare
    focal_gamma: NotNegative
    dice_over: Literal["batch", "stack"]
    dice_smoothing: Annotated[float, Field(gt=0)]
    tversky_beta: OpenShare
    tversky_gamma: Annotated[float, Field(gt=0)]
    deep_supervision: Share


@dataclass(frozen=True, config=_STRICT)
class AugmentationParams:
    """Strengths of the random augmentation; 0 disables a transform."""

    level: Literal["none", "soft", "medium", "hard"]
    device: Literal["cpu", "gpu"]
    flip: Share
    rotate_degrees: Annotated[float, Field(ge=0, le=180)]
    zoom: Share
    shift: Share
    contrast: Share
    gamma: NotNegative
    noise: Share
    blur: NotNegative
    sharpen: NotNegative
    low_resolution: Share
    field_of_view: Share
    missing_planes: Share
    thick_slices: Share
    custom: str
    mixup: NotNegative
    cutmix: NotNegative


@dataclass(frozen=True, config=_STRICT)
class TrainParams:
    """Training of the network."""

    context: Annotated[int, Field(ge=0)]
    window: HuRange
    epochs: Count
    fraction: Annotated[float, Field(gt=0, le=1)]
    rare_region_share: Share
    batch: Count | Literal["auto"]
    accumulate: Count
    steps_per_call: Count
    optimizer: Literal["adamw", "adam", "sgd", "lion"]
    learning_rate: Annotated[float, Field(gt=0)]
    rate_scaling: Literal["none", "sqrt", "linear"]
    encoder_rate: Annotated[float, Field(ge=0, le=1)]
    momentum: Share
    schedule: Literal["cosine", "polynomial", "one_cycle", "constant", "plateau"]
    warm_up: Share
    plateau_patience: Count
    weight_decay: NotNegative
    clip_norm: NotNegative
    clip_value: NotNegative
    ema_momentum: Share
    early_stopping_patience: Annotated[int, Field(ge=0)]
    validate_every: Count
    validate_first: bool
    training_metric: bool
    precision: Precision
    devices: Count | Literal["auto"]
    xla: bool
    picture_interval: Annotated[int, Field(ge=0)]
    loggers: list[LoggerName]


@dataclass(frozen=True, config=_STRICT)
class PredictParams:
    """Conversion of probabilities to masks."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    bits: Literal[0, 8, 16]


@dataclass(frozen=True, config=_STRICT)
class EvaluateParams:
    """Scoring of masks."""

    convention: Convention
    tolerance_mm: dict[str, NotNegative]
    lesions: list[str]
    lesion_overlap: Share
    smallest_lesion_ml: NotNegative
    interval: Literal["bca", "percentile"]
    confidence: OpenShare
    resamples: Annotated[int, Field(ge=100)]


@dataclass(frozen=True, config=_STRICT)
class Params:
    """All parameters: frequent switches first, then one section per topic."""

    dataset: str
    loss: LossName
    seed: Annotated[int, Field(ge=0)]
    phantom: PhantomParams
    prepare: PrepareParams
    synthetic: SyntheticParams
    split: SplitParams
    network: NetworkParams
    losses: LossParams
    augmentation: AugmentationParams
    train: TrainParams
    predict: PredictParams
    evaluate: EvaluateParams
    recipes: dict[str, dict[str, Any]]


def load_params(path: Path = PATH) -> Params:
    """Read and check `params.yaml`.

    Raises:
        InputError: The file is missing or not YAML, a key is unknown or missing, or a value has
            the wrong type or is out of range; the message lists the allowed names.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return check_params(content, source=str(path))


def read_yaml(path: Path) -> Any:
    """Read a small YAML file of plain values safely: no code, and a limited number of aliases.

    Raises:
        InputError: It is not YAML, or too large before or after expanding its aliases.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        content = stream.read(LARGEST_YAML_BYTES + 1)
    if len(content) > LARGEST_YAML_BYTES:
        raise InputError(
            f"a settings file must have at most {LARGEST_YAML_BYTES:,} bytes, but {path} has more"
        )
    try:
        return parse_yaml(content.decode("utf-8"))
    # PyYAML also raises the errors of int, float and datetime.
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def parse_yaml(text: str) -> Any:
    """Parse a YAML text of plain values.

    Raises:
        ValueError: A key is neither text nor number, or there are too many values.
        yaml.YAMLError: It is not YAML, or has other than plain values.

    Example:
        >>> parse_yaml("lung: [1, 2]")
        {'lung': [1, 2]}
    """
    content = yaml.safe_load(text)
    pending, count = [content], 0
    while pending:
        value = pending.pop()
        count += 1
        if count > MOST_VALUES:
            raise ValueError(f"it expands to more than {MOST_VALUES:,} values")
        if isinstance(value, dict):
            _check_keys(value)
            pending.extend(value.values())
        elif isinstance(value, list | set | tuple):
            pending.extend(value)
    return content


def _check_keys(keys: Iterable[Any]) -> None:
    for key in keys:
        if not isinstance(key, str | int | float | None):
            raise ValueError(f"a key must be a text or a number, got {key!r:.60}")


def check_params(content: Any, *, source: str) -> Params:
    """Check parameters from any source.

    Args:
        content: The parsed YAML.
        source: The file that error messages name.

    Raises:
        InputError: As `load_params`, or a key or value has its name of version 0.1.
    """
    _check_renamed(content, source)
    try:
        # Strict JSON rules suit YAML: a list may become a tuple, but "5" never a number.
        return TypeAdapter(Params).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise InputError(f"{source}: {first_problem(error)}") from None


_RENAMED_KEYS = {
    "split": {"watch": "validation_cases"},
    "network": {"start": "initial_weights"},
    "augmentation": {"border": "field_of_view"},
    "train": {
        "average": "ema_momentum",
        "rare_share": "rare_region_share",
        "plateau": "plateau_patience",
        "patience": "early_stopping_patience",
        "pictures": "picture_interval",
    },
}


def _check_renamed(content: Any, source: str) -> None:
    """Raise `InputError` with the new name of a key or value of version 0.1."""
    sections = content if isinstance(content, dict) else {}
    for section, names in _RENAMED_KEYS.items():
        keys = sections.get(section)
        for old in set(names).intersection(keys if isinstance(keys, dict) else ()):
            new = f"`{section}.{names[old]}`"
            raise InputError(f"{source}: `{section}.{old}` was renamed to {new}; rename it")
    network = sections.get("network")
    if isinstance(network, dict) and network.get("initial_weights") == "fresh":
        raise InputError(
            f"{source}: `network.initial_weights: fresh` was renamed to `random`; rename it"
        )
