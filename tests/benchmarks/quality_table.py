"""Warnings and expected Dice of a model by the Dice that its masks have.

    python tests/benchmarks/quality_table.py CASES.csv …

The tables are those of ``lungs.py --csv``. A mask counts as flagged if it has a quality warning.
The error is the mean absolute difference of the expected Dice from the Dice.
"""

import csv
from pathlib import Path
from statistics import fmean

import click
from measuring import say

CLASSES = ((0.0, 0.95), (0.95, 0.975), (0.975, 1.01))
"""Lower and upper limit of the Dice of each row."""


@click.command()
@click.argument("tables", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(tables: tuple[Path, ...]) -> None:
    """Print one row per class of Dice."""
    rows = [row for table in tables for row in csv.DictReader(table.open())]
    scored = [row for row in rows if row["dice"]]
    say(f"{'Dice':<18}{'cases':>6}{'flagged':>9}{'error of expected Dice':>24}")
    for low, high in CLASSES:
        members = [row for row in scored if low <= float(row["dice"]) < high]
        _say_row(f"{low:g} to {min(high, 1):g}", members)
    _say_row("all", scored)
    if len(rows) > len(scored):
        say(f"{len(rows) - len(scored)} refused")


def _say_row(name: str, members: list[dict[str, str]]) -> None:
    flagged = sum(bool(row["warnings"]) for row in members)
    errors = [
        abs(float(row["expected_dice"]) - float(row["dice"]))
        for row in members
        if row["expected_dice"]
    ]
    error = f"{fmean(errors):.3f} ({len(errors)} cases)" if errors else "-"
    say(f"{name:<18}{len(members):>6}{flagged:>9}{error:>24}")


if __name__ == "__main__":
    main()
