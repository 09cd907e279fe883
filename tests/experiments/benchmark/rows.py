"""Scores of a benchmark for tests."""

from collections.abc import Mapping

from thorax.experiments.summaries import Row


def row(case: str, region: str, dice: float, *, seed: int = 0, fold: int = 0) -> Row:
    """Return one row; its NSD is 0.125 less than its Dice."""
    return {
        "seed": seed,
        "fold": fold,
        "case": case,
        "region": region,
        "dice": dice,
        "iou": dice / (2 - dice),
        "nsd": dice - 0.125,
        "truth_ml": 10.0,
        "predicted_ml": 10.0,
    }


def rows(region: str, dice: Mapping[str, float]) -> list[Row]:
    """Return one row per case."""
    return [row(case, region, value) for case, value in dice.items()]
