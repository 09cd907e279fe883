"""`thorax compare`."""

from pathlib import Path
from typing import Literal

import click

from thorax.cli.defaults import EVALUATE
from thorax.cli.options import JSON, OPEN_SHARE, echo


@click.command()
@click.argument("tables", nargs=-1, metavar="BASELINE TABLE…")
@click.option("--metric", default="dice", show_default=True, help="Column to compare.")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME",
    help="Region to compare. Repeatable.  [default: all regions that both tables have]",
)
@click.option(
    "--test",
    type=click.Choice(["permutation", "wilcoxon"]),
    default="permutation",
    show_default=True,
    help="Paired test: sign-flip permutation test, or Wilcoxon signed-rank test.",
)
@click.option(
    "--confidence",
    type=OPEN_SHARE,
    default=EVALUATE["confidence"],
    show_default=True,
    help="Confidence level of the intervals; the significance level of the tests is 1 minus this.",
)
@JSON
def compare(
    tables: tuple[str, ...],
    metric: str,
    regions: tuple[str, ...],
    test: Literal["permutation", "wilcoxon"],
    confidence: float,
    as_json: bool,
) -> None:
    """Compare score tables, case by case.

    Reports whether each TABLE differs from BASELINE, over the cases that both contain. Cases count
    as independent. A table is a scores.csv, a folder with scores.csv or reports/scores.csv, a DVC
    experiment or a git revision. NAME=TABLE sets the name of a table.

    \b
    Example:
      thorax compare main focal=sweep-1a2b3c4d-focal_dice --region infection
    """
    from thorax.common.errors import InputError
    from thorax.experiments.comparison import (
        ComparisonOptions,
        compare_tables,
        comparison_json,
        comparison_table,
    )
    from thorax.experiments.score_tables import read_tables

    if len(tables) < 2:
        raise InputError(
            f"a comparison needs a baseline and at least one table, got {len(tables)} tables; name "
            "two or more"
        )
    options = ComparisonOptions(metric, regions, confidence, test)
    comparisons, notes = compare_tables(read_tables(tables, Path()), options)
    for note in notes:
        echo(f"Note: {note}", err=True)
    to_text = comparison_json if as_json else comparison_table
    echo(to_text(comparisons, options))
