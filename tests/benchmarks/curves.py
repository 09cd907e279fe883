"""Plot the validation Dice of several experiments by epoch.

    python tests/benchmarks/curves.py PNG LABEL=EXPERIMENT [LABEL=EXPERIMENT ...]

Run it in the top folder of a project. Experiments are named as in `dvc exp show` and were trained
with validation cases in each epoch; the Dice is that of the first region in `reports/history.csv`.
One line per experiment is printed: the Dice of each epoch, and the largest drop from an epoch to a
later one.
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
    """Return the validation Dice by epoch from the commit of an experiment."""
    rows = list(csv.DictReader(dvc.api.read("reports/history.csv", rev=experiment).splitlines()))
    region = next(name for name in rows[0] if name.startswith("dice_"))
    return [float(row[region]) for row in rows if row[region] and row["epoch"] != "0"]


def largest_drop(dice: list[float]) -> float:
    """Return the largest difference to the best earlier epoch."""
    return max(best - value for best, value in zip(accumulate(dice, max), dice, strict=True))


def draw(curves: dict[str, list[float]], png: Path) -> None:
    """Plot one line per experiment, with a legend."""
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
    curves = {label: curve(name) for label, name in (item.rsplit("=", 1) for item in named)}
    for label, values in curves.items():
        dice = " ".join(f"{value:.3f}" for value in values)
        say(f"{label:<40} {dice}  largest drop {largest_drop(values):.3f}")
    draw(curves, Path(png))
