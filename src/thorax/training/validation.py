"""Validation during training: volumetric Dice of each case on the canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
