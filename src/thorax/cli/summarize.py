"""`thorax summarize`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thorax.cli.options import FILE, FOLDER, echo
from thorax.cli.view import PAGE_SUFFIXES

if TYPE_CHECKING:
    from thorax.evaluation.cohort.groups import Grouping
    from thorax.evaluation.cohort.scans import Cohort


@click.command()
@click.argument("masks", type=FOLDER)
@click.option(
    "--output",
    type=FILE,
    help="Write the table to this .csv or .parquet file instead of printing it as CSV.",
)
@click.option("--patients", type=FILE, help="CSV of patients whose columns are added by case.")
@click.option(
    "--key",
    default="case",
    show_default=True,
    metavar="COLUMN",
    help="Column of --patients with the names of the cases.",
)
@click.option("--page", type=FILE, metavar="HTML", help="Also write a page of the cohort.")
@click.option(
    "--group",
    metavar="COLUMN",
    help="Column of --patients that splits the distributions of the page; at most 8 values.",
)
@click.option(
    "--thumbnails",
    type=click.IntRange(min=0),
    default=48,
    show_default=True,
    help="Largest number of scans to review that are shown with a picture.",
)
def summarize(
    masks: Path,
    output: Path | None,
    patients: Path | None,
    key: str,
    page: Path | None,
    group: str | None,
    thumbnails: int,
) -> None:
    """Make a table and a page of many segmented scans.

    MASKS is a folder that `thorax predict` wrote. The table has one row per scan, region and side
    (whole, right, left) with volume, density and quality; densities and sides need the files of
    `thorax predict --statistics`. Failed scans have a row, too. The page shows distributions,
    outliers, and pictures of the scans to review.

    \b
    Example:
      thorax summarize masks/ --output cohort.csv
      thorax summarize masks/ --output cohort.parquet --patients patients.csv --page cohort.html
    """
    _check_options(output, patients, page, group)
    cohort = _read(masks, patients, key)
    for note in cohort.notes:
        echo(f"Note: {note}", err=True)
    grouping = _grouping(cohort, group)
    _write_table(cohort, output, printed=page is None)
    if page:
        from thorax.reporting.cohort_page.page import write_page

        write_page(page, cohort, masks.resolve().name, grouping=grouping, most=thumbnails)
        echo(f"wrote {page}", err=True)
    counts = (f"{count:,} {status}" for status, count in cohort.status_counts.items())
    echo(", ".join(counts), err=True)


def _check_options(
    output: Path | None, patients: Path | None, page: Path | None, group: str | None
) -> None:
    """Check the options before anything is read."""
    from thorax.common.errors import InputError
    from thorax.inference.cohort.table import check_output

    if output:
        check_output(output)
    if page and page.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f"--page must end in .html, got {page}")
    if group and not (patients and page):
        raise InputError("--group needs --patients with the column and --page; add both")


def _read(masks: Path, patients: Path | None, key: str) -> "Cohort":
    from thorax.inference.cohort.patients import join_patients
    from thorax.inference.cohort.read import read_cohort
    from thorax.inference.cohort.table import table_columns

    cohort = read_cohort(masks)
    if not patients:
        return cohort
    return join_patients(cohort, patients, key=key, taken=table_columns(cohort))


def _grouping(cohort: "Cohort", group: str | None) -> "Grouping | None":
    from thorax.evaluation.cohort.groups import group_scans

    return group_scans(cohort, group) if group else None


def _write_table(cohort: "Cohort", output: Path | None, *, printed: bool) -> None:
    """Write the table to a file, or print it."""
    from thorax.inference.cohort.table import table_csv, write_table

    if output:
        rows = write_table(output, cohort)
        echo(f"wrote {output}: {rows:,} rows", err=True)
    elif printed:
        echo(table_csv(cohort), nl=False)
