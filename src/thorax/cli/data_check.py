"""Audit a dataset."""

from pathlib import Path

import click

from thorax.cli.options import echo


@click.command("check")
@click.argument("dataset", required=False, metavar="[NAME or FOLDER]")
@click.option("--json", "as_json", is_flag=True, help="Write facts and findings as JSON.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="HTML",
    help="Write a page with a picture of each case, too.",
)
@click.option(
    "--fix",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write a corrected copy there, as far as that is safe.",
)
def check(dataset: str | None, as_json: bool, output: Path | None, fix: Path | None) -> None:
    """Look for faults in a dataset; nothing in it is changed.

    It is a folder, or the name of one under data/; the `dataset` of params.yaml unless given. Files
    that cannot be read, grids, orientation, spacing, intensities, labels, lungs that are cut off or
    mirrored, copies, the same patient under two names and outliers are told of, each with what to
    do. The exit status is 1 if there is an error: what cannot be used, or is surely wrong.

    \b
    Example:
      thorax data check data/study --output audit.html
    """
    from thorax.datasets.audit.audit import audit_dataset, audit_json
    from thorax.datasets.audit.text import as_text
    from thorax.datasets.dataset import SPEC, load_spec

    folder, context = _folder(dataset)
    audit = audit_dataset(folder, context=context)
    spec = load_spec(folder / SPEC)
    echo(audit_json(audit, spec), nl=False) if as_json else echo(as_text(audit))
    if output is not None:
        from thorax.reporting.audit_page.page import write_page

        write_page(output, audit, folder)
        echo(f"wrote {output}", err=True)
    if fix is not None:
        from thorax.datasets.repair.fix import fix_dataset

        for line in fix_dataset(folder, fix, audit):
            echo(line, err=True)
        cached = {facts.case: facts for facts in audit.facts}
        echo(as_text(audit_dataset(fix, context=context, cached=cached)), err=True)
    if audit.errors:
        raise SystemExit(1)


def _folder(dataset: str | None) -> tuple[Path, int | None]:
    """The folder of a dataset, and the context of params.yaml where there is one."""
    from thorax.common.errors import InputError
    from thorax.common.params import PATH, load_params

    params = load_params() if PATH.exists() or dataset is None else None
    name = dataset or (params.dataset if params else "")
    found = [path for path in (Path("data") / name, Path(name)) if path.is_dir()]
    if not found:
        raise InputError(f"there is no folder data/{name}, nor {name}; see `thorax data list`")
    return found[0], params.train.context if params else None
