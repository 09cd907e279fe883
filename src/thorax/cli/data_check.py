"""`thorax data check`."""

from pathlib import Path

import click

from thorax.cli.options import FILE, FOLDER, JSON, echo


@click.command("check")
@click.argument("dataset", required=False, metavar="[DATASET]")
@JSON
@click.option(
    "--output",
    type=FILE,
    metavar="HTML",
    help="Also write a page with a picture of each case.",
)
@click.option(
    "--fix",
    type=FOLDER,
    metavar="FOLDER",
    help="Write a copy of the dataset to this folder, with every error corrected that can be "
    "corrected safely.",
)
def check(dataset: str | None, as_json: bool, output: Path | None, fix: Path | None) -> None:
    """Check a dataset for errors; the dataset is not changed.

    DATASET is a folder, or a name under data/; the default is `dataset` of params.yaml. Reports
    unreadable files; wrong grids, orientations, spacings, intensities and labels; truncated or
    mirrored lungs; duplicate scans; patients with two names; and outliers. Each finding states how
    to fix it. The exit status is 1 if a case cannot be used or has a definite error.

    \b
    Example:
      thorax data check data/study --output audit.html
    """
    from thorax.datasets.audit.audit import audit_dataset, audit_json
    from thorax.datasets.audit.text import as_text
    from thorax.datasets.dataset import SPEC, load_spec

    folder, context = _folder(dataset)
    if fix is not None:
        from thorax.datasets.repair.fix import check_target

        check_target(folder, fix)  # before the audit, which may take long
    audit = audit_dataset(folder, context=context)
    spec = load_spec(folder / SPEC)
    echo(audit_json(audit, spec), nl=False) if as_json else echo(as_text(audit))
    if output is not None:
        from thorax.reporting.audit_page.page import write_page

        write_page(output, audit, folder)
        echo(f"wrote {output}", err=True)
    if fix is not None:
        from thorax.datasets.repair.fix import fix_dataset

        for correction in fix_dataset(folder, fix, audit):
            echo(correction, err=True)
        cached = {facts.case: facts for facts in audit.facts}
        echo(as_text(audit_dataset(fix, context=context, cached=cached)), err=True)
    if audit.errors:
        raise SystemExit(1)


def _folder(dataset: str | None) -> tuple[Path, int | None]:
    """Return the folder of a dataset, and `train.context` if there is a params.yaml."""
    from thorax.common.errors import InputError
    from thorax.common.params import PATH, load_params

    params = load_params() if PATH.exists() or dataset is None else None
    name = dataset or (params.dataset if params else "")
    folders = [path for path in (Path("data") / name, Path(name)) if path.is_dir()]
    if not folders:
        raise InputError(
            f"a dataset must be a folder, but there is no data/{name} and no {name}; see `thorax "
            "data list`"
        )
    return folders[0], params.train.context if params else None
