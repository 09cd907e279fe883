"""Content of the audit page: overview, findings and case cards."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from thorax.common.errors import InputError
from thorax.common.text import counted, listed, shown
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.facts import CaseFacts, FileFacts
from thorax.datasets.audit.findings import SEVERITIES, Finding, Severity, by_severity
from thorax.datasets.dataset import DatasetSpec
from thorax.visualization.drawing import COLOURS

UNKNOWN = "unknown"

MOST_TALLIED = 5
"""Values that a tally lists."""


@dataclass(frozen=True)
class RegionVolume:
    """Volume of a region in a case.

    Args:
        name: Name of the region.
        colour: Colour of its outline.
        volume: Volume as text, such as ``4,210 mL``.
    """

    name: str
    colour: str
    volume: str


@dataclass(frozen=True)
class CaseCard:
    """Card of a case.

    Args:
        key: Name of the card in links.
        name: Name of the case.
        origin: Patient and site, if they differ from the name.
        rows: Pairs of name and value.
        regions: Volumes of the regions.
        findings: Findings, most severe first.
    """

    key: str
    name: str
    origin: str
    rows: tuple[tuple[str, str], ...]
    regions: tuple[RegionVolume, ...]
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity | None:
        """Severity of the most severe finding."""
        return self.findings[0].severity if self.findings else None


@dataclass(frozen=True)
class FindingLocation:
    """A finding and the card of its case.

    Args:
        finding: The finding.
        key: Key of the card; empty if the finding concerns the whole dataset.
    """

    finding: Finding
    key: str


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one kind and severity.

    Args:
        severity: Severity of the findings.
        title: Kind of the findings.
        advice: Advice, if it is the same for all; else empty.
        locations: The findings.
    """

    severity: Severity
    title: str
    advice: str
    locations: tuple[FindingLocation, ...]


def audit_headline(audit: Audit) -> list[str]:
    """Count the findings in one sentence, and explain their severities."""
    cases = counted(len(audit.facts), "case")
    totals = Counter(finding.severity for finding in audit.findings)
    counts = [counted(totals[severity], severity) for severity in SEVERITIES if totals[severity]]
    if not counts:
        return [f"No findings in {cases}.", "The checks cannot decide if the masks are correct."]
    explanations = []
    if totals["error"]:
        explanations.append("An error is certainly wrong and stops the pipeline.")
    if totals["warning"]:
        explanations.append("A warning is suspicious: look at the case before training on it.")
    if totals["note"]:
        explanations.append("A note is information.")
    return [f"{_sentence(listed(counts))} in {cases}.", " ".join(explanations)]


def dataset_overview(audit: Audit, spec: DatasetSpec) -> list[tuple[str, str]]:
    """Describe the dataset as pairs of name and value."""
    names = [case.case for case in audit.facts]
    sites = Counter(_matched(spec.site_of, name) for name in names)
    patients = Counter(_matched(spec.patient_of, name) for name in names)
    several = sum(1 for count in patients.values() if count > 1)
    scans = [case.scan for case in audit.facts if case.scan]
    kinds = Counter(_kind(case) for case in audit.facts)
    rows = [
        ("cases", shown(len(names), 0)),
        (
            "patients",
            f"{shown(len(patients), 0)}{f', {several} with several cases' if several else ''}",
        ),
        ("sites", _tally(sites) if spec.site else ""),
        (
            "voxels per slice",
            _tally(Counter(f"{scan.shape[0]}×{scan.shape[1]}" for scan in scans if scan.shape)),
        ),
        ("slices per scan", _range([scan.shape[2] for scan in scans if scan.shape], "")),
        ("spacing in the slice", _range(_spacings(scans, (0, 1)), " mm")),
        ("spacing between slices", _range(_spacings(scans, (2,)), " mm")),
        ("values", _tally(kinds)),
        *((f"volume of {name}", _volumes(audit, labels)) for name, labels in spec.regions.items()),
    ]
    return [(name, value) for name, value in rows if value]


