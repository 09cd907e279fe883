"""Watching the training: volumetric Dice of each patient's scans on the canvas."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thorax.canvases import FULL, Canvases
from thorax.inference import BATCH, probabilities
from thorax.intensity import Window
from thorax.overlap import Overlap, mean_defined, overlap
from thorax.records import read_record


def validate(
    network: Any, paths: Sequence[Path], regions: Sequence[str], *, window: Window
) -> dict[str, float]:
    """Mean Dice over cases for each region, each case taken as one volume.

    Truth and prediction are cut at one half on the canvas; this tells good epochs from bad ones
    and is not the Dice of the report, which `evaluate` takes on the native grid.

    Returns:
        Region name → mean Dice; NaN for a region that no case shows and none was found of.
    """
    cases = [_case_overlaps(network, read_record(path), window) for path in paths]
    return {
        region: mean_defined(counts[channel].dice for counts in cases)
        for channel, region in enumerate(regions)
    }


def _case_overlaps(network: Any, case: Canvases, window: Window) -> list[Overlap]:
    total = [Overlap()] * case.fractions.shape[-1]
    for start in range(0, len(case.planes), BATCH):
        stop = min(start + BATCH, len(case.planes))
        found = probabilities(network, case.planes, start, stop, window=window) >= 0.5
        truth = case.fractions[start:stop] >= FULL / 2
        total = [
            count + overlap(truth[..., channel], found[..., channel])
            for channel, count in enumerate(total)
        ]
    return total
