"""Stage `prepare`: audit the dataset, then write one record of preprocessed slices per case."""

from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.params import load_params
from thorax.datasets.audit.audit import FILE as FACTS
from thorax.datasets.audit.audit import Audit, audit_dataset, read_facts, save_audit
from thorax.datasets.audit.text import as_text, one_line
from thorax.datasets.dataset import SPEC, load_dataset, load_spec
from thorax.datasets.split_check import check_split
from thorax.pipeline import log, run
from thorax.pipeline.paths import AUDIT, DATA, RECORDS
from thorax.pipeline.source import note_source, written_by_this_source
from thorax.preprocessing.index import NAME as INDEX
from thorax.preprocessing.prepare import prepare


def main() -> None:
    """Write `data/audit` and `data/records`; log the highest Dice that the canvas allows."""
    params = load_params()
    folder = DATA / params.dataset
    # Records do not depend on the split, but an impossible one is reported before the work.
    check_split(folder, params)
    check_dataset(folder)
    dataset = load_dataset(folder)
    index = prepare(
        dataset,
        RECORDS,
        canvas=params.prepare.canvas,
        crop=params.prepare.crop,
        synthetic=params.synthetic,
        reuse=written_by_this_source(RECORDS / INDEX),
    )
    note_source(RECORDS / INDEX)
    for entry in index.records:
        ceilings = ", ".join(f"{name} {count.dice:.4f}" for name, count in entry.ceiling.items())
        log(f"{entry.case}: {entry.planes} slices, ceiling of Dice: {ceilings}")
    if index.additional:
        planes = sum(entry.planes for entry in index.additional)
        log(f"{len(index.additional)} additional training records, {planes} slices")


def check_dataset(folder: Path) -> Audit:
    """Audit a dataset, save the audit and log its warnings.

    Raises:
        InputError: There is no dataset, or the audit has errors: one line per error.
    """
    spec = load_spec(folder / SPEC)
    reuse = written_by_this_source(AUDIT / FACTS)
    audit = audit_dataset(folder, cached=read_facts(AUDIT, spec) if reuse else {})
    save_audit(AUDIT, audit, spec)
    note_source(AUDIT / FACTS)
    if audit.errors:
        lines = [one_line(finding) for finding in audit.errors]
        if len(lines) == 1:
            raise InputError(f"{folder}: {lines[0]}")
        headline = f"{folder} has {len(lines)} errors; `thorax data check` explains them:"
        raise InputError(headline, *lines)
    if audit.warnings:
        log(as_text(audit, severities=["warning"]))
    return audit


if __name__ == "__main__":
    run(main)