def case_cards(audit: Audit, spec: DatasetSpec) -> list[CaseCard]:
    """Return one card per case, most severe findings first, then by name."""
    findings: dict[str, list[Finding]] = {}
    for finding in sorted(audit.findings, key=by_severity):
        findings.setdefault(finding.case, []).append(finding)

    def rank(case: CaseFacts) -> tuple[int, str]:
        own = findings.get(case.case)
        return (SEVERITIES.index(own[0].severity) if own else len(SEVERITIES)), case.case

    return [
        _card(f"case-{number}", case, spec, tuple(findings.get(case.case, ())))
        for number, case in enumerate(sorted(audit.facts, key=rank), start=1)
    ]


def finding_groups(audit: Audit, cards: Iterable[CaseCard]) -> list[FindingGroup]:
    """Group findings by kind, most severe first."""
    keys = {card.name: card.key for card in cards}
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in sorted(audit.findings, key=by_severity):
        groups.setdefault((finding.severity, finding.check), []).append(finding)
    return [
        FindingGroup(
            severity,
            _sentence(check.replace("-", " ")),
            findings[0].advice if len({finding.advice for finding in findings}) == 1 else "",
            tuple(FindingLocation(finding, keys.get(finding.case, "")) for finding in findings),
        )
        for (severity, check), findings in groups.items()
    ]


def _card(key: str, case: CaseFacts, spec: DatasetSpec, findings: tuple[Finding, ...]) -> CaseCard:
    volumes = {name: case.volume_ml(labels) for name, labels in spec.regions.items()}
    regions = tuple(
        RegionVolume(name, colour, UNKNOWN if volume is None else _millilitres(volume))
        for (name, volume), colour in zip(volumes.items(), COLOURS, strict=False)
    )
    rows = (("grid", _grid(case.scan)), ("spacing", _spacing(case.scan)), ("values", _kind(case)))
    return CaseCard(key, case.case, _origin(case.case, spec), rows, regions, findings)


def _origin(name: str, spec: DatasetSpec) -> str:
    patient, site = _matched(spec.patient_of, name), _matched(spec.site_of, name)
    origin = [
        f"patient {patient}" if patient not in (name, UNKNOWN) else "",
        f"site {site}" if spec.site else "",
    ]
    return ", ".join(filter(None, origin))


def _matched(pattern: Callable[[str], str], name: str) -> str:
    try:
        return pattern(name)
    except InputError:
        return UNKNOWN


def _kind(case: CaseFacts) -> str:
    return (case.values.kind if case.values else "") or UNKNOWN


def _grid(scan: FileFacts | None) -> str:
    return "×".join(map(str, scan.shape)) if scan and scan.shape else UNKNOWN


def _spacing(scan: FileFacts | None) -> str:
    grid = scan.grid if scan else None
    if grid is None:
        return UNKNOWN
    return "×".join(f"{step_mm:.3g}" for step_mm in grid.spacing_mm) + " mm"


def _spacings(scans: Iterable[FileFacts], axes: Iterable[int]) -> list[float]:
    grids = [grid for scan in scans if (grid := scan.grid)]
    return [grid.spacing_mm[axis] for axis in axes for grid in grids]


def _volumes(audit: Audit, labels: Sequence[int]) -> str:
    measured = [case.volume_ml(labels) for case in audit.facts]
    volumes = [volume for volume in measured if volume]
    if not volumes:
        return "in no case"
    text = f"{_range(volumes, ' mL')}, median {_millilitres(median(volumes))}"
    return text if len(volumes) > 2 else _range(volumes, " mL")


def _millilitres(volume: float) -> str:
    return f"{_three_digits(volume)} mL"


def _three_digits(value: float) -> str:
    """Write three significant digits; whole numbers from 100 on."""
    return f"{value:.3g}" if value < 100 else shown(value, 0)


def _range(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    low, high = _three_digits(min(values)), _three_digits(max(values))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _tally(counts: Counter[str]) -> str:
    """List values with their counts, most frequent first."""
    if len(counts) < 2:
        return "".join(counts)
    values = [f"{name} ({count:,})" for name, count in counts.most_common()]
    return listed(values, at_most=MOST_TALLIED)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
