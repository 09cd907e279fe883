"""Comparing the scores of models."""

from pathlib import Path
from typing import Literal

import click

from thorax.cli.options import echo


@click.command()
@click.argument("tables", nargs=-1, metavar="BASELINE TABLE…")
@click.option(
    "--metric", default="dice", show_default=True, help="The column of figures to compare."
)
@click.option(
    "--region",
    "regions",
    multiple=True,
    help="A region to compare; may be given again. Unless given, all that both tables have.",
)
@click.option(
    "--test",
    type=click.Choice(["permutation", "wilcoxon"]),
    default="permutation",
    show_default=True,
    help="Turn the signs of paired differences, or of their ranks.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of intervals; what is left over is the level of the tests.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compare(
    tables: tuple[str, ...],
    metric: str,
    regions: tuple[str, ...],
    test: Literal["permutation", "wilcoxon"],
    confidence: float,
    as_json: bool,
) -> None:
    """Compare score tables, case by case.

    Says whether each TABLE can be told apart from BASELINE by the cases that both have, which count
    as independent. A table is a scores.csv, a folder with one or with reports/scores.csv, a DVC
    experiment or a git revision; NAME=TABLE gives it a name.

    \b
    Example:
      thorax compare main focal=sweep-1a2b3c4d-focal_dice --region infection
    """
    from thorax.common.errors import InputError
    from thorax.experiments.comparison import (
        Question,
        compare_tables,
        comparison_json,
        comparison_table,
    )
    from thorax.experiments.score_tables import read_tables

    if len(tables) < 2:
        raise InputError(f"a comparison needs two tables or more, got {len(tables)}")
    question = Question(metric, regions, confidence, test)
    comparisons, notes = compare_tables(read_tables(tables, Path()), question)
    for note in notes:
        echo(f"note: {note}", err=True)
    show = comparison_json if as_json else comparison_table
    echo(show(comparisons, question))
