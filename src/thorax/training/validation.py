"""Watching the training: volumetric Dice of each patient's scans on the canvas."""

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
    """How well one watched case is segmented on the canvas.

    Args:
        path: Its record.
        dice: One a region; NaN for a region that it does not show and none was found of.
    """

    path: Path
    dice: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the regions that have a figure."""
        return mean_defined(self.dice)


def validate(network: Any, paths: Sequence[Path], *, window: Window) -> list[CaseDice]:
    """Dice of each case, taken as one volume.

    Truth and prediction are cut at one half on the canvas; this tells good epochs from bad ones
    and is not the Dice of the report, which `evaluate` takes on the native grid.
    """
    cases = ((path, _overlaps(network, read_record(path), window)) for path in paths)
    return [CaseDice(path, tuple(count.dice for count in counts)) for path, counts in cases]


def _overlaps(network: Any, case: CaseRecord, window: Window) -> list[Overlap]:
    total = [Overlap()] * case.fractions.shape[-1]
    for start in range(0, len(case.planes), BATCH):
        stop = min(start + BATCH, len(case.planes))
        found = probabilities(network, case.planes, start, stop, window=window) >= 0.5
        truth = case.fractions[start:stop] >= FULL_COVERAGE / 2
        total = [
            count + overlap(truth[..., channel], found[..., channel])
            for channel, count in enumerate(total)
        ]
    return total
