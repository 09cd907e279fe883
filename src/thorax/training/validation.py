"""Validation during training: its settings, and the volumetric Dice of cases on the canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError
from thorax.common.params import TrainParams
from thorax.imaging.intensity import Window
from thorax.imaging.overlap import Overlap, mean_defined, overlap
from thorax.imaging.placement import FULL_COVERAGE
from thorax.models.engines.keras_engine import BATCH, probabilities
from thorax.preprocessing.records import CaseRecord, read_record


@dataclass(frozen=True)
class CaseDice:
    """Dice of a validation case on the canvas.

    Args:
        path: Record file.
        dice: Dice of each region; NaN if truth and prediction are both empty.
    """

    path: Path
    dice: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the regions with a defined Dice."""
        return mean_defined(self.dice)


def check_validation(params: TrainParams, *, validation_cases: int) -> None:
    """Check that settings which use the validation have validation cases, and often enough.

    Raises:
        InputError: One of them is set, but there are no validation cases; or a patience is shorter
            than the interval of the validations, so that one validation would decide.
    """
    plateau = params.schedule == "plateau"
    settings = {
        "schedule: plateau": plateau,
        "early_stopping_patience": params.early_stopping_patience > 0,
        "validate_first": params.validate_first,
        "training_metric": params.training_metric,
    }
    for name, is_set in settings.items():
        if is_set and not validation_cases:
            raise InputError(
                f"`train.{name}` needs validation cases; set `split.validation` above 0 or list "
                "cases in `split.validation_cases`"
            )
    patiences = {
        "plateau_patience": params.plateau_patience if plateau else 0,
        "early_stopping_patience": params.early_stopping_patience,
    }
    for name, patience in patiences.items():
        if 0 < patience < params.validate_every:
            raise InputError(
                f"`train.{name}` counts epochs and must be at least `train.validate_every`, "
                f"{params.validate_every}, got {patience}; raise it or validate more often"
            )


def validate(network: Any, paths: Sequence[Path], *, window: Window) -> list[CaseDice]:
    """Return the volumetric Dice of each case.

    Truth and prediction are thresholded at one half on the canvas. This ranks epochs; it is not
    the Dice of the report, which `evaluate` computes on the native grid.

    Args:
        network: A `keras.Model` from windowed stacks to logits.
        paths: Record files of the validation cases.
        window: HU window of the network.
    """
    cases = ((path, _overlaps(network, read_record(path), window)) for path in paths)
    return [CaseDice(path, tuple(count.dice for count in counts)) for path, counts in cases]


def mean_dice(cases: Sequence[CaseDice], regions: Sequence[str]) -> dict[str, float]:
    """Return the mean over cases as ``dice_<region>``, and the mean of these as ``dice``."""
    dice = {
        region: mean_defined(case.dice[channel] for case in cases)
        for channel, region in enumerate(regions)
    }
    row = {"dice": mean_defined(dice.values())}
    return row | {f"dice_{region}": value for region, value in dice.items()}


def _overlaps(network: Any, case: CaseRecord, window: Window) -> list[Overlap]:
    total = [Overlap()] * case.fractions.shape[-1]
    for start in range(0, len(case.planes), BATCH):
        stop = min(start + BATCH, len(case.planes))
        predicted = probabilities(network, case.planes, start, stop, window=window) >= 0.5
        truth = case.fractions[start:stop] >= FULL_COVERAGE / 2
        total = [
            count + overlap(truth[..., channel], predicted[..., channel])
            for channel, count in enumerate(total)
        ]
    return total
