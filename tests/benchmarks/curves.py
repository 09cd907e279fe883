"""Draw how the validation Dice of several experiments went from epoch to epoch.

    python tests/benchmarks/curves.py PNG LABEL=EXPERIMENT [LABEL=EXPERIMENT ...]

Run it at the top of a project. Each experiment is one by its name in `dvc exp show`, trained with
`split.validation` or `split.validation_cases`; Dice is what `reports/history.csv` holds of the first region.
Beside the picture, one line an experiment: each epoch's Dice, and the deepest fall from one epoch
to a later one.
"""

import csv
import sys
from itertools import accumulate
from pathlib import Path

import dvc.api
from matplotlib.figure import Figure
from measuring import say

from thorax.visualization.drawing import save_png


def curve(experiment: str) -> list[float]:
    """Validation Dice by epoch, from the commit that DVC keeps of an experiment."""
    rows = list(csv.DictReader(dvc.api.read("reports/history.csv", rev=experiment).splitlines()))
    region = next(name for name in rows[0] if name.startswith("dice_"))
    return [float(row[region]) for row in rows]


def deepest_fall(dice: list[float]) -> float:
    """The most that was lost since the best epoch before."""
    return max(best - here for best, here in zip(accumulate(dice, max), dice, strict=True))


def draw(curves: dict[str, list[float]], png: Path) -> None:
    """One line an experiment, named in a legend."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="validation Dice", ylim=(0.75, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    for label, dice in curves.items():
        axes.plot(range(1, len(dice) + 1), dice, label=label, marker=".")
    axes.legend(frameon=False, loc="lower right")
    save_png(figure, png)


if __name__ == "__main__":
    png, *named = sys.argv[1:]
    found = {label: curve(name) for label, name in (item.rsplit("=", 1) for item in named)}
    for label, values in found.items():
        dice = " ".join(f"{value:.3f}" for value in values)
        say(f"{label:<40} {dice}  deepest fall {deepest_fall(values):.3f}")
    draw(found, Path(png))
