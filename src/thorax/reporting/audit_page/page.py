"""The audit page: one file that opens from disk, in the style of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from thorax.common.files import write_text
from thorax.common.parallel import in_threads
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import SEVERITIES
from thorax.datasets.dataset import SPEC, DatasetSpec, load_spec
from thorax.imaging.intensity import parse_intensity
from thorax.reporting.audit_page.cards import (
    audit_headline,
    case_cards,
    dataset_overview,
    finding_groups,
)
from thorax.reporting.audit_page.thumbnails import thumbnail
from thorax.reporting.html import asset, data_uri, render_page

_PACKAGE = "thorax.reporting.audit_page"

MOST_PICTURES = 1000
"""Maximum number of thumbnails, about 20 MB."""

MOST_FINDINGS = 10
"""Findings of one kind that are not collapsed."""


def write_page(path: Path, audit: Audit, folder: Path) -> None:
    """Write an audit as one HTML file, atomically; the page sends no requests.

    Args:
        path: File to write.
        audit: Findings and facts of the dataset.
        folder: Folder of the dataset; its scans are read again for thumbnails.

    Raises:
        InputError: `dataset.yaml` is not usable, or the file cannot be written.
    """
    spec = load_spec(folder / SPEC)
    names = {card.name for card in case_cards(audit, spec)[:MOST_PICTURES]}
    facts = [case for case in audit.facts if case.case in names]
    write_text(path, render_audit(audit, spec, draw_thumbnails(facts, folder, spec)))


def draw_thumbnails(
    facts: Sequence[CaseFacts], folder: Path, spec: DatasetSpec
) -> dict[str, bytes]:
    """Draw thumbnails by case; cases that cannot be read are left out."""

    def draw(case: CaseFacts) -> bytes | None:
        if case.scan is None:
            return None
        intensity = case.values.intensity if case.values else ""
        return thumbnail(
            folder / "scans" / case.scan.file,
            folder / "masks" / case.mask.file if case.mask else None,
            spec.regions,
            intensity=parse_intensity(intensity) if intensity else None,
        )

    pictures = in_threads(draw, facts, title="draw")
    return {case.case: picture for case, picture in zip(facts, pictures, strict=True) if picture}


def render_audit(audit: Audit, spec: DatasetSpec, pictures: Mapping[str, bytes]) -> str:
    """Render the audit as HTML; equal audits give equal text.

    Args:
        audit: Findings and facts of the dataset.
        spec: Content of `dataset.yaml`.
        pictures: Thumbnails by case.
    """
    cards = case_cards(audit, spec)
    severities = [finding.severity for finding in audit.findings]
    return render_page(
        _PACKAGE,
        "audit.html",
        scripts=[asset(_PACKAGE, "templates/filter.js")],
        dataset=audit.dataset,
        title=spec.title,
        headline=audit_headline(audit),
        counts=[(severity, severities.count(severity)) for severity in SEVERITIES],
        overview=dataset_overview(audit, spec),
        groups=finding_groups(audit, cards),
        cards=cards,
        pictures={name: data_uri(picture, kind="jpeg") for name, picture in pictures.items()},
        most=MOST_FINDINGS,
        with_findings=sum(bool(card.findings) for card in cards),
    )
