"""`thorax manifest`."""

from pathlib import Path

import click

from thorax.cli.options import ANY_PATH, echo


@click.command()
@click.argument("folder", type=ANY_PATH, metavar="MASKS")
def manifest(folder: Path) -> None:
    """Merge the parts of a batch into one manifest.

    MASKS is the folder that `thorax predict --part` has written to. Scans that are missing,
    unfinished, failed or to be reviewed are named; the exit status is 1 if there is any. Run
    stopped parts once more: they continue where they ended.

    \b
    Example:
      thorax manifest masks/
    """
    from thorax.inference.manifest.merge import describe_problems, merge_manifest
    from thorax.inference.manifest.row import DONE, FAILED

    merged = merge_manifest(folder)
    problems = describe_problems(merged)
    for line in problems:
        echo(line)
    done, failed = (len(merged.with_status(status)) for status in (DONE, FAILED))
    counts = (
        (done, "done"),
        (failed, "failed"),
        (len(merged.rows) - done - failed, "missing or unfinished"),
        (len(merged.to_review), "to review"),
    )
    text = ", ".join(f"{count} {name}" for count, name in counts)
    echo(f"{text}: {merged.table}", err=True)
    if merged.running:
        echo(f"Note: {merged.running} parts are running", err=True)
    if problems:
        raise click.exceptions.Exit(1)
