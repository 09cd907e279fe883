"""The page of an audit: one file that opens from disk, in the look of the report."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from thorax.common.files import write_text
from thorax.common.parallel import in_threads
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import SEVERITIES
from thorax.datasets.dataset import SPEC, DatasetSpec, load_spec
from thorax.imaging.intensity import parse_intensity
from thorax.reporting.audit_page.cards import case_cards, finding_groups, headline, overview
from thorax.reporting.audit_page.thumbnails import thumbnail
from thorax.reporting.html import content_policy, data_uri, environment

PACKAGE = "thorax.reporting.audit_page"

MOST_PICTURES = 1000
"""Thumbnails on a page, at most, so that it stays below some 20 MB."""

MOST_LINES = 10
"""Findings of one kind that are shown before one asks for more."""


def write_page(path: Path, audit: Audit, folder: Path) -> None:
    """Write an audit as one HTML file, whole or not at all; nothing in it asks for a network.

    Args:
        path: The file.
        audit: What was found.
        folder: The dataset, whose scans are read again for their thumbnails.

    Raises:
        InputError: The `dataset.yaml` cannot be used, or the file cannot be written.
    """
    spec = load_spec(folder / SPEC)
    cards = case_cards(audit, spec)
    drawn = {card.name for card in cards[:MOST_PICTURES]}
    facts = [case for case in audit.facts if case.case in drawn]
    write_text(path, render(audit, spec, draw(facts, folder, spec)))


def draw(facts: Sequence[CaseFacts], folder: Path, spec: DatasetSpec) -> dict[str, bytes]:
    """Thumbnails by the name of their case; those that cannot be drawn are left out."""

    def picture(case: CaseFacts) -> bytes | None:
        if case.scan is None:
            return None
        known = case.values.intensity if case.values else ""
        return thumbnail(
            folder / "scans" / case.scan.file,
            folder / "masks" / case.mask.file if case.mask else None,
            spec.regions,
            domain=parse_intensity(known) if known else None,
        )

    pictures = in_threads(picture, facts, title="draw")
    return {case.case: found for case, found in zip(facts, pictures, strict=True) if found}


def render(audit: Audit, spec: DatasetSpec, pictures: Mapping[str, bytes]) -> str:
    """The page as HTML; equal audits give equal text.

    Args:
        audit: What was found.
        spec: What the files of the dataset mean.
        pictures: Thumbnails by the name of their case.
    """
    script = files(PACKAGE).joinpath("templates/filter.js").read_text(encoding="utf-8")
    cards = case_cards(audit, spec)
    return (
        environment(PACKAGE)
        .get_template("audit.html")
        .render(
            dataset=audit.dataset,
            title=spec.title,
            headline=headline(audit),
            counts=_counts(audit),
            overview=overview(audit, spec),
            groups=finding_groups(audit, cards),
            cards=cards,
            pictures={name: data_uri(picture, kind="jpeg") for name, picture in pictures.items()},
            most=MOST_LINES,
            found=sum(bool(card.findings) for card in cards),
            policy=content_policy([script]),
            script=Markup(script),
        )
    )


def _counts(audit: Audit) -> list[tuple[str, int]]:
    found = [finding.severity for finding in audit.findings]
    return [(weight, found.count(weight)) for weight in SEVERITIES]
